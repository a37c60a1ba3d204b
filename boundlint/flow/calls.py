"""Calls: record catalog operations, apply the summaries of project functions, pass values through the rest."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from boundlint.catalog.model import Argument, Operation
from boundlint.findings import TraceStep
from boundlint.flow import names
from boundlint.flow.declared import NOT_CHECKED
from boundlint.flow.graphtext import CHOSEN_GRAPH, chooses_graph, open_graph_query
from boundlint.flow.oddities import lost_conditions, prefix_match
from boundlint.flow.queries import QUERY, ROW, ended
from boundlint.flow.values import (
    CONSTANT,
    DATA_KINDS,
    HOLE,
    NONE,
    NOTHING,
    UNKNOWN,
    Access,
    Passed,
    Value,
    join,
    marked,
)
from boundlint.index.extract import DEFERS, path_of
from boundlint.index.facts import FunctionFacts
from boundlint.index.nodes import source_of, span_of
from boundlint.index.project import Function
from boundlint.index.receivers import LOWER, Callee

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow
    from boundlint.flow.declared import Role
    from boundlint.flow.interpret import Interpreter

CALLED_FORMS = frozenset({"method", "function"})
QUIET_EFFECTS = frozenset({"admin", "none"})
DEEPEST_OBLIGATION = 4  # calls between a data access and the caller that answers for it
STRING_RESULT = frozenset(
    {
        "lower",
        "upper",
        "strip",
        "encode",
        "decode",
        "hexdigest",
        "digest",
        "replace",
        "join",
        "format",
        "lstrip",
        "rstrip",
        "hex",
        "title",
    }
)
FINDS = re.compile(r"^_?a?(?:find|get|load|fetch|read|retrieve)(?:_|$)")
CONTENT_ROLES = frozenset({"value", "document", "message", "payload"})


class Arguments(NamedTuple):
    """The evaluated arguments of one call; `open_ended` when a `*` or `**` may hold more."""

    positional: tuple[tuple[Value, ast.expr], ...]
    keywords: Mapping[str, tuple[Value, ast.expr]]
    spread: Value
    open_ended: bool
    starred: bool

    def joined(self) -> Value:
        """All argument values in one."""
        return join([*(v for v, _ in self.positional), *(v for v, _ in self.keywords.values()), self.spread])


class Calls:
    """How the flow treats calls."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def evaluate(self, run: Interpreter, node: ast.Call) -> Value:
        """The value of a call; an operation in it is recorded as an access of the running function."""
        for row in lost_conditions(node):
            run.note(row)
        receiver = run.value(node.func.value) if isinstance(node.func, ast.Attribute) else CONSTANT
        given = _arguments(run, node)
        if len(given.positional) == 1:
            run.note(prefix_match(node, given.positional[0][0]))
        path = path_of(node.func)
        callee = self.flow.receivers.callee(run.function, path)
        run.siblings.on_call(node, callee, receiver, given)
        run.credentials.on_call(node, callee, receiver, given)
        run.note(run.joins.on_join(node) or open_graph_query(run, node, receiver, given))
        role = self.flow.declared.role(run.function, path)
        if role:
            value = self._declared(run, node, path, callee, role, receiver, given)
        else:
            value = self._reached(run, node, path, callee, receiver, given)
            value = marked(value, CHOSEN_GRAPH) if chooses_graph(given) else value
        if run.claims.active:
            run.claims.on_call(node, path, callee, given)
            value = run.claims.on_result(given, receiver, value)
        return value

    def _reached(
        self,
        run: Interpreter,
        node: ast.Call,
        path: str,
        callee: Callee,
        receiver: Value,
        given: Arguments,
    ) -> Value:
        """The value of a call by what it reaches."""
        name = path.rpartition(".")[2]
        if callee.operation is not None and callee.operation.kind != "database":
            return self._operation(run, node, callee, callee.operation, receiver, given)
        queried = run.lookups.on_call(node, path, callee, receiver, given)
        if queried is not None:
            return queried
        if callee.kind != "class" and self.flow.vocabulary.is_getter(name):
            run.ambient.add(f"{name}()")
            return Value(given.joined().carriers | receiver.carriers | {f"{name}()"})
        if DEFERS.search(name) and (later := self._deferred(run, node)) is not None:
            return later
        if callee.kind == "function" and callee.function is not None:
            function = self.flow.concrete(callee.function)
            if function != callee.function:
                callee = replace(callee, confidence=LOWER[callee.confidence])
            return self._project_function(run, node, callee, function, receiver, given)
        if isinstance(node.func, ast.Attribute) and (receiver.text is not None or name in STRING_RESULT):
            return _text_method(name, receiver, given)
        value = ended(_without_models(join([receiver, self.labelled(given), given.spread])))
        if (
            path.endswith("kwargs.get")
            and given.positional
            and isinstance(given.positional[0][1], ast.Constant)
        ):
            label = str(given.positional[0][1].value)
            if self.flow.vocabulary.is_strict(label):  # what the router has matched
                value = value._replace(carriers=value.carriers | {label})
        self._chain(run, receiver, value)
        if callee.kind == "external":
            root = callee.external.partition(".")[0]
            if root in sys.stdlib_module_names:
                marks = names.function_marks(callee.external)
                if "config" in marks and given.positional:
                    marks |= names.credential_marks(given.positional[0][0].text or "")
                return marked(value, *marks) if value.text is not None or marks else value
            return marked(value, "external")
        if callee.kind == "class":
            return marked(value, "object")
        if isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            return value if value.text is None else marked(value)
        return marked(value, "unknown")

    def _declared(
        self,
        run: Interpreter,
        node: ast.Call,
        path: str,
        callee: Callee,
        role: Role,
        receiver: Value,
        given: Arguments,
    ) -> Value:
        """A call of a function that the configuration names: its result, and what it checks, is bound."""
        name = f"{path.rpartition('.')[2]}()"
        result = self._reached(run, node, path, callee, receiver, given)
        if role == "guard":
            for value, argument in (*given.positional, *given.keywords.values()):
                source = ast.unparse(argument)
                if isinstance(argument, (ast.Name, ast.Attribute)) and not NOT_CHECKED.match(
                    source.rpartition(".")[2]
                ):
                    run.checked(source, value, f"checked by {path}")
                run.lookups.protect(value, f"checked by {path}")
        if role == "key-builder":
            inside = join([receiver, self.labelled(given), given.spread])
            ambient = result.carriers - inside.carriers
            result = inside._replace(
                carriers=inside.carriers | ambient,
                marks=inside.marks - {"unknown", "none"},
                text=None,
            )
            if result.maybe or result.params or result.carriers or self._takes_boundary(callee, given):
                return result  # what goes in decides
        return result._replace(carriers=result.carriers | {name}, text=None, marks=result.marks - {"none"})

    def _takes_boundary(self, callee: Callee, given: Arguments) -> bool:
        """Whether a function is handed its boundary, so that it reads none by itself."""
        level = self.flow.vocabulary.level
        params = callee.function.facts.params if callee.function is not None else ()
        return any(level(param.name) for param in params) or any(level(key) for key in given.keywords)

    def labelled(self, given: Arguments) -> Value:
        """The arguments in one, a boundary keyword making a boundary of its value."""
        rows = [value for value, _ in given.positional]
        for keyword, (value, _) in given.keywords.items():
            if self.flow.vocabulary.column(keyword) and not value.is_constant and not value.carriers:
                rows.append(value._replace(carriers=frozenset({keyword}), text=None))
            else:
                rows.append(value)
        return join(rows)

    def _deferred(self, run: Interpreter, node: ast.Call) -> Value | None:
        """`to_thread(client.get, key)`: the value of the call that happens elsewhere; None when there is none."""
        for index, argument in enumerate(node.args[:2]):
            if not isinstance(argument, (ast.Attribute, ast.Name)):
                continue
            callee = self.flow.receivers.callee(run.function, path_of(argument))
            if callee.operation is not None or callee.function is not None:
                call = ast.Call(argument, node.args[index + 1 :], node.keywords)
                return self.evaluate(run, ast.copy_location(call, node))
        return None

    def _chain(self, run: Interpreter, receiver: Value, value: Value) -> None:
        """A call on the result of an operation that chained calls can scope: `search(…).where(…)`."""
        for mark in receiver.marks:
            if not mark.startswith("from@"):
                continue
            for key, access in run.accesses.items():
                if mark == f"from@{access.line}:{access.column}" and "chained" in access.operation.binders:
                    added = Value(value.carriers, value.maybe, value.params, value.marks & {"unknown"})
                    run.accesses[key] = replace(access, extra=join([access.extra, added]))

    def _operation(
        self,
        run: Interpreter,
        node: ast.Call,
        callee: Callee,
        operation: Operation,
        receiver: Value,
        given: Arguments,
    ) -> Value:
        everything = join([receiver, self.labelled(given), given.spread])
        if (
            operation.kind == "database"
            or operation.effect in QUIET_EFFECTS
            or (operation.form not in CALLED_FORMS and operation.runs is None)
        ):
            return marked(everything, "data" if operation.kind == "database" else "external")
        if operation.form == "function":
            receiver = CONSTANT
        passed = tuple(_passed(argument, given) for argument in operation.args)
        extra = [
            v if v.carriers else v._replace(carriers=frozenset({k}))
            for k, (v, _) in given.keywords.items()
            if self.flow.vocabulary.level(k) and not v.is_constant
        ]
        access = Access(
            operation,
            callee.confidence,
            run.function,
            node.lineno,
            node.col_offset,
            node.end_lineno or node.lineno,
            node.end_col_offset or node.col_offset,
            source_of(node) if operation.kind == "queue" else "",
            path_of(node.func).rpartition(".")[0],
            _client(receiver, operation),
            tuple(row for row in passed if row is not None),
            join(extra),
            sink=(run.function.path, node.lineno),
        )
        key = (*span_of(node), operation.target)
        run.accesses[key] = access
        if operation.kind not in DATA_KINDS:
            return marked(everything, "model" if operation.kind == "llm" else "external")
        scope = access.scope
        origin = f"from@{node.lineno}:{node.col_offset}"
        return Value(
            scope.carriers,
            scope.maybe,
            scope.params if operation.effect == "read" else NONE,
            frozenset({"data", origin}),
        )

    def _project_function(
        self,
        run: Interpreter,
        node: ast.Call,
        callee: Callee,
        function: Function,
        receiver: Value,
        given: Arguments,
    ) -> Value:
        summary = self.flow.summary(function)
        arguments = self.labelled(given)
        if summary is None:
            return marked(join([receiver, arguments, given.spread]), "unknown")
        bound = bind(function.facts, given)
        run.claims.on_summary(node, summary, bound)
        method_of_self = path_of(node.func).startswith(("self.", "cls.", "super()."))
        run.ambient |= {name for name in summary.ambient if method_of_self or not name.startswith("self.")}
        for access in summary.obligations:
            if len(access.via) >= DEEPEST_OBLIGATION:
                continue
            if summary.reach and access.value_of("value").carriers:
                continue  # the callee held the boundary of this value: it is the one to mend
            moved = self._moved(run, node, callee, function, access, bound)
            if not method_of_self:
                moved = replace(moved, bound=join([moved.bound, Value(receiver.carriers, receiver.maybe)]))
            key = (*span_of(node), access.operation.target, *access.sink)
            run.accesses[key] = moved
        for access in summary.accesses:
            if access.verdict == "scoped" and _hands_over_notes(access, bound):
                key = (*span_of(node), access.operation.target, *access.sink)
                run.accesses[key] = self._moved(run, node, callee, function, access, bound)
        result = substitute(summary.returned, bound)
        if receiver.carriers or receiver.maybe:
            result = result._replace(
                carriers=result.carriers | receiver.carriers, maybe=result.maybe | receiver.maybe
            )
        origin = frozenset(
            f"from@{node.lineno}:{node.col_offset}" for m in result.marks if m.startswith("from@")
        )
        queries = () if self.flow.entry(function) else summary.lookups
        given_nodes = _handed_in(function.facts, given)
        loaded = run.lookups.on_summary(node, function, queries, bound, given_nodes, summary.checks)
        kept = frozenset(m for m in result.marks if not m.startswith(("from@", QUERY, ROW)))
        if not loaded and FINDS.match(function.facts.name):
            # `Project.find_by_id(session, agent.project_id)`: what is checked of it is checked of the agent.
            given_marks = (
                m for v, node in given.positional if isinstance(node, ast.Attribute) for m in v.marks
            )
            loaded = frozenset(m for m in given_marks if m.startswith((QUERY, ROW)))
        return result._replace(marks=kept | origin | loaded)

    def _moved(
        self,
        run: Interpreter,
        node: ast.Call,
        callee: Callee,
        function: Function,
        access: Access,
        bound: Mapping[str, Value],
    ) -> Access:
        """A callee's open access as the caller performs it."""
        step = TraceStep(
            access.function.path,
            access.line,
            f"{function.facts.qualname} passes it to {access.operation.target}"
            if not access.via
            else f"{function.facts.qualname} passes it on",
        )
        return replace(
            access,
            confidence=access.confidence if callee.confidence == "high" else LOWER[access.confidence],
            function=run.function,
            line=node.lineno,
            column=node.col_offset,
            end_line=node.end_lineno or node.lineno,
            end_column=node.end_col_offset or node.col_offset,
            statement=source_of(node) if access.operation.kind == "queue" else "",
            bound=substitute(access.bound, bound),
            passed=tuple(replace(row, value=substitute(row.value, bound)) for row in access.passed),
            extra=substitute(access.extra, bound),
            via=(function.facts.qualname, *access.via),
            trace=(step, *access.trace),
        )


