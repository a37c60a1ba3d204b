"""BND206: a scoped key spelled out where the project has a function that makes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona, TraceStep
from boundlint.flow.builders import head_of, is_builder
from boundlint.flow.evidence import confidence_of, shown_key
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import DATA_KINDS, Access, FunctionFlow
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

KEY = ("key", "namespace", "thread", "session", "collection")
SPELLED_OUT = re.compile(r"^[rR]?[fF]['\"]|['\"] \+ |\.format\(|['\"] % |['\"]\.join\(")


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a key made in place whose beginning is that of a key builder's keys."""
    if SUPPORT_PATH.search(view.path) or is_builder(view.function):
        return
    for access in view.accesses(node):
        if not is_scoped_by_key(access) or not is_spelled_out(access):
            continue
        maker = view.analysis.key_builders.maker_of(access.function, access.value_of(*KEY).text or "")
        if maker is None:
            continue
        step = TraceStep(maker.path, maker.facts.line, f"{maker.facts.qualname} makes keys of this kind")
        yield Problem(
            f"{access.operation.target} builds {shown_key(access)} by hand; {maker.facts.qualname} makes such keys",
            f"call {maker.facts.qualname}, so that every reader and writer agrees on the boundary in the key",
            confidence_of(access, True),
            persona_of(access),
            access.operation.target,
            (f"key builder: {maker.path}:{maker.facts.line} {maker.facts.qualname}",),
            (step,),
        )


def is_scoped_by_key(access: Access) -> bool:
    """Whether the key itself carries the boundary, behind a constant beginning."""
    key = access.value_of(*KEY)
    return (
        access.operation.kind in DATA_KINDS
        and not access.via
        and bool(key.carriers)
        and bool(head_of(key.text or ""))
    )


def is_spelled_out(access: Access) -> bool:
    """Whether the key is made in this function: at the call, or in a variable of it."""
    source = access.source_of(*KEY)
    if source.isidentifier():
        return "?" in access.function.facts.assigned.get(source, ())
    return bool(SPELLED_OUT.search(source))


def suspects(flow: FunctionFlow) -> bool:
    """Whether the flow saw a scoped key that is made in place."""
    return any(is_scoped_by_key(access) and is_spelled_out(access) for access in flow.accesses)


def persona_of(access: Access) -> Persona:
    """Good evidence: the operation is known for sure."""
    return "auditor" if access.confidence == "low" else "pedantic"


RULE = Rule(
    code="BND206",
    name="hand-built-namespace",
    severity="note",
    summary="a scoped key built inline where the project has a key builder",
    visit={"Call": check_call},
    suspects=suspects,
)
