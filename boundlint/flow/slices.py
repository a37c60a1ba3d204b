"""Syntax trees of single functions, cut from the source by the spans that the index knows.

Cutting costs a fraction of parsing the whole file again, and a run needs a tenth of the functions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import TypeVar, Union

from boundlint.index.parse import ParseError, parse_again
from boundlint.index.project import Class, Function, Project

MOST_KEPT = 256  # sources, functions and modules each: those of the file that is judged are asked for again
Key = TypeVar("Key")
Tree = TypeVar("Tree")
FunctionNode = Union[ast.FunctionDef, ast.AsyncFunctionDef]  # noqa: UP007 -- Python 3.10 evaluates it


class Slices:
    """Cuts and parses; `read` gives the text of a root-relative path, None when it is gone."""

    def __init__(self, project: Project, read: Callable[[str], str | None]) -> None:
        self._project = project
        self._read = read
        self._lines: dict[str, list[str]] = {}
        self._functions: dict[Function, FunctionNode | None] = {}
        self._modules: dict[str, list[ast.stmt]] = {}

    def function(self, function: Function) -> FunctionNode | None:
        """The tree of a function, lines and columns as in the file; None when it is gone."""
        if function not in self._functions:
            _keep(self._functions, function, self._cut(function))
        return self._functions[function]

    def module(self, path: str) -> ast.Module | None:
        """The tree of a whole file; None when it is gone."""
        return _parse(self._source(path), 1)

    def _cut(self, function: Function) -> FunctionNode | None:
        facts = function.facts
        lines = self._source(function.path)[facts.start - 1 : facts.end]
        tree = _parse(lines, facts.start)
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.lineno == facts.line:
                return node
        return None

    def module_statements(self, path: str) -> list[ast.stmt]:
        """The statements of a module outside of its functions and classes."""
        if path not in self._modules:
            _keep(self._modules, path, self._cut_module(path))
        return self._modules[path]

    def _cut_module(self, path: str) -> list[ast.stmt]:
        facts = self._project.files[path]
        spans = [(row.start, row.end) for row in facts.functions if row.qualname]
        spans += [(row.line, row.end) for row in facts.classes]
        tree = _parse(_without(self._source(path), 1, spans), 1)
        return tree.body if tree is not None else []

    def class_statements(self, cls: Class) -> list[ast.stmt]:
        """The statements in a class body outside of its methods and inner classes."""
        facts = cls.facts
        inside = f"{facts.qualname}."
        rows = self._project.files[cls.path]
        spans = [(row.start, row.end) for row in rows.functions if row.qualname.startswith(inside)]
        spans += [(row.line, row.end) for row in rows.classes if row.qualname.startswith(inside)]
        lines = self._source(cls.path)[facts.line - 1 : facts.end]
        tree = _parse(_without(lines, facts.line, spans), facts.line)
        if tree is None:
            return []
        return next((node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef)), [])

    def _source(self, path: str) -> list[str]:
        known = self._lines.get(path)
        if known is None:
            known = (self._read(path) or "").split("\n")
            _keep(self._lines, path, known)
        return known


def _keep(known: dict[Key, Tree], key: Key, tree: Tree) -> None:
    """Remember one more tree, and forget the oldest where there are enough."""
    if len(known) >= MOST_KEPT:
        del known[next(iter(known))]
    known[key] = tree


def _without(lines: list[str], first: int, spans: Iterable[tuple[int, int]]) -> list[str]:
    """The lines with those of the spans replaced by `pass`, which keeps blocks whole; `first` is their number."""
    kept = list(lines)
    for start, end in spans:
        row = start - first
        if not 0 <= row < len(kept):
            continue
        text = kept[row]
        kept[row] = text[: len(text) - len(text.lstrip())] + "pass"
        for index in range(row + 1, min(end - first + 1, len(kept))):
            kept[index] = ""
    return kept


def _parse(lines: list[str], first: int) -> ast.Module | None:
    """Parse lines that begin at line `first`; indented ones are put under an `if`."""
    head = next((line for line in lines if line.strip()), "")
    text = "\n".join(lines)
    try:
        if head[:1].isspace() and first > 1:
            tree = parse_again("\n" * (first - 2) + "if True:\n" + text + "\n")
            statement = tree.body[0]
            return ast.Module(statement.body, []) if isinstance(statement, ast.If) else tree
        return parse_again("\n" * (first - 1) + text + "\n")
    except ParseError:
        return None
