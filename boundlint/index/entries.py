"""Where control comes in from outside: routes, tools that a model calls, jobs. Told by the decorators."""

from __future__ import annotations

import re
from typing import Literal

from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Class, Function, Project

Entry = Literal["route", "tool", "job"]
ROUTE = re.compile(
    r"(?:^|\.)(?:get|post|put|patch|delete|head|options|websocket|route|api_route|api_view|action|view)\(|(?:^|_)route\b"
)
TOOL = re.compile(
    r"(?:^|[._])(?:tool|function_tool|tool_plain|kernel_function|ai_function|resource|prompt)(?:\(|$)"
)
JOB = re.compile(
    r"(?:^|[._])(?:task|shared_task|actor|job|periodic_task|activity\.defn|workflow\.defn|background_task|on_event|cron)(?:\(|$)"
)


VIEW_CLASS = re.compile(r"(?:View|ViewSet|Endpoint|Resource|Controller|APIView|MethodView|Handler|Api|API)$")
VIEW_METHODS = frozenset(
    "get post put patch delete list retrieve create update partial_update destroy".split()
)
PRIVILEGED = re.compile(
    r"admin|superuser|super_user|internal|webhook|callback|public|shared?(?![a-z])|health|metrics|inner_api|staff|system|license|service_account"
)
ADMINISTRATOR = re.compile(r"admin(?!istration)|superuser|super_user|staff")
ADMINISTRATOR_CHECK = re.compile(
    r"^_?(?:require|ensure|check|verify|assert|validate|enforce)_(?:\w+_)?(?:admin|superuser|super_user|staff)(?:_|$)"
)


def entry_point(project: Project, function: Function) -> Entry | None:
    """Like `entry_of`, and knows the methods of view classes."""
    found = entry_of(function.facts)
    if found is None and function.facts.owner and function.facts.name in VIEW_METHODS:
        owner = project.classes(function.path).get(function.facts.owner)
        rows = project.ancestors(owner) if owner is not None else ()
        names = [(row.facts.qualname if isinstance(row, Class) else row).rpartition(".")[2] for row in rows]
        if any(VIEW_CLASS.search(name) for name in names):
            return "route"
    return found


def may_enter(facts: FunctionFacts) -> bool:
    """Whether a function could be an entry point; cheap, and true of many that are none."""
    return bool(facts.decorators) or facts.name in VIEW_METHODS


def is_privileged(function: Function) -> bool:
    """Whether an entry point is for administrators, other services or the public.

    Told by its path and names, by a dependency that lets administrators in only, or by a check in its body.
    """
    facts = function.facts
    text = " ".join((function.path, facts.qualname, *facts.decorators)).lower()
    injected = " ".join(f"{row.annotation} {row.default or ''}" for row in facts.params).lower()
    return (
        bool(PRIVILEGED.search(text))
        or bool(ADMINISTRATOR.search(injected))
        or any(ADMINISTRATOR_CHECK.search(call.rpartition(".")[2]) for call in facts.calls)
    )


def entry_of(facts: FunctionFacts) -> Entry | None:
    """What kind of entry point a function is; None for one that only code calls."""
    for decorator in facts.decorators:
        if ROUTE.search(decorator):
            return "route"
        if TOOL.search(decorator):
            return "tool"
        if JOB.search(decorator):
            return "job"
    return None
