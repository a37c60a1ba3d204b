"""BND603: work handed to a thread or timer that reads the boundary from a context which is not there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.jobs import Missed
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import Access
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a call that hands over work which will miss its boundary."""
    for access in view.accesses(node):
        if access.via:
            continue
        missed = sorted(
            view.analysis.jobs.missed(access), key=lambda row: (row.told and not row.omitted, len(row.trace))
        )
        if not missed:
            continue
        row = missed[0]
        where = "another process" if access.operation.runs == "process" else "another thread"
        yield Problem(
            f"{access.operation.target} runs {row.target.facts.name} in {where}, where {row.name} is not set",
            f"run it through contextvars.copy_context().run, or hand over the value of {row.name} as an argument",
            "high" if access.confidence == "high" and len(row.trace) <= 2 else "medium",
            persona_of(row, access, view),
            access.operation.target,
            trace=row.trace,
        )


def persona_of(row: Missed, access: Access, view: View) -> Persona:
    """Good evidence: there is a boundary to lose, the work reads it close by and is given none instead."""
    if SUPPORT_PATH.search(access.function.path):
        return "auditor"
    near = len(row.trace) <= 3 and view.analysis.jobs.is_lost(access)
    return "regular" if near and (row.omitted or not row.told) else "pedantic"


def suspects(flow: FunctionFlow) -> bool:
    """A function that hands work to a thread or process."""
    return any(row.operation.runs in ("thread", "process") for row in flow.accesses)


RULE = Rule(
    code="BND603",
    name="boundary-lost-in-thread",
    severity="error",
    summary="work handed to a thread, executor or timer that reads an ambient boundary and copies no context",
    visit={"Call": check_call},
    suspects=suspects,
)
