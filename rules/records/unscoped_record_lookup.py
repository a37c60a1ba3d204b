"""BND501: a customer's record loaded, changed or deleted by an id from outside, with no boundary and no guard."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona, TraceStep
from boundlint.flow import names
from boundlint.flow.levels import compares_tenant_alone, personal_rows
from boundlint.flow.queries import Lookup
from boundlint.flow.records import (
    VERBS,
    boundary_at_hand,
    confidence_of,
    creator_beside,
    is_deviant,
    is_given_record,
    is_support,
    is_told_below,
    open_lookups,
    parent_of,
    record_evidence,
)
from boundlint.index.entries import may_enter
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


# What a person calls a record by; anything else that is compared may lead to whose it is.
# A name may well be unique in the installation; what was computed from a customer's words is not.
DERIVED_KEY = re.compile(r"hash|digest|prompt|query|fingerprint|checksum")
NATURAL_KEY = re.compile(r"name|title|slug|mail|label|code|hash|path|url|domain|number|(?:^|_)key$")
HASHED_SECRET = re.compile(r"(?:^|_)(?:key|token|secret)_(?:hash|digest)$|^hashed_(?:key|token|secret)$")
# Calls that begin a query for many rows, on a model or a session.
LISTS = re.compile(
    r"^(?!self\.|cls\.).*\b(?:query|select|filter|filter_by|all|find|find_many|find_all|exclude)$|^select$"
)
# Rows that are found by the secret in them.
SECRET_MODEL = re.compile(r"Token|ApiKey|APIKey|Secret|Credential|OTP|Session$")


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query by id, or by another key, that nothing binds to the boundary."""
    yield from check_id(node, view)
    yield from check_user(node, view)
    yield from check_list(node, view)
    for lookup in view.lookups(node):
        if lookup.by_id or not lookup.bare or lookup.via or not lookup.columns:
            continue
        yield from check_key(view, lookup)


def is_secret(model: str, column: str) -> bool:
    """Whether a column holds what its holder proves himself with: an OAuth state, a token, the key of an API key."""
    if "secret" in names.marks(column) or HASHED_SECRET.search(column):
        return True
    return bool(re.search(r"(?:^|_)key$", column) and re.search(r"Key|Token|Secret|Credential", model))


def check_key(view: View, lookup: Lookup) -> Iterable[Problem]:
    """Report a query by a key that several tenants may use, where the record that is created has a boundary."""
    if lookup.effect != "read" or any(is_secret(lookup.model, name) for name in lookup.columns):
        return  # whoever holds the secret may have what it stands for
    key = ", ".join(sorted(lookup.columns)[:2])
    fixed = bool(lookup.values) and all(
        value[:1] in "'\"" for value in lookup.values
    )  # one row for everybody
    natural = fixed or all(NATURAL_KEY.search(name) for name in lookup.columns)
    if lookup.created and natural:
        yield Problem(
            f"{lookup.call} finds {lookup.record} by {key} alone, but here one is created with {lookup.created[0]}: another tenant's may be taken for it",
            f"compare {lookup.created[0]} in the query, as the record that is created on a miss has it",
            "high",
            _persona_of_created(view),
        )
        return
    if not lookup.predicate.params:
        return
    if all("time" in names.marks(name) for name in lookup.columns):
        return  # rows by their age are a matter of cleaning up
    derived = any(DERIVED_KEY.search(name) for name in lookup.columns)
    creator = creator_beside(view, lookup) if derived else None
    if creator is None and not is_deviant(view, lookup):
        return
    found = record_evidence(view, lookup)
    facts, trace = found.facts, found.trace
    if creator is not None:
        maker, column = creator
        facts += (f"{maker.facts.qualname} creates {lookup.record} with {column}",)
        trace += (TraceStep(maker.path, maker.facts.line, f"{lookup.record} is created with {column}"),)
    yield Problem(
        f"{lookup.call} loads {lookup.record} by {key} alone: nothing ties it to the caller's boundary",
        "take the boundary as a parameter and compare it in the query",
        "medium",
        "auditor"
        if is_support(view) or found.guarded or is_given_record(view.analysis, view.function, lookup)
        else "regular"
        if creator is not None
        else "pedantic",
        "",
        facts,
        trace,
    )


