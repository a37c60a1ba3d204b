"""Questions that several rules ask of an access: what speaks for a leak, and how to say it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boundlint.findings import Confidence, Persona, TraceStep
from boundlint.flow.values import HOLE, Access
from boundlint.flow.view import View

CACHE_WORD = re.compile(r"cache|memo(?:iz|is)")
LONGEST_KEY = 60  # characters of a key quoted in a message


@dataclass(frozen=True)
class Evidence:
    """Why an access without a boundary is suspicious.

    `reach` are the boundary parts at hand in the function or its callers, `value` those that the written
    value depends on, `peers` whether the sibling accesses carry one.
    """

    reach: tuple[str, ...]
    value: tuple[str, ...]
    peers: bool
    facts: tuple[str, ...]
    trace: tuple[TraceStep, ...]

    @property
    def strong(self) -> bool:
        """The value or the siblings prove that the data is a customer's."""
        return bool(self.value) or self.peers


def evidence(view: View, access: Access) -> Evidence:
    """Collect what speaks for a leak at an access."""
    reach = view.reach_of(access)
    callers = () if reach else view.callers_with_reach()
    value = access.value_of("value", "document", "message", "payload")
    held = tuple(sorted(value.carriers | value.maybe))
    peers = view.peers(access)
    facts = []
    if reach:
        facts.append(f"in reach: {', '.join(reach[:4])}")
    if held:
        facts.append(f"the value depends on: {', '.join(held[:4])}")
    if peers.agree:
        where = ", ".join(f"{step.path}:{step.line}" for step in peers.examples)
        facts.append(
            f"peers: {peers.scoped} of {peers.total} accesses to this client here carry a boundary ({where})"
        )
    for caller, names in callers[:1]:
        facts.append(
            f"a caller holds {', '.join(names[:3])}: {caller.path}:{caller.facts.line} {caller.facts.qualname}"
        )
    reached = reach or tuple(name for _, names in callers for name in names)
    trace = (*access.trace, *(peers.examples if peers.agree else ()))
    return Evidence(reached, held, peers.agree, tuple(facts), trace)


def is_cache(access: Access) -> bool:
    """Whether an access is one to a cache: by the catalog, or because its names say so."""
    if access.operation.kind == "cache":
        return True
    if access.operation.kind != "memory" or not access.has("key", "key_list", "key_pattern"):
        return False
    key = access.value_of("key")
    words = f"{key.text or ''} {access.source_of('key')} {access.receiver} {access.function.facts.qualname}".lower()
    return bool(CACHE_WORD.search(words))


def is_keyed(access: Access) -> bool:
    """Whether the operation is one of a general key-value store, where customer data is but one use."""
    return any(
        row.argument.role in ("key", "key_list", "key_pattern", "key_mapping") for row in access.passed
    )


def shown_key(access: Access) -> str:
    """The key or scope argument as a message quotes it."""
    value = access.value_of("key", "key_list", "key_pattern", "namespace", "thread", "session")
    source = access.source_of("key", "key_list", "key_pattern", "namespace", "thread", "session")
    text = value.text if value.text and value.text.replace(HOLE, "").strip(":/-_") else ""
    shown = f"'{text}'" if text else f"`{source}`" if source else "no key"
    return shown if len(shown) <= LONGEST_KEY else shown[:LONGEST_KEY] + "…"


def lowered(persona: Persona) -> Persona:
    """The next more thorough persona."""
    return "pedantic" if persona == "regular" else "auditor"


def confidence_of(access: Access, strong: bool) -> Confidence:
    """How sure a finding about the access is: never more than the receiver is known."""
    if access.confidence == "high":
        return "high" if strong else "medium"
    return "medium" if access.confidence == "medium" and strong else "low"
