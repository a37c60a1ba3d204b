"""BND104: the tenant or user of an action comes from the request, where the authenticated principal is at hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Confidence, Persona
from boundlint.flow.choosers import Chosen, chosen
from boundlint.flow.claims import Claim
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

AUDIT = frozenset("created_by created_by_id updated_by author_id".split())
HEADER = "header"
WRITES = re.compile(
    r"^_?a?(?:add|create|save|insert|update|write|store|upsert|record|put|set|append|register|new)(?:_|\b)"
)


def check_read(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report an identity that was read from a request and used for the caller's own."""
    for claim in view.claims(node):
        if claim.who != "client" or claim.use == "nothing":
            continue
        found = chosen(view, claim)
        if not (found.principals or found.peers or claim.use == "state"):
            continue
        confidence, persona = judge(claim, found)
        principal = claim.principals[0] if claim.principals else "the authenticated principal"
        yield Problem(
            message_of(claim, principal),
            f"take it from {principal}; if a caller may name another, compare it with what they may act for and refuse otherwise",
            confidence,
            persona,
            "",
            found.facts,
            (*claim.trace, *found.trace),
        )


def same_level(claim: Claim) -> bool:
    """Whether a principal at hand is of the claim's level: an object holds all levels, a single id only its own."""
    ids = [re.findall(r"\w+", name)[-1] for name in claim.principals if re.search(r"\w", name)]
    return not ids or any(not name.endswith("_id") or name.split("_")[-2] in claim.label for name in ids)


def message_of(claim: Claim, principal: str) -> str:
    """What is wrong, in one line."""
    if claim.use == "state":
        return f"{claim.source} is the OAuth state that the client sends back, and {claim.target} takes it for an identity: anybody can send another's"
    if claim.use == "fallback":
        return f"{claim.source} lets the client choose the identity: {principal} is only the default, for a request that names none"
    return f"{claim.source} comes from the client and is used as the identity by {claim.target}; nothing compares it with {principal}"


def judge(claim: Claim, found: Chosen) -> tuple[Confidence, Persona]:
    """Good evidence: the principal is only the default, or is known and never used while the client's id is."""
    if claim.use == "state" and not found.support:
        return "high", "regular"  # a callback is for everybody, which is the point
    if found.support or found.privileged:
        return "low", "auditor"
    if claim.use == "fallback" and claim.label in AUDIT:
        return "low", "pedantic"  # it says who wrote a row, not whose it is
    if claim.use == "fallback" and claim.many and claim.trusted and claim.level == "tenant":
        return "medium", "regular"
    if claim.use == "fallback":
        return ("medium", "pedantic") if claim.together or found.about_users else ("high", "regular")
    if claim.where == "given":
        return "low", "auditor"
    if found.about_users:
        return "low", "auditor"
    if claim.many and claim.together:
        return "medium", "regular" if claim.trusted and claim.level == "tenant" else "pedantic"
    if claim.principal_used or claim.where == HEADER:
        return "low", "auditor" if claim.together else "pedantic"
    if not same_level(claim):
        return "low", "pedantic"
    if claim.guarded and not WRITES.search(claim.target.rpartition(".")[2]):
        return "low", "pedantic"  # it narrows what a check has let through
    return "medium", "regular"


def check_both(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """A call may read an identity, or merge over one."""
    yield from check_read(node, view)
    yield from check_merge(node, view)


def check_merge(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report free-form data of a caller that can replace the keys which say whose a record is."""
    for row in view.overwrites(node):
        keys = ", ".join(row.keys)
        yield Problem(
            f"{row.given} of the caller is the start of {row.over}, and {keys} is set only where it was given: a key in {row.given} takes its place"
            if row.starts
            else f"{row.given} of the caller is merged over {row.over}, whose {keys} says whose the record is",
            f"drop the identity keys from {row.given} first, or set them after the merge in every case",
            "medium",
            "auditor" if SUPPORT_PATH.search(view.path) else "regular",
        )


RULE = Rule(
    code="BND104",
    name="client-chosen-boundary",
    severity="error",
    summary="a tenant or user taken from the request where the authenticated principal is at hand",
    visit={
        "Call": check_both,
        "Attribute": check_read,
        "Subscript": check_read,
        "Param": check_read,
        "Dict": check_merge,
        "IfExp": check_merge,
        "BooleanOperation": check_merge,
    },
)
