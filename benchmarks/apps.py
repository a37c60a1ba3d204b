"""Run boundlint over real applications, one by one: `python -m benchmarks.apps [FOLDER ...]`.

Without folders, over the packages of packages.txt, and the table goes into the README.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure, trees
from benchmarks.tables import markdown, replace_between

README = Path(__file__).parent / "README.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit with 1 when boundlint itself failed on a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.apps", description=__doc__)
    parser.add_argument("trees", nargs="*", type=Path, metavar="FOLDER", help="unpacked applications")
    parser.add_argument(
        "--packages", nargs="*", default=(), metavar="NAME", help="of packages.txt, default: all"
    )
    parser.add_argument("--persona", default="regular", choices=("regular", "pedantic", "auditor"))
    parser.add_argument("--jobs", type=int, default=2, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports there, for accuracy.py")
    parser.add_argument("--memory", action="store_true", help="measure peak memory, in a second run")
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args(arguments)

    given = [(tree.resolve().name, "", tree) for tree in options.trees]
    if not given:
        given = [(row.name, row.version, row.tree) for row in trees.fetch(options.packages)]
    results = [
        check(name, version, tree, options.persona, options.jobs, options.memory)
        for name, version, tree in given
    ]
    text = table(results)
    print(text)
    for row in results:
        for error in row["report"]["errors"]:
            print(f"{row['name']}: {error['path']}:{error['line']}: {error['message']}", file=sys.stderr)
    if options.json:
        reports = {row["name"]: {"version": row["version"], **row["report"]} for row in results}
        options.json.write_text(json.dumps(reports, indent=1) + "\n", encoding="utf-8")
    if options.write:
        README.write_text(replace_between(README.read_text(encoding="utf-8"), "apps", text), encoding="utf-8")
    failed = any(
        "boundlint failed" in error["message"] for row in results for error in row["report"]["errors"]
    )
    return 1 if failed else 0


def check(name: str, version: str, tree: Path, persona: str, jobs: int, memory: bool) -> dict[str, Any]:
    """One application: what it took and the report, whose paths are relative to its folder."""
    command = [sys.executable, "-m", "boundlint", "check", "--quiet", "--no-cache", "--root", "."]
    command += ["--jobs", str(jobs), "--persona", persona, "--output-format", "json", "."]
    files, lines = trees.count_lines(tree)
    run = measure.run(command, accept=(0, 1, 2), folder=tree)
    if not run.output.strip():
        raise RuntimeError(f"{name}: boundlint gave no report (exit status {run.exit_code})")
    peak = measure.peak_memory(command, accept=(0, 1, 2), folder=tree) if memory else run.largest_mb
    report = json.loads(run.output)
    return {
        "name": name,
        "version": version,
        "files": files,
        "lines": lines,
        "seconds": run.seconds,
        "memory_mb": peak,
        "report": report,
    }


def table(results: Sequence[dict[str, Any]]) -> str:
    """One row an application, and their sum."""
    head = ("application", "files", "lines", "seconds", "MB", "errors", "findings", "by 1,000 lines", "rules")
    rows = [_row(row["name"], row["version"], [row]) for row in results]
    if len(results) > 1:
        rows.append(_row("all", "", results))
    return markdown(head, rows)


def _row(name: str, version: str, results: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    lines = sum(row["lines"] for row in results)
    findings = [finding for row in results for finding in row["report"]["findings"]]
    rules = Counter(finding["rule"] for finding in findings)
    return (
        f"{name} {version}".strip(),
        f"{sum(row['files'] for row in results):,}",
        f"{lines:,}",
        f"{sum(row['seconds'] for row in results):.1f}",
        f"{max((row['memory_mb'] for row in results), default=0):.0f}",
        str(sum(len(row["report"]["errors"]) for row in results)),
        str(len(findings)),
        f"{1000 * len(findings) / max(1, lines):.3f}",
        ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items())),
    )


if __name__ == "__main__":
    sys.exit(main())
