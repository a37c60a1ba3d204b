"""What goes into a queue: a worker knows only what the payload says, so that it must say whose the job is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any
from uuid import UUID

from pytest_boundary.active import Active
from pytest_boundary.checks.keys import has_component, text_of
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.levels import Levels, same_id
from pytest_boundary.operations import Judgement, Missing

MAX_DEPTH = 5
MAX_VALUES = 2000
MAX_ID = 512  # characters of a value that may be, or hold, an id; longer ones are content

FIX = "hand over the tenant's id, or take_snapshot(boundary), as an argument or a header"


def judge_job(
    payload: Any, active: Active, levels: Levels, delimiters: str, *, name: str, also: Any = ()
) -> Judgement:
    """The payload must say each required id; `also` may say it too, such as headers. No payload at all is free.

    `name` is the job's, which a project may have declared as shared. Payloads that name another owner are unscoped.
    """
    if not any(True for _ in values_in(payload)):
        return "free"
    if not active.ids:
        return Missing("no boundary is active", (name,), FIX)
    if owner := foreign_in_value([payload, also], active, levels):
        return Missing(f"the payload names the {owner}, not {active.described()}", (name,), FIX)
    texts = [text for part in (payload, also) for text in values_in(part)]
    for level in levels.required_for(active.ids):
        wanted = active.ids[level]
        if not any(same_id(text, wanted) or has_component(text, wanted, delimiters) for text in texts):
            return Missing(f"nothing in the payload says {level} {wanted!r}", (name,), FIX)
    return "scoped"


def values_in(value: Any) -> Iterator[str]:
    """The texts and numbers inside of a payload, boundaries and snapshots included, keys of mappings not."""
    left = MAX_VALUES
    stack = [(value, MAX_DEPTH)]
    while stack and left:
        item, depth = stack.pop()
        left -= 1
        if isinstance(item, (str, bytes)):
            if len(item) <= MAX_ID:
                yield text_of(item)
            else:
                yield ""
        elif isinstance(item, (int, float, UUID)):
            yield str(item)
        elif depth <= 0 or item is None:
            continue
        elif isinstance(item, Mapping):
            stack += ((part, depth - 1) for part in item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack += ((part, depth - 1) for part in item)
        elif is_dataclass(item) or hasattr(item, "__dict__"):
            stack += ((part, depth - 1) for part in vars(item).values())
