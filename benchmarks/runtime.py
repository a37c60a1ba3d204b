"""What `pytest --enforce-boundary` costs: one operation with and without its seam, and a suite of nothing else.

`python -m benchmarks.runtime` prints both; `--write` puts them into the README. Both sides take turns in each
round, on one core and before other processes where the system allows that; the best of the rounds counts, in
processor time. A time is that of this machine, a ratio is comparable.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.runtime_operations import clients
from benchmarks.tables import markdown, replace_between
from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
from pytest_boundary.config import PluginSettings
from pytest_boundary.frames import Frames
from pytest_boundary.levels import Levels
from pytest_boundary.monitor import Monitor
from pytest_boundary.seams import Seams

README = Path(__file__).parent / "README.md"
CALLS = 300  # of each operation in one turn, at most
WARM_UP = 200  # as many as the interpreter needs to adapt to classes that were changed
MAX_TURN = 0.01  # seconds of one turn of an operation that takes long
TURNS = 3  # of which the best counts
PAIRS = 3  # of both sides of an operation, in one round
MAX_MICROSECONDS = 10.0  # that a seam may add to one operation
MAX_SUITE = 1.15  # of a suite that does nothing but data access, start-up aside
WITHOUT = "not installed"
WAYS = {
    WITHOUT: ("-p", "no:boundlint"),
    "installed, without the flag": (),
    "with the flag": ("--enforce-boundary",),
    "with the flag and a report": ("--enforce-boundary", "--boundary-report=report.html"),
}
SUITE = """
import fakeredis, sqlite3, pytest
store = fakeredis.FakeRedis(decode_responses=True)
database = sqlite3.connect(":memory:")
database.execute("CREATE TABLE notes (id, tenant_id, text)")
pytestmark = pytest.mark.boundary(tenant="acme")
@pytest.mark.parametrize("number", range(41))
def test_data_access(number):
    for turn in range(600 if number else 1):
        store.set(f"acme:{number}:{turn}", "x")
        store.get(f"acme:{number}:{turn}")
        database.execute("INSERT INTO notes VALUES (?, ?, ?)", (turn, "acme", "x"))
        database.execute("SELECT text FROM notes WHERE tenant_id = ? AND id = ?", ("acme", turn)).fetchone()
"""
# What comes before the second test is start-up: imports, the first statement that is parsed.
CLOCK = """
import time
from pathlib import Path
marks = []
def pytest_runtest_logfinish():
    marks.append(time.process_time())
def pytest_sessionfinish():
    Path("inside.txt").write_text(str(marks[-1] - marks[0]))
"""


@contextmanager
def watched() -> Iterator[None]:
    """The seams of one run, armed as pytest arms them."""
    settings = PluginSettings(mode="strict", root=Path(__file__).parent)
    monitor = Monitor(
        settings, Frames(settings.root, settings.test_files), Levels(("tenant",), settings.boundary)
    )
    monitor.phase = "call"
    seams = Seams(monitor)
    seams.arm()
    try:
        yield
    finally:
        seams.restore()
    if monitor.faults or monitor.broken or monitor.ledger.findings:
        raise RuntimeError(f"the benchmark itself is not clean: {monitor.faults or monitor.broken}")


def per_call(operation: Callable[[], object]) -> float:
    """Microseconds of processor time of one call in this thread, the best of a few turns: the machine may be busy."""
    started = time.thread_time()
    for _ in range(WARM_UP):
        operation()
    calls = max(20, min(CALLS, int(MAX_TURN / (time.thread_time() - started + 1e-9) * WARM_UP)))
    best = float("inf")
    gc.collect()
    gc.disable()  # as timeit does: what else is in memory is not to count
    try:
        for _ in range(TURNS):
            started = time.thread_time()
            for _ in range(calls):
                operation()
            best = min(best, (time.thread_time() - started) / calls * 1e6)
    finally:
        gc.enable()
    return best


def measure_operations(rounds: int, only: str = "") -> dict[str, tuple[float, float, float]]:
    """For each operation: microseconds without, what the seam adds, and the ratio.

    Of each client both sides follow right upon another, many times, and the best of each side counts: a machine that
    does other things too, and threads that wake each other, only add.
    """
    alone: dict[str, float] = {}
    seen: dict[str, float] = {}
    boundary = AgentBoundary(issued_by=Issuer("benchmark"), tenant="acme")
    for _ in range(rounds):
        for calls in clients(only):
            for name, operation in calls().items():
                alone[name] = min(per_call(operation), alone.get(name, float("inf")))
            with watched(), boundary_scope(boundary):
                for name, operation in calls().items():
                    seen[name] = min(per_call(operation), seen.get(name, float("inf")))
    return {name: (alone[name], seen[name] - alone[name], seen[name] / alone[name]) for name in alone}


def measure_suite(rounds: int) -> dict[str, tuple[float, float, float]]:
    """For each way: seconds that start-up takes longer, and the ratios of the whole run and of all but start-up.

    All ways take turns in each round; the best of the rounds counts, since other processes only add.
    """
    whole, inside = dict.fromkeys(WAYS, float("inf")), dict.fromkeys(WAYS, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_suite.py").write_text(SUITE, encoding="utf-8")
        Path(folder, "conftest.py").write_text(CLOCK, encoding="utf-8")
        for arguments in WAYS.values():
            _run(folder, *arguments)  # leaves the bytecode of what it imports
        for _ in range(rounds):
            for way, arguments in WAYS.items():
                found = _run(folder, *arguments)
                whole[way], inside[way] = min(whole[way], found[0]), min(inside[way], found[1])
    start = {way: whole[way] - inside[way] for way in WAYS}
    return {
        way: (start[way] - start[WITHOUT], whole[way] / whole[WITHOUT], inside[way] / inside[WITHOUT])
        for way in WAYS
        if way != WITHOUT
    }


def _run(folder: str, *arguments: str) -> tuple[float, float]:
    """Seconds of processor time of the whole run, and of all tests but the first."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *arguments]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(run.stdout + run.stderr)
    after = os.times()
    whole = after.children_user + after.children_system - before.children_user - before.children_system
    return whole, float(Path(folder, "inside.txt").read_text(encoding="utf-8"))


def undisturbed() -> None:
    """Stay on one core, and before other processes; as far as the system lets us. Children inherit both."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--only", default="", metavar="CLIENT", help="the operations of these clients alone")
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    options = parser.parse_args(arguments)
    undisturbed()
    single = measure_operations(options.rounds * PAIRS, options.only)
    if options.only:
        print(single)
        return 0
    suite = measure_suite(options.rounds)
    rows = [
        (name, f"{without:.0f} µs", f"{added:.1f} µs", f"{ratio:.2f}")
        for name, (without, added, ratio) in single.items()
    ]
    table = markdown(("operation", "alone", "the seam adds", "ratio"), rows)
    table += "\n\n" + markdown(
        ("a suite of nothing but data access", "start-up adds", "whole run", "start-up aside"),
        [(way, f"{s:.2f} s", f"{whole:.2f}", f"{inside:.2f}") for way, (s, whole, inside) in suite.items()],
    )
    print(table)
    if options.write:
        text = README.read_text(encoding="utf-8")
        README.write_text(replace_between(text, "runtime", table), encoding="utf-8")
    slow = [name for name, (_, added, _) in single.items() if added > MAX_MICROSECONDS]
    return 1 if slow or suite["with the flag"][2] > MAX_SUITE else 0


if __name__ == "__main__":
    sys.exit(main())
