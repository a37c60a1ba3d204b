"""BND103: a model chooses the tenant, workspace or user that a tool acts for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.choosers import chosen
from boundlint.flow.claims import Claim
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.findings import Persona
    from boundlint.flow.view import View


def check_read(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a boundary from a tool's arguments that reaches an operation on customer data."""
    for claim in view.claims(node):
        if claim.who != "model":
            continue
        found = chosen(view, claim)
        tool = view.analysis.tools.get(claim.function)
        how = (
            "is hidden from the schema, yet a value that the model sends wins"
            if claim.overridable
            else "is filled by the model"
        )
        subject = (
            f"the parameter {claim.label} of the tool {claim.function.facts.qualname}"
            if claim.is_parameter
            else claim.source
        )
        yield Problem(
            f"{subject} {how} and chooses whose data {claim.target or 'it'} touches",
            "take it from the context that the framework injects beyond the model's reach, or from the session that the agent runs for",
            "high"
            if claim.queried and tool is not None and tool.certain
            else "medium"
            if claim.queried
            else "low",
            persona_of(claim, found.support, tool is not None and tool.certain),
            tool.operation if tool is not None else "",
            found.facts,
            claim.trace,
        )


def persona_of(claim: Claim, support: bool, certain: bool) -> Persona:
    """Good evidence: a declared tool, and a data access that the value reaches."""
    if support:
        return "auditor"
    if not claim.queried:
        return "pedantic" if claim.use != "nothing" and certain else "auditor"
    if claim.is_parameter and not certain:
        return "pedantic"
    return "regular"


RULE = Rule(
    code="BND103",
    name="model-chosen-boundary",
    severity="error",
    summary="a tenant, workspace or user chosen by the model: a tool's parameter or parsed output",
    visit={"Call": check_read, "Attribute": check_read, "Subscript": check_read, "Param": check_read},
)
