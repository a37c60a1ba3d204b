"""The runtime kit: for whom an action runs, in production code. Imports the standard library alone.

    REQUESTS = Issuer("session cookie")

    boundary = AgentBoundary(issued_by=REQUESTS, tenant="acme", user="u1")
    with boundary_scope(boundary):
        store.set(scoped_key(current_boundary(), "format"), "weekly summary")

The server makes the boundary; a model or a request body never does. The linter knows these names, and
`pytest --enforce-boundary` reads the scope that they open.
"""

from __future__ import annotations

import functools
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token, copy_context
from dataclasses import dataclass, field, fields
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar
from urllib.parse import quote

__all__ = [
    "AgentBoundary",
    "BoundaryError",
    "InvalidBoundary",
    "Issuer",
    "Level",
    "NoBoundary",
    "OutsideBoundary",
    "Scope",
    "assert_in_boundary",
    "audit_event",
    "boundary_scope",
    "carry_context",
    "cross_boundary",
    "current_boundary",
    "current_scope",
    "lost_rights",
    "scoped_key",
    "still_allowed",
    "take_snapshot",
]

P = ParamSpec("P")
T = TypeVar("T")
Level = Literal["tenant", "workspace", "user"]
LEVELS: tuple[Level, ...] = ("tenant", "workspace", "user")
MAX_ID = 256  # characters; an id is a name, not a document
MAX_METADATA = 128  # characters of one value of an audit event
_METADATA = re.compile(r"[\w.:/@%+~=#*-]*")  # ids, versions, namespaces: never prose


class BoundaryError(Exception):
    """What this module raises. Messages name fields and levels, never a customer's content."""


class InvalidBoundary(BoundaryError, ValueError):
    """A boundary, or a snapshot of one, cannot be made of these values."""


class NoBoundary(BoundaryError, LookupError):
    """Nothing says for whom this code runs."""


class OutsideBoundary(BoundaryError, PermissionError):
    """A record belongs to somebody else, or says nothing of its owner."""


@dataclass(frozen=True)
class Issuer:
    """The server component that has verified who acts: `Issuer("session cookie")`, made once at start-up.

    It is what keeps `AgentBoundary(**request.json())` from working: no parsed text holds an issuer.
    """

    name: str

    def __post_init__(self) -> None:
        _check_id("issuer", self.name)


