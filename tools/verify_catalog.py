"""Verifies the catalog against the real clients: one throwaway virtual environment for each family.

    python tools/verify_catalog.py                    all families; writes the table of docs/catalog.md
    python tools/verify_catalog.py redis valkey       some (or --family …); the other rows of the table stay
    python tools/verify_catalog.py --quick --check    those that install in a minute or two; writes nothing

Exit status 1 when the catalog and an installed client disagree, or when a family could not be verified.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "catalog.md"
BEGIN, END = "<!-- versions: written by tools/verify_catalog.py -->", "<!-- end of versions -->"
NOT_SOURCE = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "docs", "benchmarks", "examples"
)
# Runs inside the environment: the installed boundlint verifies the installed clients.
PROBE = """
import contextlib, dataclasses, json, sys
from boundlint.catalog.loader import load_catalog
from boundlint.catalog.verify import verify
wanted = set(sys.argv[1:])
with contextlib.redirect_stdout(sys.stderr):
    results = verify(family for family in load_catalog().families if family.name in wanted)
print("\\n" + json.dumps([dataclasses.asdict(result) for result in results]))
"""


@dataclass(frozen=True)
class Outcome:
    """What one environment said of one family; `failure` where there was no answer."""

    family: str
    title: str
    operations: int
    verified: int = 0
    versions: str = ""
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failure: str = ""

    @property
    def passed(self) -> bool:
        """Whether every operation that this environment can speak of is as described."""
        return not self.failure and not self.problems and self.verified > 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    options = _parser().parse_args(arguments)
    sys.path.insert(0, str(ROOT))
    from boundlint.catalog.loader import load_catalog

    families = load_catalog().families
    wanted = {*options.names, *options.family}
    unknown = sorted(wanted - {family.name for family in families})
    if unknown:
        print(f"unknown family: {', '.join(unknown)}", file=sys.stderr)
        return 2
    chosen = [family for family in families if not wanted or family.name in wanted]
    if options.quick:
        chosen = [family for family in chosen if family.quick]
    groups: dict[tuple[str, ...], list[Any]] = {}
    for family in chosen:
        groups.setdefault(tuple(sorted(family.requires)), []).append(family)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="boundlint-verify-") as scratch:
        uv = shutil.which("uv") or _install_uv(Path(scratch), options.python)
        wheel = _build_wheel(Path(scratch), options.python)
        for requires, members in groups.items():
            started = time.monotonic()
            for outcome in _verify(uv, Path(scratch, "env"), options.python, wheel, requires, members):
                outcomes.append(outcome)
                _report(outcome, time.monotonic() - started)
            if not options.check:
                _write_table(outcomes, {family.name for family in families})
    failed = [outcome.family for outcome in outcomes if not outcome.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} families verified", end="")
    print(f"; not: {', '.join(failed)}" if failed else "")
    return 1 if failed or not outcomes else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Verify the catalog in throwaway environments.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these families")
    parser.add_argument("--family", nargs="+", default=[], metavar="NAME", help="the same")
    parser.add_argument("--quick", action="store_true", help="only families that install in a minute or two")
    parser.add_argument("--check", action="store_true", help="do not write the table of docs/catalog.md")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    return parser


def _install_uv(scratch: Path, python: str) -> str:
    """An installer that fills an environment in a tenth of pip's time; for this run only."""
    place = scratch / "uv"
    command = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--prefix",
        str(place),
        "uv",
    ]
    subprocess.run(command, check=True)
    return str(next(path for path in place.rglob("uv*") if path.name in ("uv", "uv.exe") and path.is_file()))


def _build_wheel(scratch: Path, python: str) -> Path:
    source = scratch / "source"  # a copy, so that the build leaves nothing in the tree
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    command = [python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(scratch / "wheel"), str(source)]
    subprocess.run(command, check=True)
    return next((scratch / "wheel").glob("*.whl"))


def _verify(
    uv: str, place: Path, python: str, wheel: Path, requires: Sequence[str], members: Sequence[Any]
) -> list[Outcome]:
    inside = str(place / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    try:
        # tomli is what boundlint itself needs here on Python 3.10
        reason = _make_environment(
            uv, place, python, inside, [[*requires, "tomli"], ["--no-deps", str(wheel)]]
        )
        if reason:
            return [_failed(family, "cannot be installed", reason) for family in members]
        names = [family.name for family in members]
        probe = subprocess.run([inside, "-c", PROBE, *names], capture_output=True, text=True, cwd=place)
        if probe.returncode:
            return [_failed(family, "the verification crashed", probe.stderr) for family in members]
        return [_outcome(result) for result in json.loads(probe.stdout.splitlines()[-1])]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _make_environment(
    uv: str, place: Path, python: str, inside: str, installs: Sequence[Sequence[str]]
) -> str:
    """Make the environment and install into it one after the other; what went wrong, or nothing."""
    shutil.rmtree(place, ignore_errors=True)
    commands = [[uv, "venv", "-q", "-p", python, str(place)]]
    commands += [[uv, "pip", "install", "-q", "-p", inside, *packages] for packages in installs]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return done.stderr or done.stdout or "no output"
    return ""


def _failed(family: Any, what: str, output: str) -> Outcome:
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("WARNING")]
    reason = f"{what}: {lines[-1] if lines else 'no output'}"
    return Outcome(family.name, family.title, len(family.operations), failure=reason)


def _outcome(result: dict[str, Any]) -> Outcome:
    absent = [note for note in result["unverified"] if note.endswith("client is not installed")]
    missing = [f"{name} is not installed" for name in result["missing"]]
    return Outcome(
        family=result["family"],
        title=result["title"],
        operations=result["operations"],
        verified=result["verified"],
        versions=", ".join(f"{name} {version}" for name, version in sorted(result["installed"].items())),
        # in a fresh environment everything that the family requires has to be there
        problems=(*result["problems"], *missing, *absent),
        notes=tuple(note for note in result["unverified"] if note not in absent),
    )


def _report(outcome: Outcome, seconds: float) -> None:
    count = f"{outcome.verified} of {outcome.operations}"
    state = "ok" if outcome.passed else "FAILED"
    print(f"{outcome.family}: {state}, {count} operations, {outcome.versions} ({seconds:.0f} s)")
    for line in (*filter(None, [outcome.failure]), *outcome.problems):
        print(f"  ! {line}")
    for line in outcome.notes:
        print(f"  ? {line}")
    sys.stdout.flush()


def _write_table(outcomes: Iterable[Outcome], known: set[str]) -> None:
    text = DOCS.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([\w-]+)` \|.*$", old, re.MULTILINE)}
    today = dt.datetime.now(dt.timezone.utc).date()
    for outcome in outcomes:
        count = f"{outcome.verified} of {outcome.operations}"
        versions = outcome.versions if not outcome.failure else "not verified"
        row = f"| `{outcome.family}` | {outcome.title} | {count} | {versions} | {today} |"
        rows[outcome.family] = row
    head = "\n| family | clients | verified operations | versions | on |\n| --- | --- | --- | --- | --- |\n"
    table = "".join(f"{rows[name]}\n" for name in sorted(rows) if name in known)
    DOCS.write_text(before + BEGIN + head + table + END + after, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
