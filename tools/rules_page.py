"""Writes the table of docs/rules.md from the rules (`make docs`); a test fails while it is not current."""

from __future__ import annotations

import sys
from pathlib import Path

from boundlint.registry import load_registry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rules.md"
HEAD = "| code | name | severity | it reports |\n| --- | --- | --- | --- |\n"


def page(current: str) -> str:
    """The page with the table of today's rules."""
    rows = [
        f"| [{entry.rule.code}](../rules/{entry.spec.parent.name}/{entry.spec.name}) | {entry.rule.name} "
        f"| {entry.rule.severity} | {entry.rule.summary} |\n"
        for entry in load_registry().entries
    ]
    return current.partition(HEAD)[0] + HEAD + "".join(rows)


def main() -> int:
    """Write the page; with `--check` only say whether it is current."""
    current = PAGE.read_text(encoding="utf-8")
    new = page(current)
    if "--check" in sys.argv:
        if current != new:
            print("docs/rules.md is not current: run `make docs`")
        return int(current != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