@dataclass(frozen=True, kw_only=True)
class AgentBoundary:
    """For whom an action runs. Ids are exact: case, form and spaces count. None means "has no such level".

    `memory_namespace` defaults to the scoped key of the boundary itself. Raises `InvalidBoundary`.
    """

    issued_by: Issuer = field(repr=False)
    tenant: str
    workspace: str | None = None
    user: str | None = None
    role: str | None = None
    plan: str | None = None
    region: str | None = None
    allowed_tools: frozenset[str] = frozenset()
    allowed_sources: frozenset[str] = frozenset()
    memory_namespace: str = ""
    trace_id: str | None = None

    def __post_init__(self) -> None:
        issuer: object = self.issued_by
        if not isinstance(issuer, Issuer):
            message = "issued_by must be an Issuer: only server code that has verified the caller has one"
            raise InvalidBoundary(message)
        _check_id("tenant", self.tenant)
        for name in ("workspace", "user", "role", "plan", "region", "trace_id"):
            if getattr(self, name) is not None:
                _check_id(name, getattr(self, name))
        for name in ("allowed_tools", "allowed_sources"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.memory_namespace:
            _check_id("memory_namespace", self.memory_namespace)
        else:
            object.__setattr__(self, "memory_namespace", scoped_key(self))

    @property
    def ids(self) -> dict[Level, str]:
        """The levels that this boundary has, with their ids."""
        return {level: value for level in LEVELS if (value := getattr(self, level)) is not None}


@dataclass(frozen=True)
class Scope:
    """What is active: a boundary, or the reason for working across boundaries; and where it was entered."""

    boundary: AgentBoundary | None
    reason: str
    path: str
    line: int


_active: ContextVar[Scope | None] = ContextVar("boundlint_boundary", default=None)


class _Entering:
    """Makes a scope the active one, in this thread or task and in the tasks that it starts.

    `entered_at` is the path and line that the scope shows; None takes those of the `with` statement.
    """

    def __init__(self, boundary: AgentBoundary | None, reason: str) -> None:
        self._boundary = boundary
        self._reason = reason
        self.entered_at: tuple[str, int] | None = None
        self._tokens: list[Token[Scope | None]] = []

    def __enter__(self) -> AgentBoundary | None:
        caller = sys._getframe(1)
        outer = _active.get()
        boundary = self._boundary or (outer.boundary if outer else None)
        path, line = self.entered_at or (caller.f_code.co_filename, caller.f_lineno)
        scope = Scope(boundary, self._reason, path, line)
        self._tokens.append(_active.set(scope))
        return boundary

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _active.reset(self._tokens.pop())
        except ValueError:
            message = "a boundary must be left in the thread or task that entered it"
            raise BoundaryError(message) from error


def boundary_scope(boundary: AgentBoundary) -> _Entering:
    """`with boundary_scope(boundary):` makes it the current one. Works in sync and async code."""
    if not isinstance(boundary, AgentBoundary):
        raise InvalidBoundary(f"boundary_scope takes an AgentBoundary, not a {type(boundary).__name__}")
    return _Entering(boundary, "")


def cross_boundary(reason: str) -> _Entering:
    """`with cross_boundary("monthly invoice run"):` marks work that is meant to touch every customer."""
    if not isinstance(reason, str) or not reason.strip():
        raise BoundaryError("cross_boundary needs a reason: say why this may touch every customer's data")
    return _Entering(None, reason)


def current_scope() -> Scope | None:
    """What is active here, None where nothing is."""
    return _active.get()


def current_boundary() -> AgentBoundary:
    """The boundary that this code runs in. Raises `NoBoundary`."""
    scope = _active.get()
    if scope is None or scope.boundary is None:
        message = "no boundary is active here; enter one with boundary_scope(), and hand work to threads with carry_context()"
        raise NoBoundary(message)
    return scope.boundary


def carry_context(function: Callable[P, T]) -> Callable[P, T]:
    """A function that runs with the boundary of here and now, wherever it is called.

    `executor.submit(carry_context(work), job)`, `Thread(target=carry_context(work))`: threads, executors and
    timers start with an empty context (`asyncio.to_thread` and tasks do not). May be called many times.
    """
    context = copy_context()

    @functools.wraps(function)
    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.copy().run(function, *args, **kwargs)

    return carried


def scoped_key(boundary: AgentBoundary, *parts: str | int, level: Level = "user") -> str:
    """A key that no other boundary and no other parts give: `tenant:workspace:user:part:part`.

    Each part is escaped (so is `:`, `*` and all that is no plain letter or digit); a level that the boundary
    does not have, or that lies below `level`, is an empty component, which no id is.
    """
    if level not in LEVELS:
        raise BoundaryError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    kept = LEVELS[: LEVELS.index(level) + 1]
    ids = [getattr(boundary, name) or "" if name in kept else "" for name in LEVELS]
    return ":".join(_escape(part) for part in (*ids, *parts))


def take_snapshot(boundary: AgentBoundary, *, valid_for: float | None = None) -> dict[str, Any]:
    """The boundary as plain data for a job's payload, to be compared when the job starts.

    `valid_for` are the seconds until it expires. A snapshot cannot be turned into a boundary again: the worker
    loads the current rights and asks `still_allowed`.
    """
    data: dict[str, Any] = {}
    for item in fields(boundary):
        value = getattr(boundary, item.name)
        if item.name == "issued_by":
            value = boundary.issued_by.name
        data[item.name] = sorted(value) if isinstance(value, frozenset) else value
    if valid_for is not None:
        if valid_for <= 0:
            raise InvalidBoundary("valid_for must be more than 0 seconds")
        data["expires_at"] = time.time() + valid_for
    return data


def lost_rights(snapshot: Mapping[str, Any], current: AgentBoundary | None) -> tuple[str, ...]:
    """Why a job with this snapshot may not go on: names of fields, empty where it may.

    `current` is what the subject may do now, loaded from where rights are kept; None: nothing any more. What
    the snapshot does not say counts as lost.
    """
    if current is None:
        return ("subject",)
    same = ("tenant", "workspace", "user", "role", "plan", "region", "memory_namespace")
    lost = [name for name in same if name not in snapshot or snapshot[name] != getattr(current, name)]
    for name in ("allowed_tools", "allowed_sources"):
        had = snapshot.get(name)
        if not isinstance(had, (list, tuple, set, frozenset)) or not set(had) <= getattr(current, name):
            lost.append(name)
    expires_at = snapshot.get("expires_at")
    if expires_at is not None and not (isinstance(expires_at, (int, float)) and time.time() < expires_at):
        lost.append("expires_at")
    return tuple(lost)


def still_allowed(snapshot: Mapping[str, Any], current: AgentBoundary | None) -> bool:
    """Whether a job may go on: same subject, and no right of the snapshot was taken away since."""
    return not lost_rights(snapshot, current)


def assert_in_boundary(
    record: T | None,
    boundary: AgentBoundary | None = None,
    *,
    tenant: str = "tenant_id",
    workspace: str | None = None,
    user: str | None = None,
) -> T:
    """The record, where it belongs to the boundary (the current one by default).

    `tenant`, `workspace` and `user` name the record's fields (attributes, or keys of a mapping) that hold the
    owner. A missing record, a missing field or a missing level of the boundary is outside.
    """
    owner = boundary or current_boundary()
    if record is None:
        raise OutsideBoundary("there is no such record in this boundary")
    for level, name in (("tenant", tenant), ("workspace", workspace), ("user", user)):
        if name is None:
            continue
        value = record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)
        expected = getattr(owner, level)
        if value is None or expected is None or str(value) != expected:
            raise OutsideBoundary(f"this {type(record).__name__} is outside of the current {level}")
    return record


