"""Filters that are written as documents: `{"tenant_id": "a"}`, `{"$and": [{"tenant_id": {"$eq": "a"}}, …]}`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other

CONJUNCTIONS = frozenset({"$and", "AND"})
DISJUNCTIONS = frozenset({"$or", "OR"})


def translate(document: Any) -> Filter:
    """A document, a list of such that all hold, or None, in the words of `pytest_boundary.checks.filters`."""
    if document is None:
        return NOTHING
    if isinstance(document, (list, tuple)):
        return All(tuple(translate(part) for part in document))
    if not isinstance(document, Mapping):
        return Other()
    return All(tuple(_part(str(name), value) for name, value in document.items()))


def equalities(document: Any) -> Iterator[tuple[str, Any]]:
    """The fields that equal a value in every record which passes, as far as a quick look shows."""
    if document.__class__ is dict:
        for name, value in document.items():
            if name in CONJUNCTIONS and value.__class__ is list:
                for part in value:
                    yield from equalities(part)
            elif name in DISJUNCTIONS or name[:1] == "$":
                continue
            elif value.__class__ is str:
                yield name, value
            elif value.__class__ is dict and len(value) == 1 and "$eq" in value:
                yield name, value["$eq"]


def _part(name: str, value: Any) -> Filter:
    if name in CONJUNCTIONS:
        return translate(list(_several(value)))
    if name in DISJUNCTIONS:
        return AnyOf(tuple(translate(part) for part in _several(value)))
    if name.startswith("$"):
        return Other()
    if isinstance(value, Mapping) and value:
        return All(tuple(_compared(name, str(operator), operand) for operator, operand in value.items()))
    return Equals(name, (value,))


def _compared(name: str, operator: str, operand: Any) -> Filter:
    if operator.lstrip("$") == "eq":
        return Equals(name, (operand,))
    if operator.lstrip("$") == "in":
        return Equals(name, tuple(_several(operand)))
    return Other()


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, (list, tuple, set, frozenset)) else [value]
