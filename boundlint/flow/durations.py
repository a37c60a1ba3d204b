"""How long a time to live is, where the source says it in numbers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

UNITS = {
    "weeks": 604800.0,
    "days": 86400.0,
    "hours": 3600.0,
    "minutes": 60.0,
    "seconds": 1.0,
    "milliseconds": 0.001,
}
OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
}
DEEPEST = 4  # names behind names


def seconds(flow: Flow, path: str, source: str) -> float | None:
    """The seconds that an expression of a file stands for; None where it is no constant."""
    try:
        node = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return _seconds(flow, path, node, DEEPEST)


def _seconds(flow: Flow, path: str, node: ast.expr | None, depth: int) -> float | None:
    if depth <= 0:
        return None
    if isinstance(node, ast.Constant):
        return float(node.value) if isinstance(node.value, (int, float)) else None
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = _seconds(flow, path, node.left, depth), _seconds(flow, path, node.right, depth)
        return None if left is None or right is None else OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("timedelta") and not node.args:
        rows = [(UNITS.get(row.arg or ""), _seconds(flow, path, row.value, depth)) for row in node.keywords]
        known = [unit * count for unit, count in rows if unit is not None and count is not None]
        return sum(known) if len(known) == len(rows) else None
    if isinstance(node, ast.Name):
        symbol = flow.project.resolve(path, node.id)
        if symbol is not None and symbol.kind == "variable":
            value = flow.shared_objects.variable(symbol.path, symbol.name)[1]
            return _seconds(flow, symbol.path, value, depth - 1)
    return None