def audit_event(
    action: str, boundary: AgentBoundary | None = None, **metadata: str | int | float | bool | Iterable[str]
) -> dict[str, Any]:
    """An event for the audit log: who, what, when, and metadata. Content is refused.

    Values are numbers, ids, or lists of ids: at most 128 characters without spaces, so that a prompt, a document
    or a note does not get in by mistake. Raises `BoundaryError`.
    """
    subject = boundary or current_boundary()
    event: dict[str, Any] = {
        "action": _metadata("action", action),
        "time": time.time(),
        "trace_id": subject.trace_id,
        "tenant_id": subject.tenant,
        "workspace_id": subject.workspace,
        "user_id": subject.user,
    }
    for name, value in metadata.items():
        if name in event:
            raise BoundaryError(f"{name} comes from the boundary and cannot be given")
        if isinstance(value, (str, int, float)):
            event[name] = _metadata(name, value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            ordered = sorted(value) if isinstance(value, (set, frozenset)) else value
            event[name] = [_metadata(name, item) for item in ordered]
        else:
            raise BoundaryError(f"{name} must be a number, an id or a list of ids")
    return event


def _metadata(name: str, value: object) -> object:
    if isinstance(value, str):
        if len(value) > MAX_METADATA or not _METADATA.fullmatch(value):
            raise BoundaryError(f"{name} looks like content: an audit event holds ids and numbers only")
    elif not isinstance(value, (int, float)):
        raise BoundaryError(f"{name} must be a number, an id or a list of ids")
    return value


def _check_id(name: str, value: object) -> None:
    problem = ""
    if not isinstance(value, str):
        problem = f"must be a string, not a {type(value).__name__}"
    elif not value:
        problem = "must not be empty"
    elif len(value) > MAX_ID:
        problem = f"must have at most {MAX_ID} characters"
    elif value != value.strip():
        problem = "must not begin or end with a space"
    elif any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in value):
        problem = "must not hold control, invisible or surrogate characters"
    elif unicodedata.normalize("NFKC", value) != value:
        problem = "must be in Unicode form NFKC, or a store may take it for another id"
    if problem:
        raise InvalidBoundary(f"{name} {problem}")


def _names(field_name: str, value: object) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidBoundary(f"{field_name} must be a set of names, not a {type(value).__name__}")
    names = frozenset(value)
    for name in names:
        _check_id(field_name, name)
    return names


def _escape(part: str | int) -> str:
    if isinstance(part, bool) or not isinstance(part, (str, int)):
        raise BoundaryError(f"a part of a key must be a string or a number, not a {type(part).__name__}")
    # a number and its text are one part on purpose: ids travel as both
    return quote(str(part), safe="", errors="surrogatepass")
