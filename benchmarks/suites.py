"""The test suites of published projects, run with `--enforce-boundary=report` and without: same outcomes, what time.

`python -m benchmarks.suites` fetches each pinned source distribution, installs it and what its tests need into an
environment of its own, and runs its suite both ways in turn; `--write` puts the table into the README. Nothing of
these projects is kept. A suite passes where each test has the same outcome both ways, whatever that is. Times are
processor seconds of the whole run, the best of all rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.runtime import undisturbed
from benchmarks.tables import markdown, replace_between

HERE = Path(__file__).parent
README = HERE / "README.md"
REPORT = "--enforce-boundary=report"


@dataclass(frozen=True)
class Suite:
    """One project: what its tests need beside it, and what pytest is given. `clients` is for people."""

    name: str
    version: str
    clients: str
    needs: tuple[str, ...]
    arguments: tuple[str, ...] = ("tests",)


SUITES = (
    Suite("sqlite-utils", "4.2.1", "sqlite3", ("hypothesis",)),
    Suite(
        "SQLAlchemy-Utils",
        "0.43.0",
        "SQLAlchemy on sqlite",
        (
            "sqlalchemy",
            "flexmock",
            "psycopg2-binary",
            "pymysql",
            "python-dateutil",
            "pytz",
            "babel",
            "colour",
        ),
    ),
)


@dataclass(frozen=True)
class Outcome:
    """One run: how each test ended, seconds of processor time, the operations seen."""

    tests: Counter[tuple[str, str]]  # name and how it ended
    seconds: float
    operations: int


def prepare(suite: Suite) -> tuple[Path, Path]:
    """The unpacked sources, and the interpreter of an environment that has all they need. Raises CalledProcessError."""
    # not below this repository, whose pytest settings a project without any would get
    folder = Path(tempfile.gettempdir()) / "boundlint-suites" / f"{suite.name}-{suite.version}"
    python = folder / "env" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    done = folder / "done"
    if not done.exists():
        print(f"fetching {suite.name} {suite.version}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder / "env", with_pip=True)
        source = ["download", "--no-deps", "--no-binary", suite.name, "--dest", str(folder)]
        subprocess.run([*pip, *source, f"{suite.name}=={suite.version}"], check=True)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as opened:
            opened.extractall(folder / "sources", filter="data")
        (tree,) = (folder / "sources").iterdir()
        subprocess.run(
            [*pip, "install", str(tree), f"{HERE.parent}[pytest]", "pytest", *suite.needs], check=True
        )
        done.touch()
    # as it is now; its version does not change
    own = ["install", "--no-deps", "--force-reinstall", "--no-build-isolation", str(HERE.parent)]
    subprocess.run([*pip, "install", "setuptools>=77"], check=True)
    subprocess.run([*pip, *own], check=True)
    (tree,) = (folder / "sources").iterdir()
    return tree, python


def run(suite: Suite, tree: Path, python: Path, flag: str) -> Outcome:
    """One run of the suite. Raises RuntimeError where pytest did not come to its end."""
    results, report = tree / ".boundlint.xml", tree / ".boundlint.json"
    options = ["-p", "no:cacheprovider", "-q", f"--junitxml={results}", *suite.arguments]
    if flag:
        options = [flag, f"--boundary-report={report}", *options]
    before = os.times()
    done = subprocess.run(
        [str(python), "-m", "pytest", *options], cwd=tree, capture_output=True, text=True, check=False
    )
    after = os.times()
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stdout[-3000:] + done.stderr[-3000:])
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    seen = sum(row["count"] for row in json.loads(report.read_text("utf-8"))["operations"]) if flag else 0
    return Outcome(outcomes(results), spent, seen)


def outcomes(results: Path) -> Counter[tuple[str, str]]:
    """How each test ended, from a JUnit file."""
    found: Counter[tuple[str, str]] = Counter()
    for case in ET.parse(results).iter("testcase"):
        ended = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}.{case.get('name')}", "+".join(ended) or "passed"] += 1
    return found


def compare(suite: Suite, rounds: int) -> tuple[tuple[str, ...], list[str]]:
    """The row of the table, and the tests that did not end alike."""
    tree, python = prepare(suite)
    plain, watched = [], []
    for _ in range(rounds):
        plain.append(run(suite, tree, python, ""))
        watched.append(run(suite, tree, python, REPORT))
    # what ends now so and now so without the plugin says nothing
    steady = set(plain[0].tests.items()).intersection(*(outcome.tests.items() for outcome in plain))
    shaky = {name for outcome in plain for (name, _), _ in outcome.tests.items() - steady}
    different = sorted(
        {
            f"{name}: {ended}"
            for outcome in watched
            for (name, ended), _ in outcome.tests.items() ^ plain[0].tests.items()
            if name not in shaky
        }
    )
    without, with_flag = (min(outcome.seconds for outcome in side) for side in (plain, watched))
    row = (
        f"{suite.name} {suite.version} ({suite.clients})",
        f"{sum(plain[0].tests.values()):,}",
        str(len(different)),
        str(len(shaky)),
        f"{max(outcome.operations for outcome in watched):,}",
        f"{without:.1f}",
        f"{with_flag:.1f}",
        f"{with_flag / without:.2f}",
    )
    return row, different


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit 1 where a test ended otherwise with the flag."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these projects")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args(arguments)
    undisturbed()
    rows, failed = [], False
    for suite in SUITES:
        if options.names and suite.name not in options.names:
            continue
        row, different = compare(suite, options.rounds)
        print(" | ".join(row))
        print("".join(f"  {line}\n" for line in different), end="")
        rows.append(row)
        failed = failed or bool(different)
    head = (
        "project",
        "tests",
        "end otherwise",
        "unsteady",
        "operations",
        "seconds",
        "with the flag",
        "ratio",
    )
    if options.write:
        text = README.read_text(encoding="utf-8")
        README.write_text(replace_between(text, "suites", markdown(head, rows)), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
