"""Filters that are the text of a SQL predicate with its values in it: `tenant_id = 'a' AND year > 2000` (lancedb)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from boundlint.sql.parse import Unparsable, parse
from boundlint.sql.tree import Both, Compare, Either, Predicate
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other

DIALECT = "spark"  # names may stand in backticks, == is =
INNER = re.compile(r"(?<=[\w`])\[\s*'(\w+)'\s*\]")  # metadata['tenant_id'] is metadata.tenant_id


@lru_cache(maxsize=2048)
def translate(text: str | None) -> Filter:
    """The predicate in the words of `pytest_boundary.checks.filters`. What cannot be parsed binds nothing."""
    if text is None or not text.strip():
        return NOTHING
    try:
        predicate = INNER.sub(r".\1", text)
        statement = parse(f"SELECT * FROM t WHERE ({predicate})", DIALECT)
    except Unparsable:
        return Other()
    return _of(statement.parts[0].where) if len(statement.parts) == 1 else Other()


@lru_cache(maxsize=2048)
def equalities(text: str) -> tuple[tuple[str, object], ...]:
    """The fields that equal one value in every row which passes, for a first look."""
    return tuple(_equalities(translate(text)))


def _equalities(condition: Filter) -> Iterator[tuple[str, object]]:
    if isinstance(condition, Equals) and len(condition.values) == 1:
        yield condition.field, condition.values[0]
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _equalities(part)


def _of(predicate: Predicate) -> Filter:
    if isinstance(predicate, Both):
        return All(tuple(_of(part) for part in predicate.parts))
    if isinstance(predicate, Either):
        return AnyOf(tuple(_of(part) for part in predicate.parts))
    if isinstance(predicate, Compare) and all(value.kind == "literal" for value in predicate.values):
        field = f"{predicate.alias}.{predicate.column}" if predicate.alias else predicate.column
        return Equals(field, tuple(value.key for value in predicate.values))
    return Other()
