"""BND601: a job for customer data whose payload says nothing of whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import Access
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View

IDENTIFIER = re.compile(r"(?:\b|_)(?:id|ids|pk|uuid|slug)\b", re.IGNORECASE)


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a job that is enqueued without a boundary."""
    for access in view.accesses(node):
        if access.operation.runs != "worker" or access.operation.effect != "enqueue" or access.via:
            continue
        if access.scope.carriers or access.scope.maybe or view.analysis.jobs.carried():
            continue
        yield from check_job(access, view)


def check_job(access: Access, view: View) -> Iterable[Problem]:
    """The optional boundary of the worker that is left out, or content that nobody's id goes with."""
    jobs = view.analysis.jobs
    worker = jobs.worker(access)
    reach = view.reach_of(access)
    support = bool(SUPPORT_PATH.search(access.function.path))
    omitted = jobs.omitted(access, worker) if worker is not None else None
    if worker is not None and omitted is not None:
        facts = (f"in reach: {', '.join(reach[:4])}",) if reach else ()
        yield Problem(
            f"{access.operation.target} enqueues {worker.facts.name} without {omitted.name}, which then is {omitted.default}",
            f"pass {omitted.name} in the payload: the worker has no request to take it from",
            "high" if reach and access.confidence == "high" else "medium",
            "auditor" if support else "regular" if reach else "pedantic",
            access.operation.target,
            facts,
        )
        return
    dropped = reach if reach and set(reach) <= set(view.flow.unused) else ()
    if dropped and access.verdict == "open" and carriers_nearby(access, view):
        yield Problem(
            f"{access.operation.target} enqueues {access.source_of('payload')} alone, and {dropped[0]} goes nowhere",
            f"put {dropped[0]} (or a snapshot of it) into the payload, as the other jobs here do",
            "medium",
            "auditor" if support else "regular",
            access.operation.target,
            tuple(f"a job that carries it: {place}" for place in carriers_nearby(access, view)[:2]),
        )
        return
    payload = access.value_of("payload")
    sources = " ".join(row.source for row in access.passed)
    if (
        payload.is_constant
        or "id" in payload.marks
        or "unknown" in payload.marks
        or IDENTIFIER.search(sources)
    ):
        return
    yield Problem(
        f"{access.operation.target} enqueues {access.source_of('payload')} with no boundary and no id of a record",
        "put the tenant and the user into the payload, or the id of a record that says whose it is",
        "medium" if reach else "low",
        "pedantic" if reach and not support else "auditor",
        access.operation.target,
        (f"in reach: {', '.join(reach[:4])}",) if reach else (),
    )


def suspects(flow: FunctionFlow) -> bool:
    """A function that enqueues a job."""
    return any(row.operation.runs == "worker" for row in flow.accesses)


def carriers_nearby(access: Access, view: View) -> list[str]:
    """Where other functions of the same class or module enqueue jobs with a boundary."""
    return [
        f"{row.function.path}:{row.line}"
        for flow in view.siblings
        for row in flow.accesses
        if row.operation.runs == "worker" and row.scope.carriers and row.function != access.function
    ]


RULE = Rule(
    code="BND601",
    name="job-without-boundary",
    severity="warning",
    summary="a job enqueued for customer data whose payload carries no boundary snapshot",
    visit={"Call": check_call},
    suspects=suspects,
)
