"""BND303: a filter that is accepted, built or passed and never takes effect."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

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
                "regular",
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
        "FunctionDef": check_function,
    },
    certain=True,
)