def _hands_over_notes(access: Access, bound: Mapping[str, Value]) -> bool:
    """Whether a callee that scopes its memory write itself is given a run's notes to write."""
    if access.operation.kind != "memory" or access.operation.effect != "write":
        return False
    params = join([row.value for row in access.passed if row.argument.role in CONTENT_ROLES]).params
    return any("scratch" in bound[name].marks for name in params if name in bound)


def _client(receiver: Value, operation: Operation) -> Value:
    """What the client itself contributes to the scope: a client handed in as a parameter is not a scope."""
    made_here = "constructor" in operation.binders and receiver.marks & {"object", "external"}
    return receiver._replace(
        params=receiver.params if made_here else NONE, marks=receiver.marks - {"unknown"}
    )


def bind(facts: FunctionFacts, given: Arguments) -> dict[str, Value]:
    """The values that a call gives to the parameters of a function."""
    params = list(facts.params)
    if facts.owner and params and not any("staticmethod" in decorator for decorator in facts.decorators):
        params = params[1:]
    found: dict[str, Value] = {}
    positional = [value for value, _ in given.positional]
    for param in params:
        if param.kind == "pos" and positional and param.name not in given.keywords:
            found[param.name] = positional.pop(0)
        elif param.kind == "var":
            found[param.name] = join(positional)
            positional = []
        elif param.kind == "varkw":
            named = {row.name for row in params}
            rest = [value for name, (value, _) in given.keywords.items() if name not in named]
            found[param.name] = join([*rest, given.spread])
        elif param.name in given.keywords:
            found[param.name] = given.keywords[param.name][0]
        elif given.open_ended or given.starred:
            found[param.name] = join([given.spread, UNKNOWN])
        elif param.default is not None:
            found[param.name] = _default(param.default)
        else:
            found[param.name] = UNKNOWN
    return found


