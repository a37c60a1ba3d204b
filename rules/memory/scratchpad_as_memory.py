"""BND203: what a planner or a tool leaves behind during a run, written to memory that outlives it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.durations import seconds
from boundlint.flow.evidence import confidence_of, is_cache, is_keyed, shown_key
from boundlint.flow.usage import RUN_STATE, SUPPORT_PATH
from boundlint.flow.values import Access, FunctionFlow
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

CONTENT = ("value", "document", "message", "payload")
LONGEST_RUN = 24 * 3600  # seconds: what lives longer than a day outlives its run
DURABLE = re.compile(r"memor|profile|preferenc|fact|knowledge|learned|long_?term")


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a durable memory write whose content is a scratchpad, an observation or a run's summary."""
    for access in view.accesses(node):
        if not is_scratch_write(access) or SUPPORT_PATH.search(view.path) or is_cache(access):
            continue
        if access.has("ttl") and not outlives_a_run(view, access):
            continue
        content = (
            f"`{access.source_of(*CONTENT)}`"
            if access.source_of(*CONTENT) and not access.via
            else "run notes"
        )
        yield Problem(
            f"{access.operation.target} keeps {content} as durable memory: "
            "notes of one run come back as facts in later ones",
            "keep it as run state that expires, and write to memory only what was chosen to be remembered",
            confidence_of(access, True),
            persona_of(access),
            access.operation.target,
            (f"written under {shown_key(access)}",) if access.has("key", "namespace") else (),
            access.trace,
        )


def is_scratch_write(access: Access) -> bool:
    """Whether an access writes run notes to memory without a session or a thread."""
    return (
        access.operation.kind == "memory"
        and access.operation.effect == "write"
        and "scratch" in access.value_of(*CONTENT).marks
        and not access.has("session", "thread")
        and "constructor" not in access.operation.binders
        and not RUN_STATE.search(key_text(access))
    )


def outlives_a_run(view: View, access: Access) -> bool:
    """Whether the time to live is known to be longer than a run."""
    known = seconds(view.analysis, access.sink[0], access.source_of("ttl"))
    return known is not None and known > LONGEST_RUN and "px" not in access.operation.method


def key_text(access: Access) -> str:
    """Constant parts of the key and namespace, and the names in them."""
    key = access.value_of("key", "namespace")
    return f"{key.text or ''} {access.source_of('key')} {access.source_of('namespace')}".lower()


def suspects(flow: FunctionFlow) -> bool:
    """Whether the flow saw such a write."""
    return any(is_scratch_write(access) for access in flow.accesses)


def persona_of(access: Access) -> Persona:
    """Good evidence: a client that is there to remember, or a key, class or wrapper that says so."""
    if access.confidence == "low":
        return "auditor"
    around = f"{access.function.facts.owner} {access.receiver} {' '.join(access.via)}".lower()
    if not is_keyed(access) or access.has("namespace") or DURABLE.search(f"{key_text(access)} {around}"):
        return "regular"
    return "auditor"


RULE = Rule(
    code="BND203",
    name="scratchpad-as-memory",
    severity="warning",
    summary="planner notes, tool observations or run summaries written to durable user memory",
    visit={"Call": check_call},
    suspects=suspects,
)
