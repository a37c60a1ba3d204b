"""BND503: an access rule that only a prompt states, while the tool behind it enforces nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona, TraceStep
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import DATA_KINDS
from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Function
from boundlint.index.texts import ACCESS_RULE, kind_of
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

LONGEST = 90  # characters of a prompt quoted in a message


def check_text(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a prompt that says whose data a model may touch, beside a tool that lets it touch all."""
    text = text_of(node)
    if kind_of(text) != "access-rule" or SUPPORT_PATH.search(view.path) or is_part(node, view):
        return
    found = [(tool, hole) for tool in tools_near(view) if (hole := hole_of(tool, view))]
    if not found:
        return
    tool, hole = found[0]
    match = ACCESS_RULE.search(text)
    shown = " ".join((match[0] if match else text).split())[:LONGEST]
    yield Problem(
        f"only this prompt keeps the model to one tenant's data (“{shown}”): the tool {tool.facts.qualname} {hole}",
        "let the tool take the boundary from the server and put it into the access; the prompt may say it as well",
        "medium",
        persona_of(hole),
        facts=(f"tool: {tool.path}:{tool.facts.line} {tool.facts.qualname}",),
        trace=(TraceStep(tool.path, tool.facts.line, f"{tool.facts.qualname} {hole}"),),
    )


def text_of(node: cst.CSTNode) -> str:
    """The constant text of a string node."""
    import libcst as cst

    if isinstance(node, (cst.SimpleString, cst.ConcatenatedString)):
        value = node.evaluated_value
        if isinstance(value, str):
            return value
    if isinstance(node, cst.ConcatenatedString):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, cst.FormattedString):
        parts = (part.value if isinstance(part, cst.FormattedStringText) else "…" for part in node.parts)
        return "".join(parts)
    return ""


def is_part(node: cst.CSTNode, view: View) -> bool:
    """Whether a longer text holds this one, and is looked at as a whole."""
    import libcst as cst

    return any(
        isinstance(other, cst.ConcatenatedString) and node in (other.left, other.right)
        for other in view.positions
    )


def tools_near(view: View) -> list[Function]:
    """The tools that a prompt may be about: itself where it is a tool's, else those of its module and imports."""
    tools = view.analysis.tools
    if view.function in tools:
        return [view.function]
    imported = set(view.analysis.project.files[view.path].imports)
    return [tool for tool in tools if tool.path == view.path or tool.facts.name in imported]


def hole_of(tool: Function, view: View) -> str:
    """How a tool reaches customers' data unscoped; "" where it does not, or nothing is known."""
    flow = view.analysis.flow_of(view.analysis.outermost(tool))
    if flow is None:
        return ""
    for lookup in flow.lookups:
        if lookup.open:
            return f"loads {lookup.record} by {lookup.ids[0]} alone"
    for access in flow.accesses:
        if access.operation.kind not in DATA_KINDS or view.usage(access) not in ("customer", "resource"):
            continue
        if access.verdict in ("unscoped", "open") and access.confidence != "low":
            return f"calls {access.operation.target} with no boundary"
    if flow.reach or view.analysis.tools[tool].hidden or not flow.lookups:
        return ""
    return f"queries {flow.lookups[0].model} and holds no boundary"


def wants(facts: FunctionFacts) -> bool:
    """Whether a function holds a text that reads like an access rule."""
    return "access-rule" in facts.texts


def persona_of(hole: str) -> Persona:
    """Good evidence: the tool's own access to data is open."""
    return "pedantic" if hole.startswith("queries") else "regular"


RULE = Rule(
    code="BND503",
    name="prompt-as-permission",
    severity="warning",
    summary="an access rule that lives in prompt text while the tool behind it does not enforce it",
    visit={"SimpleString": check_text, "ConcatenatedString": check_text, "FormattedString": check_text},
    wants=wants,
    only_wanted=True,
)
