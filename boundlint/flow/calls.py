"""Calls: record catalog operations, apply the summaries of project functions, pass values through the rest."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.catalog.model import Operation
from boundlint.findings import TraceStep
from boundlint.flow import names
from boundlint.flow.arguments import Arguments, arguments_of, bind, handed_in, passed_to, substitute
from boundlint.flow.declared import NOT_CHECKED
from boundlint.flow.graphtext import CHOSEN_GRAPH, chooses_graph, open_graph_query
from boundlint.flow.oddities import lost_conditions, prefix_match
from boundlint.flow.queries import QUERY, ROW, ended
from boundlint.flow.values import (
    CONSTANT,
    DATA_KINDS,
    HOLE,
    NONE,
    Access,
    Value,
    join,
    marked,
    without_models,
)
from boundlint.index.extract import DEFERS, path_of
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


class Calls:
    """How the flow treats calls."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def evaluate(self, run: Interpreter, node: ast.Call) -> Value:
        """The value of a call; an operation in it is recorded as an access of the running function."""
        for row in lost_conditions(node):
            run.note(row)
        receiver = run.value(node.func.value) if isinstance(node.func, ast.Attribute) else CONSTANT
        given = arguments_of(run, node)
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
        if DEFERS.search(name) and (later := self._deferred(run, node)) is not None:
            return later
        queried = run.lookups.on_call(node, path, callee, receiver, given)
        if queried is not None:
            return queried
        if callee.kind != "class" and self.flow.vocabulary.is_getter(name):
            run.ambient.add(f"{name}()")
            return Value(given.joined().carriers | receiver.carriers | {f"{name}()"})
        if callee.kind == "function" and callee.function is not None:
            function = self.flow.concrete(callee.function)
            if function != callee.function:
                callee = replace(callee, confidence=LOWER[callee.confidence])
            return self._project_function(run, node, callee, function, receiver, given)
        if isinstance(node.func, ast.Attribute) and (receiver.text is not None or name in STRING_RESULT):
            return _text_method(name, receiver, given)
        value = ended(without_models(join([receiver, self.labelled(given), given.spread])))
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
        passed = tuple(passed_to(argument, given) for argument in operation.args)
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
        given_nodes = handed_in(function.facts, given)
        loaded = run.lookups.on_summary(node, function, queries, bound, given_nodes, summary.checks)
        kept = frozenset(m for m in result.marks if not m.startswith(("from@", QUERY, ROW)))
        if not loaded and FINDS.match(function.facts.name):
            # `Project.find_by_id(session, agent.project_id)`: what is checked of it is checked of the agent.
            given_marks = (
                m for v, node in given.positional if isinstance(node, ast.Attribute) for m in v.marks
            )
            loaded = frozenset(m for m in given_marks if m.startswith((QUERY, ROW)))
        # `root_of(document)` may give the record back: a check of what it gives is one of the record.
        returned = summary.returned.params.intersection(function.facts.returned)
        handed = (bound[name].marks for name in returned if name in bound)
        rows = frozenset(mark for marks in handed for mark in marks if mark.startswith(ROW))
        return result._replace(marks=kept | origin | loaded | rows)

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
