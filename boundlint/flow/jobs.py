"""Work that a function hands over: to a thread, which has no context variables, or to a job, which has a payload.

Answers two questions: what of its surroundings the work will miss, and what boundary its payload carries.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow.values import Access
from boundlint.index.entries import entry_point
from boundlint.index.extract import path_of
from boundlint.index.facts import FunctionFacts, Param
from boundlint.index.project import Class, Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

DEEPEST = 4  # calls between the work that is handed over and the read of a context variable
BOUNDARY_WORD = re.compile(
    r"tenant|user|org(?:ani[sz]ation)?(?:_|$)|workspace|account|principal|identity|actor|customer|boundary|team"
)
# A function that sets up its surroundings itself, or is given a copy of its caller's.
RESTORES = re.compile(
    r"^(?:preserve|restore|with|use|set|enter|bind|copy|push|switch|activate|run_in|attach|override|apply|init)_?\w*(?:context|ctx|tenant|user|org|workspace|schema|account|session)\w*$"
    r"|^(?:app_context|test_request_context|request_context|login_user|copy_context|tenant_context|schema_context|copy_current_request_context)$"
)
TASK_HOOKS = frozenset(
    {"__call__", "before_start", "on_start"}
)  # these only in a class of the job system itself
# Hooks of a job system in which a project puts the boundary into every job.
CARRIES = re.compile(
    r"^(?:apply_async|before_enqueue|pre_send|before_task_publish|before_publish|send_task|enqueue|enqueue_call|start_workflow|intercept\w*)$"
)
OPTIONAL = frozenset({"None", "''", '""', "0"})


@dataclass(frozen=True)
class Missed:
    """A boundary that work reads from its surroundings and does not find there.

    `name` is the context variable or proxy, `target` the function that is handed over, `trace` the calls
    from it to the read, `told` whether a function on the way takes a boundary as an argument besides,
    `omitted` whether the call leaves that argument of the target out.
    """

    name: str
    target: Function
    trace: tuple[TraceStep, ...]
    told: bool
    omitted: bool = False


@dataclass(frozen=True)
class Read:
    """A read of a boundary from the surroundings, with the calls that lead to it, as `Missed` tells them."""

    name: str
    trace: tuple[TraceStep, ...]
    told: bool


class Jobs:
    """What handed-over work reads from its surroundings.  Answers are remembered."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._ambient = frozenset(
            name
            for name, table in flow.receivers.lookup.methods.items()
            if any(operation.kind == "context" for operation in table.values())
        )
        self._reads: dict[Function, tuple[Read, ...]] = {}
        self._carried: bool | None = None

    def missed(self, access: Access) -> Iterator[Missed]:
        """The boundaries that the work of a call to a thread or process reads from its surroundings."""
        if access.operation.runs not in ("thread", "process"):
            return
        for target in self.targets(access):
            if self._restores(target, 2):
                continue
            omitted = self.takes_boundary(target) and self.omitted(access, target) is not None
            for read in self.reads(target, DEEPEST):
                yield Missed(read.name, target, read.trace, read.told, omitted)

    def is_lost(self, access: Access) -> bool:
        """Whether there is a boundary to lose where the work is handed over: in reach, or read there."""
        function = self.flow.outermost(access.function)
        if self.flow.reach_of(access.function) or entry_point(self.flow.project, function) == "route":
            return True
        callers = self.flow.callers(function)
        return any(True for _ in self._own_reads(access.function)) or any(
            self.flow.reach_of(row) or entry_point(self.flow.project, row) == "route" for row in callers
        )

    def takes_boundary(self, function: Function) -> bool:
        """Whether a function is given a boundary as an argument."""
        vocabulary = self.flow.vocabulary
        return any(
            vocabulary.is_strict(param.name) or vocabulary.is_identity(param.annotation)
            for param in function.facts.params
        )

    def targets(self, access: Access) -> Iterator[Function]:
        """The project functions that a call hands over: by name, as a lambda, or bound to arguments."""
        source = access.source_of("function")
        try:
            node: ast.expr = ast.parse(source, mode="eval").body
        except SyntaxError:
            return
        while isinstance(node, ast.Call) and path_of(node.func).rpartition(".")[2] == "partial" and node.args:
            node = node.args[0]
        called = [node]
        if isinstance(node, ast.Lambda):
            called = [part.func for part in ast.walk(node.body) if isinstance(part, ast.Call)]
        for part in called:
            if isinstance(part, (ast.Name, ast.Attribute)):
                function = self.flow.receivers.callee(access.function, path_of(part)).function
                if function is not None:
                    yield function

    def reads(self, function: Function, depth: int) -> tuple[Read, ...]:
        """The boundaries that a function, or one that it calls, reads from its surroundings."""
        known = self._reads.get(function)
        if known is not None:
            return known
        self._reads[function] = ()
        facts = function.facts
        found: dict[str, Read] = {}
        told = self.takes_boundary(function)
        for name, line in self._own_reads(function):
            step = TraceStep(function.path, line, f"{facts.qualname} reads {name}")
            found.setdefault(name, Read(name, (step,), told))
        for path, line in zip(facts.calls, facts.call_lines, strict=False) if depth else ():
            callee = self.flow.receivers.callee(function, path)
            if callee.function is None or callee.confidence == "low" or callee.function == function:
                continue
            for read in self.reads(callee.function, depth - 1):
                step = TraceStep(
                    function.path, line, f"{facts.qualname} calls {callee.function.facts.qualname}"
                )
                found.setdefault(read.name, Read(read.name, (step, *read.trace), told or read.told))
        result = tuple(found.values())
        if depth == DEEPEST or not depth:
            self._reads[function] = result
        else:
            del self._reads[function]
        return result

    def _own_reads(self, function: Function) -> Iterator[tuple[str, int]]:
        facts = function.facts
        for path, line in zip(facts.calls, facts.call_lines, strict=False):
            receiver, _, method = path.rpartition(".")
            if method != "get" or not receiver:
                continue
            operation = self.flow.receivers.callee(function, path).operation
            if operation is not None and operation.kind == "context" and self._is_boundary(receiver):
                yield receiver, line
        words = [word for word in facts.names.split() if word.startswith("current_")]
        for word in words:
            typed = self.flow.receivers.type_of(function, word)
            if typed is not None and typed.name in self._ambient and self._is_boundary(word):
                yield word, facts.line

    def _is_boundary(self, name: str) -> bool:
        plain = name.rpartition(".")[2].lower().strip("_")
        return bool(self.flow.vocabulary.level(plain) or BOUNDARY_WORD.search(plain)) and "agent" not in plain

    def _restores(self, function: Function, depth: int) -> bool:
        """Whether a function sets its surroundings up itself."""
        facts = function.facts
        if any(RESTORES.match(word) for word in facts.names.split()):
            return True
        for path in facts.calls:
            callee = self.flow.receivers.callee(function, path)
            operation = callee.operation
            if operation is not None and (operation.kind, operation.effect) == ("context", "write"):
                return True
            own = depth and callee.function is not None and path.startswith(("self.", "cls."))
            if own and callee.function is not None and self._restores(callee.function, 0):
                return True
        return False

    def worker(self, access: Access) -> Function | None:
        """The project function that a job runs: the decorated one, or the one that is named or handed over."""
        project = self.flow.project
        if access.receiver:
            symbol = project.resolve(access.function.path, access.receiver.removesuffix("()"))
            if symbol is not None and symbol.function is not None:
                return symbol.function
        named = access.source_of("task")
        if named[:1] in ("'", '"'):
            rows = project.methods_named.get(named.strip("'\"").rpartition(".")[2], ())
            return rows[0] if len(rows) == 1 else None
        return next(self.targets(access), None)

    def omitted(self, access: Access, worker: Function) -> Param | None:
        """The optional boundary parameter of a worker that a call leaves to its default."""
        bound = self.given(access, worker.facts)
        if bound is None:
            return None
        for param in worker.facts.params:
            if (
                param.name not in bound
                and param.default in OPTIONAL
                and self.flow.vocabulary.is_strict(param.name)
            ):
                return param
        return None

    def given(self, access: Access, facts: FunctionFacts) -> frozenset[str] | None:
        """The parameters of a worker that a call gives a value; None where that cannot be told."""
        try:
            call = ast.parse(access.statement, mode="eval").body
        except SyntaxError:
            return None
        if not isinstance(call, ast.Call):
            return None
        method = access.operation.method
        positional: list[ast.expr] = list(call.args)
        names = {row.arg for row in call.keywords}
        if any(row.role == "function" or row.role == "task" for row in access.operation.args):
            positional = positional[1:]
        if any(row.role == "payload" and row.keyword in ("args", "kwargs") for row in access.operation.args):
            args = next((row.value for row in call.keywords if row.arg == "args"), None) or next(
                iter(positional), None
            )
            kwargs = next((row.value for row in call.keywords if row.arg == "kwargs"), None) or (
                positional[1] if len(positional) > 1 else None
            )
            if not isinstance(args, (ast.List, ast.Tuple, type(None))) or not isinstance(
                kwargs, (ast.Dict, type(None))
            ):
                return None
            positional = list(args.elts) if args is not None else []
            names = (
                {str(key.value) if isinstance(key, ast.Constant) else None for key in kwargs.keys}
                if kwargs is not None
                else set()
            )
        if None in names or any(isinstance(row, ast.Starred) for row in positional) or method == "retry":
            return None
        params = [row.name for row in facts.params if row.kind == "pos"]
        if (params and params[0] in ("self", "cls")) or any("bind=True" in row for row in facts.decorators):
            params = params[1:]
        return frozenset({*params[: len(positional)], *(str(name) for name in names)})

    def carried(self) -> bool:
        """Whether the project puts the boundary into every job by itself: a task class, a hook, a middleware."""
        if self._carried is None:
            self._carried = any(self._carries(function) for function in self.flow.project.all_functions())
        return self._carried

    def _carries(self, function: Function) -> bool:
        facts = function.facts
        connected = any("before_task_publish" in row or "task_prerun" in row for row in facts.decorators)
        own = facts.name in TASK_HOOKS
        if not connected:
            if not facts.owner or not (own or CARRIES.match(facts.name)):
                return False
            if not self._is_job_class(function, own):
                return False
        return any(self.flow.vocabulary.level(word) for word in facts.names.split())

    def _is_job_class(self, function: Function, own: bool) -> bool:
        """Whether a method belongs to a class of the job system, or (not `own`) to a middleware of it."""
        owner = self.flow.receivers.owner(function)
        if owner is None:
            return False
        methods = self.flow.receivers.lookup.methods
        for row in self.flow.project.ancestors(owner):
            name = row.facts.qualname if isinstance(row, Class) else row
            if not own and re.search(r"Middleware|Interceptor|Plugin", name):
                return True
            if not isinstance(row, Class) and any(
                operation.kind == "queue" for operation in methods.get(row, {}).values()
            ):
                return True
        return False
