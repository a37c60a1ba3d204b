"""Records loaded, changed or deleted on customers' models: what each query compares, and what guards it.

A query is recorded where it begins (`select(File)`, `File.objects`, `FileService.get_by_id`), and every call
that is chained on it, and every check of what it returned, is added to it as the flow meets them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow.arguments import Arguments, substitute
from boundlint.flow.beginnings import handed_model, queried_model
from boundlint.flow.claims import INBOUND
from boundlint.flow.derived import Derivations
from boundlint.flow.guards import SILENT_CALL, Check, is_authority, is_check, mentions_boundary
from boundlint.flow.queries import (
    ADDED,
    BY_ID,
    CONNECTION,
    CREATES,
    DEEPEST,
    IDENTIFIER,
    INPUT,
    INTO_QUERY,
    LEAVES_ROWS,
    PROJECTIONS,
    QUERY,
    ROW,
    RUNS_QUERY,
    STEPS,
    TAKES_MODEL,
    Lookup,
    comparisons,
    effect_of,
    ended,
    is_named_after,
    is_terminal,
    origins,
    record_of,
    unbound,
    unwrapped,
)
from boundlint.flow.sqltext import CURSOR, keeps_text, statement_run
from boundlint.flow.values import CONSTANT, NONE, UNKNOWN, Value, join, marked, models_of, without_models
from boundlint.index.extract import path_of
from boundlint.index.models import AUDIT, Model
from boundlint.index.nodes import source_of, span_of
from boundlint.index.project import Function, last_name
from boundlint.index.receivers import Callee
from boundlint.index.vocabulary import normal

if TYPE_CHECKING:
    from boundlint.flow.interpret import Interpreter

LOCKING = frozenset({"of", "nowait", "skip_locked", "no_key"})  # what `select_for_update` takes, no columns


class Lookups:
    """The queries and guards of one function while its body is followed."""

    def __init__(self, run: Interpreter, models: Mapping[str, Model], services: Mapping[str, Model]) -> None:
        self.run = run
        self.models = models
        self.services = services
        self.found: dict[str, Lookup] = {}
        self.checked_ids: dict[str, Check] = {}  # source of an id -> the check that it went through
        self.tested: set[str] = set()  # queries whose outcome a condition decides on
        self.testing = 0
        self.loops: dict[str, str] = {}  # the name of a loop -> the source of what it goes through
        # Records compared with another id: a guard where that one is checked, which may come later.
        self.comparisons: list[tuple[Value, str, tuple[str, ...], str]] = []
        # Ids that are looked for among loaded rows, by the marks of these: checked where the rows are the caller's.
        self.listed: list[tuple[str, frozenset[str], Check]] = []
        self.handed_on: set[str] = set()
        self.created: dict[str, set[str]] = {}  # boundary columns by the type name of what is created
        self.derived = Derivations()
        self.left_out: set[str] = set()  # queries of called functions that are handed a boundary themselves

    def inherit(self, outer: Lookups) -> None:
        """Collect into what the function around this one has: its queries, its checks, its loops."""
        self.found, self.checked_ids, self.tested = outer.found, outer.checked_ids, outer.tested
        self.loops, self.comparisons, self.created = outer.loops, outer.comparisons, outer.created
        self.handed_on, self.listed = outer.handed_on, outer.listed
        self.derived, self.left_out = outer.derived, outer.left_out

    def on_call(
        self, node: ast.Call, path: str, callee: Callee, receiver: Value, given: Arguments
    ) -> Value | None:
        """The value of a call that begins or continues a query; None for any other call."""
        name = path.rpartition(".")[2]
        self._note_created(name, callee, receiver, given)
        self._note_handed_on(name, given)
        self.derived.on_collect(node, self.loops)
        model = queried_model(self, node, name, callee, receiver, given)
        if model is not None:
            if BY_ID.match(name):
                given = given._replace(positional=given.positional[:1], keywords=_no_values(given.keywords))
            return self._begin(node, name, model, receiver, given)
        handed = handed_model(self, name, callee, given)
        if handed is not None:
            return self._begin(node, name, handed[0], CONSTANT, handed[1])
        told = keeps_text(name, receiver, given) or self._run_text(node, name, callee, receiver, given)
        if told is not None:
            return told
        if receiver.carriers and name in RUNS_QUERY:
            self._bind_session(receiver, given)
        building = {mark for mark in receiver.marks if mark.startswith(QUERY)}
        if building and isinstance(node.func, ast.Attribute):
            for mark in sorted(building):
                self._extend(mark, node, given)
            self._guard(node, name, callee, receiver, given)
            return self._ended(receiver, given, name)
        self._guard(node, name, callee, receiver, given)
        return None

    def _ended(self, receiver: Value, given: Arguments, name: str) -> Value:
        """What a call on a query gives: a further query, or the rows of this one."""
        value = join([receiver, self.run.flow.calls.labelled(given), given.spread])
        value = without_models(value)._replace(text=None)
        return value if name in STEPS else ended(value)

    def on_loop(self, node: ast.For | ast.AsyncFor | ast.comprehension) -> None:
        """What is checked of each in a loop is checked of all: `for id in ids`, `for place, id in enumerate(ids)`."""
        target, through = node.target, node.iter
        if isinstance(target, ast.Tuple) and isinstance(through, ast.Call) and through.args:
            if path_of(through.func) != "enumerate":
                return
            target, through = target.elts[-1], through.args[0]
        if isinstance(target, ast.Name) and ast.unparse(through) != target.id:
            self.loops[target.id] = ast.unparse(through)

    def on_compare(self, node: ast.Compare, values: list[Value]) -> None:
        """A comparison of a loaded record, or of an id, with a boundary or with a checked id is a guard."""
        if not all(
            isinstance(part, (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)) for part in node.ops
        ):
            return
        if not any(value.carriers or origins(value) for value in values):
            return
        sources = [ast.unparse(unwrapped(part)) for part in (node.left, *node.comparators)]
        reason = f"compared: {ast.unparse(node)[:60]}"
        if isinstance(node.ops[0], (ast.In, ast.NotIn)):
            among = frozenset(mark for mark in values[1].marks if mark.startswith(ROW))
            if among:
                self.listed.append((sources[0], among, Check(reason, node.lineno, firm=True)))
        for index, value in enumerate(values):
            if value.is_constant:
                continue
            others = [row for position, row in enumerate(values) if position != index]
            boundary = any(row.carriers and not origins(row) & origins(value) for row in others)
            if boundary or (value.carriers and any(row.carriers for row in others)):
                self.protect(value, reason)
                self.check(sources[index], reason, node.lineno, firm=True)
                record, part = record_of(sources[index]), last_name(sources[index])
                if record and not INPUT.search(record) and self.run.vocabulary.column(part):
                    self.check(record, reason, node.lineno, firm=True)  # `job.tenant_id` says whose it is
            elif origins(value):
                with_ids = tuple(source for position, source in enumerate(sources) if position != index)
                self.comparisons.append((value, sources[index], with_ids, reason))

    def on_refusal(self, node: ast.If, test: Value) -> None:
        """`if not report: raise`: what was loaded decides on the whole function, on what went before too."""
        if isinstance((node.body or node.orelse)[-1], ast.Raise):
            self.tested |= {QUERY + origin for origin in origins(test)}

    def check(self, source: str, reason: str, line: int, *, firm: bool) -> None:
        """Remember that an id, by its source text, is checked; a firm check decides wherever it stands."""
        known = self.checked_ids.get(source)
        new = known is None or (firm and not known.firm)
        if new:
            self.checked_ids[source] = Check(reason, line, firm)
        looped = self.loops.get(source)
        if looped is not None and (new or looped not in self.checked_ids):  # each of the ids is checked
            self.check(looped, reason, line, firm=firm)
        if new and (record := self.derived.record_of(source)):  # whose it is, is known by its part
            self.check(record, reason, line, firm=firm)
        for collected in sorted(self.derived.collected(source)) if new else ():
            self.check(collected, reason, line, firm=firm)

    def on_summary(
        self,
        node: ast.Call,
        callee: Function,
        lookups: Iterable[Lookup],
        bound: Mapping[str, Value],
        given: Mapping[str, ast.expr],
        checks: frozenset[str] = NONE,
    ) -> frozenset[str]:
        """Take over the open queries of a called function; answers with the marks of its result."""
        for name in checks:
            if name in given:
                reason = f"checked in {callee.facts.qualname}"
                self.check(source_of(given[name]), reason, node.lineno, firm=True)
                if name in bound and not self.run.vocabulary.level(name):
                    self._protect_record(bound[name], source_of(given[name]), reason)
        marks = set()
        vocabulary = self.run.vocabulary
        handed = any(
            vocabulary.is_strict(row.name) or vocabulary.is_identity(row.annotation)
            for row in callee.facts.params
        )
        for lookup in lookups:
            if len(lookup.via) >= DEEPEST:
                continue
            predicate = substitute(lookup.predicate, bound)
            dropped = "" if lookup.open else _dropped(lookup, predicate, callee, bound)
            if not lookup.open and not dropped:
                continue
            step = TraceStep(
                lookup.function.path, lookup.line, f"{callee.facts.qualname} queries {lookup.model} here"
            )
            ids = tuple(dict.fromkeys(_renamed(name, given) for name in lookup.ids))
            ids = tuple(name for name in ids if name)
            taken = () if ids else self._taken_from(lookup, given, bound)
            ids = ids or taken
            if not ids or self._narrows(lookup, bound):
                continue  # the caller gives no id, or gives a query that decides which rows there are
            moved = replace(
                lookup,
                function=self.run.function,
                span=span_of(node),
                statement=source_of(node),
                call=path_of(node.func),
                predicate=predicate,
                ids=ids,
                id_value=substitute(lookup.id_value, bound),
                via=(callee.facts.qualname, *lookup.via),
                trace=(step, *lookup.trace),
                dropped=dropped or lookup.dropped,
                values=NONE,
                beside=NONE,
                taken=lookup.taken or bool(taken),
            )
            key = f"{moved.mark}#{step.path}:{step.line}:{len(moved.via)}"
            self.found[key] = moved
            if handed and not moved.dropped:
                self.left_out.add(moved.mark)
            marks.add(moved.row)
        return frozenset(marks)

    def _taken_from(
        self, lookup: Lookup, given: Mapping[str, ast.expr], bound: Mapping[str, Value]
    ) -> tuple[str, ...]:
        """What the caller gives and the ids are read from: `payload` for `ids = payload.get("ids")`.

        Neither what was loaded, nor a record that is handed in, nor what the caller has from elsewhere.
        """
        if any(mark == "data" or mark.startswith((QUERY, ROW, "from@")) for mark in lookup.id_value.marks):
            return ()
        models = {model.name for model in self.models.values()}
        sources = (
            (bound[row.name], source_of(unwrapped(given[row.name])))
            for row in lookup.function.facts.params
            if row.name in lookup.id_value.params & given.keys() & bound.keys()
            and models.isdisjoint(re.findall(r"\w+", row.annotation))
        )
        return tuple(
            source
            for value, source in sources
            if value.params or INBOUND in value.marks or INPUT.search(re.split(r"[.(\[]", source)[0])
        )

    def _narrows(self, lookup: Lookup, bound: Mapping[str, Value]) -> bool:
        """Whether a called function is handed a query on the same model that compares something already."""
        queries = (self.found.get(mark) for value in bound.values() for mark in value.marks)
        return any(row is not None and row.columns - LOCKING and row.model == lookup.model for row in queries)

    def checks(self) -> frozenset[str]:
        """The parameters whose value this function binds to a boundary or refuses; call it after `guarded`."""
        params = {param.name for param in self.run.function.facts.params}
        return frozenset(
            source for source, check in self.checked_ids.items() if source in params and check.firm
        )

    def _note_created(self, name: str, callee: Callee, receiver: Value, given: Arguments) -> None:
        """`App(owner_id=…)`, `App.objects.create(owner=…)`: whose the record is, is known here."""
        types = set(models_of(receiver)) if CREATES.match(name) else set()
        if callee.cls is not None:
            types = {callee.cls.name}
        for type_name in types & self.models.keys():
            level = self.run.vocabulary.column
            columns = {
                keyword for keyword in given.keywords if level(keyword) and normal(keyword) not in AUDIT
            }
            self.created.setdefault(type_name, set()).update(columns)

    def _note_handed_on(self, name: str, given: Arguments) -> None:
        """`paginate(query)`, `Prefetch("notes", queryset=query)`: what becomes of a query is decided there."""
        if name in LEAVES_ROWS or (name[:1].isupper() and name not in INTO_QUERY):
            return
        for value, _ in (*given.positional, *given.keywords.values()):
            self.handed_on |= {mark for mark in value.marks if mark.startswith(QUERY)}

    def _begin(self, node: ast.Call, name: str, model: Model, receiver: Value, given: Arguments) -> Value:
        lookup = Lookup(
            model.name,
            model.cls.name,
            effect_of(name),
            path_of(node.func),
            self.run.function,
            span_of(node),
            source_of(node),
            Value(receiver.carriers | self._added(model, node), receiver.maybe),
            NONE,
            (),
            CONSTANT,
        )
        self.found[lookup.mark] = lookup
        if self.testing:
            self.tested.add(lookup.mark)
        self._extend(lookup.mark, node, given, begins=True)
        known = self.found[lookup.mark]
        is_model = bool(models_of(receiver) or models_of(given.first))
        mark = known.mark if is_model and not is_terminal(name) else known.row
        return Value(known.predicate.carriers, known.predicate.maybe, NONE, frozenset({"data", mark}))

    def _run_text(
        self, node: ast.Call, name: str, callee: Callee, receiver: Value, given: Arguments
    ) -> Value | None:
        """The rows of a SQL text that a call runs; None for any other call."""
        ran = statement_run(self.run, node, name, callee, receiver, given)
        for type_name, column in ran.created if ran is not None else ():
            self.created.setdefault(type_name, set()).add(column)
        lookup = ran.lookup if ran is not None else None
        if lookup is None:
            return None
        self.found[lookup.mark] = lookup
        if self.testing:
            self.tested.add(lookup.mark)
        cursor = path_of(node.func).rpartition(".")[0]
        if CURSOR.search(cursor):  # the rows are fetched from it
            self.run.env[cursor] = marked(self.run.env.get(cursor, UNKNOWN), lookup.row)
        predicate = lookup.predicate
        return Value(predicate.carriers, predicate.maybe, NONE, frozenset({"data", lookup.row}))

    def _added(self, model: Model, node: ast.Call) -> frozenset[str]:
        """What the project adds to every plain query on a model: an ORM event, a default manager."""
        by = self.run.flow.scoping.scopes(model.cls.name, path_of(node.func))
        return frozenset({ADDED}) if by else NONE

    def _extend(self, mark: str, node: ast.Call, given: Arguments, begins: bool = False) -> None:
        """Add what a call on the query compares."""
        lookup = self.found.get(mark)
        if lookup is None:
            return
        name = path_of(node.func).rpartition(".")[2]
        columns, ids, id_values = set(lookup.columns), list(lookup.ids), [lookup.id_value]
        compared_to: set[str] = set()  # boundary columns
        values = set(lookup.values)
        beside = set(lookup.beside)
        positional = list(given.positional)
        if begins and name in TAKES_MODEL and models_of(given.first):
            positional = positional[1:]
        for value, argument in positional:
            compared = list(comparisons(argument))
            for column, other in compared:
                columns.add(column)
                values.add(ast.unparse(other))
                beside |= _record_marks(column, other, self.run.value(other))
                if self.run.vocabulary.column(column):
                    compared_to.add(column)
                if IDENTIFIER.match(column) and not self._is_boundary(column):
                    _add_id(ids, id_values, other, self.run.value(other))
            if (
                not compared
                and (begins or name in ("get", "get_or_404", "get_by_id"))
                and isinstance(argument, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))
                and not CONNECTION.search(path_of(argument))
            ):
                _add_id(ids, id_values, argument, value)
        for keyword, (value, argument) in given.keywords.items():
            columns.add(keyword)
            values.add(ast.unparse(argument))
            beside |= _record_marks(keyword, argument, value)
            if IDENTIFIER.match(keyword) and not self._is_boundary(keyword):
                _add_id(ids, id_values, argument, value)
        predicate = join([lookup.predicate, self.run.flow.calls.labelled(_without_rows(given)), given.spread])
        predicate = predicate._replace(carriers=predicate.carriers | compared_to)
        if name == "execution_options":  # the usual way to tell the event not to
            predicate = predicate._replace(carriers=predicate.carriers - {ADDED})
        hidden = (given.open_ended or given.starred) and name not in PROJECTIONS
        maybe = predicate.maybe | {"**"} if hidden else predicate.maybe
        predicate = Value(predicate.carriers, maybe, predicate.params, predicate.marks & {"unknown"})
        effect = effect_of(name) if name in ("delete", "update") and not begins else lookup.effect
        self.found[mark] = replace(
            lookup,
            predicate=predicate,
            columns=frozenset(columns),
            ids=tuple(dict.fromkeys(ids)),
            id_value=join(id_values),
            effect=effect,
            values=frozenset(values),
            beside=frozenset(beside),
        )

    def _is_boundary(self, keyword: str) -> bool:
        """Whether a compared column is the boundary itself, and good evidence of it."""
        vocabulary = self.run.vocabulary
        return bool(vocabulary.column(keyword)) and (
            "__" in keyword or vocabulary.is_strict(keyword) or normal(keyword) in vocabulary.owners
        )

    def _guard(self, node: ast.Call, name: str, callee: Callee, receiver: Value, given: Arguments) -> None:
        """A call that takes the record, or its id, and by its name or its boundary decides about access."""
        if SILENT_CALL.match(name) or callee.kind == "class":
            return
        rows = [*given.positional, *given.keywords.values()]
        values = [receiver, *(value for value, _ in rows)]
        # The record's own tenant proves nothing about the caller's, and a session bound to one names nobody.
        carries = any(value.carriers and not origins(value) for value in (receiver, *_but_sessions(rows)))
        named = is_authority(name) or (
            is_check(name) and (carries or mentions_boundary(self.run.flow, callee.function))
        )
        if not carries and not named:
            return
        reason = f"checked by {path_of(node.func)}"
        if named:
            for value in values:
                self.protect(value, reason)
        for value, argument in rows:
            for part in _parts(argument, named):
                if (
                    isinstance(part, (ast.Name, ast.Attribute, ast.Subscript, ast.Call))
                    and not value.is_constant
                ):
                    self.check(ast.unparse(part), reason, node.lineno, firm=named or bool(self.testing))

    def _bind_session(self, session: Value, given: Arguments) -> None:
        """A query that runs in a session bound to the boundary is scoped by it."""
        for value, _ in given.positional[:1]:
            for origin in origins(value):
                lookup = self.found.get(QUERY + origin)
                if lookup is not None:
                    predicate = lookup.predicate._replace(
                        carriers=lookup.predicate.carriers | session.carriers
                    )
                    self.found[lookup.mark] = replace(lookup, predicate=predicate)

    def protect(self, value: Value, reason: str) -> None:
        """A guard has checked the record that a value is, or is made of."""
        for origin in origins(value):
            self._protect(origin, reason)

    def _protect_record(self, value: Value, variable: str, reason: str) -> None:
        """A called function checks the record that a variable holds, by its name, and not what was read from it."""
        for origin in origins(value):
            models = {row.model for row in self.found.values() if row.mark == QUERY + origin}
            if any(is_named_after(variable, model) for model in models):
                self._protect(origin, reason)

    def _protect(self, origin: str, reason: str) -> None:
        for key, lookup in self.found.items():
            if lookup.mark == QUERY + origin and reason not in lookup.guards:
                self.found[key] = replace(lookup, guards=(*lookup.guards, reason))


def _record_marks(column: str, node: ast.expr, value: Value) -> set[str]:
    """The marks of the record that a column is compared with as a whole: `stage.pipeline == pipeline`."""
    if not isinstance(node, ast.Name) or IDENTIFIER.match(column):
        return set()
    return {mark for mark in value.marks if mark.startswith(ROW)}


def _but_sessions(rows: Iterable[tuple[Value, ast.expr]]) -> Iterator[Value]:
    """The values of arguments, without database sessions and the like."""
    return (value for value, node in rows if not CONNECTION.search(path_of(node)))


def _parts(argument: ast.expr, named: bool) -> Iterator[ast.expr]:
    """What an argument of a check is about: itself, its elements, and what a policy in it is given."""
    yield argument
    if isinstance(argument, (ast.List, ast.Tuple)):
        yield from argument.elts
    if named and isinstance(argument, ast.Call):  # `authorize(user, Policy.update(record))`
        yield from argument.args


def _dropped(lookup: Lookup, predicate: Value, callee: Function, bound: Mapping[str, Value]) -> str:
    """The optional parameter that scoped a query of the called function and that the call leaves empty."""
    if (
        predicate.carriers
        or predicate.maybe
        or not (lookup.scoped or lookup.predicate.maybe)
        or lookup.guards
    ):
        return ""
    held = {carrier.partition(".")[0] for carrier in lookup.predicate.carriers | lookup.predicate.maybe}
    empty = (
        param.name
        for param in callee.facts.params
        if param.name in held
        and param.default in ("None", "''")
        and bound.get(param.name, CONSTANT).is_constant
    )
    return next(empty, "")


def _without_rows(given: Arguments) -> Arguments:
    """The arguments, what was loaded from elsewhere carrying nothing: the id of a row does not scope a query."""
    return given._replace(
        positional=tuple((unbound(value), node) for value, node in given.positional),
        keywords={name: (unbound(value), node) for name, (value, node) in given.keywords.items()},
    )


def _renamed(source: str, given: Mapping[str, ast.expr]) -> str:
    """An id's source as the caller writes it; "" where the caller gives nothing."""
    head, _, rest = source.partition(".")
    text = source_of(unwrapped(given[head])) if head in given else ""
    return f"{text}.{rest}" if text and rest else text


def _no_values(keywords: Mapping[str, tuple[Value, ast.expr]]) -> dict[str, tuple[Value, ast.expr]]:
    """The keywords that name an id."""
    return {keyword: row for keyword, row in keywords.items() if IDENTIFIER.match(keyword)}


def _add_id(ids: list[str], values: list[Value], node: ast.expr, value: Value) -> None:
    """Take an id in; a column of another query (`OuterRef("id")`, `Parent.id`) is none."""
    source = ast.unparse(unwrapped(node))
    if not source.startswith(("OuterRef", "F(")) and not value.is_constant and not models_of(value):
        ids.append(source)
        values.append(value)
