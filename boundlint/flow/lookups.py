"""Records loaded, changed or deleted on customers' models: what each query compares, and what guards it.

A query is recorded where it begins (`select(File)`, `File.objects`, `FileService.get_by_id`), and every call
that is chained on it, and every check of what it returned, is added to it as the flow meets them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from boundlint.findings import TraceStep
from boundlint.flow.values import CONSTANT, NONE, Value, join
from boundlint.index.extract import path_of
from boundlint.index.models import Model
from boundlint.index.project import Class, Function
from boundlint.index.receivers import Callee

if TYPE_CHECKING:
    from boundlint.flow.calls import Arguments
    from boundlint.flow.interpret import Interpreter

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
IDENTIFIER = re.compile(
    r"^(?:id|pk|uuid|slug|[a-z]\w*_(?:id|pk|uuid|ids|pks))(?:__(?:in|exact))?$|^ids$|^pks$"
)
GUARD = re.compile(
    r"access|check|verif|ensure|require|can_|has_|authori[sz]|permission|permit|assert|validate|is_owner|belong|owned|own_|allow|guard|forbid|protect|member|scope|accessible|visible|_or_403|_or_404|for_user|by_user|of_user|in_workspace|in_tenant|in_org"
)
SILENT_CALL = re.compile(
    r"^(?:print|log|debug|info|warning|warn|error|exception|critical|track|emit|capture|publish|append|add|format|join|str|len|dict|list|set|"
    r"isinstance|delay|apply_async|send|send_task|enqueue|create|insert|save|audit|record|jsonify|get_json_result|model_dump|to_dict)$"
)
RUNS_QUERY = frozenset(
    "execute scalars scalar exec stream stream_scalars".split()
)  # of a session, given a query
ADDED = "*isolation*"  # the carrier that stands for what the project adds to every query
DEEPEST = 4  # calls between a query and the function that answers for it


@dataclass(frozen=True)
class Lookup:
    """One query on a customers' model, as one function makes it, directly or through those it calls.

    `span` is that of the call that begins it (columns in UTF-8 bytes); `predicate` is everything the query compares with, `columns` the compared columns, `ids` the source of
    the ids it is given, `guards` the checks found around it.
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

    @property
    def mark(self) -> str:
        """The mark that values made of this query's result carry."""
        return "lookup@" + ":".join(map(str, self.span))

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
        return bool(self.ids) and not self.predicate.carriers and not self.predicate.maybe and not self.guards

    @property
    def by_id(self) -> bool:
        """Whether it is addressed by an id."""
        return bool(self.ids)


