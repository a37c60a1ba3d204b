"""BND701: customers' content, or a credential, written to a log, a trace or an error report as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Confidence, Persona, TraceStep
from boundlint.flow.logs import Disclosure
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View

SHOWN = {
    "credential": "a credential",
    "prompt": "a prompt",
    "message": "a customer's message",
    "document": "a customer's document",
    "answer": "a model's answer",
    "tool result": "a tool's input or result",
    "request": "a request's body",
    "query": "a search text",
}


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a log call that writes content."""
    for row in view.disclosures(node):
        found = row.found
        trace: tuple[TraceStep, ...] = ()
        if found.line and found.line != row.line:
            trace = (TraceStep(view.path, found.line, f"{found.source} comes from here"),)
        yield Problem(
            f"{row.operation.target} writes {SHOWN[found.what]} as it is: {found.source}",
            f"log an id, a length or a hash of {found.source}, or redact it; whoever reads the logs reads every tenant's",
            confidence_of(row),
            persona_of(row),
            row.operation.target,
            trace=trace,
        )


def persona_of(row: Disclosure) -> Persona:
    """Good evidence: content by its name or by where it comes from, in a log that production shows."""
    if SUPPORT_PATH.search(row.function.path):
        return "auditor"
    shown = row.level == "shown" and not row.gated and row.found.what != "query"
    return "regular" if shown and row.operation.layer != "framework" else "pedantic"


def confidence_of(row: Disclosure) -> Confidence:
    """High where the value was followed to its source."""
    if row.confidence == "high":
        return "high" if row.found.followed or row.found.what == "credential" else "medium"
    return "medium" if row.found.followed else "low"


def suspects(flow: FunctionFlow) -> bool:
    """A function that logs content."""
    return flow.effects is not None and bool(flow.effects.disclosures)


RULE = Rule(
    code="BND701",
    name="customer-content-in-log",
    severity="warning",
    summary="prompts, documents, messages, tool results or credentials written raw to logs, traces or error reports",
    visit={"Call": check_call},
    suspects=suspects,
)
