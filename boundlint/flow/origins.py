"""The body of one function as a list of nodes, and where its local variables come from."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from boundlint.index.nodes import children
from boundlint.index.project import Function, Project

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
OWN_SCOPE = (*FUNCTION, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class Origins:
    """The assignments in a function's body, nested functions left out; `outer` is the function around it."""

    given: dict[str, list[tuple[int, ast.expr]]] = field(default_factory=dict)
    looped: dict[str, ast.expr] = field(default_factory=dict)
    params: frozenset[str] = frozenset()
    outer: Origins | None = None

    def of(self, name: str, line: int) -> ast.expr | None:
        """The latest expression that a variable was given above a line; None where it was given none."""
        rows = [row for row in self.given.get(name, ()) if row[0] < line]
        if rows:
            return rows[-1][1]
        if name in self.params or name in self.looped or self.outer is None:
            return None
        return self.outer.of(name, 1 << 30)

    def elements_of(self, name: str) -> ast.expr | None:
        """The iterable that a loop variable runs over."""
        if name in self.looped:
            return self.looped[name]
        return self.outer.elements_of(name) if self.outer is not None and name not in self.params else None

    def is_param(self, name: str) -> bool:
        """Whether a name is a parameter of the function or of one around it."""
        if name in self.params:
            return True
        return self.outer is not None and name not in self.given and self.outer.is_param(name)

    def binds(self, name: str) -> bool:
        """Whether the function or one around it binds the name in any way."""
        return (
            name in self.params
            or name in self.given
            or name in self.looped
            or (self.outer is not None and self.outer.binds(name))
        )


@dataclass(frozen=True)
class Body:
    """A function's body: its nodes without those of nested functions, its assignments, the functions inside."""

    function: Function
    nodes: tuple[ast.AST, ...]
    known: Origins
    inner: tuple[Body, ...]


def read_body(
    project: Project, function: Function, statements: Sequence[ast.stmt], outer: Origins | None = None
) -> Body:
    """Read a function's body, and those of the functions nested in it."""
    nodes = tuple(within(statements))
    known = _origins(nodes, frozenset(param.name for param in function.facts.params), outer)
    inner = []
    for node in nodes if function.facts.qualname else ():
        if isinstance(node, FUNCTION):
            nested = project.functions(function.path).get(f"{function.facts.qualname}.{node.name}")
            if nested is not None:
                inner.append(read_body(project, nested, node.body, known))
    return Body(function, nodes, known, tuple(inner))


def _origins(nodes: Sequence[ast.AST], params: frozenset[str], outer: Origins | None) -> Origins:
    """Collect the assignments among the nodes of a body, in source order."""
    found = Origins({}, {}, params, outer)
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _give(found, target, node.value, node.lineno)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            _give(found, node.target, node.value, node.lineno)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if item.optional_vars is not None:
                    _give(found, item.optional_vars, item.context_expr, node.lineno)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            targets = node.target.elts if isinstance(node.target, (ast.Tuple, ast.List)) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found.looped[target.id] = node.iter
    for rows in found.given.values():
        rows.sort(key=lambda row: row[0])
    return found


def _give(found: Origins, target: ast.expr, value: ast.expr, line: int) -> None:
    if isinstance(target, ast.Name):
        found.given.setdefault(target.id, []).append((line, value))
    elif isinstance(target, (ast.Tuple, ast.List)):
        parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        for index, item in enumerate(target.elts):
            _give(found, item, parts[index] if len(parts) == len(target.elts) else value, line)
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        found.given.setdefault(f"{target.value.id}.{target.attr}", []).append((line, value))


def within(statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """All nodes below the statements, without the bodies of nested functions, classes and lambdas."""
    stack: list[ast.AST] = list(reversed(statements))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, OWN_SCOPE):
            stack.extend(reversed(children(node)))