class Lookups:
    """The queries and guards of one function while its body is followed."""

    def __init__(self, run: Interpreter, models: Mapping[str, Model], services: Mapping[str, Model]) -> None:
        self.run = run
        self.models = models
        self.services = services
        self.found: dict[str, Lookup] = {}
        self.checked_ids: dict[str, str] = {}  # source of an id -> the check that it went through

    def on_call(
        self, node: ast.Call, path: str, callee: Callee, receiver: Value, given: Arguments
    ) -> Value | None:
        """The value of a call that begins or continues a query; None for any other call."""
        name = path.rpartition(".")[2]
        model = self._begun(node, name, callee, receiver, given)
        if model is not None:
            return self._begin(node, name, model, receiver, given)
        if receiver.carriers and name in RUNS_QUERY:
            self._bind_session(receiver, given)
        marks = {mark for mark in receiver.marks if mark.startswith("lookup@")}
        if marks and isinstance(node.func, ast.Attribute):
            for mark in marks:
                self._extend(mark, node, given)
        self._guard(node, name, receiver, given)
        return None

    def on_compare(self, node: ast.Compare, values: list[Value]) -> None:
        """A comparison of a loaded record, or of an id, with a boundary is a guard."""
        sources = [ast.unparse(part) for part in (node.left, *node.comparators)]
        for index, value in enumerate(values):
            others = [row for position, row in enumerate(values) if position != index]
            boundary = any(row.carriers and not _lookups(row) & _lookups(value) for row in others)
            mine = any(row.carriers for row in others) and value.carriers
            if not boundary and not mine:
                continue
            for mark in _lookups(value):
                self._protect(mark, f"compared: {ast.unparse(node)[:60]}")
            self.checked_ids.setdefault(sources[index], f"compared: {ast.unparse(node)[:60]}")

    def on_summary(
        self,
        node: ast.Call,
        callee: Function,
        lookups: Iterable[Lookup],
        bound: Mapping[str, Value],
        sources: Mapping[str, str],
    ) -> frozenset[str]:
        """Take over the open queries of a called function; answers with the marks of its result."""
        from boundlint.flow.calls import substitute

        marks = set()
        for lookup in lookups:
            if not lookup.open or len(lookup.via) >= DEEPEST:
                continue
            predicate = substitute(lookup.predicate, bound)
            step = TraceStep(
                lookup.function.path, lookup.line, f"{callee.facts.qualname} queries {lookup.model} here"
            )
            ids = tuple(dict.fromkeys(_renamed(name, sources) for name in lookup.ids))
            ids = tuple(name for name in ids if name)
            if not ids:
                continue  # the caller gives no id
            moved = replace(
                lookup,
                function=self.run.function,
                span=_place(node),
                statement=ast.unparse(node)[:200],
                call=path_of(node.func),
                predicate=predicate,
                ids=ids,
                id_value=substitute(lookup.id_value, bound),
                via=(callee.facts.qualname, *lookup.via),
                trace=(step, *lookup.trace),
            )
            self.found[moved.mark] = moved
            marks.add(moved.mark)
        return frozenset(marks)

    def finish(self) -> tuple[Lookup, ...]:
        """All queries with the guards that hold for them."""
        scoped_ids = {
            source: f"loaded with its boundary: {row.statement[:60]}"
            for row in self.found.values()
            if row.scoped
            for source in row.ids
        }
        rows = []
        for row in self.found.values():
            guards = list(row.guards)
            guards += [self.checked_ids[source] for source in row.ids if source in self.checked_ids]
            if not row.scoped:
                guards += [scoped_ids[source] for source in row.ids if source in scoped_ids]
            rows.append(replace(row, guards=tuple(dict.fromkeys(guards))))
        return tuple(rows)

    def _begun(
        self, node: ast.Call, name: str, callee: Callee, receiver: Value, given: Arguments
    ) -> Model | None:
        if callee.kind == "class" or CREATES.match(name):
            return None
        first = given.positional[0][0] if given.positional else CONSTANT
        if name in TAKES_MODEL and not _lookups(receiver):
            for mark in first.marks:
                if mark.startswith("model:"):
                    return self.models.get(mark[6:])
        if _lookups(receiver):
            return None
        for mark in receiver.marks:
            if mark.startswith("model:") and name in ON_MODEL and callee.kind != "function":
                return self.models.get(mark[6:])
        return self._served(node, name, callee)

    def _served(self, node: ast.Call, name: str, callee: Callee) -> Model | None:
        """The model of a service whose general method (`get_by_id` of a base class) is called."""
        if not isinstance(node.func, ast.Attribute) or not ON_SERVICE.match(name):
            return None
        receivers = self.run.flow.receivers
        path = path_of(node.func.value)
        typed = receivers.type_of(self.run.function, path)
        if typed is None:
            return None
        cls = self.run.flow.project.class_named(typed.name)
        model = self.services.get(typed.name) if cls is not None else None
        if model is None or cls is None:
            return None
        if callee.function is None:
            return model
        own = callee.function.facts.owner == cls.facts.qualname and callee.function.path == cls.path
        return None if own else model

    def _begin(self, node: ast.Call, name: str, model: Model, receiver: Value, given: Arguments) -> Value:
        lookup = Lookup(
            model.name,
            model.cls.name,
            _effect(name),
            path_of(node.func),
            self.run.function,
            _place(node),
            ast.unparse(node)[:200],
            Value(receiver.carriers | self._added(model, node), receiver.maybe, receiver.params),
            NONE,
            (),
            CONSTANT,
        )
        self.found[lookup.mark] = lookup
        self._extend(lookup.mark, node, given, begins=True)
        known = self.found[lookup.mark]
        return Value(known.predicate.carriers, known.predicate.maybe, NONE, frozenset({"data", lookup.mark}))

    def _added(self, model: Model, node: ast.Call) -> frozenset[str]:
        """What the project adds to every plain query on a model: an ORM event, a default manager."""
        by = self.run.flow.isolation.scopes(model.cls.name, path_of(node.func))
        return frozenset({ADDED}) if by else NONE

    def _extend(self, mark: str, node: ast.Call, given: Arguments, begins: bool = False) -> None:
        """Add what a call on the query compares."""
        lookup = self.found.get(mark)
        if lookup is None:
            return
        name = path_of(node.func).rpartition(".")[2]
        columns, ids, id_values = set(lookup.columns), list(lookup.ids), [lookup.id_value]
        positional = list(given.positional)
        if begins and name in TAKES_MODEL and positional:
            positional = positional[1:]
        for value, argument in positional:
            compared = list(_comparisons(argument))
            for column, other in compared:
                columns.add(column)
                if IDENTIFIER.match(column):
                    _add_id(ids, id_values, other, self.run.value(other))
            if (
                not compared
                and (begins or name in ("get", "get_or_404", "get_by_id"))
                and isinstance(argument, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))
            ):
                _add_id(ids, id_values, argument, value)
        for keyword, (value, argument) in given.keywords.items():
            columns.add(keyword)
            if IDENTIFIER.match(keyword) and not self.run.vocabulary.is_strict(keyword.partition("__")[0]):
                _add_id(ids, id_values, argument, value)
        predicate = join([lookup.predicate, self.run.flow.calls.labelled(given), given.spread])
        if name == "execution_options":  # the usual way to tell the event not to
            predicate = replace(predicate, carriers=predicate.carriers - {ADDED})
        maybe = predicate.maybe | {"**"} if given.open_ended or given.starred else predicate.maybe
        predicate = Value(predicate.carriers, maybe, predicate.params, predicate.marks & {"unknown"})
        effect = _effect(name) if name in ("delete", "update") and not begins else lookup.effect
        self.found[mark] = replace(
            lookup,
            predicate=predicate,
            columns=frozenset(columns),
            ids=tuple(dict.fromkeys(ids)),
            id_value=join(id_values),
            effect=effect,
        )

    def _guard(self, node: ast.Call, name: str, receiver: Value, given: Arguments) -> None:
        """A call that takes the record, or its id, together with a boundary, or whose name says it checks."""
        if SILENT_CALL.match(name):
            return
        values = [
            receiver,
            *(value for value, _ in given.positional),
            *(value for value, _ in given.keywords.values()),
        ]
        carries = any(value.carriers for value in values)
        named = bool(GUARD.search(name.lower()))
        if not carries and not named:
            return
        reason = f"checked by {path_of(node.func)}"
        if named:
            for value in values:
                for mark in _lookups(value):
                    self._protect(mark, reason)
        arguments = [
            *(argument for _, argument in given.positional),
            *(argument for _, argument in given.keywords.values()),
        ]
        for argument in arguments:
            for part in [argument, *(argument.elts if isinstance(argument, (ast.List, ast.Tuple)) else ())]:
                if isinstance(part, (ast.Name, ast.Attribute, ast.Subscript, ast.Call)) and (
                    named or carries
                ):
                    self.checked_ids.setdefault(ast.unparse(part), reason)

    def _bind_session(self, session: Value, given: Arguments) -> None:
        """A query that runs in a session bound to the boundary is scoped by it."""
        for value, _ in given.positional[:1]:
            for mark in _lookups(value):
                lookup = self.found.get(mark)
                if lookup is not None:
                    predicate = replace(
                        lookup.predicate, carriers=lookup.predicate.carriers | session.carriers
                    )
                    self.found[mark] = replace(lookup, predicate=predicate)

    def protect(self, value: Value, reason: str) -> None:
        """A guard has checked the record that a value is, or is made of."""
        for mark in _lookups(value):
            self._protect(mark, reason)

    def _protect(self, mark: str, reason: str) -> None:
        lookup = self.found.get(mark)
        if lookup is not None and reason not in lookup.guards:
            self.found[mark] = replace(lookup, guards=(*lookup.guards, reason))


