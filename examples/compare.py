"""Compares the findings on the example agent with the table in its README; exit 1 where they differ."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent / "support_agent"
ROW = re.compile(
    r"^\| .* \| `(?P<file>\w+\.py)` `(?P<function>[\w.]+)` \| "
    r"(?P<rule>BND\d{3})(?P<pedantic> \(pedantic\))? \|$"
)

Leak = tuple[str, str, str]  # file, function, rule


def leaks(example: Path) -> tuple[set[Leak], set[Leak]]:
    """The rows of the table: those that boundlint reports, and those that it reports to pedants alone."""
    today: set[Leak] = set()
    pedantic: set[Leak] = set()
    for line in (example / "README.md").read_text(encoding="utf-8").splitlines():
        if row := ROW.match(line):
            (pedantic if row["pedantic"] else today).add((row["file"], row["function"], row["rule"]))
    return today, pedantic


def findings(example: Path, persona: str = "regular") -> set[Leak]:
    """What boundlint reports to a persona. RuntimeError where it could not do its work."""
    command = [
        sys.executable,
        "-m",
        "boundlint",
        "check",
        "--no-cache",
        "--output-format",
        "json",
        "--persona",
        persona,
        str(example),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1):
        raise RuntimeError(run.stderr)
    rows = json.loads(run.stdout)["findings"]
    return {(Path(row["path"]).name, row["function"], row["rule"]) for row in rows}


def main(arguments: list[str]) -> int:
    """Print the differences."""
    example = Path(arguments[0]) if arguments else EXAMPLE
    today, pedantic = leaks(example)
    found = findings(example)
    missing = (today - found) | (pedantic - findings(example, "pedantic"))
    for leak in sorted(missing):
        print("missing:   ", *leak)
    for leak in sorted(found - today):
        print("unexpected:", *leak)
    if not today or missing or found - today:
        return 1
    print(f"All {len(today)} leaks of the table in {example.name}/README.md were found, and nothing else.")
    if pedantic:
        print(f"Those marked as pedantic ({len(pedantic)}) are reported with --persona pedantic.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
