"""Where the nodes of a LibCST tree stand, without asking LibCST, which writes the whole source again to tell.

CPython's parser gives positions for nothing.  Both trees are walked in source order, and the n-th call of one
is the n-th call of the other.  Where the counts differ, or for other kinds of nodes, LibCST is asked after
all.  Changes when either grammar does.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from boundlint.findings import Location
from boundlint.index.nodes import children
from boundlint.index.parse import ParseError, parse_again

if TYPE_CHECKING:
    import libcst as cst

Place = tuple[int, int, int, int]  # line and column, end line and column; lines from 1, columns from 0
KINDS: dict[type[ast.AST], str] = {
    ast.Call: "Call",
    ast.FunctionDef: "FunctionDef",
    ast.AsyncFunctionDef: "FunctionDef",
    ast.Compare: "Comparison",
    ast.BoolOp: "BooleanOperation",
    ast.UnaryOp: "UnaryOperation",
    ast.Subscript: "Subscript",
    ast.Attribute: "Attribute",
    ast.Assign: "Assign",
    ast.AnnAssign: "AnnAssign",
    ast.AugAssign: "AugAssign",
    ast.IfExp: "IfExp",
    ast.Dict: "Dict",
    ast.Return: "Return",
    ast.arg: "Param",
}
PAIRED = frozenset(KINDS.values())
# Fields of LibCST nodes in source order, where the class lists them in another.
ORDER = {
    "FunctionDef": ("decorators", "name", "type_parameters", "params", "returns", "body"),
    "ClassDef": ("decorators", "name", "type_parameters", "bases", "keywords", "body"),
    "IfExp": ("body", "test", "orelse"),
    "ExceptHandler": ("type", "name", "body"),
    "ExceptStarHandler": ("type", "name", "body"),
    "MatchCase": ("pattern", "guard", "body"),
    "Parameters": ("posonly_params", "params", "star_arg", "kwonly_params", "star_kwarg"),
    "Import": (),
    "ImportFrom": (),
}
LEAVES = frozenset(
    "comma semicolon lpar rpar lbracket rbracket lbrace rbrace equal colon dot star operator indent header footer "
    "leading_lines lines_after_decorators trailing_whitespace asynchronous await_ first_colon second_colon "
    "posonly_ind keyword newline empty_lines last_line separator".split()
)


class Positions(Mapping["cst.CSTNode", Location]):
    """Where the nodes of a piece of a file stand in it.

    `tree` and `source` are the piece, which begins at line `offset` + 1 of the file.  An `if` `around` the
    piece, its test and its block are none of its nodes.
    """

    def __init__(self, tree: cst.Module, source: str, path: str, offset: int, around: bool = False) -> None:
        self.nodes = list(walk(tree))[4 if around else 0 :]
        self._lines = source.split("\n")
        self._tree = tree
        self._path = path
        self._offset = offset
        self._paired = _pair(self.nodes, source)
        self._asked: Mapping[cst.CSTNode, Place] | None = None

    def place(self, node: cst.CSTNode) -> Place:
        """Where a node stands in the piece.  Raises KeyError for what is no node of the tree."""
        known = self._paired.get(id(node))
        if known is not None:
            return known
        if self._asked is None:
            self._asked = _by_libcst(self._tree)
        return self._asked[node]

    def __getitem__(self, node: cst.CSTNode) -> Location:
        line, column, end_line, end_column = self.place(node)
        return Location(self._path, line + self._offset, column + 1, end_line + self._offset, end_column + 1)

    def in_bytes(self, node: cst.CSTNode) -> Place:
        """Where a node stands in the file, with columns in UTF-8 bytes from 0, as the flow counts."""
        return in_bytes(self[node], self._lines, self._offset)

    def __iter__(self) -> Iterator[cst.CSTNode]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)


def in_bytes(place: Location, lines: Sequence[str], offset: int = 0) -> Place:
    """A place with columns in UTF-8 bytes from 0; `lines` begin after line `offset` of the file."""
    first, last = lines[place.line - 1 - offset], lines[place.end_line - 1 - offset]
    start, end = place.column - 1, place.end_column - 1
    return (
        place.line,
        start if first.isascii() else len(first[:start].encode("utf-8", "surrogatepass")),
        place.end_line,
        end if last.isascii() else len(last[:end].encode("utf-8", "surrogatepass")),
    )


def walk(tree: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """The nodes of a tree in source order, parents first; whitespace, punctuation and imports left out."""
    from libcst import CSTNode

    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        yield node
        for name in _fields(node.__class__):
            value = getattr(node, name)
            if isinstance(value, (list, tuple)):
                stack.extend(reversed(value))
            elif isinstance(value, CSTNode):
                stack.append(value)


@lru_cache(maxsize=512)
def _fields(kind: Any) -> tuple[str, ...]:
    """The fields of a node class to follow, last one first."""
    names = ORDER.get(kind.__name__)
    if names is None:
        names = tuple(
            name
            for name in getattr(kind, "__dataclass_fields__", ())
            if not name.startswith(("whitespace", "_", "annotation_indicator")) and name not in LEAVES
        )
    known = [name for name in names if name in getattr(kind, "__dataclass_fields__", ())]
    return tuple(reversed(known))


def _pair(nodes: Sequence[cst.CSTNode], source: str) -> dict[int, Place]:
    """The places of all nodes of the kinds that both trees have as many of, by `id`."""
    try:
        tree = parse_again(source)
    except (ParseError, RecursionError):
        return {}
    lines = source.split("\n")
    found: dict[str, list[Place]] = defaultdict(list)
    for node in in_order(tree):
        kind = KINDS.get(type(node))
        if kind is not None:
            found[kind].extend(_spans(node, lines))
    wanted: dict[str, list[cst.CSTNode]] = defaultdict(list)
    for row in nodes:
        name = type(row).__name__
        if name in PAIRED:
            wanted[name].append(row)
    return {
        id(node): place
        for name, rows in wanted.items()
        if len(rows) == len(found[name])
        for node, place in zip(rows, found[name], strict=True)
    }


def _spans(node: Any, lines: Sequence[str]) -> list[Place]:
    """The places of the LibCST nodes that a node stands for: `a and b and c` is two of them there."""
    whole = span(node, lines)
    if not isinstance(node, ast.BoolOp):
        return [whole]
    inner = reversed(node.values[1:-1])
    return [whole, *((*whole[:2], *span(value, lines)[2:]) for value in inner)]


def span(node: Any, lines: Sequence[str]) -> Place:
    """The place of a node of CPython's tree, as LibCST would say it."""
    column = _column(lines, node.lineno, node.col_offset)
    if isinstance(node, ast.arg):  # there it is the name with its stars, without the annotation
        before = lines[node.lineno - 1][:column].rstrip()
        stars = 2 if before.endswith("**") else 1 if before.endswith("*") else 0
        first = len(before) - stars if stars else column
        return (node.lineno, first, node.lineno, column + len(node.arg))
    return (node.lineno, column, node.end_lineno, _column(lines, node.end_lineno, node.end_col_offset))


