"""Tenants that are made to be confused, and data for them that carries marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from boundlint.boundary import AgentBoundary, Issuer
from pytest_boundary.bleed.canaries import Canaries

LOCAL_ID = "record-1"
SESSION_ID = "session-1"
EMAIL = "kim@northstar.example"
# Ids and names by what makes them alike. Names may be what no id may be: trimmed or normalized into one another.
TWINS: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "prefix": (("northstar-dental", "Northstar Dental"), ("northstar-dental-2", "Northstar Design")),
    "case": (("northstar", "Northstar"), ("NorthStar", "NorthStar")),
    "trim": (("northstar", "Northstar"), ("northstar.", "Northstar ")),
    "confusable": (("northstar", "Northstar"), ("northstаr", "Ｎorthstar")),
    "wildcard": (("northstar_1", "Northstar 1"), ("northstar%", "Northstar %")),
    "delimiter": (("north", "North"), ("north:star", "North:Star")),
    "number": (("1", "Tenant 1"), ("10", "Tenant 10")),
}
# The user's ids beside them, such that joined parts meet: north + star:kim and north:star + kim.
USERS = {"delimiter": ("star:kim", "kim")}
ISSUER = Issuer("pytest")


@dataclass(frozen=True)
class LookalikeTenant:
    """One of the tenants. Local ids, session ids and e-mails are the same in all of them."""

    id: str
    name: str
    user: str
    canaries: Canaries = field(repr=False, compare=False)
    workspace: str = "main"
    local_id: str = LOCAL_ID
    session_id: str = SESSION_ID
    email: str = EMAIL

    @property
    def boundary(self) -> AgentBoundary:
        """The boundary of the tenant's user."""
        return AgentBoundary(issued_by=ISSUER, tenant=self.id, workspace=self.workspace, user=self.user)

    def text(self, text: str, *, store: str = "", record: str = LOCAL_ID, field: str = "text") -> str:
        """The text with a mark at its start and at its end: what is cut off at either side still tells."""
        first = self.canaries.make(self.id, store, record, field).token
        last = self.canaries.make(self.id, store, record, field).token
        return f"{first} {text} {last}"

    def record(self, store: str, record: str = LOCAL_ID, /, **fields: Any) -> dict[str, Any]:
        """The fields of a record, with marks in every text. Ids, numbers and what is no text stay as they are."""
        return {
            name: self.text(value, store=store, record=record, field=name)
            if isinstance(value, str) and not name.endswith(("_id", "id", "email"))
            else value
            for name, value in fields.items()
        }

    def marked_id(self, store: str = "", record: str = LOCAL_ID) -> str:
        """An id that carries a mark."""
        return f"{record}-{self.canaries.make(self.id, store, record, 'id').token}"

    def marked_email(self, store: str = "", record: str = LOCAL_ID) -> str:
        """An e-mail address that carries a mark."""
        local, _, domain = self.email.partition("@")
        return f"{local}+{self.canaries.make(self.id, store, record, 'email').token}@{domain}"

    def file_name(self, name: str = "report.txt", *, store: str = "files") -> str:
        """A file name that carries a mark."""
        stem, dot, ending = name.rpartition(".")
        token = self.canaries.make(self.id, store, name, "name").token
        return f"{stem or ending}-{token}{dot if stem else ''}{ending if stem else ''}"

    def point_id(self, store: str = "vectors", record: str = LOCAL_ID) -> UUID:
        """A point id that is a mark itself."""
        return self.canaries.make_uuid(self.id, store, record)


@dataclass(frozen=True)
class Lookalikes(Sequence[LookalikeTenant]):
    """`first, second = lookalike_tenants`; `twins("case")` gives another pair, `more(4)` as many as asked for."""

    canaries: Canaries
    kind: str = "prefix"

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        return self._pair(self.kind)[index]

    def twins(self, kind: str) -> tuple[LookalikeTenant, LookalikeTenant]:
        """A pair that is alike in one way. Raises ValueError, which names the ways."""
        if kind not in TWINS:
            raise ValueError(f"no twins are alike by {kind!r}: choose of {', '.join(TWINS)}")
        return self._pair(kind)

    def more(self, count: int) -> tuple[LookalikeTenant, ...]:
        """The first tenants of a long line, each id a prefix of the next or of a later one."""
        first = self._pair("prefix")[0]
        made: list[LookalikeTenant] = [first]
        for number in range(2, count + 1):
            made.append(replace(first, id=f"{first.id}-{number}", name=f"{first.name} {number}"))
        return tuple(made)

    def kinds(self) -> Iterator[str]:
        """The ways in which twins can be alike."""
        yield from TWINS

    def _pair(self, kind: str) -> tuple[LookalikeTenant, LookalikeTenant]:
        users = USERS.get(kind, ("kim", "kim"))
        one, two = (
            LookalikeTenant(tenant, name, user, self.canaries)
            for (tenant, name), user in zip(TWINS[kind], users, strict=True)
        )
        return one, two
