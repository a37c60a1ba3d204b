"""BND504: a tool that calls an external service with a credential of the whole process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona, TraceStep
from boundlint.flow.credentials import CredentialUse
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import FunctionFlow
from boundlint.index.project import Function
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

PRIVILEGED = re.compile(
    r"(?i)(?:^|_)(?:admin|administrator|service_?role|service_?account|root|master|super_?user|superadmin|privileged|full_access|owner|system)(?:_|$)"
)


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report the first use of a process-wide credential in a tool, or in a function that a tool calls."""
    for use in view.credentials(node):
        tool = tool_of(view)
        if tool is None or SUPPORT_PATH.search(view.path):
            continue
        step = TraceStep(tool.path, tool.facts.line, f"the model calls {tool.facts.qualname}")
        yield Problem(
            f"a tool reaches {use.call} with {use.name}, the credential of the whole process: it can do for one tenant what any may do",
            "use the tenant's own token, or call a service of yours that holds the credential and enforces the boundary",
            "medium",
            persona_of(use),
            facts=() if tool == view.function else (f"called by the tool {tool.facts.qualname}",),
            trace=() if tool == view.function else (step,),
        )


def tool_of(view: View) -> Function | None:
    """The tool that the function is, or that calls it."""
    return next((row for row in (view.function, *view.callers()) if row in view.analysis.tools), None)


def suspects(flow: FunctionFlow) -> bool:
    """Whether the flow saw such a credential."""
    return bool(flow.credentials)


def persona_of(use: CredentialUse) -> Persona:
    """Good evidence: the credential's name says that it may do more than one tenant's user, and nothing scopes the call."""
    if not PRIVILEGED.search(use.name):
        return "auditor"
    return "pedantic" if use.scoped else "regular"


RULE = Rule(
    code="BND504",
    name="shared-credential-in-tool",
    severity="warning",
    summary="a tool that calls an external service with a process-wide admin credential",
    visit={"Call": check_call},
    suspects=suspects,
)
