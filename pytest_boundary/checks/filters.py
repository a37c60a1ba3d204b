"""Structured filters: an owner's field must equal the boundary's id in a conjunction that always holds.

A seam turns its client's filter into this small language; `or`, `should`, negations and ranges scope nothing,
unless each branch of the `or` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.levels import Levels, Owner, same_id
from pytest_boundary.operations import Judgement, Missing


@dataclass(frozen=True)
class Equals:
    """`field` is one of `values`. A dotted field (`metadata.tenant_id`) is known by its last part too."""

    field: str
    values: tuple[object, ...]


@dataclass(frozen=True)
class All:
    """Each of the parts holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """One of the parts holds."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True)
class Other:
    """A condition that says nothing of an owner: a range, a negation, a text match."""


Filter = Equals | All | AnyOf | Other
NOTHING = All(())


def fields(condition: Filter) -> frozenset[str]:
    """All fields that are compared with a value anywhere in the filter."""
    if isinstance(condition, Equals):
        return frozenset({condition.field})
    if isinstance(condition, (All, AnyOf)):
        return frozenset().union(*(fields(part) for part in condition.parts))
    return frozenset()


def holds(condition: Filter, owner: Owner) -> bool:
    """Whether everything that passes the filter belongs to the owner."""
    if isinstance(condition, Equals):
        name = condition.field if condition.field in owner.fields else condition.field.rpartition(".")[2]
        return (
            name in owner.fields
            and bool(condition.values)
            and all(same_id(value, owner.id) for value in condition.values)
        )
    if isinstance(condition, All):
        return any(holds(part, owner) for part in condition.parts)
    if isinstance(condition, AnyOf):
        return bool(condition.parts) and all(holds(part, owner) for part in condition.parts)
    return False


def plainly_scoped(equalities: Iterable[tuple[str, Any]], active: Active, levels: Levels) -> bool:
    """Whether fields that surely hold bind every required level, each by the id just as it is.

    It is on the way of every search, and answers for nearly all: what this denies may be scoped all the same.
    """
    known: tuple[tuple[str, ...], dict[str, str]] | None = active.memo.get(plainly_scoped)
    if known is None:
        known = active.memo[plainly_scoped] = (levels.required_for(active.ids), {})
    needed, level_of = known
    met: tuple[str, ...] = ()
    for name, value in equalities:
        level = level_of.get(name)
        if level is None:
            level = level_of[name] = _level(name, levels, active)
        if level in needed and level not in met and value.__class__ is str and value == active.ids[level]:
            met = (*met, level)
    return 0 < len(needed) == len(met)


def judge_filter(
    condition: Filter, active: Active, levels: Levels, *, names: Iterable[str] = (), fix: str = ""
) -> Judgement:
    """Each required level that the boundary has must be bound by the filter.

    Which field names an owner is told by the names of the fields. `names` are the collections that are searched.
    """
    if not active.ids:
        return Missing("no boundary is active", tuple(names), fix)
    compared = fields(condition)
    for level in levels.required_for(active.ids):
        wanted = active.ids[level]
        candidates = {name for name in compared if _level(name, levels, active) == level}
        owner = Owner(level, frozenset(candidates), wanted)
        if holds(condition, owner):
            continue
        if not candidates:
            text = f"the filter has no condition for {level} {wanted!r}"
            if condition == NOTHING:
                text = f"there is no filter, so that nothing binds the result to {level} {wanted!r}"
        else:
            field = sorted(candidates)[0]
            text = f"the filter does not bind {field!r} to {level} {wanted!r} in every case"
        return Missing(text, tuple(names), fix)
    return "scoped"


def _level(name: str, levels: Levels, active: Active) -> str:
    level, _ = levels.rank(name)
    if not level and "." in name:
        level, _ = levels.rank(name.rpartition(".")[2])
    # an application whose tenants are called workspaces has no tenant beside them
    return "tenant" if level == "workspace" and "workspace" not in active.ids else level
