"""BND202: a conversation, session state or a tenant's client kept where all requests share it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.shared import SharedWrite
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.vocabulary import normal
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

REMEMBERS = re.compile(
    r"(?:^|_)(?:history|histories|messages?|conversations?|chats?|chat_log|memory|memories|transcripts?|dialogs?|dialogues?|scratchpad|"
    r"session|sessions|session_state|user_data|user_context|user_state|user_profile|preferences|profiles?|facts|turns|"
    r"(?:last|current|previous)_(?:question|answer|query|response|result|message|document|user|tenant|org|account|customer|prompt|input))$"
)
REGISTRY = re.compile(
    r"regist|handler|listener|callback|hook|plugin|provider|lock|semaphore|pool|connection|queue|pending|buffer|batch|worker|subscri|metric|"
    r"counter|stats|config|setting|flag|schema|loaded|import|executor|channel|socket|seen|stale|types?$|error|warning|log$|logs$|task|job|event"
)
PREPARES = re.compile(
    r"^_*(?:init|setup|set_up|start|configure|main|lifespan|bootstrap|register|load_config|install|reset|clear)"
)
SAYS = {
    "bound": "{holder} holds what belongs to one user or tenant, and is one for all requests ({place})",
    "stored": "{holder} keeps a user's or tenant's data under a constant key, and is one for all requests ({place})",
    "added": "{holder} collects every user's data in one object: it is a {place}",
    "made": "{holder} keeps one conversation for all requests: it is a {place} and no call can say whose it is",
}
HELP = {
    "bound": "pass it as an argument, or keep it in a contextvars.ContextVar that is set for each request",
    "stored": "make the boundary a part of the key, or keep the value on an object made for the request",
    "added": "keep it on an object made for the request, or in a mapping whose key is the boundary",
    "made": "make it for each request, with a session id that carries the boundary",
}


def check_node(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report what a statement or a call puts into a shared object."""
    for write in view.shared(node):
        reach = view.analysis.reach_of(write.function)
        callers = () if reach else view.callers_with_reach()
        persona = persona_of(write, view, reach, bool(callers))
        if persona is None:
            continue
        facts = [f"in reach: {', '.join(reach[:4])}"] if reach else []
        facts += [
            f"a caller holds {', '.join(names[:3])}: {caller.path}:{caller.facts.line} {caller.facts.qualname}"
            for caller, names in callers[:1]
        ]
        yield Problem(
            SAYS[write.how].format(holder=f"`{write.holder}`", place=write.place),
            HELP[write.how],
            "high" if persona == "regular" and write.how in ("bound", "made") else "medium",
            persona,
            facts=tuple(facts),
            trace=(write.declared,) if write.declared is not None else (),
        )


def persona_of(write: SharedWrite, view: View, reach: tuple[str, ...], called: bool) -> Persona | None:
    """How good the evidence is; None where nothing says that the object holds a customer's data."""
    name = normal(write.name)
    if SUPPORT_PATH.search(view.path) or (write.name.lstrip("_").isupper() and write.place == "singleton"):
        return None  # tests, and settings of the process
    if write.how == "keyed":
        return None  # tenant-unaware-cache-key speaks
    if write.how == "made":
        return "pedantic" if "__name__" in view.function.facts.names.split() else "regular"
    served = bool(reach) or called or view.analysis.entry(write.function) is not None
    remembers = bool(REMEMBERS.search(name))
    carries = bool(write.value.carriers)
    if REGISTRY.search(normal(write.holder).replace(".", "_")) or PREPARES.search(write.function.facts.name):
        return "auditor" if served and (carries or remembers) else None
    if write.how == "added":
        if not remembers or not served:
            return None
        return "pedantic" if write.owned or write.place == "singleton" or not reach else "regular"
    if carries:
        of_boundary = write.owned or bool({"object", "external", "data"} & write.value.marks)
        return "regular" if reach and of_boundary else "pedantic"
    if remembers and served:
        return "pedantic"
    return None


RULE = Rule(
    code="BND202",
    name="shared-memory-object",
    severity="error",
    summary="conversation memory, session state or a tenant's client kept in a module global, class attribute or singleton",
    visit={
        "Call": check_node,
        "Assign": check_node,
        "AnnAssign": check_node,
        "AugAssign": check_node,
    },
)
