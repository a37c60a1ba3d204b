"""BND501: a customer's record loaded, changed or deleted by an id from outside, with no boundary and no guard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.records import RecordEvidence, record_evidence
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query by id that nothing binds to the boundary."""
    for lookup in view.lookups(node):
        if not lookup.open or any(
            row.ids == lookup.ids and row.line < lookup.line for row in view.flow.lookups if row.open
        ):
            continue  # one guard on the id mends all queries by it
        found = record_evidence(view, lookup)
        if not found.from_outside:
            continue
        verb = {"read": "loads", "update": "changes", "delete": "deletes"}[lookup.effect]
        part = found.reach[0].removesuffix("()") if found.reach else "the tenant"
        yield Problem(
            f"{lookup.call} {verb} a {lookup.model} by {lookup.ids[0]} alone: nothing ties it to the caller's boundary",
            f"add {part} to the query, or compare the loaded {lookup.model} with it and refuse on a mismatch",
            "high" if found.entry and found.peers else "medium" if found.entry or found.peers else "low",
            persona_of(found),
            "",
            found.facts,
            (*lookup.trace, *found.trace),
        )


def persona_of(found: RecordEvidence) -> Persona:
    """Good evidence: an entry point that knows its principal, or peers that scope the same model."""
    if found.support or found.privileged:
        return "auditor"
    if found.entry:
        return "regular" if found.reach or found.peers else "pedantic" if found.principal else "auditor"
    if not found.direct:
        return "auditor"
    return (
        "regular" if found.peers and found.reach else "pedantic" if found.peers or found.reach else "auditor"
    )


RULE = Rule(
    code="BND501",
    name="unscoped-record-lookup",
    severity="error",
    summary="a record of a tenant-owned model loaded, changed or deleted by an id from outside with no boundary predicate and no guard",
    visit={"Call": check_call},
)
