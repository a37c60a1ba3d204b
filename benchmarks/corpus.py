"""The bug list in the benchmarks' README: how many of the real, fixed bugs are caught, and why the others are not.

`python -m benchmarks.corpus SCORE.json` reads what `score.py --json SCORE.json` wrote, and the reasons from
accuracy/misses.json; a miss without a reason is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.tables import markdown, replace_between

FOLDER = Path(__file__).parent
MISSES = FOLDER / "accuracy" / "misses.json"
README = FOLDER / "README.md"


def table(rows: list[dict[str, Any]], reasons: dict[str, str]) -> str:
    """Caught bugs by class and by rule, and each miss with its reason; raises KeyError for one without."""
    total, caught, rules = Counter[str](), Counter[str](), Counter[str]()
    missed = []
    for row in rows:
        total[row["class"]] += 1
        if row["caught"]:
            caught[row["class"]] += 1
            speaking = [rule for rule in row["rules_before"] if not row["rules_after"].get(rule)]
            rules[sorted(speaking)[0]] += 1
        else:
            missed.append(row)
    by_class = [(name, str(caught[name]), str(count)) for name, count in total.most_common()]
    by_class.append(("**all**", f"**{sum(caught.values())}**", f"**{len(rows)}**"))
    by_rule = ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items()))
    whys = [f"- {row['id']}: {reasons[row['id']]}." for row in missed]
    return "\n\n".join(
        (markdown(("class", "caught", "of"), by_class), f"By rule: {by_rule}.", "Missed:", "\n".join(whys))
    )


def main() -> int:
    """Write the section; the exit status is 1 where a miss has no reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("score", type=Path, help="the JSON that score.py wrote")
    rows = json.loads(parser.parse_args().score.read_text(encoding="utf-8"))
    reasons = json.loads(MISSES.read_text(encoding="utf-8"))
    try:
        text = table(rows, reasons)
    except KeyError as error:
        print(f"{MISSES.name} gives no reason for {error}", file=sys.stderr)
        return 1
    README.write_text(replace_between(README.read_text("utf-8"), "corpus", text), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
