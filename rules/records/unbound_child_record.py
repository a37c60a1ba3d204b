"""BND502: the parent is authorized, the child is loaded by its own id alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.claims import INBOUND
from boundlint.flow.records import (
    VERBS,
    confidence_of,
    is_told_below,
    open_lookups,
    parent_of,
    record_evidence,
)
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query by a child's id in a function that checks the parent's id and nothing else."""
    for lookup in open_lookups(node, view):
        parent = parent_of(view, lookup)
        if not parent or lookup.dropped:
            continue
        found = record_evidence(view, lookup)
        chosen = INBOUND in lookup.id_value.marks and view.analysis.entry(view.function) == "route"
        if not chosen and is_told_below(view, lookup):
            continue
        sure = (
            found.persona == "regular" and (chosen or not lookup.via) and not is_compared_later(view, parent)
        )
        yield Problem(
            f"{lookup.call} {VERBS[lookup.effect]} {lookup.record} by {lookup.ids[0]} alone: {parent} is checked, but nothing ties the {lookup.model} to it",
            f"add {parent} to the query, or compare the loaded {lookup.model} with it and refuse on a mismatch",
            confidence_of(found),
            "regular" if sure else "auditor",
            "",
            found.facts,
            (*lookup.trace, *found.trace),
        )


def is_compared_later(view: View, parent: str) -> bool:
    """Whether the function compares an attribute of something with the parent's id: `message.channel_id != id`."""
    facts = view.function.facts
    text = "\n".join(view.lines[facts.start - 1 : facts.end])
    name = re.escape(parent)
    attribute = r"\w\.\w+\)?\s*(?:[!=]=|(?:not )?in)\s*(?:str\()?"
    return bool(
        re.search(rf"{attribute}{name}\b(?!\s*[.(])", text)
        or re.search(rf"(?<![\w.]){name}\)?\s*[!=]=\s*(?:str\()?\w+\.\w", text)
    )


RULE = Rule(
    code="BND502",
    name="unbound-child-record",
    severity="error",
    summary="the parent is authorized, the child is loaded by its own id alone",
    visit={"Call": check_call},
)
