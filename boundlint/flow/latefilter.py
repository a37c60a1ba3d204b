"""A filter that was handed over as a copy and is extended afterwards: the copy never learns of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence, Set

from boundlint.flow.values import Oddity

FILTER_KEYWORD = re.compile(r"(?:^|_)(?:filters?|where|query|conditions?|predicate)$")
COPIES = frozenset({"to_dict", "copy", "model_dump", "dict", "build", "deepcopy", "dumps"})
EXTENDS = frozenset({"append", "extend", "update", "add", "insert", "setdefault"})

# Parts of a query that order or decorate what is found and keep nothing out.
RANKING = frozenset(
    {"should", "boost", "sort", "aggs", "aggregations", "highlight", "suggest", "rescore", "fields"}
)


def may_be_late(names: Set[str]) -> bool:
    """Whether a function that mentions these names can hold such a copy; most can not."""
    copied = not COPIES.isdisjoint(names) or not {"dict", "list", "tuple"}.isdisjoint(names)
    return copied and any(map(FILTER_KEYWORD.search, names))


def late_filters(body: Sequence[ast.stmt]) -> Iterable[Oddity]:
    """Copies of a filter passed to a call before a later statement of the function extends it, and it is used again."""
    handed = [row for statement in body for row in _handed(statement)]
    if not handed:
        return
    nodes = [node for statement in body for node in ast.walk(statement)]
    extended = [row for node in nodes if (row := _extended(node)) is not None]
    for name, call in handed:
        end = call.end_lineno or call.lineno
        later = [line for other, line in extended if other == name and line > end]
        if not later or _in_one_loop(body, call.lineno, later[0]):
            continue
        again = any(
            isinstance(node, ast.Name)
            and node.id == name
            and isinstance(node.ctx, ast.Load)
            and node.lineno > later[-1]
            for node in nodes
        )
        if again:
            yield Oddity(
                "late-filter",
                call.lineno,
                call.col_offset,
                end,
                call.end_col_offset or call.col_offset,
                f"`{name}` is copied into this call and extended only in line {later[0]}",
            )


def _handed(statement: ast.stmt) -> Iterable[tuple[str, ast.Call]]:
    """The filters that calls are given as copies: `search(filter=query.to_dict())`."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg and FILTER_KEYWORD.search(keyword.arg) and (name := _copied(keyword.value)):
                    yield name, node


def _copied(node: ast.expr) -> str:
    """The variable that an expression copies, "" for any other one."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute) and node.func.attr in COPIES:
        source: ast.expr = node.func.value if not node.args else node.args[0]
    elif (
        isinstance(node.func, ast.Name)
        and node.func.id in ("dict", "list", "tuple", "deepcopy", "copy")
        and node.args
    ):
        source = node.args[0]
    else:
        return ""
    return source.id if isinstance(source, ast.Name) else ""


def _extended(node: ast.AST) -> tuple[str, int] | None:
    """The variable that a node extends, and its line."""
    target: ast.expr | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in EXTENDS:
        target = node.func.value
    elif isinstance(node, (ast.Assign, ast.AugAssign)):
        first = node.targets[0] if isinstance(node, ast.Assign) else node.target
        target = first if isinstance(first, (ast.Subscript, ast.Attribute)) else None
    while isinstance(target, (ast.Attribute, ast.Subscript)):
        if _part(target) in RANKING:
            return None
        target = target.value
    return (
        (target.id, node.lineno)
        if isinstance(target, ast.Name) and isinstance(node, (ast.expr, ast.stmt))
        else None
    )


def _part(node: ast.Attribute | ast.Subscript) -> str:
    """The part of a query that an attribute or a constant key names."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return (
        node.slice.value if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str) else ""
    )


def _in_one_loop(body: Sequence[ast.stmt], first: int, second: int) -> bool:
    """Whether one loop holds both lines: its next round passes what the last one added."""
    return any(
        isinstance(node, (ast.For, ast.AsyncFor, ast.While))
        and node.lineno <= first
        and second <= (node.end_lineno or node.lineno)
        for statement in body
        for node in ast.walk(statement)
    )