def _column(lines: Sequence[str], line: int, column: int) -> int:
    """A column in characters from one in UTF-8 bytes."""
    text = lines[line - 1]
    if text.isascii():
        return column
    return len(text.encode("utf-8", "surrogatepass")[:column].decode("utf-8", "replace"))


def in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of CPython's tree in source order, parents first."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        order = CHILDREN.get(type(node))
        if order is None:
            stack.extend(reversed(children(node)))
        else:
            stack.extend(child for child in reversed(order(node)) if child is not None)


def _function(node: Any) -> list[Any]:
    kinds = getattr(node, "type_params", ())
    return [*node.decorator_list, *kinds, node.args, node.returns, *node.body]


def _class(node: Any) -> list[Any]:
    kinds = getattr(node, "type_params", ())
    return [*node.decorator_list, *kinds, *_by_position((*node.bases, *node.keywords)), *node.body]


def _by_position(nodes: Sequence[Any]) -> list[Any]:
    return sorted(nodes, key=lambda row: (row.lineno, row.col_offset))


def _arguments(node: ast.arguments) -> list[ast.AST | None]:
    positional = [*node.posonlyargs, *node.args]
    defaults = [None] * (len(positional) - len(node.defaults)) + list(node.defaults)
    found: list[ast.AST | None] = []
    for arg, default in zip(positional, defaults, strict=True):
        found += [arg, default]
    found.append(node.vararg)
    for arg, default in zip(node.kwonlyargs, node.kw_defaults, strict=True):
        found += [arg, default]
    return [*found, node.kwarg]


def _pairs(keys: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    return [item for pair in zip(keys, values, strict=False) for item in pair]


CHILDREN: dict[type[ast.AST], Callable[[Any], list[Any]]] = {
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.ClassDef: _class,
    ast.IfExp: lambda node: [node.body, node.test, node.orelse],
    ast.Dict: lambda node: _pairs(node.keys, node.values),
    ast.Call: lambda node: [node.func, *_by_position((*node.args, *node.keywords))],
    ast.arguments: _arguments,
    ast.MatchMapping: lambda node: _pairs(node.keys, node.patterns),
}


def _by_libcst(tree: cst.Module) -> Mapping[cst.CSTNode, Place]:
    from libcst.metadata import MetadataWrapper, PositionProvider

    wrapper = MetadataWrapper(tree, unsafe_skip_copy=True)
    return {
        node: (place.start.line, place.start.column, place.end.line, place.end.column)
        for node, place in wrapper.resolve(PositionProvider).items()
    }
