"""BND301: a search with no boundary in its filter, namespace, collection or partition."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.catalog.model import SCOPE_ROLES, Operation
from boundlint.findings import Persona
from boundlint.flow.evidence import Evidence, confidence_of, evidence
from boundlint.flow.outside import choice
from boundlint.flow.usage import SUPPORT_PATH, is_built_in_sight
from boundlint.flow.values import Access
from boundlint.index.facts import FunctionFacts
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

CHANGES = {"write": "writes outside of", "delete": "deletes beyond"}


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a search whose scope arguments are known and hold no boundary, and a graph query over all nodes."""
    yield from check_graph_query(node, view)
    late = {(row.access.line, row.access.column) for row in view.flow.post_filters}
    for access in view.accesses(node):
        if access.operation.kind == "retrieval" and access.operation.effect in CHANGES:
            yield from check_change(access, view)
        if access.operation.kind != "retrieval" or access.operation.effect != "read":
            continue
        if (access.line, access.column) in late or is_begun(access.operation):
            continue
        if "impossible" in access.operation.binders:
            continue
        if access.verdict == "open":
            yield from check_choice(access, view)
        if access.verdict not in ("unscoped", "unknown"):
            continue
        found = evidence(view, access)
        if not found.reach and not found.strong:
            continue
        roles = [row.role for row in access.operation.args if row.role in SCOPE_ROLES]
        where = " or ".join(dict.fromkeys(roles)) or "arguments"
        part = found.reach[0] if found.reach else "the tenant"
        yield Problem(
            f"{access.operation.target} searches all tenants' data: no boundary in its {where}",
            f"pass {part.removesuffix('()')} in the filter of the search itself, before the ranking",
            confidence_of(access, found.strong),
            persona_of(view, access, found),
            access.operation.target,
            found.facts,
            found.trace,
        )


def check_change(access: Access, view: View) -> Iterable[Problem]:
    """Report a write or deletion outside of the namespace or filter that its siblings keep to."""
    takes = any(
        row.role in ("namespace", "partition", "tenant", "filter", "where") for row in access.operation.args
    )
    if access.verdict != "unscoped" or not takes or "impossible" in access.operation.binders or access.via:
        return
    found = evidence(view, access)
    if not found.peers or found.value or SUPPORT_PATH.search(view.path):
        return
    yield Problem(
        f"{access.operation.target} {CHANGES[access.operation.effect]} the boundary that its siblings pass",
        "pass the same namespace, partition or filter as the siblings do",
        confidence_of(access, True),
        "pedantic" if access.confidence == "low" else "regular",
        access.operation.target,
        found.facts,
        found.trace,
    )


def check_graph_query(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a graph query whose text and parameters hold no boundary while one is at hand."""
    for oddity in view.oddities(node):
        if oddity.kind != "open-graph-query" or not view.reach:
            continue
        part = view.reach[0].removesuffix("()")
        yield Problem(
            f"this graph query matches the nodes of all tenants: {oddity.source}…",
            f"compare {part} in the pattern, as a parameter of the query",
            "medium",
            graph_persona(view),
            facts=(f"in reach: {', '.join(view.reach[:4])}",),
        )


def graph_persona(view: View) -> Persona:
    """Good evidence: a user at hand, in a function that does not choose the tenant's own database."""
    if SUPPORT_PATH.search(view.path):
        return "auditor"
    levels = {view.analysis.vocabulary.level(row.removesuffix("()").rpartition(".")[2]) for row in view.reach}
    own_state = all(name.startswith("self.") for name in view.reach)
    if "database" in view.function.facts.names.split() or (own_state and "user" not in levels):
        return "pedantic"
    return "regular"


def check_choice(access: Access, view: View) -> Iterable[Problem]:
    """Report an entry point whose caller chooses where it searches."""
    chosen = choice(view, access)
    if chosen is None or access.operation.method.startswith("count"):
        return
    yield Problem(
        f"{access.operation.target} searches where its caller says: {chosen.says}",
        chosen.help,
        confidence_of(access, chosen.persona == "regular"),
        chosen.persona,
        access.operation.target,
        chosen.facts,
        access.trace,
    )


def is_begun(operation: Operation) -> bool:
    """Whether the call only begins a query, which a later call of the chain scopes and another one runs."""
    return "chained" in operation.binders and bool(operation.delegates)


def persona_of(view: View, access: Access, found: Evidence) -> Persona:
    """Good evidence: the scope is known to be empty while a boundary is at hand, or the siblings filter."""
    if access.verdict == "unknown" or view.usage(access) in ("support", "configuration"):
        return "auditor"
    if access.operation.method.startswith("count"):
        return "auditor"  # a number reveals no document
    own_state = all(name.startswith("self.") for name in found.reach)
    if not found.peers and (access.confidence == "low" or own_state or not is_built_in_sight(access)):
        return "pedantic"  # a collection that the constructor chose for the boundary looks the same
    return "regular"


def wants(facts: FunctionFacts) -> bool:
    """Whether a function holds a graph query."""
    return "graph-query" in facts.texts


RULE = Rule(
    code="BND301",
    name="unfiltered-retrieval",
    severity="error",
    summary="a vector or document search with no boundary in filter, namespace, collection or partition",
    visit={"Call": check_call},
    wants=wants,
)
