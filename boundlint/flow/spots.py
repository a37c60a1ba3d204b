"""Stand-ins for nodes, made from CPython's tree: most handlers ask nothing of a node but where it stands.

A stand-in answers that question alone.  Whoever looks at its class or attributes raises `NeedsTree`, and is
asked again with the nodes of LibCST, which takes many times longer to parse.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NoReturn

from boundlint.findings import Location
from boundlint.flow.places import KINDS, in_order, span
from boundlint.index.parse import ParseError, parse_module

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
    """The stand-ins of a piece of a file with their kinds, and where they stand; None where it cannot be parsed."""

    def __init__(self, source: str, path: str, offset: int, kinds: Collection[str]) -> None:
        self.rows: list[tuple[Spot, frozenset[str]]] = []
        self._places: dict[int, ast.AST] = {}
        self._lines = source.split("\n")
        self._path = path
        self._offset = offset
        wanted = frozenset(kinds)
        for node in in_order(parse_module(source)):
            fitting = _kinds(node) & wanted
            if fitting:
                spot = Spot()
                self.rows.append((spot, fitting))
                self._places[id(spot)] = node

    def __getitem__(self, spot: Any) -> Location:
        line, column, end_line, end_column = span(self._places[id(spot)], self._lines)
        return Location(self._path, line + self._offset, column + 1, end_line + self._offset, end_column + 1)

    def __iter__(self) -> Iterator[Any]:
        return (spot for spot, _ in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def spots(source: str, path: str, offset: int, kinds: Collection[str]) -> Spots | None:
    """The stand-ins for the nodes of these kinds; None where only the tree will do."""
    if not KNOWN.issuperset(kinds):
        return None
    try:
        return Spots(source, path, offset, kinds)
    except (ParseError, RecursionError):
        return None


def _kinds(node: ast.AST) -> frozenset[str]:
    found = _BY_TYPE.get(type(node), frozenset())
    if isinstance(node, ast.Constant):
        return found if isinstance(node.value, str) else frozenset()
    return found


_BY_TYPE: Mapping[type[ast.AST], frozenset[str]] = {
    **{kind: frozenset({name}) for kind, name in KINDS.items()},
    ast.Constant: TEXTS,  # an f-string without a value is one, too
    ast.JoinedStr: TEXTS,
}
