"""A claim: an identity that a client or a model chose, and the marks by which it travels with values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boundlint.findings import TraceStep
from boundlint.flow.values import Value
from boundlint.index.project import Function

Who = Literal["client", "model"]
# fallback: the principal is only the default; state: an OAuth state taken for an identity; used: handed on as
# the identity.
Use = Literal["fallback", "state", "used", "nothing"]

SERVER = "by-server"  # mark of a value that the authenticated principal is in
INBOUND = "inbound"  # mark of a request, its body, or a part of them that is no identity
PARSED = "parsed-output"  # mark of arguments that a model wrote
CONTEXT = "request-context"  # mark of what the server keeps beside a request: session, state, `g`
HANDED = "handed-in"  # mark of a dictionary that a caller filled from a request, as its name suggests
WHOLE = frozenset({INBOUND, PARSED, HANDED})


@dataclass(frozen=True)
class Claim:
    """An identity that the client or the model chose, and what the function does with it.

    `label` is the field or parameter it was read from, `where` what that came in by (`body` stands for every
    part of a request that was read by a key), `level` whose id it is (tenant, user), `source` its text, `span`
    its place (columns in UTF-8 bytes; for a parameter that of its name).  `target` is what it is handed to; `principals` are the server's own
    identities at hand, `principal_used` whether one of them reaches a call or comparison, `guarded` whether a
    check or a function that reads the principal itself is called.  `together` says that the same call was
    given both, `trusted` that the function it calls is known and checks nothing.
    """

    who: Who
    label: str
    where: str
    source: str
    function: Function
    span: tuple[int, int, int, int]
    use: Use = "nothing"
    target: str = ""
    together: bool = False
    level: str = ""
    many: bool = False
    is_parameter: bool = False
    overridable: bool = False
    queried: bool = False
    principals: tuple[str, ...] = ()
    principal_used: bool = False
    guarded: bool = False
    trusted: bool = False
    trace: tuple[TraceStep, ...] = ()

    @property
    def mark(self) -> str:
        """The mark of the values made of it."""
        return "claim@" + ":".join(map(str, self.span)) + ":" + self.label


def as_part(value: Value) -> Value:
    """A value as an element of something else: that is then no request, though a part of it came in."""
    if value.marks.isdisjoint(WHOLE):
        return value
    return value._replace(marks=value.marks - WHOLE)


def claims_in(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("claim@")}


def states_in(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("claim@") and mark.endswith(":state")}


def with_mark(value: Value, mark: str) -> Value:
    return (
        value if mark in value.marks else value._replace(marks=(value.marks - {"none"}) | {mark}, text=None)
    )
