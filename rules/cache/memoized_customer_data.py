"""BND402: a memoizing decorator on a function whose result depends on a boundary outside of its arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.catalog.model import Operation
from boundlint.index.facts import FunctionFacts
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a memoized function that reads an ambient boundary, or `self`'s where the key drops `self`."""
    flow, facts = view.flow, view.function.facts
    if flow.memoized is None or view.location(node).line not in (facts.line, facts.start):
        return
    if "constructor" in flow.memoized.binders or has_own_key(flow.memoized, facts):
        return
    drops_self = "self" in flow.memoized.drops
    lost = sorted(name for name in flow.ambient if drops_self or not name.startswith(("self.", "cls.")))
    if not lost:
        return
    sure = any(name.endswith("()") or "current" in name for name in lost) or drops_self
    yield Problem(
        f"{flow.memoized.target} remembers the result of {facts.name} for every caller, but it depends on {', '.join(lost[:3])}",
        f"pass {lost[0].removesuffix('()')} as an argument, so that it becomes a part of the key, or cache below the boundary",
        "high" if sure else "medium",
        "regular" if sure else "pedantic",
        flow.memoized.target,
    )


def has_own_key(memoized: Operation, facts: FunctionFacts) -> bool:
    """Whether the decorator is told how to build its key: a person has thought about it there."""
    names = [row.keyword for row in memoized.args if row.keyword and row.role in ("key", "key_builder")]
    method = memoized.method
    return any(
        re.search(rf"\b{name}\s*=", decorator)
        for decorator in facts.decorators
        if method in decorator
        for name in names
    )


RULE = Rule(
    code="BND402",
    name="memoized-customer-data",
    severity="error",
    summary="`lru_cache` and its kin over a function whose result depends on an ambient or captured boundary",
    visit={"FunctionDef": check_function},
)
