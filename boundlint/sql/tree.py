"""What scoping needs to know of a SQL statement: tables, predicates that always hold, and links. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Value:
    """`key` is a parameter's index or name, a literal's text, or a column's name."""

    kind: Literal["parameter", "literal", "column", "unknown"]
    key: str = ""


@dataclass(frozen=True)
class Compare:
    """A column equals one of the values."""

    alias: str
    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Both:
    """All parts hold."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Either:
    """One part holds."""

    parts: tuple[Predicate, ...]


@dataclass(frozen=True)
class Unknown:
    """Any other condition."""


Predicate = Compare | Both | Either | Unknown


@dataclass(frozen=True)
class Use:
    """A table, or derived table (`table` is ""), where one SELECT, INSERT, UPDATE or DELETE uses it."""

    part: int
    alias: str
    table: str
    effect: Literal["read", "insert", "write", "delete"]


@dataclass(frozen=True)
class Link:
    """Two columns that are equal in every row; an outer join binds only its optional side."""

    left: str
    left_column: str
    right: str
    right_column: str
    to_left: bool = True
    to_right: bool = True


@dataclass(frozen=True, eq=False)
class Part:
    """One SELECT, INSERT, UPDATE or DELETE of a statement. `parent` is the index of the part around it."""

    number: int
    parent: int | None
    uses: tuple[Use, ...]
    derived: tuple[tuple[int, Use], ...]  # the part inside of a derived table, and its use here
    where: Predicate
    joins: tuple[tuple[frozenset[str], Predicate], ...]  # the aliases that an ON binds
    links: tuple[Link, ...]
    selected: tuple[tuple[str, Value], ...] = ()  # output name and what is selected; "*" is everything
    insert_columns: tuple[str, ...] = ()
    values: tuple[tuple[Value, ...], ...] | None = None  # of an INSERT; () for INSERT … SELECT
    mentioned: tuple[tuple[str, str], ...] = ()  # alias and column of everything in the part
    tested: tuple[tuple[str, str], ...] = ()  # those of its conditions, where they meet no other column
    given: tuple[str, ...] = ()  # the parameters in its conditions, by key
    opaque: bool = False  # whether a condition is a placeholder alone

    @property
    def all_uses(self) -> tuple[Use, ...]:
        """Tables and derived tables."""
        return (*self.uses, *(use for _, use in self.derived))

    @property
    def projected(self) -> frozenset[str]:
        """The columns that the part gives to the query around it."""
        names = {name for name, _ in self.selected}
        if "*" in names:
            names |= {column for _, column in self.mentioned} | {"tenant_id"}
        return frozenset(names)

    def predicates_for(self, use: Use) -> Iterator[Predicate]:
        """The predicates that bind the rows of this table."""
        yield self.where
        for aliases, predicate in self.joins:
            if use.alias in aliases:
                yield predicate

    def holder(self, number: int) -> Use | None:
        """The derived table here that a part inside gives."""
        return next((use for child, use in self.derived if child == number), None)

    def columns_of(self, use: Use) -> Iterator[str]:
        """The columns that the statement itself mentions of a table."""
        yield from (name.lower() for name in self.insert_columns if use.effect == "insert")
        for alias, column in self.mentioned:
            if alias == use.alias or (not alias and len(self.all_uses) == 1):
                yield column.lower()

    def compared(self, use: Use) -> Iterator[str]:
        """The columns of a table that are compared with values."""
        for predicate in self.predicates_for(use):
            yield from _compared(predicate, use)

    def projects(self, position: int, test: Callable[[Value], bool]) -> bool:
        """Whether the output column at a position passes the test."""
        return position < len(self.selected) and test(self.selected[position][1])


@dataclass(frozen=True)
class Statement:
    """All parts of one text; none where it touches no rows."""

    parts: tuple[Part, ...]
    defines: bool = False


def _compared(predicate: Predicate, use: Use) -> Iterator[str]:
    if isinstance(predicate, Compare):
        if predicate.alias in ("", use.alias):
            yield predicate.column
    elif isinstance(predicate, (Both, Either)):
        for part in predicate.parts:
            yield from _compared(part, use)
