"""BND602: a worker that acts on the permissions in its payload, which may be gone by the time it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.entries import entry_of
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View
    from boundlint.index.facts import FunctionFacts

# What a payload says that its sender was allowed to do.
GRANT = re.compile(
    r"^(?:\w+_)?(?:roles?|permissions?|scopes|grants?|is_admin|is_superuser|is_owner|allowed_\w+|can_\w+|access_level|entitlements?|acl)$"
)
# A name that says that the worker looks the current state up.
CHECKS = re.compile(
    r"check|verif|authori[sz]|permission|revalidat|validate|ensure|require|can_|has_access|is_allowed|get_current|load_user|get_user|get_account|get_member|fetch_user|refresh",
    re.IGNORECASE,
)


def wants(facts: FunctionFacts) -> bool:
    """A job that is handed what its sender was allowed to do."""
    return entry_of(facts) == "job" and any(GRANT.match(param.name) for param in facts.params)


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a worker that believes the permissions of its payload."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start) or not wants(facts):
        return
    granted = [param.name for param in facts.params if GRANT.match(param.name)]
    used = [name for name in granted if name in facts.names.split()]
    if not used or any(CHECKS.search(call.rpartition(".")[2]) for call in facts.calls):
        return
    yield Problem(
        f"{facts.name} acts on {', '.join(used)} as they were when the job was enqueued",
        "load the user's current permissions in the worker and compare them with the snapshot before acting",
        "medium",
        persona_of(view),
        facts=(f"nothing that {facts.name} calls looks the permissions up",),
    )


def persona_of(view: View) -> Persona:
    """Good evidence is a permission in the payload that nothing compares; it is a matter for a thorough reader."""
    return "auditor" if SUPPORT_PATH.search(view.path) else "pedantic"


RULE = Rule(
    code="BND602",
    name="resumed-job-not-revalidated",
    severity="note",
    summary="a worker that trusts the snapshot without comparing it with current permissions",
    visit={"FunctionDef": check_function},
    wants=wants,
)
