"""BND201: agent memory read or written under a key that carries no boundary."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.catalog.model import SCOPE_ROLES
from boundlint.findings import Persona
from boundlint.flow.evidence import Evidence, confidence_of, evidence, is_cache, is_keyed, shown_key
from boundlint.flow.outside import choice
from boundlint.flow.usage import is_built_in_sight
from boundlint.flow.values import Access
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

CREDENTIAL = re.compile(
    r"(?:access|refresh|bearer|session|auth|app|tenant|user)_?(?:token|ticket|key|secret)|credential|password"
)
VERBS = {"read": "reads", "write": "writes", "delete": "deletes"}


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a memory operation whose scope is known and holds no boundary."""
    for access in view.accesses(node):
        operation = access.operation
        if operation.kind not in ("memory", "checkpoint"):
            continue
        if access.verdict == "open":
            yield from check_choice(access, view)
        if access.verdict not in ("unscoped", "unknown"):
            continue
        if is_cache(access) or has_scoped_field(access) or not is_kept(access) or is_shared(view, access):
            continue
        found = evidence(view, access)
        if not found.reach and not found.strong and not is_keyed(access):
            continue  # no boundary anywhere: function-without-boundary speaks
        part = found.value[0] if found.value else found.reach[0] if found.reach else "tenant_id"
        name = part.removesuffix("()")
        yield Problem(
            f"{operation.target} {VERBS.get(operation.effect, 'touches')} {where(access)}, which carries no boundary",
            f"make {name} a part of the key or namespace, e.g. scoped_key({part}, {access.source_of('key', 'namespace') or '…'})",
            confidence_of(access, found.strong),
            persona_of(view, access, found),
            operation.target,
            found.facts,
            found.trace,
        )


def check_choice(access: Access, view: View) -> Iterable[Problem]:
    """Report an entry point whose caller chooses whose memory it is."""
    chosen = (
        None if is_cache(access) or has_scoped_field(access) or not is_kept(access) else choice(view, access)
    )
    if chosen is None:
        return
    verb = VERBS.get(access.operation.effect, "touches")
    yield Problem(
        f"{access.operation.target} {verb} {where(access)}: {chosen.says}",
        chosen.help,
        confidence_of(access, chosen.persona == "regular"),
        chosen.persona,
        access.operation.target,
        chosen.facts,
        access.trace,
    )


def has_scoped_field(access: Access) -> bool:
    """Whether the fields inside of a hash name the boundary: one field, or the computed keys of a mapping."""
    if access.value_of("field").carriers:
        return True
    takes_fields = any(row.role == "field" for row in access.operation.args)
    computed = re.match(r"\{(?!\s*['\"])", access.source_of("value")) is not None
    return takes_fields and computed and bool(access.value_of("value").carriers)


def is_kept(access: Access) -> bool:
    """Whether the operation keeps something: a run without a session or thread remembers nothing."""
    if access.operation.delegates:
        return access.has(*SCOPE_ROLES)
    return bool(access.passed) or is_built_in_sight(access)


def is_shared(view: View, access: Access) -> bool:
    """Whether the client is one object for all requests, of which shared-memory-object speaks."""
    root = access.receiver.partition(".")[0]
    project, module = view.analysis.project, view.analysis.project.functions(view.path)[""]
    symbol = project.resolve(view.path, root) if root else None
    if symbol is None or symbol.kind != "variable" or root != access.receiver:
        return False
    return view.analysis.shared_objects.keeps_a_conversation(module, root)


def where(access: Access) -> str:
    """The scope as the message names it."""
    if access.has("key", "namespace", "thread", "session"):
        return ("under " if is_keyed(access) else "with ") + shown_key(access)
    if "constructor" in access.operation.binders:
        return f"through `{access.receiver}`"
    if "impossible" in access.operation.binders:
        return "by an id alone"
    return "with no user, session or namespace"


def persona_of(view: View, access: Access, found: Evidence) -> Persona:
    """Good evidence: the value is a customer's, the siblings are scoped, or a boundary is at hand and ignored."""
    if access.verdict == "unknown" or view.usage(access) != "customer" or not is_built_in_sight(access):
        return "auditor"
    if "impossible" in access.operation.binders:
        return "pedantic"
    if not any(row.role in SCOPE_ROLES for row in access.operation.args) and not access.operation.binders:
        return (
            "auditor"  # a raw command: which argument is the key, and whether one is, depends on the command
        )
    if found.strong or is_credential_of_instance(view, access):
        return "regular"
    if access.confidence == "low" or not found.reach or not access.value_of("key", "namespace").is_constant:
        return "pedantic"
    general = is_keyed(access) and not access.has("namespace")
    return "pedantic" if general and access.operation.effect == "read" else "regular"


def is_credential_of_instance(view: View, access: Access) -> bool:
    """Whether an object that is configured for one customer keeps its credential under a constant key."""
    key = access.value_of("key")
    if (
        access.operation.effect != "write"
        or not key.is_constant
        or not CREDENTIAL.search((key.text or "").lower())
    ):
        return False
    owner = view.analysis.receivers.owner(access.function)
    start = view.analysis.project.method(owner, "__init__") if owner is not None else None
    return start is not None and len(start.facts.params) > 1 and not access.value_of("value").is_constant


RULE = Rule(
    code="BND201",
    name="unscoped-memory-key",
    severity="error",
    summary="an agent memory read or write whose key or namespace carries no boundary",
    visit={"Call": check_call},
)
