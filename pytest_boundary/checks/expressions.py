"""Filters that are written as text in the manner of Python: `tenant_id == "a" and kind in ["x"]` (milvus)."""

from __future__ import annotations

import ast
import re

from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other

STRING = r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
SIGNS = re.compile(rf"({STRING})|(&&)|(\|\|)|\b(AND|OR|NOT|IN)\b|(?<![=!<>])=(?!=)")
WORDS = {"&&": " and ", "||": " or "}


def translate(text: str | None) -> Filter:
    """The expression in the words of `pytest_boundary.checks.filters`. What cannot be read binds nothing."""
    if text is None or not text.strip():
        return NOTHING
    try:
        return _of(ast.parse(SIGNS.sub(_python, text).strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Other()


def _python(match: re.Match[str]) -> str:
    found = match[0]
    if match[1]:
        return found
    return WORDS.get(found) or ("==" if found == "=" else found.lower())


def _of(node: ast.expr) -> Filter:
    if isinstance(node, ast.BoolOp):
        parts = tuple(_of(value) for value in node.values)
        return All(parts) if isinstance(node.op, ast.And) else AnyOf(parts)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _compared(node.left, node.ops[0], node.comparators[0])
    return Other()


def _compared(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Filter:
    if isinstance(operator, ast.Eq):
        if not _field(left):
            left, right = right, left
        if _field(left) and isinstance(right, ast.Constant):
            return Equals(_field(left), (right.value,))
    if isinstance(operator, ast.In) and _field(left) and isinstance(right, (ast.List, ast.Tuple, ast.Set)):
        values = [item.value for item in right.elts if isinstance(item, ast.Constant)]
        if len(values) == len(right.elts):
            return Equals(_field(left), tuple(values))
    return Other()


def _field(node: ast.expr) -> str:
    """The name of a field, or of one inside of a JSON field: `meta["tenant_id"]`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        inner = str(node.slice.value)
        outer = _field(node.value)
        return f"{outer}.{inner}" if outer else ""
    return ""
