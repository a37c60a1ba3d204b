"""Precision from stored verdicts: `python -m benchmarks.accuracy`.

`accuracy/*.jsonl` holds one finding a line that a person has read in the code of a pinned package, with the
verdict and why.  Only verdicts are stored here, nothing is computed while reading code.  `recall_*.jsonl` beside
them are lists of fixed bugs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown

STORE = Path(__file__).parent / "accuracy"
RECALL = "recall_"  # lists of fixed bugs, and which of them are caught, begin so
VERDICTS = ("right", "wrong")


@dataclass(frozen=True)
class Verdict:
    """One finding that was read.  `path` is relative to the package's folder; `why` is one sentence."""

    package: str
    version: str
    path: str
    line: int
    rule: str
    function: str
    verdict: str
    why: str
    fingerprint: str

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the finding."""
        return (self.package, self.fingerprint)


class BadVerdict(Exception):
    """A stored verdict that cannot be used; the message says where."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print precision; exit with 1 below `--require`, 2 on bad data."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--store", type=Path, default=STORE, metavar="FOLDER")
    parser.add_argument(
        "--check-against",
        type=Path,
        metavar="RUN.json",
        help="which stored findings are still reported: the file of `benchmarks.apps --json`, "
        "or a report of `boundlint check --output-format json` together with --package",
    )
    parser.add_argument("--package", metavar="NAME", help="only this package")
    parser.add_argument(
        "--unjudged", action="store_true", help="print what RUN.json reports with no verdict yet"
    )
    parser.add_argument("--require", type=float, metavar="SHARE", help="exit with 1 when precision is lower")
    options = parser.parse_args(arguments)
    try:
        verdicts = [row for row in load(options.store) if options.package in (None, row.package)]
        run = None if options.check_against is None else reported(options.check_against, options.package)
    except (BadVerdict, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.unjudged:
        for line in unjudged(verdicts, run or {}):
            print(line)
        return 0
    current = verdicts
    if run is not None:
        current, gone = divide(verdicts, run)
        print(f"{len(current)} of {len(verdicts)} stored findings are still reported\n")
        for row in gone:
            print(f"gone ({row.verdict}): {row.package} {row.path}:{row.line} {row.rule} {row.function}")
        if gone:
            print()
    print(table(current))
    share = precision(current)
    if options.require is not None and (share is None or share < options.require):
        print(f"precision is below {options.require:.0%}", file=sys.stderr)
        return 1
    return 0


def load(store: Path) -> list[Verdict]:
    """All stored verdicts.  Raises BadVerdict with file and line for anything out of shape or said twice."""
    found: dict[tuple[str, str], Verdict] = {}
    for file in sorted(store.glob("*.jsonl")):
        if file.name.startswith(RECALL):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
            if not line.strip():
                continue
            try:
                verdict = parse(json.loads(line))
            except (ValueError, TypeError) as error:
                raise BadVerdict(f"{file}:{number}: {error}") from None
            if verdict.key in found:
                raise BadVerdict(
                    f"{file}:{number}: {verdict.fingerprint} of {verdict.package} is there twice"
                )
            found[verdict.key] = verdict
    return list(found.values())


def parse(row: Any) -> Verdict:
    """One verdict.  Raises ValueError or TypeError."""
    expected = {field.name for field in fields(Verdict)}
    if not isinstance(row, dict) or row.keys() != expected:
        raise ValueError(f"a verdict has exactly the keys {', '.join(sorted(expected))}")
    if row["verdict"] not in VERDICTS:
        raise ValueError(f"the verdict {row['verdict']!r} is none of {', '.join(VERDICTS)}")
    if not isinstance(row["line"], int) or row["line"] < 1:
        raise ValueError("the line is no number from 1")
    for name in expected - {"line", "function", "version"}:
        if not isinstance(row[name], str) or not row[name].strip():
            raise ValueError(f"{name} is empty")
    return Verdict(**row)


def reported(file: Path, package: str | None) -> dict[str, dict[str, dict[str, Any]]]:
    """The findings of a run, by package and fingerprint.  Raises BadVerdict."""
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadVerdict(f"{file}: {error}") from None
    if isinstance(data, dict) and isinstance(data.get("findings"), list):
        if package is None:
            raise BadVerdict(f"{file}: a report of one project: say which with --package")
        data = {package: data}
    try:
        return {
            name: {finding["fingerprint"]: finding for finding in report["findings"]}
            for name, report in data.items()
            if package in (None, name)
        }
    except (AttributeError, KeyError, TypeError):
        raise BadVerdict(f"{file}: is no report of boundlint and no file of benchmarks.apps") from None


def divide(
    verdicts: Iterable[Verdict], run: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Verdict], list[Verdict]]:
    """The verdicts on findings that the run still has, and on those it no longer has.

    Packages that are not part of the run are left out: nothing is known about them.
    """
    current: list[Verdict] = []
    gone: list[Verdict] = []
    for row in verdicts:
        if row.package in run:
            (current if row.fingerprint in run[row.package] else gone).append(row)
    return current, gone


def unjudged(verdicts: Iterable[Verdict], run: Mapping[str, Mapping[str, dict[str, Any]]]) -> list[str]:
    """Rows to fill in, for the findings of a run that nobody has read."""
    known = {row.key for row in verdicts}
    return [
        json.dumps(
            asdict(
                Verdict(
                    package,
                    "",
                    finding["path"],
                    finding["line"],
                    finding["rule"],
                    finding["function"],
                    "",
                    "",
                    fingerprint,
                )
            )
        )
        for package, findings in run.items()
        for fingerprint, finding in findings.items()
        if (package, fingerprint) not in known
    ]


def precision(verdicts: Iterable[Verdict]) -> float | None:
    """The share of right findings; None without any."""
    values = [row.verdict == "right" for row in verdicts]
    return sum(values) / len(values) if values else None


def table(verdicts: Sequence[Verdict]) -> str:
    """Precision by rule and overall."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for row in verdicts:
        groups[row.rule].append(row)
    ordered = [*sorted(groups.items()), ("all", list(verdicts))]
    rows = []
    for name, group in ordered:
        right = sum(row.verdict == "right" for row in group)
        share = precision(group)
        rows.append((name, str(len(group)), str(right), "-" if share is None else f"{share:.0%}"))
    return markdown(("rule", "read", "right", "precision"), rows)


if __name__ == "__main__":
    sys.exit(main())
