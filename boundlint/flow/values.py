"""The domain of the flow: what is known of a value, and what a data access was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from boundlint.catalog.model import SCOPE_ROLES, Argument, Operation
from boundlint.findings import Confidence, TraceStep
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.claims import Claim
    from boundlint.flow.credentials import CredentialUse
    from boundlint.flow.effects import Effects
    from boundlint.flow.overwrites import Overwrite
    from boundlint.flow.queries import Lookup
    from boundlint.flow.shared import SharedWrite
    from boundlint.flow.views import OpenView

Verdict = Literal["scoped", "maybe", "open", "unknown", "unscoped"]
OddityKind = Literal[
    "boolean-operator",
    "overwritten",
    "prefix-match",
    "truncated-digest",
    "late-filter",
    "open-graph-query",
    "other-scope",
    "sibling-without-filter",
    "unescaped-pairs",
]
HOLE = "{}"  # stands in a template for the part that is not constant
NONE: frozenset[str] = frozenset()
_NO_VALUE = frozenset({"none"})
DATA_KINDS = frozenset(
    {"memory", "retrieval", "cache", "checkpoint"}
)  # operations that a boundary must reach


MODEL = "model:"  # what the mark of a model's class begins with; its type name follows


class Value(NamedTuple):
    """What is known of a value.  A tuple, for the flow makes hundreds of thousands.

    `carriers` are boundary parts it surely holds, `maybe` those it holds on some paths only, `params` the
    enclosing function's own parameters it depends on.  `marks` say what else it is made of (`unknown`,
    `secret`, `digest`, `id`, `time`, `request`, `data`, `from@LINE:COLUMN` …).  `text` is its constant
    template, None where it is no text.
    """

    carriers: frozenset[str] = NONE
    maybe: frozenset[str] = NONE
    params: frozenset[str] = NONE
    marks: frozenset[str] = NONE
    text: str | None = None

    @property
    def is_constant(self) -> bool:
        """Whether nothing variable is in it."""
        if self.carriers or self.maybe or self.params:
            return False
        return not self.marks or self.marks == _NO_VALUE

    @property
    def is_none(self) -> bool:
        """Whether it is the constant None."""
        return "none" in self.marks


UNKNOWN = Value(marks=frozenset({"unknown"}))
CONSTANT = Value()
NOTHING = Value(marks=frozenset({"none"}))


def join(values: Iterable[Value]) -> Value:
    """A value made of all the given ones, as a concatenation or a tuple is."""
    rows = [row for row in values if row is not CONSTANT]
    if not rows:
        return CONSTANT
    if len(rows) == 1:
        return _textless(rows[0])
    carriers, maybe, params, marks, _ = zip(*rows, strict=True)
    return Value(
        NONE.union(*carriers), NONE.union(*maybe), NONE.union(*params), NONE.union(*marks) - _NO_VALUE
    )


def merge(values: Iterable[Value]) -> Value:
    """A value that is one of the given ones, as after an `if`: sure is only what all of them hold."""
    rows = list(values)
    if len(rows) == 1:
        return rows[0]
    if not rows:
        return CONSTANT
    first = rows[0]
    if all(row == first for row in rows):
        return first
    sure = first.carriers.intersection(*(row.carriers for row in rows[1:]))
    every = NONE.union(*(row.carriers | row.maybe for row in rows))
    if not sure and all(row.carriers for row in rows):
        sure = every  # each path carries a boundary, under different names
    marks = NONE.union(*(row.marks for row in rows))
    return Value(
        sure,
        every - sure,
        NONE.union(*(row.params for row in rows)),
        marks if all(row.is_none for row in rows) else marks - {"none"},
        first.text if all(row.text == first.text for row in rows) else None,
    )


def marked(value: Value, *marks: str) -> Value:
    """The value with further marks, no longer a constant text."""
    return Value(value.carriers, value.maybe, value.params, value.marks.union(marks) - _NO_VALUE)


def concatenate(values: Sequence[Value]) -> Value:
    """What a text is made of that is put together from parts, in their order."""
    joined = join(values)
    if any(row.text is None and not row.is_constant for row in values):
        text = "".join(row.text if row.text is not None else HOLE for row in values)
    else:
        text = "".join(row.text or "" for row in values)
    return Value(joined.carriers, joined.maybe, joined.params, joined.marks, text)


def origins(value: Value) -> set[str]:
    """The marks of the accesses that a value came from."""
    return {mark for mark in value.marks if mark.startswith("from@")}


def models_of(value: Value) -> list[str]:
    """The type names of the models for whose class a value stands, in order."""
    return sorted(mark[len(MODEL) :] for mark in value.marks if mark.startswith(MODEL))


def without_models(value: Value) -> Value:
    """The value of something that was made with a model class and is none itself."""
    kept = frozenset(mark for mark in value.marks if not mark.startswith(MODEL))
    return value if kept == value.marks else value._replace(marks=kept)


def _textless(value: Value) -> Value:
    return value if value.text is None else Value(*value[:4])


@dataclass(frozen=True, slots=True)
class Passed:
    """One argument of a call: the catalog's entry, the value, and its source text."""

    argument: Argument
    value: Value
    source: str


