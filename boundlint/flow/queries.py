"""Queries on customers' models: the words that begin, continue and end one, and what its conditions compare."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from boundlint.findings import TraceStep
from boundlint.flow.values import NONE, Value
from boundlint.index.extract import path_of
from boundlint.index.project import Function

# Calls on a query that make a further query of it; any other ends it with rows.
STEPS = frozenset(
    "filter filter_by where join outerjoin options order_by order_bys limit offset distinct exclude select_related "
    "prefetch_related annotate only defer having group_by with_for_update execution_options select_from using subquery "
    "union union_all correlate alias with_only_columns select_for_update values values_list returning as_scalar "
    "join_from add_columns with_entities query all_objects complex_filter".split()
)
# Calls whose arguments choose columns and compare nothing.
PROJECTIONS = frozenset(
    "select values values_list only defer load_only with_entities options order_by group_by".split()
)
# A service's method that takes the id alone; what follows it is what is written.
BY_ID = re.compile(
    r"^_?a?(?:get|find|update|delete|remove|load|fetch|filter|save)_(?:one_)?by_(?:id|pk|ids|uuid)$"
)
Effect = Literal["read", "update", "delete"]
TAKES_MODEL = frozenset(
    "select query update delete get exists QuerySet get_object_or_404 aget_object_or_404 get_list_or_404 scalars "
    "get_or_404 load_only first one get_one".split()
)
ON_MODEL = frozenset(
    "get filter exclude all first last get_or_none get_by_id select query find find_one find_many update delete aget afilter "
    "filter_by where delete_by_id update_by_id get_or_404 in_bulk aggregate get_object delete_one delete_many update_one "
    "objects fetch_one select_for_update select_related prefetch_related values values_list annotate only defer".split()
)
ON_SERVICE = re.compile(
    r"^_?(?:a?get|a?find|query|fetch|load|read|list|select|retrieve|a?delete|remove|update|filter|save_by|download|archive|exists?)(?:_|$)"
)
CREATES = re.compile(
    r"^_?(?:insert|add|create|save|new|build|bulk_create|get_or_create|update_or_create|upsert|count|total)"
)
CONNECTION = re.compile(r"(?:^|[._])(?:\w*session|db|conn|connection|cursor|engine|uow)$")
IDENTIFIER = re.compile(
    r"^(?:id|pk|uuid|slug|identifier|[a-z]\w*_(?:id|pk|uuid|ids|pks))(?:__(?:in|exact))?$|^(?:ids|pks|identifiers)$"
)
RUNS_QUERY = frozenset(
    "execute scalars scalar exec stream stream_scalars".split()
)  # of a session, given a query
# Calls that take a query and leave its rows as they are; so do classes, but for those of `INTO_QUERY`.
LEAVES_ROWS = RUNS_QUERY | frozenset("list len set tuple sorted iter next dict jsonify print str".split())
INTO_QUERY = frozenset("Prefetch Exists Subquery Q FilteredRelation".split())
CORRELATED = re.compile(r"\b(?:OuterRef|Subquery)\(")
ADDED = "*isolation*"  # the carrier that stands for what the project adds to every query
QUERY, ROW = "lookup@", "row@"  # marks of a query that is built, and of what it loaded
INPUT = re.compile(
    r"payload|body|data|req|form|input|dto|args|params|json|schema|(?:^|_)(?:in|create|update)$"
)
DEEPEST = 4  # calls between a query and the function that answers for it

VOWEL = re.compile(r"[AEIO]|U(?!s[ae]|ni)", re.IGNORECASE)


@dataclass(frozen=True)
class Lookup:
    """One query on a customers' model, as one function makes it, directly or through those it calls.

    `span` is that of the call that begins it (columns in UTF-8 bytes); `predicate` is everything the query compares with, `columns` the compared columns, `ids` the source of
    the ids it is given, `guards` the checks found around it.  `dropped` is the optional boundary parameter of
    the called function that this caller leaves out; `created` are the boundary columns that the same function
    gives to a record of the model which it creates.  `handed_on` says that the query, before it ran, was given to
    what may narrow it: another query, a function.  `values` are the sources of all compared values,
    `beside` the marks of the records that it compares a relation with.
    `taken` says that `ids` are what the ids are read from, and not these themselves: `payload` for `payload.get("ids")`.
    `is_table` where no model stands behind the table of a SQL text: then `model` is the table's name.
    """

    model: str
    type_name: str
    effect: Effect
    call: str
    function: Function
    span: tuple[int, int, int, int]
    statement: str
    predicate: Value
    columns: frozenset[str]
    ids: tuple[str, ...]
    id_value: Value
    guards: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    dropped: str = ""
    created: tuple[str, ...] = ()
    handed_on: bool = False
    values: frozenset[str] = NONE
    beside: frozenset[str] = NONE
    is_table: bool = False
    taken: bool = False

    @property
    def record(self) -> str:
        """What it is about, as a message calls it: "a Report", "an Agent", "a row of reports"."""
        if self.is_table:
            return f"a row of {self.model}"
        return f"{'an' if VOWEL.match(self.model) else 'a'} {self.model}"

    @property
    def mark(self) -> str:
        """The mark that the query carries while it is built."""
        return QUERY + ":".join(map(str, self.span))

    @property
    def row(self) -> str:
        """The mark that what it loaded carries, and what is made of that."""
        return ROW + ":".join(map(str, self.span))

    @property
    def line(self) -> int:
        """The line it begins on."""
        return self.span[0]

    @property
    def scoped(self) -> bool:
        """Whether the query itself carries a boundary on every path."""
        return bool(self.predicate.carriers)

    @property
    def open(self) -> bool:
        """Addressed by an id, and neither scoped nor guarded on any path."""
        return bool(self.ids) and self.bare

    @property
    def bare(self) -> bool:
        """Neither scoped nor guarded on any path."""
        return not self.predicate.carriers and not self.predicate.maybe and not self.guards

    @property
    def correlated(self) -> bool:
        """Whether it stands inside of another query, which narrows it."""
        return CORRELATED.search(self.statement) is not None

    @property
    def by_id(self) -> bool:
        """Whether it is addressed by an id."""
        return bool(self.ids)


def record_of(source: str) -> str:
    """The variable that holds the record whose id a source is; "" for what is no part of one, or of `self`."""
    root, dot, _ = source.partition(".")
    return root if dot and root.isidentifier() and root not in ("self", "cls", "request") else ""


def is_named_after(variable: str, model: str) -> bool:
    """Whether a variable bears a model's name, or the end of it: `oauth_account` for an OAuthAccount."""
    plain = variable.lower().replace("_", "")
    return variable.isidentifier() and not IDENTIFIER.match(variable) and model.lower().endswith(plain)


