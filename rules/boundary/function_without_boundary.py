"""BND101: a function that touches customer data while no boundary is anywhere near."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.evidence import is_keyed
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import DATA_KINDS, Access
from boundlint.index.entries import is_privileged
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a data function that holds no boundary, where no caller holds one either."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start) or view.reach:
        return
    touched = [
        row
        for row in view.flow.accesses
        if row.verdict in ("unscoped", "open")
        and not row.scope.maybe
        and row.operation.kind in DATA_KINDS - {"cache"}
        and view.usage(row) in ("customer", "resource")
        and "impossible" not in row.operation.binders
    ]
    if view.callers_with_reach():
        return
    if not touched:
        yield from check_listing(view)
        return
    access = touched[0]
    entry = view.analysis.entry(view.function)
    callers = view.callers()
    reached = [f"{row.path}:{row.facts.line} {row.facts.qualname}" for row in callers[:2]]
    yield Problem(
        f"{facts.qualname} touches customer data through {access.operation.target} and has no boundary: it takes, holds and reads none",
        "take the boundary as a parameter (or from the authenticated request) and put it into the access",
        "medium" if access.confidence == "high" else "low",
        persona_of(access, entry is not None, bool(callers)),
        access.operation.target,
        tuple(f"called without one from {row}" for row in reached),
        access.trace,
    )


def check_listing(view: View) -> Iterable[Problem]:
    """Report an entry point that hands out rows of a customers' model without choosing whose."""
    function = view.function
    entry = view.analysis.entry(function)
    listed = [
        row
        for row in view.flow.lookups
        if not (row.scoped or row.by_id or row.guards or row.predicate.maybe or row.via)
    ]
    if entry is None or not listed or not function.facts.returned or SUPPORT_PATH.search(function.path):
        return
    query = listed[0]
    if query.effect != "read":
        return
    yield Problem(
        f"{function.facts.qualname} returns rows of {query.model} and has no boundary: it takes, holds and reads none",
        "take the boundary as a parameter (or from the authenticated request) and put it into the query",
        "medium",
        "regular" if entry == "tool" and not is_privileged(function) else "pedantic",
        facts=(f"{query.model} is a customers' model: {query.statement[:80]}",),
    )


def persona_of(access: Access, is_entry: bool, called: bool) -> Persona:
    """Good evidence: an entry point, and an operation that is made for customer data."""
    if is_keyed(access) or access.confidence == "low" or access.via:
        return "auditor"
    if "constructor" in access.operation.binders and access.receiver.startswith("self."):
        return "pedantic"  # whoever gave the object its client may have bound it
    return (
        "regular"
        if is_entry and access.operation.effect == "read"
        else "pedantic"
        if is_entry or called
        else "auditor"
    )


RULE = Rule(
    code="BND101",
    name="function-without-boundary",
    severity="warning",
    summary="a function that touches customer data and neither takes, holds nor reads a boundary",
    visit={"FunctionDef": check_function},
)
