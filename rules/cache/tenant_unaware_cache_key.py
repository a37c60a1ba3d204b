"""BND401: a cache key without a boundary while the value is customer data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.deviance import may_deviate
from boundlint.flow.evidence import Evidence, confidence_of, evidence, is_cache, shown_key
from boundlint.flow.outside import choice
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import Access
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a cache operation whose key is known and holds no boundary, or another one than its siblings get."""
    for oddity in view.oddities(node):
        if oddity.kind == "other-scope":
            yield Problem(
                f"this cache is shared wider than the calls around it: {oddity.source}",
                "make the same session or tenant a part of what the cache is told",
                "medium",
                "regular",
            )
    for access in view.accesses(node):
        if not is_cache(access) or access.operation.form != "method" or access.value_of("field").carriers:
            continue
        if access.verdict not in ("unscoped", "unknown") and not is_digest_of_question(view, access):
            yield from check_choice(access, view)
            continue
        if not access.passed:
            continue  # `cache.clear()` gives nobody another's entry
        found = evidence(view, access)
        if not found.reach and not found.strong:
            continue
        part = next(iter((*found.value, *found.reach)), "tenant_id")
        yield Problem(
            f"{access.operation.target} uses the key {shown_key(access)}, which carries no boundary, for a customer's data",
            f"make {part.removesuffix('()')} a part of the key, e.g. scoped_key({part}, {access.source_of('key') or '…'})",
            confidence_of(access, found.strong),
            persona_of(view, access, found),
            access.operation.target,
            found.facts,
            found.trace,
        )


def check_choice(access: Access, view: View) -> Iterable[Problem]:
    """Report an entry point whose caller chooses whose entry it reads or writes."""
    chosen = choice(view, access)
    if chosen is None:
        return
    yield Problem(
        f"{access.operation.target} uses the key {shown_key(access)}: {chosen.says}",
        chosen.help,
        confidence_of(access, chosen.persona == "regular"),
        chosen.persona,
        access.operation.target,
        chosen.facts,
        access.trace,
    )


def check_assign(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a value that depends on a boundary, kept in a shared mapping under a key that does not hold it."""
    for write in view.shared(node):
        reach = view.analysis.reach_of(write.function)
        if write.how != "keyed" or not reach or SUPPORT_PATH.search(view.path):
            continue
        lost = sorted(write.value.carriers)[0].removesuffix("()")
        made = write.owned or bool({"object", "external", "data", "model"} & write.value.marks)
        yield Problem(
            f"`{write.holder}` is one mapping for all requests ({write.place}), and its key leaves out {lost}, which the value depends on",
            f"make {lost} a part of the key",
            "medium",
            "regular" if made and not write.value.maybe else "pedantic",
            facts=(f"in reach: {', '.join(reach[:4])}",),
            trace=(write.declared,) if write.declared is not None else (),
        )


def is_digest_of_question(view: View, access: Access) -> bool:
    """A digest of the function's own arguments, for a value that depends on a boundary: no caller can mend it."""
    value = access.value_of("value")
    return (
        access.verdict == "open"
        and "digest" in access.value_of("key").marks
        and bool(value.carriers and view.reach)
    )


def persona_of(view: View, access: Access, found: Evidence) -> Persona:
    """Good evidence: the cached value depends on a boundary that its key does not hold, or the siblings are scoped."""
    if access.verdict == "unknown" or view.usage(access) != "customer":
        return "auditor"
    pattern = (access.value_of("key").text or "").endswith("*")
    if pattern and any(row.operation.effect == "delete" for row in view.flow.accesses):
        return "auditor"  # the keys are looked for to empty the cache
    value = access.value_of("value")
    read = any(mark.startswith("from@") for mark in value.marks)
    if access.verdict == "open":
        return "regular" if read else "pedantic"
    if found.strong:
        return "regular"
    derived = access.has("value") and (read or "model" in value.marks)
    return "regular" if derived and found.reach and access.confidence != "low" else "pedantic"


RULE = Rule(
    code="BND401",
    name="tenant-unaware-cache-key",
    severity="error",
    summary="a cache read or write whose key carries no boundary while its value is customer data",
    visit={"Call": check_call, "Assign": check_assign},
    wants=may_deviate,
)
