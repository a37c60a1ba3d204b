"""Source text to a CPython syntax tree, with newer grammars and hostile depth. Changes with the grammar."""

from __future__ import annotations

import ast
import warnings
from typing import Any

MOST_LEVELS = (
    500  # of nesting; the native parsers and every recursive visitor behind them stay far from the edge
)

_FEW_LINES = 4  # of a statement, none of them long: not worth a look
_NESTING = ".([{+-*/%@&|^~<=:!"
_TRY = frozenset({ast.Try, getattr(ast, "TryStar", ast.Try)})  # `except*` is new in Python 3.11
_BRANCHING = _TRY | {ast.If, ast.For, ast.AsyncFor, ast.While}
_DECORATED = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef})
_COMPOUND = _BRANCHING | _DECORATED | {ast.With, ast.AsyncWith, ast.ExceptHandler}


class ParseError(Exception):
    """The source cannot be turned into a tree; `line` counts from 1, `message` is one line for a person."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message

    def __reduce__(self) -> tuple[type[ParseError], tuple[int, str]]:
        return ParseError, (self.line, self.message)


def parse_module(source: str) -> ast.Module:
    """The tree of a module, with the line numbers of `source`.

    Syntax newer than the running interpreter is accepted as far as the installed LibCST knows it, and comes
    back as the nearest older syntax (see `boundlint.index.newer_syntax`).  Raises ParseError where no known
    grammar accepts the source, or where it nests deeper than `MOST_LEVELS`.
    """
    tree = parse_again(source)
    _check_depth(source.removeprefix("\ufeff"), tree)
    return tree


def parse_again(source: str) -> ast.Module:
    """The tree of a module, or of a part of one, that `parse_module` accepts: its depth is not measured again."""
    source = source.removeprefix("\ufeff")
    try:
        return parse_native(source)
    except ParseError as error:
        if not isinstance(error.__cause__, SyntaxError):
            raise
        from boundlint.index.newer_syntax import parse_newer  # a second parser, for few files

        return parse_newer(source, error)


def parse_native(source: str) -> ast.Module:
    """The tree by the running interpreter's own grammar; raises ParseError with the original as its cause."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except SyntaxError as error:
        line = error.lineno or 1
        raise ParseError(max(1, line), f"syntax error: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise ParseError(1, "the code is nested too deeply to be analyzed") from error
    except ValueError as error:  # zero bytes, lone surrogates
        raise ParseError(_line_of_odd_character(source), f"not valid source text: {error}") from error
    except (OverflowError, SystemError) as error:
        raise ParseError(1, f"the parser gave up: {error}") from error


def _line_of_odd_character(source: str) -> int:
    for number, line in enumerate(source.split("\n"), 1):
        if "\0" in line or any("\ud800" <= character <= "\udfff" for character in line):
            return number
    return 1


def _check_depth(source: str, tree: ast.Module) -> None:
    """Raise ParseError where the tree nests deeper than `MOST_LEVELS`.

    An expression takes at least one character a level, so only long statements, which are few, are measured.
    This runs over every statement of a project: it is written for speed.
    """
    lines = source.split("\n")
    few = -1 if len(max(lines, key=len)) >= MOST_LEVELS else _FEW_LINES
    row: list[Any] = list(tree.body)  # all statements of one level
    level = 1
    while row:
        if level > MOST_LEVELS:  # `elif` chains nest in the tree and not in the text
            raise _too_deep(row[0].lineno)
        below: list[Any] = []
        for node in row:
            kind = node.__class__
            first = node.lineno
            if kind in _COMPOUND:
                below += node.body
                if kind in _BRANCHING:
                    below += node.orelse
                if kind in _TRY:
                    below += node.handlers
                    below += node.finalbody
                elif kind in _DECORATED and node.decorator_list:
                    first = node.decorator_list[0].lineno
                last = node.body[0].lineno  # the expressions of a compound statement stand before its body
            elif kind is ast.Match:
                for case in node.cases:
                    below += case.body
                    _measure(case, level)
                last = first
            else:
                last = node.end_lineno
            if last - first > few and _is_dense(lines[first - 1 : last]):
                _measure(node, level)
        row = below
        level += 1


def _is_dense(lines: list[str]) -> bool:
    """Whether the text has what half of the deepest nesting takes: an operator, opener or word a level."""
    text = "\n".join(lines)
    return len(text.split()) + sum(map(text.count, _NESTING)) >= MOST_LEVELS // 2


def _measure(node: ast.AST, level: int) -> None:
    """Raise ParseError where one statement, without the statements in it, nests too deeply."""
    stack = [(node, level)]
    while stack:
        node, level = stack.pop()
        if level > MOST_LEVELS:
            raise _too_deep(getattr(node, "lineno", 1))
        stack.extend(
            (child, level + 1)
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case))
        )


def _too_deep(line: int) -> ParseError:
    return ParseError(line, f"the code nests deeper than {MOST_LEVELS} levels and cannot be analyzed")
