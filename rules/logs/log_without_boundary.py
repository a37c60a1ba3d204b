"""BND702: an audit event that does not say whose it is, and cannot be joined with a trace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report an audit event without a tenant or trace id, where the project does not add one by itself."""
    for row in view.anonymous_events(node):
        if view.analysis.logs_carry_boundary():
            continue
        reach = view.analysis.reach_of(row.function)
        yield Problem(
            f"{row.receiver} writes an event with no tenant, user or trace id: nobody can tell later whose it was",
            "add the ids to the event, or bind them to the logger once for each request",
            "medium",
            persona_of(view, reach),
            row.operation.target,
            (f"in reach: {', '.join(reach[:4])}",) if reach else (),
        )


def persona_of(view: View, reach: tuple[str, ...]) -> Persona:
    """Good evidence: a boundary is in reach and stays out of the event."""
    return "pedantic" if reach and not SUPPORT_PATH.search(view.path) else "auditor"


def suspects(flow: FunctionFlow) -> bool:
    """A function that writes an audit event without ids."""
    return flow.effects is not None and bool(flow.effects.anonymous)


RULE = Rule(
    code="BND702",
    name="log-without-boundary",
    severity="note",
    summary="an audit or trace event with no trace or tenant id",
    visit={"Call": check_call},
    suspects=suspects,
)
