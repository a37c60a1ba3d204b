"""Stand-ins for nodes, made from CPython's tree: most handlers ask nothing of a node but where it stands.

A stand-in answers that question alone.  Whoever looks at its class or attributes raises `NeedsTree`, and is
asked again with the nodes of LibCST, which takes many times longer to parse.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from boundlint.findings import Location
from boundlint.flow.places import KINDS, Place, in_bytes, span
from boundlint.index.nodes import children

TEXTS = frozenset({"SimpleString", "ConcatenatedString", "FormattedString"})
KNOWN = frozenset(KINDS.values()) | TEXTS


class NeedsTree(Exception):
    """A handler wants to look into a node."""


class Spot:
    """Stands in for a node of one of the kinds in `KNOWN`."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> type[Any]:
        raise NeedsTree

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsTree


class Spots(Mapping[Any, Location]):
    """The stand-ins below a node of a file with their kinds, and where they stand; `lines` are the file's."""

    def __init__(self, tree: ast.AST, path: str, lines: Sequence[str], kinds: Collection[str]) -> None:
        self.rows: list[tuple[Spot, frozenset[str]]] = []
        self._nodes: dict[int, Any] = {}
        self._lines = lines
        self._path = path
        wanted = frozenset(kinds)
        fitting = {kind: found for kind, names in _BY_TYPE.items() if (found := names & wanted)}
        stack = [tree]
        while stack:
            node = stack.pop()
            names = fitting.get(type(node))
            if names is not None and (type(node) is not ast.Constant or isinstance(node.value, str)):
                spot = Spot()
                self.rows.append((spot, names))
                self._nodes[id(spot)] = node
            stack += children(node)

    def __getitem__(self, spot: Any) -> Location:
        line, column, end_line, end_column = span(self._nodes[id(spot)], self._lines)
        return Location(self._path, line, column + 1, end_line, end_column + 1)

    def __iter__(self) -> Iterator[Any]:
        return (spot for spot, _ in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def in_bytes(self, spot: Any) -> Place:
        """Where a stand-in stands, with columns in UTF-8 bytes, as the flow counts."""
        node = self._nodes[id(spot)]
        if isinstance(node, ast.arg):
            return in_bytes(self[spot], self._lines)
        return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)


_BY_TYPE: Mapping[type[ast.AST], frozenset[str]] = {
    **{kind: frozenset({name}) for kind, name in KINDS.items()},
    ast.Constant: TEXTS,  # an f-string without a value is one, too
    ast.JoinedStr: TEXTS,
}
