"""BND303: a filter that is accepted, built or passed and never takes effect."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.facts import FunctionFacts
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

DROPS = re.compile(r"\.(?:delete|drop)_(?:index|collection|table|database|class)$|\.drop$")
LEAST_PEERS = 3  # calls of the class that pass the namespace
FILTER_PARAMETER = re.compile(
    r"^(?:\w+_)?(?:filters?|where|conditions|namespace|partition|filter_(?:dict|expr|expression|params))$"
)


def check_expression(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report `and` between column tests: Python keeps one of them."""
    for oddity in view.oddities(node):
        if oddity.kind == "boolean-operator":
            yield Problem(
                f"Python evaluates this instead of the database, so a condition is lost: {oddity.source}",
                "pass the conditions as separate arguments or join them with &; write `.is_(None)`, `~column`, `.in_(…)` for is, not and in",
                "high",
                "auditor" if SUPPORT_PATH.search(view.path) else "regular",
            )


def check_statement(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a scoped filter that is replaced before anything reads it."""
    for oddity in view.oddities(node):
        if oddity.kind == "overwritten":
            yield Problem(
                f"the filter {oddity.source} is overwritten here before anything uses it",
                "extend the filter instead of replacing it",
                "medium",
                "regular",
            )


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a call without the filter that its sibling gets, a copy of a filter that comes too early, a whole drop."""
    for oddity in view.oddities(node):
        if oddity.kind == "sibling-without-filter":
            yield Problem(
                f"the filter of this function is not passed here: {oddity.source}",
                "pass the same filter to both calls",
                "medium",
                "pedantic" if SUPPORT_PATH.search(view.path) else "regular",
                facts=(f"in reach: {', '.join(view.reach[:4])}",) if view.reach else (),
            )
        elif oddity.kind == "late-filter":
            yield Problem(
                f"the filter takes no effect here: {oddity.source}",
                "finish the filter before anything copies it",
                "high",
                "regular",
            )
    yield from check_drop(node, view)


def check_drop(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report the removal of a whole index or collection in a class that keeps to one namespace elsewhere."""
    call = dropped(node, view)
    if not call:
        return
    peers = [
        (row.source, access)
        for flow in view.siblings
        for access in flow.accesses
        for row in access.passed
        if row.argument.role in ("namespace", "partition", "tenant")
        and row.source.startswith("self.")
        and not access.via
    ]
    names = Counter(source for source, _ in peers)
    for source, count in names.most_common(1):
        if count < LEAST_PEERS or source.rpartition(".")[2] in view.function.facts.names.split():
            continue
        places = [access for found, access in peers if found == source][:2]
        shown = ", ".join(f"{row.function.path}:{row.line}" for row in places)
        yield Problem(
            f"{call} removes everything, the other namespaces included, where this class keeps to {source}",
            f"delete what is in {source} only, and drop the whole where there is no namespace",
            "medium",
            "regular",
            facts=(f"peers: {count} calls of the class pass {source} ({shown})",),
            trace=tuple(TraceStep(row.function.path, row.line, "a peer that passes it") for row in places),
        )


def dropped(node: cst.CSTNode, view: View) -> str:
    """The path of a call that removes a whole index or collection; "" for any other one."""
    if not any(DROPS.search(path) for path in view.function.facts.calls):
        return ""
    line = view.location(node).line
    facts = view.function.facts
    paths = [path for path, place in zip(facts.calls, facts.call_lines, strict=True) if place == line]
    source = view.lines[line - 1][view.location(node).column - 1 :]
    return next((path for path in paths if DROPS.search(path) and source.startswith(f"{path}(")), "")


def wants(facts: FunctionFacts) -> bool:
    """Whether a function drops a whole index or collection."""
    return bool(facts.owner) and any(DROPS.search(path) for path in facts.calls)


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a filter parameter that a function with a search of its own never mentions."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start):
        return
    searches = [
        row
        for row in view.flow.accesses
        if row.operation.kind in ("retrieval", "memory") and row.operation.effect == "read" and not row.via
    ]
    passes_all = "locals" in facts.names.split()
    dropped = [name for name in view.flow.unused if FILTER_PARAMETER.match(name)]
    if not searches or passes_all or not dropped:
        return
    for name in dropped:
        access = searches[0]
        yield Problem(
            f"`{name}` is accepted and never used: {access.operation.target} runs without it",
            f"pass `{name}` on to the search, or refuse the argument",
            "high" if access.confidence != "low" else "medium",
            "regular",
            access.operation.target,
        )


RULE = Rule(
    code="BND303",
    name="discarded-filter",
    severity="error",
    summary="a filter that is accepted, built or passed and never takes effect",
    visit={
        "BooleanOperation": check_expression,
        "UnaryOperation": check_expression,
        "Comparison": check_expression,
        "Assign": check_statement,
        "Call": check_call,
        "FunctionDef": check_function,
    },
    wants=wants,
    certain=True,
)
