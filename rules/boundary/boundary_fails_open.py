"""BND105: the scope is optional, and its absence drops the filter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.optional import dropped_by_client, required_beside, scoped_by
from boundlint.flow.records import is_support
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a call that leaves out the optional boundary of a query while one of that name is at hand."""
    for lookup in view.lookups(node):
        if not lookup.dropped or not lookup.bare:
            continue
        facts = view.function.facts
        held = lookup.dropped in facts.assigned or any(row.name == lookup.dropped for row in facts.params)
        yield Problem(
            f"{lookup.call} is called without `{lookup.dropped}`, so its query of {lookup.model} runs for every tenant",
            f"pass {lookup.dropped}={lookup.dropped}, and make the parameter required in {lookup.via[0]}",
            "high" if held else "low",
            "regular" if held and not is_support(view) else "auditor",
            "",
            (f"at hand: {lookup.dropped}",) if held else (),
            lookup.trace,
        )


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report an optional boundary parameter: the methods beside require it, or a client leaves it out unchecked."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start):
        return
    for param in scoped_by(view):
        peers = required_beside(view, param.name)
        if not peers:
            continue
        yield Problem(
            f"`{param.name}` of {facts.qualname} may be left out, and then nothing scopes its query",
            f"make `{param.name}` required, as the methods beside it do",
            "medium",
            "auditor" if is_support(view) else "regular",
            "",
            (
                f"peers: {len(peers)} methods of {facts.owner} require `{param.name}` ({view.path}:{peers[0].facts.line})",
            ),
        )
    for param in dropped_by_client(view):
        yield Problem(
            f"a request without `{param.name}` gets every tenant's rows: it is checked only when it is given",
            f"take the caller's own {param.name} where the request names none",
            "high",
            "auditor" if is_support(view) else "regular",
        )


RULE = Rule(
    code="BND105",
    name="boundary-fails-open",
    severity="error",
    summary="the scope is optional and its absence drops the filter",
    visit={"Call": check_call, "FunctionDef": check_function},
)
