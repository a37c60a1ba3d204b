"""BND505: a tool that writes or deletes, with no approval and no risk tier."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import FunctionFlow
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

APPROVES = re.compile(
    r"(?i)approv|confirm|consent|interrupt|elicit|human|risk|tier|require|permission|authori[sz]e|allowed|dry_?run|destructive|guard|review|"
    r"sensitive|gate|policy"
)
RISKY = re.compile(
    r"^_?(?:delete|remove|drop|purge|wipe|cancel|refund|charge|pay|transfer|send|publish|post|deploy|execute|grant|revoke|update|create|insert|"
    r"write|edit|modify|set|add|assign|close|merge|approve|book|order|invite)_"
)
OWN_MEMORY = frozenset({"memory", "checkpoint", "cache", "retrieval"})
WRITES = frozenset({"write", "delete", "enqueue"})
PERSISTS = re.compile(
    r"\.(?:commit|delete|execute|save|insert|insert_one|update_one|delete_one|bulk_create|add|merge|send|post|put|patch)$"
)


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a tool that changes something outside of the agent's memory, and names no approval."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start) or view.function not in view.analysis.tools:
        return
    if SUPPORT_PATH.search(view.path) or is_approved(view):
        return
    if not suspects(view.flow):
        return
    what = written(view.flow)
    shown = what or "something outside of the agent"
    yield Problem(
        f"the tool {facts.name} changes {shown} as soon as the model calls it: no approval and no risk tier",
        "ask for approval before it acts (interrupt, elicitation, requires_approval), or give it a risk tier that the runtime checks",
        "medium" if what else "low",
        persona_of(what),
    )


def is_approved(view: View) -> bool:
    """Whether a decorator, a parameter or a call of the tool speaks of approval, risk or permission."""
    facts = view.function.facts
    calls = (path.rpartition(".")[2] for path in facts.calls)
    params = (f"{param.name} {param.annotation}" for param in facts.params)
    return any(APPROVES.search(text) for text in (*facts.decorators, *calls, *params))


def written(flow: FunctionFlow) -> str:
    """What the tool changes, by the catalog or the project's models; "" where neither tells."""
    for lookup in flow.lookups:
        if lookup.effect in ("update", "delete"):
            return f"{lookup.model} records"
    for access in flow.accesses:
        if access.operation.effect in WRITES and access.operation.kind not in (
            *OWN_MEMORY,
            "log",
            "llm",
            "tool",
        ):
            return f"what {access.operation.target} reaches"
    return ""


def suspects(flow: FunctionFlow) -> bool:
    """Whether a function changes something, or its name and its calls say so."""
    facts = flow.function.facts
    return bool(written(flow)) or (
        bool(RISKY.match(facts.name)) and any(PERSISTS.search(path) for path in facts.calls)
    )


def persona_of(what: str) -> Persona:
    """Good evidence: the catalog or a model tells what is changed."""
    return "pedantic" if what else "auditor"


RULE = Rule(
    code="BND505",
    name="unapproved-write-tool",
    severity="note",
    summary="a tool that writes or deletes with no risk tier or approval",
    visit={"FunctionDef": check_function},
    suspects=suspects,
)
