"""Canaries: marks in seeded data, each of which names its tenant, store, record and field.

A canary is an opaque prefix and 12 base-36 characters (62 bits). What a model paraphrases or sums up, and what it
has learned, carries none: that is beyond this check.
"""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

PREFIX = "qzcny"  # no word of any language, and no base-64 or hex digit string that is likely
LENGTH = 12
ALPHABET = string.digits + string.ascii_lowercase


@dataclass(frozen=True)
class Canary:
    """Where a mark was put; `token` is the mark in lower case."""

    token: str
    tenant: str
    store: str
    record: str
    field: str

    def __str__(self) -> str:
        place = " ".join(part for part in (self.store, self.record, self.field) if part)
        return f"{place} of tenant {self.tenant!r}"


@dataclass
class Canaries:
    """The marks of one run, and which of them were read from a store in the running test."""

    known: dict[str, Canary] = field(default_factory=dict)
    read: dict[str, str] = field(default_factory=dict)  # token -> kind of the store that gave it

    def __bool__(self) -> bool:
        return bool(self.known)

    def make(self, tenant: str, store: str = "", record: str = "", field: str = "") -> Canary:
        """A new mark."""
        token = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        return self._keep(Canary(token, tenant, store, record, field))

    def make_uuid(self, tenant: str, store: str = "", record: str = "", field: str = "id") -> uuid.UUID:
        """A mark that is a UUID, for point ids."""
        found = uuid.uuid4()
        self._keep(Canary(found.hex, tenant, store, record, field))
        return found

    def _keep(self, canary: Canary) -> Canary:
        self.known[canary.token] = canary
        return canary

    def in_tokens(self, tokens: set[str]) -> Iterator[Canary]:
        """The marks among some tokens."""
        for token in sorted(tokens):
            if (canary := self.known.get(token)) is not None:
                yield canary