def _without_models(value: Value) -> Value:
    """What a call returns is no model class, though it was handed one."""
    kept = frozenset(mark for mark in value.marks if not mark.startswith("model:"))
    return value if kept == value.marks else value._replace(marks=kept)


def _handed_in(facts: FunctionFacts, given: Arguments) -> dict[str, ast.expr]:
    """What a call gives to each parameter."""
    params = [row.name for row in facts.params if row.kind in ("pos", "kw")]
    if facts.owner and params and not any("staticmethod" in decorator for decorator in facts.decorators):
        params = params[1:]
    found = {name: node for name, (_, node) in zip(params, given.positional, strict=False)}
    found.update((name, node) for name, (_, node) in given.keywords.items())
    return found


def substitute(value: Value, bound: Mapping[str, Value]) -> Value:
    """A callee's value with the caller's arguments in the place of its parameters."""
    if not value.params and not value.carriers and not value.maybe:
        return value
    if (
        len(value.params) == 1
        and value.text in (None, HOLE)
        and not value.marks - {"id", "secret", "digest", "time", "lock"}
    ):
        (only,) = value.params
        if only in bound and not value.carriers - {only}:
            return bound[only]
    parts = [Value(_rebound(value.carriers, bound), _rebound(value.maybe, bound), NONE, value.marks)]
    parts += [bound.get(param, UNKNOWN) for param in sorted(value.params)]
    joined = join(parts)
    return joined._replace(text=_filled(value.text, [bound.get(p, UNKNOWN) for p in value.params]))


