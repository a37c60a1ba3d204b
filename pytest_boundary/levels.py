"""Which columns, metadata fields and attributes name an owner, and which id must stand there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from boundlint.boundary import LEVELS
from boundlint.config import BoundarySettings
from boundlint.index.words import AUDIT, CONDITIONAL, NEVER, TENANT, TENANT_SUFFIX, USER, USER_SUFFIX, normal

# Of the names of owners that one table has, the first of these is the tenant: orders(tenant_id, customer_id).
RANKS = (
    ("tenant",),
    ("org", "organization", "organisation"),
    ("workspace",),
    ("company", "account", "team", "customer"),
)
NO_OWNER = 99


@dataclass(frozen=True)
class Owner:
    """Fields of one record of which one must equal `id`, which is the boundary's id of `level`."""

    level: str
    fields: frozenset[str]
    id: str


@dataclass(frozen=True)
class Levels:
    """The levels that must be kept apart, and the names that carry each: common ones and the project's."""

    required: tuple[str, ...]
    settings: BoundarySettings
    _needed: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    _positions: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], tuple[tuple[Owner, int], ...]] = (
        field(default_factory=dict)
    )
    _ranks: dict[str, tuple[str, int]] = field(default_factory=dict)
    _owners: dict[tuple[frozenset[str], tuple[tuple[str, str], ...]], tuple[Owner, ...]] = field(
        default_factory=dict
    )

    def rank(self, name: str) -> tuple[str, int]:
        """The level that a field name carries and how surely (0 best); ("", NO_OWNER) for any other name."""
        found = self._ranks.get(name)
        if found is None:
            found = self._ranks[name] = self._rank(normal(name))
        return found

    def _rank(self, plain: str) -> tuple[str, int]:
        for level, names in self.settings.levels.items():
            if plain in names:
                return level, 0
        if plain in self.settings.names:
            return "tenant", 0
        if plain in NEVER or plain in AUDIT or plain.endswith(("_name", "_count", "_agent")):
            return "", NO_OWNER
        if plain in TENANT or TENANT_SUFFIX.search(plain):
            words = plain.split("_")
            for rank, group in enumerate(RANKS, 1):
                if any(word in words for word in group):
                    return ("workspace" if group == ("workspace",) else "tenant"), rank
            return "tenant", len(RANKS)
        if (plain in USER or USER_SUFFIX.search(plain)) and plain not in CONDITIONAL:
            return "user", 1
        return "", NO_OWNER

    def required_for(self, ids: Mapping[str, str]) -> tuple[str, ...]:
        """The levels that an access in this boundary must carry: the required ones that it has, or its first."""
        key = tuple(ids)
        found = self._needed.get(key)
        if found is None:
            held = tuple(level for level in self.required if level in ids)
            found = held or tuple(level for level in (*LEVELS, *ids) if level in ids)[:1]
            self._needed[key] = found
        return found

    def owners(self, names: Iterable[str], ids: Mapping[str, str]) -> tuple[Owner, ...]:
        """What a record with these fields must say to belong to a boundary with these ids.

        Empty where no field names an owner: such a record is nobody's. A table that knows no tenant but a
        workspace or a user belongs to that one.
        """
        key = (frozenset(names), tuple(sorted(ids.items())))
        found = self._owners.get(key)
        if found is None:
            found = self._owners[key] = tuple(self._find(key[0], ids))
        return found

    def positions(
        self, columns: tuple[str, ...], ids: Mapping[str, str], key: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[Owner, int], ...]:
        """Where in a row of these columns an owner stands that must be the boundary's; `key` is that of the ids."""
        found = self._positions.get((columns, key))
        if found is None:
            needed = self.required_for(ids)
            found = tuple(
                (owner, position)
                for owner in self.owners(columns, ids)
                if owner.level in needed
                for position, column in enumerate(columns)
                if column in owner.fields
            )
            self._positions[(columns, key)] = found
        return found

    def _find(self, names: frozenset[str], ids: Mapping[str, str]) -> Iterable[Owner]:
        by_level: dict[str, dict[str, int]] = {}
        for name in names:
            level, rank = self.rank(name)
            if level:
                by_level.setdefault(level, {})[name] = rank
        held = [level for level in self.required_for(ids) if level in by_level]
        if not held:  # the nearest level that the record knows
            held = [level for level in (*self.required, *LEVELS) if level in by_level][:1]
        for level in held:
            ranks = by_level[level]
            best = min(ranks.values())
            # an application whose tenants are called workspaces has no tenant beside them
            wanted = ids.get(level) or (ids.get("tenant") if level == "workspace" else None)
            if wanted is not None:
                fields = frozenset(name for name, rank in ranks.items() if rank == best)
                yield Owner(level, fields, wanted)

    def owned(self, names: Iterable[str]) -> bool:
        """Whether a record with these fields is somebody's."""
        return any(self.rank(name)[0] for name in names)


def same_id(value: object, wanted: str) -> bool:
    """Whether a bound value is this id: a number or UUID may be written in more than one way."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    # an enumeration's member is sent as what it holds
    text = str.__str__(value) if isinstance(value, str) else str(value)
    if text == wanted:
        return True
    # a UUID with and without its dashes
    return len(wanted) in (32, 36) and text.replace("-", "").lower() == wanted.replace("-", "").lower()
