"""BND506: update or delete over many rows of a tenant-owned model with no boundary predicate."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow import names
from boundlint.flow.records import boundary_at_hand, is_support
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

# What a row says of itself; any other column may be the reference to a parent that was loaded before.
OWN_COLUMN = re.compile(
    r"status|state|type|kind|name|title|slug|mail|label|code|url|path|active|deleted|enabled|expired|archived|"
    r"(?:^|_)(?:is|has)_|(?:_|^)(?:at|on|date|time)(?:__\w+)?$|created|updated|synchronize_session|"
    r"(?:^|_)(?:position|order|rank|index|level|priority|count|size|score)(?:__\w+)?$"
)

ADDRESSED = re.compile(r"_by_|_ids?$|_for_|_of_")


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a change of all rows that match, whosever they are."""
    for lookup in view.lookups(node):
        if lookup.effect == "read" or lookup.by_id or not lookup.bare or lookup.via:
            continue
        if ADDRESSED.search(lookup.call):
            continue  # a method of the project that is told which rows
        if lookup.columns and all("time" in names.marks(name.partition("__")[0]) for name in lookup.columns):
            continue  # rows by their age are a matter of cleaning up
        held = boundary_at_hand(view)
        verb = "deletes" if lookup.effect == "delete" else "changes"
        which = (
            f"all {lookup.model} rows by {', '.join(sorted(lookup.columns)[:2])}"
            if lookup.columns
            else f"all {lookup.model} rows"
        )
        yield Problem(
            f"{lookup.call} {verb} {which}, of every tenant",
            f"compare {held[0]} in the query" if held else "compare the boundary in the query",
            "high" if held else "low",
            "regular" if held and not is_support(view) and is_about_no_other(lookup.columns) else "auditor",
            "",
            (f"at hand: {', '.join(held[:3])}",) if held else (),
        )


def is_about_no_other(columns: Iterable[str]) -> bool:
    """Whether the compared columns describe the rows themselves: one that leads to another record may bind them."""
    return all(OWN_COLUMN.search(name) for name in columns)


RULE = Rule(
    code="BND506",
    name="unscoped-bulk-write",
    severity="error",
    summary="update or delete over many rows of a tenant-owned model with no boundary predicate",
    visit={"Call": check_call},
)