def _rebound(carriers: frozenset[str], bound: Mapping[str, Value]) -> frozenset[str]:
    """Carriers that are parameters of the callee, named after what the caller passes; None passes nothing."""
    kept: set[str] = set()
    for carrier in carriers:
        root = carrier.partition(".")[0]
        if root not in bound:
            kept.add(carrier)
        elif bound[root].carriers:
            kept |= bound[root].carriers
        elif not bound[root].is_constant:
            kept.add(carrier)
    return frozenset(kept)


def _filled(text: str | None, values: list[Value]) -> str | None:
    if text is None or text.count(HOLE) != 1 or len(values) != 1 or values[0].text is None:
        return text
    return text.replace(HOLE, values[0].text)


def _default(source: str) -> Value:
    if source == "None":
        return NOTHING
    try:
        constant = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return UNKNOWN
    return Value(text=constant) if isinstance(constant, str) else CONSTANT


def _arguments(run: Interpreter, node: ast.Call) -> Arguments:
    positional: list[tuple[Value, ast.expr]] = []
    spread: list[Value] = []
    starred = open_ended = False
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            spread.append(run.value(argument.value))
            starred = True
        elif starred:
            spread.append(run.value(argument))
        else:
            positional.append((run.value(argument), argument))
    keywords: dict[str, tuple[Value, ast.expr]] = {}
    for keyword in node.keywords:
        value = run.value(keyword.value)
        if keyword.arg is None:
            spread.append(value)
            open_ended = True
        else:
            keywords[keyword.arg] = (value, keyword.value)
    return Arguments(tuple(positional), keywords, join(spread), open_ended, starred)