def _renamed(source: str, sources: Mapping[str, str]) -> str:
    """An id's source as the caller writes it; "" where the caller gives nothing."""
    head, _, rest = source.partition(".")
    given = sources.get(head, "")
    return f"{given}.{rest}" if given and rest else given


def class_mark(cls: Class, models: Mapping[str, Model]) -> Value:
    """The value of a name that stands for a class."""
    return Value(marks=frozenset({f"model:{cls.name}"})) if cls.name in models else CONSTANT


def _lookups(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("lookup@")}


def _comparisons(node: ast.expr) -> Iterable[tuple[str, ast.expr]]:
    """Column and other side of each `Model.column == value` and `Model.column.in_(value)` in an expression."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and len(part.comparators) == 1:
            for one, other in ((part.left, part.comparators[0]), (part.comparators[0], part.left)):
                if isinstance(one, ast.Attribute) and _is_class_path(one.value):
                    yield one.attr, other
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr in ("in_", "is_in")
            and part.args
        ):
            if isinstance(part.func.value, ast.Attribute):
                yield part.func.value.attr, part.args[0]
        elif isinstance(part, ast.Call) and path_of(part.func) in ("Q", "models.Q"):
            for keyword in part.keywords:
                if keyword.arg:
                    yield keyword.arg, keyword.value


def _add_id(ids: list[str], values: list[Value], node: ast.expr, value: Value) -> None:
    """Take an id in; a column of another query (`OuterRef("id")`, `Parent.id`) is none."""
    source = ast.unparse(node)
    if (
        not source.startswith(("OuterRef", "F("))
        and not value.is_constant
        and not any(m.startswith("model:") for m in value.marks)
    ):
        ids.append(source)
        values.append(value)


def _is_class_path(node: ast.expr) -> bool:
    name = path_of(node).rpartition(".")[2]
    return name[:1].isupper() or name in ("model", "_model", "cls", "model_class")


def _effect(name: str) -> Effect:
    if re.match(r"_?a?(?:delete|remove)", name):
        return "delete"
    return "update" if re.match(r"_?(?:update|set|save|archive)", name) else "read"


def _place(node: ast.Call) -> tuple[int, int, int, int]:
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return node.lineno, node.col_offset, end_line, end_column
