"""Run a command and say what it took: seconds, and memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """What one run took.  `largest_mb` is the resident memory of its largest process.

    `cpu` are the seconds that all its processes computed: on a busy machine they vary less than `seconds`.
    """

    seconds: float
    cpu: float
    largest_mb: float
    exit_code: int
    output: str


def run(
    command: Sequence[str],
    *,
    accept: Collection[int] = (0, 1),
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Run:
    """Run to the end.  Raises RuntimeError with the end of what it said on an exit status out of `accept`."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    said: dict[str, bytes] = {}
    readers = [
        threading.Thread(target=lambda name=name, stream=stream: said.update({name: stream.read()}))
        for name, stream in (("output", process.stdout), ("errors", process.stderr))
        if stream is not None
    ]
    for reader in readers:
        reader.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    for reader in readers:
        reader.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in accept:
        end = said["errors"].decode(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)}\nended with {process.returncode}:\n{end}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    cpu = usage.ru_utime + usage.ru_stime
    return Run(seconds, cpu, kilobytes / 1024, process.returncode, said["output"].decode(errors="replace"))


def peak_memory(command: Sequence[str], **options: object) -> float:
    """The most memory in MB that the command and all its processes hold at one moment.

    Shared pages count once (PSS, sampled ten times a second); where the system does not tell, the largest
    process stands in.  A run of its own: sampling costs time.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        return run(command, **options).largest_mb  # type: ignore[arg-type]
    highest = 0.0
    done = threading.Event()
    own = os.getpid()

    def sample() -> None:
        nonlocal highest
        while not done.wait(0.1):
            highest = max(highest, sum(map(_proportional_mb, _descendants(own))))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        result = run(command, **options)  # type: ignore[arg-type]
    finally:
        done.set()
        sampler.join()
    return highest or result.largest_mb


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    pending = list(children.get(root, ()))
    while pending:
        process = pending.pop()
        found.append(process)
        pending += children.get(process, ())
    return found


def _proportional_mb(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0
    return sum(int(line.split()[1]) for line in text.split("\n") if line.startswith("Pss:")) / 1024