def _passed(argument: Argument, given: Arguments) -> Passed | None:
    """The value that a call gives to one catalog argument; None when it gives none."""
    if argument.keyword is not None and argument.keyword in given.keywords:
        value, node = given.keywords[argument.keyword]
    elif argument.position is not None and argument.position < len(given.positional):
        rest = given.positional[argument.position :]
        value, node = (join([v for v, _ in rest]), rest[0][1]) if argument.variadic else rest[0]
    elif given.open_ended or (given.starred and argument.position is not None):
        return Passed(argument, join([given.spread, UNKNOWN]), "")
    else:
        return None
    if argument.role in ("thread", "session", "user") and not _holds(node, argument):
        return None
    source = source_of(node)
    if source in argument.unscoped:
        return Passed(argument, NOTHING, source)
    return Passed(argument, value, source)


def _holds(node: ast.expr, argument: Argument) -> bool:
    """Whether a value may have something at the argument's path; a dictionary written out shows that it has not."""
    keys = argument.path.split(".")
    for key in keys[1:] if keys[0] == argument.keyword else keys:
        if not isinstance(node, ast.Dict) or not key.isidentifier():
            return True
        inside = None
        for name, value in zip(node.keys, node.values, strict=True):
            if not isinstance(name, ast.Constant):
                return True  # `**rest`, or a computed key
            if name.value == key:
                inside = value
        if inside is None:
            return False
        node = inside
    return True


def _text_method(name: str, receiver: Value, given: Arguments) -> Value:
    """`":".join(parts)`, `"{}:{}".format(a, b)` and their kin keep what goes in."""
    value = join([receiver, given.joined()])
    if name == "format" and receiver.text is not None:
        return value._replace(text=receiver.text)
    if name == "join" and receiver.text is not None and given.positional:
        node = given.positional[0][1]
        if isinstance(node, (ast.List, ast.Tuple)):
            return value._replace(text=receiver.text.join([HOLE] * len(node.elts)))
    return value._replace(text=HOLE) if value.text is not None else value


BUILTINS = frozenset(
    "str int float bool repr hash len sorted tuple list dict set frozenset bytes format min max sum abs round enumerate "
    "zip reversed map filter iter next range any all isinstance getattr hasattr print type id ascii chr ord hex".split()
)