@dataclass(frozen=True)
class Access:
    """A data operation as one function performs it, directly or through the project functions it calls.

    Lines and columns are those of the call in `function`; columns count UTF-8 bytes from 0.  `via` are the
    calls between it and the operation; `trace` tells them to the reader.
    """

    operation: Operation
    confidence: Confidence
    function: Function
    line: int
    column: int
    end_line: int
    end_column: int
    statement: str
    receiver: str
    bound: Value
    passed: tuple[Passed, ...]
    extra: Value = CONSTANT
    via: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    sink: tuple[str, int] = ("", 0)
    marks: frozenset[str] = field(default=NONE)

    @property
    def scope(self) -> Value:
        """Everything that could bind the access: scope arguments, the receiver, boundary keywords."""
        return join(
            [self.bound, self.extra, *(row.value for row in self.passed if row.argument.role in SCOPE_ROLES)]
        )

    @property
    def verdict(self) -> Verdict:
        """Whether the scope arguments carry a boundary."""
        scope = self.scope
        if scope.carriers:
            return "scoped"
        if scope.maybe:
            return "maybe"
        if scope.params:
            return "open"
        if "unknown" in scope.marks:
            return "unknown"
        return "unscoped"

    def value_of(self, *roles: str) -> Value:
        """The joined value of the arguments with these roles."""
        rows = [row.value for row in self.passed if row.argument.role in roles]
        return rows[0] if len(rows) == 1 else join(rows)

    def source_of(self, *roles: str) -> str:
        """Source text of the first argument with one of these roles."""
        return next((row.source for row in self.passed if row.argument.role in roles), "")

    def has(self, *roles: str) -> bool:
        """Whether an argument with one of these roles was passed and is not None."""
        return any(row.argument.role in roles and not row.value.is_none for row in self.passed)


@dataclass(frozen=True, slots=True)
class PostFilter:
    """A boundary compared on the results of a retrieval, after the ranking."""

    access: Access
    line: int
    column: int
    compared: str


@dataclass(frozen=True, slots=True)
class Oddity:
    """A piece of code that does not scope as it seems to.

    `boolean-operator`: `and` between column tests; `overwritten`: a scoped filter replaced before its use;
    `prefix-match`: a boundary compared as a prefix; `truncated-digest`: a shortened hash of a boundary;
    `late-filter`: a filter extended after a copy of it was used; `open-graph-query`: a graph query over all
    nodes; `other-scope` and `sibling-without-filter`: a call that passes another scope, or none, than its
    sibling; `unescaped-pairs`: a key joined of `name=value` with nothing escaped.
    """

    kind: OddityKind
    line: int
    column: int
    end_line: int
    end_column: int
    source: str


@dataclass(frozen=True)
class FunctionFlow:
    """What the flow knows of one function: its summary for callers and the evidence for the rules.

    `unused` are parameters that the body never mentions, `ambient` the boundary parts it takes from elsewhere
    than its parameters, `memoized` the operation of the caching decorator on it.  `checked` are the sources of
    ids that went through a check, `checks` the parameters whose value it binds to a boundary or refuses,
    `compared` the marks of accesses whose result was compared with a boundary.
    `claims` are identities that a client or a model chose, `scopes` the function's own parameters that choose
    whose data it touches, with the calls between.  `overwrites` are merges of a caller's data over identity keys.
    `views` are the generic views of a module that answer from everybody's rows.
    """

    function: Function
    returned: Value
    accesses: tuple[Access, ...]
    reach: tuple[str, ...]
    post_filters: tuple[PostFilter, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    unused: tuple[str, ...] = ()
    ambient: frozenset[str] = NONE
    memoized: Operation | None = None
    lookups: tuple[Lookup, ...] = ()
    shared: tuple[SharedWrite, ...] = ()
    checked: frozenset[str] = NONE
    compared: frozenset[str] = NONE
    claims: tuple[Claim, ...] = ()
    scopes: Mapping[str, tuple[TraceStep, ...]] = field(default_factory=dict)
    overwrites: tuple[Overwrite, ...] = ()
    credentials: tuple[CredentialUse, ...] = ()
    checks: frozenset[str] = NONE
    effects: Effects | None = None
    views: tuple[OpenView, ...] = ()

    @property
    def obligations(self) -> tuple[Access, ...]:
        """Accesses to data whose scope depends on this function's own parameters alone."""
        return tuple(
            row for row in self.accesses if row.operation.kind in DATA_KINDS and row.verdict == "open"
        )
