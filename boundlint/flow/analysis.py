"""The flow over a project: which functions matter, their summaries, and the variables around them."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from boundlint.catalog.model import Operation
from boundlint.flow import names
from boundlint.flow.beginnings import class_mark
from boundlint.flow.builders import KeyBuilders
from boundlint.flow.bystanders import Bystanders
from boundlint.flow.calls import Calls
from boundlint.flow.declared import Declarations, Declared, declared
from boundlint.flow.dispatch import Dispatch
from boundlint.flow.effects import (
    binds_logs,
    effects,
    hands_over,
    leaves_something,
    methods_of,
    telling_methods,
)
from boundlint.flow.guarded import checked, guarded
from boundlint.flow.guards import authorized_params
from boundlint.flow.interpret import Environment, Interpreter
from boundlint.flow.jobs import Jobs
from boundlint.flow.latefilter import late_filters, may_be_late
from boundlint.flow.near import Near
from boundlint.flow.overwrites import may_overwrite, overwrites
from boundlint.flow.peers import Peers
from boundlint.flow.provenance import data_scopes
from boundlint.flow.shared import SharedObjects
from boundlint.flow.slices import Slices
from boundlint.flow.tools import Tool, find_tools
from boundlint.flow.values import CONSTANT, NONE, UNKNOWN, FunctionFlow, Value, merge
from boundlint.flow.views import Views
from boundlint.index.dependencies import injected
from boundlint.index.entries import Entry, entry_point
from boundlint.index.isolation import Scoping
from boundlint.index.logged import LEVELS
from boundlint.index.models import find_models, service_models
from boundlint.index.project import Class, Function, Project
from boundlint.index.receivers import Receivers
from boundlint.index.tables import find_tables, statements_of
from boundlint.index.vocabulary import Vocabulary, reach

DEEPEST_SUMMARY = 24  # nested summaries before the flow stops looking
HELPER_LINES = 30  # a function up to this long is followed for its value although it touches no data
PLAIN_NAMES = frozenset(dir(builtins))


class Flow:
    """Summaries on demand; each is computed once."""

    def __init__(
        self,
        project: Project,
        receivers: Receivers,
        vocabulary: Vocabulary,
        read: Callable[[str], str | None],
        rows: Declared | None = None,
        scoping: Scoping | None = None,
    ) -> None:
        self.project = project
        self.receivers = receivers
        self.vocabulary = vocabulary
        self.declared = Declarations(rows or declared(), project, receivers)
        self.scoping = scoping or Scoping()
        self.calls = Calls(self)
        self.dispatch = Dispatch(project)
        self.models = find_models(project, vocabulary)
        self.tables = {} if self.scoping.every_query else find_tables(project, self.models, vocabulary)
        self.services = service_models(project, self.models)
        self.shared_objects = SharedObjects(self)
        self.key_builders = KeyBuilders(self)
        self.slices = Slices(project, read)
        self._reach: dict[Function, tuple[str, ...]] = {}
        self._querying: dict[tuple[str, str], tuple[Function, ...]] = {}
        self._summaries: dict[Function, FunctionFlow | None] = {}
        self._modules: dict[str, Environment] = {}
        self._classes: dict[Class, Environment] = {}
        self._running: list[Function] = []
        self.log_methods = methods_of(receivers.lookup, "log", "write")
        self.trace_methods = self.log_methods - LEVELS
        self.written_methods = methods_of(receivers.lookup, "file", "write")
        self.by_method = telling_methods(receivers.lookup)
        self.file_methods = self.written_methods | methods_of(receivers.lookup, "file", "delete")
        self.queue_methods = methods_of(receivers.lookup, "queue", "enqueue")
        self._effects_alone: frozenset[Function] = frozenset()
        self.jobs = Jobs(self)
        self.peers = Peers(self)
        self.near = Near(self)
        self.views = Views(self)
        self.bystanders = Bystanders(self)
        self._logs_carry: bool | None = None
        self._callers_of: dict[str, dict[Function, list[Function]]] = {}

    @cached_property
    def _calls_named(self) -> Mapping[str, list[tuple[Function, str]]]:
        """The call paths of the project, each once for a function, by the name that is called."""
        found: dict[str, list[tuple[Function, str]]] = defaultdict(list)
        for function in self.project.all_functions():
            for path in dict.fromkeys(function.facts.calls):
                found[path.rpartition(".")[2]].append((function, path))
        return found

    @cached_property
    def tools(self) -> Mapping[Function, Tool]:
        """The functions that a model may call."""
        return find_tools(self.receivers, self._calls_named, self.body)

    def entry(self, function: Function) -> Entry | None:
        """What kind of entry point a function is; None for one that only code calls."""
        return "tool" if function in self.tools else entry_point(self.project, function)

    def mark_effects(self, paths: Iterable[str], followed: Iterable[Function]) -> list[Function]:
        """The functions of some files that log content, write files or hand work over, the nested ones by the outermost.

        Those that no one follows for another reason, and that hand nothing over, are looked at for that alone.
        """
        found: list[Function] = []
        alone: set[Function] = set()
        known = {self.outermost(function) for function in followed}
        for function in (row for path in paths for row in self.project.functions(path).values()):
            handing = hands_over(self, function)
            if handing or leaves_something(self, function):
                outer = self.outermost(function)
                found.append(outer)
                if handing:
                    known.add(outer)
                alone.add(outer)
        self._effects_alone = frozenset(alone - known)
        return found

    def look_at(self, function: Function) -> FunctionFlow | None:
        """What the rules are shown of a function."""
        found = (
            FunctionFlow(function, CONSTANT, (), self.reach_of(function))
            if function in self._effects_alone
            else self.flow_of(function)
        )
        left = effects(self, function, self.body) if found is not None else None
        return replace(found, effects=left) if found is not None and left is not None else found

    def logs_carry_boundary(self) -> bool:
        """Whether the project adds a boundary to its log lines by itself: a filter, a bound logger, a context."""
        if self._logs_carry is None:
            self._logs_carry = any(binds_logs(self, row) for row in self.project.all_functions())
        return self._logs_carry

    def queries(self, function: Function) -> tuple[str, ...]:
        """Type names of the customers' models and tables that a function queries, by its facts alone."""
        found = []
        for name in function.facts.columns:
            symbol = self.project.resolve(function.path, name)
            if symbol is not None and symbol.cls is not None:
                model = self.models.get(symbol.cls.name) or self.services.get(symbol.cls.name)
                if model is not None:
                    found.append(model.cls.name)
        if self.tables and function.facts.statements:
            names = {name for row in statements_of(function) if row.verb != "create" for name in row.tables}
            found += [self.tables[name].type_name for name in sorted(names) if name in self.tables]
        return tuple(found)

    def memoizer(self, function: Function) -> Operation | None:
        """The catalog's entry of the caching decorator on a function."""
        module = self.project.functions(function.path)[""]
        for decorator in function.facts.decorators:
            path = decorator.partition("(")[0].strip()
            operation = (
                self.receivers.callee(module, path).operation
                if path.replace(".", "").isidentifier()
                else None
            )
            if operation is not None and operation.kind == "cache" and operation.form == "decorator":
                return operation
        return None

    def calls_named(self, name: str) -> bool:
        """Whether a function, other than module code, calls something of this name."""
        return any(function.facts.qualname for function, _ in self._calls_named.get(name, ()))

    def called_by(self, function: Function) -> list[Function]:
        """The project functions that a function calls."""
        paths = dict.fromkeys(function.facts.calls)
        return [row for path in paths if (row := self.receivers.callee(function, path).function) is not None]

    def callers(self, function: Function) -> list[Function]:
        """The functions that call this one, each once."""
        name = function.facts.name
        known = self._callers_of.get(name)
        if known is None:
            found: dict[Function, dict[Function, None]] = defaultdict(dict)
            for caller, path in self._calls_named.get(name, ()) if name else ():
                called = self.receivers.callee(caller, path).function
                for target in () if called is None else (called, *self.dispatch.implementations(called)):
                    if target is not caller:
                        found[target][caller] = None
            known = self._callers_of[name] = {target: list(rows) for target, rows in found.items()}
        return known.get(function, [])

    def concrete(self, function: Function) -> Function:
        """The implementation that stands for an abstract method: the first one that touches data."""
        rows = self.dispatch.implementations(function)
        return next((row for row in rows if self.near.follows(row)), function)

    def outermost(self, function: Function) -> Function:
        """The function whose flow holds this one: itself, or the one it is nested in."""
        while (parent := self.receivers.parent(function)) is not None:
            function = parent
        return function

    def summary(self, function: Function) -> FunctionFlow | None:
        """What callers need to know of a function; None for one that the flow does not follow."""
        if function in self._summaries:
            return self._summaries[function]
        if function.facts.parent or function in self._running or len(self._running) >= DEEPEST_SUMMARY:
            return None
        short = function.facts.end - function.facts.line <= HELPER_LINES and bool(function.facts.returned)
        if not self.near.follows(function) and not short:
            return None
        return self.flow_of(function)

    def flow_of(self, function: Function) -> FunctionFlow | None:
        """The flow of one outermost function, nested functions included; None when its source is gone."""
        if function in self._summaries:
            return self._summaries[function]
        body = self.body(function)
        if body is None:
            self._summaries[function] = None
            return None
        for row in (function, *self.project.nested(function)):
            self.near.holds_data(row)  # asks for the receivers that only inference can tell
        self._running.append(function)
        try:
            result = self._analyze(function, body)
        finally:
            self._running.pop()
        self._summaries[function] = result
        return result

    def _analyze(self, function: Function, body: list[ast.stmt]) -> FunctionFlow:
        environment = {
            param.name: self._parameter(function, param.name, param.annotation, param.default)
            for param in function.facts.params
        }
        run = Interpreter(self, function, environment)
        for name in self.declared.guarded_params(function):
            run.checked(name, environment[name], "checked by a declared guard before the call")
        for name, reason in authorized_params(self, function):
            run.lookups.check(name, reason, function.facts.line, firm=True)
        run.block(body)
        self._nested(run)
        if not function.facts.qualname:
            run.shared.on_module()
        mentioned = (function, *self.project.nested(function))
        read = {name for row in mentioned for name in row.facts.names.split()}
        for oddity in (*run.siblings.finish(), *(late_filters(body) if may_be_late(read) else ())):
            run.note(oddity)
        params = {param.name for param in function.facts.params}
        unused = tuple(
            p.name for p in function.facts.params if p.name not in read and p.kind in ("pos", "kw")
        )
        lookups = guarded(run.lookups)
        return FunctionFlow(
            function,
            merge(run.returns) if run.returns else CONSTANT,
            tuple(run.accesses.values()),
            self.reach_of(function),
            tuple(run.post_filters.values()),
            tuple(run.oddities.values()),
            unused,
            frozenset(run.ambient - params),
            self.memoizer(function) if function.facts.decorators else None,
            lookups,
            tuple(run.shared.found.values()),
            checked(run.lookups, lookups),
            frozenset(run.compared),
            run.claims.finish(),
            data_scopes(run),
            overwrites(function.facts, body) if may_overwrite(function.facts) else (),
            tuple(run.credentials.found.values()),
            run.lookups.checks(),
            views=() if function.facts.qualname else self.views.of_module(function),
        )

    def reach_of(self, function: Function) -> tuple[str, ...]:
        """The boundary parts at hand in a function."""
        known = self._reach.get(function)
        if known is None:
            known = reach(self.project, self.vocabulary, function, self.receivers.owner(function))
            self._reach[function] = known
        return known

    def querying(self, path: str, owner: str) -> tuple[Function, ...]:
        """The functions of a class, or of a module outside of its classes, that query a customers' model."""
        known = self._querying.get((path, owner))
        if known is None:
            rows = self.project.functions(path).values()
            known = tuple(row for row in rows if row.facts.owner == owner and self.queries(row))
            self._querying[path, owner] = known
        return known

    def _nested(self, run: Interpreter) -> None:
        """Follow the functions defined inside, with the variables they capture; their own parameters are open."""
        captured = run.env
        for node in run.nested:
            qualname = f"{run.function.facts.qualname}.{node.name}"
            function = self.project.functions(run.function.path).get(qualname)
            if function is None:
                continue
            environment = dict(captured)
            for param in function.facts.params:
                value = self._parameter(function, param.name, param.annotation)
                environment[param.name] = Value(value.carriers, NONE, NONE, value.marks | {"unknown"})
            inner = Interpreter(self, function, environment)
            inner.accesses, inner.post_filters, inner.oddities = run.accesses, run.post_filters, run.oddities
            inner.shared.found, inner.credentials.found = run.shared.found, run.credentials.found
            inner.compared, inner.filled = run.compared, run.filled
            inner.lookups.inherit(run.lookups)
            inner.claims.inherit(run.claims)
            inner.block(node.body)
            self._nested(inner)
            run.claims.inner += inner.claims.finish()

    def _parameter(self, function: Function, name: str, annotation: str, default: str | None = None) -> Value:
        if name in ("self", "cls") and function.facts.owner:
            return CONSTANT
        held = (
            self.vocabulary.level(name)
            or self.vocabulary.is_identity(annotation)
            or self._is_injected_bound(function, name, (annotation, default or ""))
        )
        return Value(frozenset({name}) if held else NONE, NONE, frozenset({name}), names.marks(name))

    def _is_injected_bound(self, function: Function, name: str, texts: Sequence[str]) -> bool:
        """Whether a dependency hands in a client or session that it bound to the boundary."""
        for module, path in (pair for text in texts for pair in injected(self.project, function, text)):
            if self.declared.role(module, path) == "factory":
                return True
            typed = self.receivers.type_of(function, name)
            if typed is not None and self.project.class_named(typed.name) is not None:
                continue  # a service of the project: what it does with its boundary is seen in its methods
            callee = self.receivers.callee(module, path).function
            summary = self.summary(callee) if callee is not None and callee != function else None
            if summary is not None and summary.returned.carriers:
                return True
        return False

    def module_variable(self, path: str, name: str) -> Value:
        """The value of a name that a function does not bind itself."""
        symbol = self.project.resolve(path, name)
        if symbol is None:
            return CONSTANT if name in PLAIN_NAMES else UNKNOWN
        if symbol.kind == "variable":
            return self._module(symbol.path).get(symbol.name, UNKNOWN)
        return class_mark(symbol.cls, self.models) if symbol.cls is not None else CONSTANT

    def dotted_variable(self, function: Function, path: str) -> Value | None:
        """The value of `module.NAME` or `Class.NAME`; None when it is neither."""
        symbol = self.project.resolve(function.path, path)
        if symbol is not None and symbol.kind == "variable":
            return self._module(symbol.path).get(symbol.name)
        head, _, attribute = path.rpartition(".")
        if symbol is not None and symbol.cls is not None:
            return class_mark(symbol.cls, self.models)
        owner = self.project.resolve(function.path, head)
        if owner is not None and owner.cls is not None:
            return self._class_value(owner.cls, attribute)
        return None

    def class_attribute(self, function: Function, name: str) -> Value:
        """The value of `self.name` where the running method has not set it."""
        owner = self.receivers.owner(function)
        if owner is None:
            return UNKNOWN
        return self._class_value(owner, name) or UNKNOWN

    def _class_value(self, cls: Class, name: str) -> Value | None:
        for row in self.project.ancestors(cls):
            if isinstance(row, Class) and name in row.facts.attributes:
                return self._class(row).get(name, UNKNOWN)
        method = self.project.method(cls, name)
        if method is not None and any("property" in decorator for decorator in method.facts.decorators):
            summary = self.summary(method)
            return summary.returned if summary else None
        return None

    def _class(self, cls: Class) -> Environment:
        """Attributes after `__init__`; what depends on the constructor's arguments is unknown."""
        known = self._classes.get(cls)
        if known is not None:
            return known
        self._classes[cls] = {}
        module = self.project.functions(cls.path)[""]
        run = Interpreter(self, module, {})
        run.block(
            [row for row in self.slices.class_statements(cls) if isinstance(row, (ast.Assign, ast.AnnAssign))]
        )
        found = {name: self._reassigned(cls, name, value) for name, value in run.env.items()}
        start = self.project.functions(cls.path).get(f"{cls.facts.qualname}.__init__")
        body = self.body(start) if start is not None else None
        if start is not None and body is not None:
            environment = {p.name: self._parameter(start, p.name, p.annotation) for p in start.facts.params}
            inner = Interpreter(self, start, environment)
            inner.block(body)
            for name, value in inner.env.items():
                if name.startswith("self."):
                    marks = value.marks | {"unknown"} if value.params else value.marks
                    found[name[5:]] = Value(value.carriers, value.maybe, NONE, marks, value.text)
        self._classes[cls] = found
        return found

    @staticmethod
    def _reassigned(cls: Class, name: str, value: Value) -> Value:
        """A class variable; one that some method also sets may hold anything."""
        values = [row for row in cls.facts.attributes.get(name, ()) if not row.startswith(":")]
        return value if len(values) <= 1 else merge([value, UNKNOWN])

    def _module(self, path: str) -> Environment:
        known = self._modules.get(path)
        if known is not None:
            return known
        self._modules[path] = {}
        run = Interpreter(self, self.project.functions(path)[""], {})
        run.block(self.slices.module_statements(path))
        self._modules[path] = run.env
        return self._modules[path]

    def body(self, function: Function) -> list[ast.stmt] | None:
        """The statements of a function, an outermost one or one inside; None when its source is gone."""
        if not function.facts.qualname:
            return self.slices.module_statements(function.path)
        node = self.slices.function(function)
        return node.body if node is not None else None
