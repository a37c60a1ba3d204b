"""BND106: the principal is accepted, or held, and never reaches the data access."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.flow.bystanders import may_stand_by
from boundlint.flow.records import is_support
from boundlint.flow.unused import held_and_unused, taken_and_unused
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.queries import Lookup
    from boundlint.flow.view import View

VALIDATES = re.compile(r"^_?(?:is_valid|validate|get_queryset|check_\w+|authori[sz]e)$")


def check_function(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a function that has a boundary, does not use it, and queries a customers' model without one."""
    facts = view.function.facts
    if view.location(node).line not in (facts.line, facts.start):
        return
    found = view.analysis.bystanders.of(view.function)
    if found is not None and not any(
        row.open and found.identifier in row.ids for row in view.flow.lookups
    ):  # BND501 tells where it is
        yield Problem(
            f"{facts.qualname} is called by `{found.principal}`, whom it never asks: `{found.identifier}` may be anybody's",
            f"check that what `{found.identifier}` names belongs to `{found.principal}`, as the routes beside do",
            "high" if found.same_id else "medium",
            "regular",
            "",
            (found.fact,),
            found.examples,
        )
        return
    bare = [
        row for row in view.flow.lookups if row.bare and not row.by_id and not row.via and not row.created
    ]
    if not bare:
        return
    name, evidence = taken_and_unused(view) or held_and_unused(view) or ("", "")
    if not name:
        return
    query = bare[0]
    yield Problem(
        f"{facts.qualname} has `{name}` and never uses it: {query.call} touches {query.model} rows of every tenant",
        f"compare {name} in the query",
        "medium",
        "auditor" if is_support(view) or is_checked_elsewhere(view, query, name) else "regular",
        "",
        (evidence, f"{query.model} is a customers' model: {query.statement[:80]}"),
    )


def is_override(view: View) -> bool:
    """Whether a base class of the project asks for the method, and so for its parameters."""
    function, project = view.function, view.analysis.project
    owner = view.analysis.receivers.owner(function)
    bases = project.ancestors(owner)[1:] if owner is not None else ()
    names = (f"{row.facts.qualname}.{function.facts.name}" for row in bases if not isinstance(row, str))
    paths = (row.path for row in bases if not isinstance(row, str))
    return any(name in project.functions(path) for name, path in zip(names, paths, strict=True))


def is_checked_elsewhere(view: View, query: Lookup, name: str) -> bool:
    """Whether the base query, a check of the whole request or another part of the boundary may have narrowed it."""
    if query.correlated or query.call.endswith("get_queryset") or is_override(view):
        return True
    facts = view.function.facts
    if any(VALIDATES.match(call.rpartition(".")[2]) for call in facts.calls):
        return True
    own = name.removeprefix("self.").removesuffix("()")
    vocabulary = view.analysis.vocabulary
    return any(vocabulary.is_strict(word) and word != own for word in facts.names.split())


RULE = Rule(
    code="BND106",
    name="unused-boundary-parameter",
    severity="warning",
    summary="the principal is accepted and never reaches the data access",
    visit={"FunctionDef": check_function},
    wants=may_stand_by,
)
