"""The catalog's operations by target, for the seams: both halves of boundlint report the same ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from boundlint.catalog.loader import load_catalog
from boundlint.catalog.model import Operation as Entry
from pytest_boundary.operations import Operation

FREE_EFFECTS = frozenset({"admin", "none"})  # counters, locks, expiry, sizes: no content


@lru_cache(maxsize=1)
def entries() -> dict[str, Entry]:
    """Every entry under its target, its async twin and its aliases; the first of a target wins."""
    found: dict[str, Entry] = {}
    for entry in load_catalog().operations:
        for name in (entry.target, entry.twin, *entry.aliases):
            if name:
                found.setdefault(name, entry)
    return found


@lru_cache(maxsize=4096)
def operation(client: str, target: str, kind: str = "", effect: str = "") -> Operation:
    """What a seam reports for a target; `kind` and `effect` say it where the catalog has no such entry."""
    entry = entries().get(target)
    if entry is None:
        return Operation(client, target, kind, effect)
    return Operation(client, entry.target, kind or entry.kind, effect or entry.effect)


@dataclass(frozen=True)
class Arguments:
    """Where the arguments of one operation stand, by their role in the catalog."""

    places: tuple[tuple[str, int | None, str | None], ...]

    def value(self, role: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The first argument of this role in a call (`args` without self), None where it is not given."""
        for name, position, keyword in self.places:
            if name == role:
                if keyword is not None and keyword in kwargs:
                    return kwargs[keyword]
                if position is not None and position < len(args):
                    return args[position]
                return None
        return None


@lru_cache(maxsize=4096)
def arguments(target: str) -> Arguments:
    """The arguments of a target, by the catalog; an empty one where it has no such entry."""
    entry = entries().get(target)
    places = tuple((arg.role, arg.position, arg.keyword) for arg in entry.args) if entry else ()
    return Arguments(places)
