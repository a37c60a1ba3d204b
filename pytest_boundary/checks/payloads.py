"""What is written: a record must name its owner, so that a filter can bind it later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.levels import Levels, same_id
from pytest_boundary.operations import Judgement, Missing

FIX = "payload={…, tenant_id of the boundary}"


def judge_payloads(
    payloads: Iterable[Mapping[str, Any] | object],
    active: Active,
    levels: Levels,
    *,
    names: tuple[str, ...] = (),
    what: str = "a point's payload",
    fix: str = FIX,
) -> Judgement:
    """Each payload must say the boundary's id in its fields of owners; one that is no mapping says nothing, and
    an iterator of such cannot be looked at.

    `names` are the collections written to.
    """
    for given in payloads:
        if isinstance(given, Iterator):
            return Missing(
                "what is written comes from an iterator: a look would use it up; give a list", names, fix
            )
        payload: Mapping[Any, Any] = given if isinstance(given, Mapping) else {}
        fields = [name for name in payload if isinstance(name, str)]
        if not levels.owned(fields) or not active.ids:
            text = f"{what} names no owner, so that no filter can bind it to {active.described()}"
            return Missing(text, names, fix)
        for owner in levels.owners(fields, active.ids):
            if not any(same_id(payload[name], owner.id) for name in owner.fields):
                return Missing(f"{what} does not say {sorted(owner.fields)[0]} = {owner.id!r}", names, fix)
    return "scoped"
