"""What `pytest --enforce-boundary` costs: one operation with and without its seam, and a suite of nothing else.

`python -m benchmarks.runtime` prints both; `--write` puts them into the README. Both sides take turns in each
round, on one core and before other processes where the system allows that; the best turn of all rounds counts, in
processor time. A time is that of this machine, a ratio is comparable.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.tables import markdown, replace_between
from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
from pytest_boundary.config import PluginSettings
from pytest_boundary.frames import Frames
from pytest_boundary.levels import Levels
from pytest_boundary.monitor import Monitor
from pytest_boundary.seams import Seams

README = Path(__file__).parent / "README.md"
CALLS = 300  # of each operation in one turn
TURNS = 10  # of which the best counts
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
@pytest.mark.parametrize("number", range(40))
def test_data_access(number):
    for turn in range(600):
        store.set(f"acme:{number}:{turn}", "x")
        store.get(f"acme:{number}:{turn}")
        database.execute("INSERT INTO notes VALUES (?, ?, ?)", (turn, "acme", "x"))
        database.execute("SELECT text FROM notes WHERE tenant_id = ? AND id = ?", ("acme", turn)).fetchone()
"""


def operations() -> Mapping[str, Callable[[], object]]:
    """One call each, on the embedded engines; made while the seams are on or off."""
    import fakeredis
    from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select
    from sqlalchemy.pool import StaticPool

    store = fakeredis.FakeRedis(decode_responses=True)
    store.set("acme:key", "value")
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE notes (id, tenant_id, text)")
    database.execute("INSERT INTO notes VALUES (1, 'acme', 'x')")
    engine = create_engine("sqlite://", poolclass=StaticPool)
    notes = Table("notes", MetaData(), Column("id", Integer), Column("tenant_id", String))
    notes.metadata.create_all(engine)
    connection = engine.connect()
    connection.execute(notes.insert().values(id=1, tenant_id="acme"))
    statement = select(notes).where(notes.c.tenant_id == "acme")
    log = logging.getLogger("benchmark")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.setLevel(logging.INFO)
    text = "SELECT text FROM notes WHERE tenant_id = ? AND id = ?"
    return {
        "redis get (fakeredis)": lambda: store.get("acme:key"),
        "sqlite3 select": lambda: database.execute(text, ("acme", 1)).fetchall(),
        "SQLAlchemy Core select (sqlite)": lambda: connection.execute(statement).all(),
        "log record": lambda: log.info("done %s", 1),
    }


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
    """Microseconds of processor time of one call, the best of several turns: the machine may be busy."""
    for _ in range(20):
        operation()
    best = float("inf")
    for _ in range(TURNS):
        started = time.process_time()
        for _ in range(CALLS):
            operation()
        best = min(best, (time.process_time() - started) / CALLS * 1e6)
    return best


def measure_operations(rounds: int) -> dict[str, tuple[float, float, float]]:
    """For each operation: microseconds without, what the seam adds, and the ratio."""
    plain: dict[str, list[float]] = {}
    seen: dict[str, list[float]] = {}
    boundary = AgentBoundary(issued_by=Issuer("benchmark"), tenant="acme")
    for _ in range(rounds):
        for name, operation in operations().items():
            plain.setdefault(name, []).append(per_call(operation))
        with watched(), boundary_scope(boundary):
            for name, operation in operations().items():
                seen.setdefault(name, []).append(per_call(operation))
    found = {}
    for name, without in plain.items():
        alone, with_seam = min(without), min(seen[name])
        found[name] = (alone, with_seam - alone, with_seam / alone)
    return found


def measure_suite(rounds: int) -> dict[str, tuple[float, float, float]]:
    """For each way: seconds that start-up takes longer, and the ratios of the whole run and of all but start-up."""
    best: dict[tuple[str, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_suite.py").write_text(SUITE, encoding="utf-8")
        Path(folder, "test_start.py").write_text(
            SUITE.replace("(40)", "(1)").replace("(600)", "(1)"), "utf-8"
        )
        for _ in range(rounds):
            for way, arguments in WAYS.items():
                for name in ("test_suite.py", "test_start.py"):
                    seconds = _run(folder, name, *arguments)
                    best[way, name] = min(seconds, best.get((way, name), seconds))
    whole = {way: best[way, "test_suite.py"] for way in WAYS}
    start = {way: best[way, "test_start.py"] for way in WAYS}
    inside = {way: whole[way] - start[way] for way in WAYS}
    return {
        way: (start[way] - start[WITHOUT], whole[way] / whole[WITHOUT], inside[way] / inside[WITHOUT])
        for way in WAYS
        if way != WITHOUT
    }


def _run(folder: str, *arguments: str) -> float:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *arguments]
    before = os.times()
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(run.stdout + run.stderr)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def undisturbed() -> None:
    """Stay on one core, and before other processes; as far as the system lets us. Children inherit both."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.runtime", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    parser.add_argument("--write", action="store_true", help="put the tables into the README")
    options = parser.parse_args(arguments)
    undisturbed()
    single = measure_operations(options.rounds)
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