def _persona_of_created(view: View) -> Persona:
    """Good evidence: the boundary of what is created comes with the request or is at hand, and not from any row."""
    if is_support(view):
        return "auditor"
    served = view.analysis.entry(view.function) is not None
    return "regular" if served or boundary_at_hand(view) else "pedantic"


def check_id(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query by an id from outside, where no parent's id is checked either."""
    for lookup in open_lookups(node, view):
        if parent_of(view, lookup) or lookup.dropped:
            continue  # BND502 and BND105 tell it
        found = record_evidence(view, lookup)
        if is_told_below(view, lookup):
            continue
        part = found.reach[0].removesuffix("()") if found.reach else "the tenant"
        yield Problem(
            f"{lookup.call} {VERBS[lookup.effect]} {lookup.record} by {lookup.ids[0]} alone: nothing ties it to the caller's boundary",
            f"add {part} to the query, or compare the loaded {lookup.model} with it and refuse on a mismatch",
            confidence_of(found),
            found.persona,
            "",
            found.facts,
            (*lookup.trace, *found.trace),
        )


def check_list(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query for all rows of a model, made for a caller who is known, where the others compare a boundary."""
    if view.analysis.entry(view.function) not in ("route", "tool"):
        return
    for lookup in view.lookups(node):
        if lookup.by_id or not lookup.bare or lookup.via or lookup.effect != "read" or lookup.handed_on:
            continue
        if lookup.correlated or not LISTS.search(lookup.call):
            continue  # narrowed by the query around it, or by what a method of the project does
        if any(
            SECRET_MODEL.search(lookup.model) or NATURAL_KEY.search(name) or is_secret(lookup.model, name)
            for name in lookup.columns
        ):
            continue
        found = record_evidence(view, lookup)
        if not found.peers or found.support or found.privileged:
            continue
        yield Problem(
            f"{lookup.call} loads {lookup.model} rows of all tenants: nothing ties them to the caller's boundary",
            f"compare {found.reach[0].removesuffix('()') if found.reach else 'the tenant'} in the query",
            "medium",
            "regular" if found.principal else "auditor",
            "",
            found.facts,
            found.trace,
        )


def check_user(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a query that compares the tenant, on rows that are one user's own."""
    if view.analysis.entry(view.function) != "route":
        return
    for lookup in view.lookups(node):
        found = personal_rows(view, lookup)
        if found is not None:
            yield Problem(
                f"{lookup.call} {VERBS[lookup.effect]} {lookup.model} rows of all users of the tenant: `{found.column}` says whose they are, and it is not compared",
                f"compare `{found.column}` with the caller, too",
                "medium",
                "auditor" if is_support(view) else "regular",
                "",
                (found.fact,),
                found.trace,
            )


def check_view(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a generic view that finds its record by the id of the path among everybody's."""
    for found in view.open_views(node):
        places = ", ".join(f"{path}:{line}" for path, line in found.peers)
        yield Problem(
            f"{found.name} answers with any tenant's {found.model}: its queryset is all rows, and no method, permission or filter narrows it",
            "define `get_queryset` and filter by the caller's boundary in it",
            "high" if found.stands_out else "low",
            "regular" if found.stands_out and not found.privileged else "auditor",
            "",
            (
                f"peers: {found.scoped} of {found.total} generic views of the project scope their rows ({places})",
            )
            if found.peers
            else (),
            tuple(TraceStep(path, line, "a view that scopes its rows") for path, line in found.peers),
        )


RULE = Rule(
    code="BND501",
    name="unscoped-record-lookup",
    severity="error",
    summary="a record of a tenant-owned model loaded, changed or deleted by an id from outside with no boundary predicate and no guard",
    visit={"Call": check_call, "Assign": check_view},
    suspects=lambda flow: may_enter(flow.function.facts) and any(map(compares_tenant_alone, flow.lookups)),
)