def unwrapped(node: ast.expr) -> ast.expr:
    """`id` of `str(id)`, `UUID(id)`, `[id]`: the same id in another type."""
    if isinstance(node, (ast.List, ast.Tuple)) and len(node.elts) == 1:
        node = node.elts[0]
    while (
        isinstance(node, ast.Call)
        and len(node.args) == 1
        and path_of(node.func) in ("str", "int", "UUID", "uuid.UUID")
    ):
        node = node.args[0]
    return node


def origins(value: Value) -> set[str]:
    """The places of the queries that a value is, or was loaded by."""
    return {mark.partition("@")[2] for mark in value.marks if mark.startswith((QUERY, ROW))}


def ended(value: Value) -> Value:
    """A query's value as that of its rows."""
    if not any(mark.startswith(QUERY) for mark in value.marks):
        return value
    marks = (ROW + mark[len(QUERY) :] if mark.startswith(QUERY) else mark for mark in value.marks)
    return value._replace(marks=frozenset(marks))


def unbound(value: Value) -> Value:
    """A value of a comparison; what was loaded from elsewhere carries nothing: the id of a row scopes no query."""
    loaded = any(mark == "data" or mark.startswith((ROW, "from@")) for mark in value.marks)
    return value._replace(carriers=NONE, maybe=NONE) if loaded else value


def is_terminal(name: str) -> bool:
    """Whether the call that begins a query also ends it, as `Model.objects.get(pk=…)` and services do."""
    return name not in STEPS and name not in ("select", "update", "delete", "find", "QuerySet", "objects")


def comparisons(node: ast.expr) -> Iterable[tuple[str, ast.expr]]:
    """Column and other side of each `Model.column == value` and `Model.column.in_(value)` in an expression."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and len(part.comparators) == 1:
            left, right = _column(part.left), _column(part.comparators[0])
            for one, other in ((left, right), (right, left)):
                if isinstance(one, ast.Attribute) and _is_class_path(one.value):
                    yield one.attr, other
                elif isinstance(one, ast.Call) and path_of(one.func) == "getattr" and len(one.args) == 2:
                    yield "?", other
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr in ("in_", "is_in")
            and part.args
        ):
            column = _column(part.func.value)
            if isinstance(column, ast.Attribute):
                yield column.attr, part.args[0]
        elif isinstance(part, ast.Call) and path_of(part.func) in ("Q", "models.Q"):
            for keyword in part.keywords:
                if keyword.arg:
                    yield keyword.arg, keyword.value


def _column(node: ast.expr) -> ast.expr:
    """The column inside of a wrapper such as `col(Model.column)` or `func.lower(Model.column)`."""
    if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
        inner = node.args[0]
        if isinstance(inner, ast.Attribute) and _is_class_path(inner.value):
            return inner
    return node


def _is_class_path(node: ast.expr) -> bool:
    name = path_of(node).rpartition(".")[2]
    return name[:1].isupper() or name in ("model", "_model", "cls", "model_class")


def effect_of(name: str) -> Effect:
    if re.match(r"_?a?(?:delete|remove)", name):
        return "delete"
    return "update" if re.match(r"_?(?:update|set|save|archive)", name) else "read"
