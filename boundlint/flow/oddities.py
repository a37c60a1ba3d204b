"""Code that does not scope as it seems to, noticed while the flow passes it: see `Oddity`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from boundlint.flow.values import HOLE, Oddity, OddityKind, PostFilter, Value, origins
from boundlint.index.extract import path_of
from boundlint.index.nodes import span_of

if TYPE_CHECKING:
    from boundlint.flow.interpret import Interpreter
    from boundlint.index.vocabulary import Vocabulary

LOGGED_TEXT = 80  # characters of source quoted in a message
FILTER_NAME = re.compile(r"(?:^|_)(?:filters?|where|conditions?|criteria|predicate)$")
SHORT_DIGEST = 12  # hex digits (48 bits): by the birthday bound, two of some 16 million boundaries collide


def oddity(kind: OddityKind, node: ast.expr | ast.stmt, source: str = "") -> Oddity:
    """What is odd at a node; `source` is what the message quotes, without it the node itself."""
    return Oddity(kind, *span_of(node), source or ast.unparse(node)[:LOGGED_TEXT])


def prefix_match(node: ast.Call, argument: Value) -> Oddity | None:
    """`key.startswith(tenant_id)`, `column.like(f"{tenant_id}%")`: `acme` also matches `acme-2`."""
    if not isinstance(node.func, ast.Attribute) or not argument.carriers:
        return None
    text = argument.text if argument.text is not None else HOLE
    open_end = (node.func.attr == "startswith" and text.endswith(HOLE)) or (
        node.func.attr in ("like", "ilike") and text.endswith(HOLE + "%")
    )
    return oddity("prefix-match", node) if open_end else None


def lost_conditions(node: ast.Call) -> list[Oddity]:
    """`filter(A.x == 1 and B.y == 2)`: Python keeps one of the comparisons only."""
    if path_of(node.func).rpartition(".")[2] not in ("filter", "where", "having", "and_", "or_"):
        return []
    return [
        oddity("boolean-operator", argument, ast.unparse(argument))
        for argument in node.args
        if _loses_a_condition(argument)
    ]


def short_digest(vocabulary: Vocabulary, node: ast.Subscript) -> Oddity | None:
    """`sha256(tenant_id).hexdigest()[:8]`: two boundaries may have the same one."""
    part = node.slice
    if not isinstance(part, ast.Slice) or part.lower is not None or not isinstance(part.upper, ast.Constant):
        return None
    length = part.upper.value
    named = {getattr(row, "id", getattr(row, "attr", "")) for row in ast.walk(node.value)}
    of_boundary = any(name and vocabulary.is_strict(name) for name in named)
    short = isinstance(length, int) and 0 < length < SHORT_DIGEST
    return oddity("truncated-digest", node) if short and of_boundary else None


def post_filters(run: Interpreter, test: ast.expr) -> Iterator[PostFilter]:
    """The comparisons in a condition of a retrieved element's boundary with the boundary at hand."""
    for node in ast.walk(test) if run.accesses else ():
        if not isinstance(node, ast.Compare) or len(node.comparators) != 1:
            continue
        if not isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.In, ast.NotIn)):
            continue
        sides = (node.left, node.comparators[0])
        for element, boundary in (sides, sides[::-1]):
            label = _label(element)
            named = bool(label) and run.vocabulary.level(label) is not None
            if not named and not _is_computed_item(element):
                continue
            value, other = run.value(element), run.value(boundary)
            came_from = origins(value)
            filters = {name for name in value.params & other.params if FILTER_NAME.search(name)}
            if not came_from or origins(other) & came_from or not (other.carriers if named else filters):
                continue
            for access in run.accesses.values():
                if (
                    f"from@{access.line}:{access.column}" in came_from
                    and access.operation.kind == "retrieval"
                    and (named or not filters & access.scope.params)
                ):
                    yield PostFilter(access, node.lineno, node.col_offset, ast.unparse(node)[:LOGGED_TEXT])


def _label(node: ast.expr) -> str:
    """The name under which an element holds a part: `r.metadata["tenant_id"]` or `r.get("tenant_id")`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value if isinstance(node.slice.value, str) else ""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
    ):
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
        return _label(node.args[0])
    return ""


def _is_computed_item(node: ast.expr) -> bool:
    """`payload[key]`, `payload.get(key)`: an item whose name is that of a condition in a filter."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Name)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and bool(node.args)
        and isinstance(node.args[0], ast.Name)
    )


def _is_column_test(node: ast.expr) -> bool:
    """`Model.column == x`: a comparison whose left side is an attribute of a capitalized name."""
    return isinstance(node, ast.Compare) and _is_column(node.left)


def _loses_a_condition(node: ast.expr) -> bool:
    """Whether Python evaluates what was meant for the database: `A.x == 1 and A.y`, `not A.x`, `A.x is None`."""
    if isinstance(node, ast.BoolOp):
        return sum(_is_column_test(part) for part in node.values) >= 2
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _is_column(node.operand)
    return (
        isinstance(node, ast.Compare)
        and _is_column(node.left)
        and isinstance(node.ops[0], (ast.Is, ast.IsNot, ast.In, ast.NotIn))
    )


def _is_column(node: ast.expr) -> bool:
    """`Model.column`: an attribute in lower case of a capitalized name."""
    if not isinstance(node, ast.Attribute) or not node.attr.islower():
        return False
    base = node.value
    return isinstance(base, ast.Name) and base.id[:1].isupper() and not base.id.isupper()
