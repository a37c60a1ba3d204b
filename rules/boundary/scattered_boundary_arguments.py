"""BND102: the parts of a boundary travel side by side where one object would carry them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.vocabulary import CAMEL
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View
    from boundlint.index.facts import FunctionFacts

# The parts of a boundary, each under the names that it goes by.
PARTS = {
    "tenant": re.compile(
        r"^(?:current_)?(?:tenant|org|organi[sz]ation|company|account|customer)(?:_id|_uuid|_slug)?$"
    ),
    "workspace": re.compile(r"^(?:current_)?(?:workspace|team|project)(?:_id|_uuid|_slug)?$"),
    "user": re.compile(r"^(?:current_)?(?:user|owner|actor|principal|member|end_user)(?:_id|_uuid|_email)?$"),
    "role": re.compile(r"^(?:user_|member_|tenant_)?(?:role|roles|permissions|scopes)$"),
    "plan": re.compile(r"^(?:plan|tier|subscription)(?:_id|_name)?$"),
    "region": re.compile(r"^(?:region|data_region|residency)$"),
    "allowed tools": re.compile(r"^allowed_(?:tools|tool_names|data_sources|sources)$"),
    "memory namespace": re.compile(r"^(?:memory_)?namespace$"),
    "trace": re.compile(r"^(?:trace|correlation)_id$"),
}
LEAST = 3
CARRIES = re.compile(
    r"(?:Context|Boundary|Scope|Identity|Principal|Claims|Session|Auth\w*|Model|Schema|Request|Response|Event|Payload)$"
)


def parts_of(names: Iterable[str]) -> dict[str, str]:
    """The boundary parts among parameter names, with the first name of each."""
    found: dict[str, str] = {}
    for name in names:
        plain = CAMEL.sub("_", name.strip("_")).lower()
        for part, pattern in PARTS.items():
            if pattern.match(plain):
                found.setdefault(part, name)
    return found


def wants(facts: FunctionFacts) -> bool:
    """Whether a function takes enough parts to be looked at."""
    return len(facts.params) >= LEAST and len(parts_of(row.name for row in facts.params)) >= LEAST


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a function that takes three or more parts of a boundary side by side, once."""
    line = view.location(node).line
    qualname = view.function_at(line)
    function = view.analysis.project.functions(view.path).get(qualname)
    if (
        function is None
        or line not in (function.facts.line, function.facts.start)
        or SUPPORT_PATH.search(view.path)
    ):
        return
    facts = function.facts
    found = parts_of(row.name for row in facts.params)
    if len(found) < LEAST or view.analysis.entry(function) is not None:
        return  # the framework that calls an entry point fills its parameters one by one
    builds = facts.name in ("__init__", "__new__", "create", "build") or any(
        "classmethod" in row for row in facts.decorators
    )
    if facts.owner and builds and CARRIES.search(facts.owner.rpartition(".")[2]):
        return  # this is where the one object is made
    callers = view.analysis.callers(function)
    yield Problem(
        f"{facts.qualname} takes {', '.join(found.values())} side by side: {len(found)} parts of one boundary that every caller must keep together",
        "pass one frozen object that the server makes (see boundlint.boundary.AgentBoundary) instead of its parts",
        "high" if len(found) > LEAST else "medium",
        "pedantic",
        facts=tuple(f"called from {row.path}:{row.facts.line} {row.facts.qualname}" for row in callers[:2]),
    )


RULE = Rule(
    code="BND102",
    name="scattered-boundary-arguments",
    severity="note",
    summary="three or more parts of a boundary passed side by side instead of one object",
    visit={"FunctionDef": check_function},
    wants=wants,
)
