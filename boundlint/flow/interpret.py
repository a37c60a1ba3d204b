"""Follow values through one function body: assignments and branches.  Expressions are in `expressions`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow import names
from boundlint.flow.claims import as_part
from boundlint.flow.credentials import Credentials
from boundlint.flow.deviance import SiblingCalls
from boundlint.flow.expressions import EXPRESSIONS
from boundlint.flow.joins import Joins
from boundlint.flow.lookups import Lookups
from boundlint.flow.oddities import FILTER_NAME, LOGGED_TEXT, oddity, post_filters
from boundlint.flow.provenance import Claims
from boundlint.flow.shared import Shared
from boundlint.flow.values import (
    CONSTANT,
    HOLE,
    NONE,
    NOTHING,
    UNKNOWN,
    Access,
    Oddity,
    PostFilter,
    Value,
    concatenate,
    join,
    marked,
    merge,
)
from boundlint.index.extract import path_of
from boundlint.index.nodes import children, unpacked
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

Environment = dict[str, Value]
MUTATORS = frozenset(
    {"append", "add", "update", "extend", "insert", "setdefault", "push", "appendleft", "must", "should"}
)
HOLDS_RECORDS = re.compile(r"(?:^|[._])(?:\w*session|sess|db|uow|tx|transaction)$")  # a session is no list
RUNS_SQL = frozenset({"execute", "exec", "exec_driver_sql"})
SETS_TENANT = re.compile(r"\s*(?:SET\s|SELECT\s+(?:pg_catalog\.)?set_config\()", re.IGNORECASE)


class Interpreter:
    """One walk over one function.  Its results are collected in the public lists."""

    def __init__(self, flow: Flow, function: Function, environment: Environment) -> None:
        self.flow = flow
        self.function = function
        self.vocabulary = flow.vocabulary
        self.env = environment
        self.returns: list[Value] = []
        self.accesses: dict[tuple[object, ...], Access] = {}
        self.post_filters: dict[tuple[int, int], PostFilter] = {}
        self.oddities: dict[tuple[int, int], Oddity] = {}
        self.ambient: set[str] = set()
        self.compared: set[str] = set()
        self.lookups = Lookups(self, flow.models, flow.services)
        self.shared = Shared(self)
        self.siblings = SiblingCalls(self)
        self.joins = Joins(function.facts)
        self.claims = Claims(self)
        self.scopes: dict[str, tuple[TraceStep, ...]] = {}  # own parameters that reach a data access, and how
        self.credentials = Credentials(self)
        self.pending: dict[str, tuple[int, int, str]] = {}  # scoped filters that nobody has read yet
        self.filled: set[str] = set()  # names of which single items are known
        self.nested: list[ast.FunctionDef | ast.AsyncFunctionDef] = []

    # Statements. Each returns whether the end of the block can be reached.

    def block(self, statements: Sequence[ast.stmt]) -> bool:
        """Run statements in order; False when the block always leaves (returns, raises, continues)."""
        for statement in statements:
            handler = STATEMENTS.get(type(statement))
            if handler is None:
                for child in children(statement):
                    if isinstance(child, ast.expr):
                        self.value(child)
            elif handler(self, statement) is False:
                return False
        return True

    def _branches(
        self, blocks: Iterable[Sequence[ast.stmt]], fallthrough: bool, about: str = "presence"
    ) -> bool:
        """Run alternative blocks; `about` says what the condition tells of the principal."""
        before = self.env
        self.pending.clear()
        ends: list[Environment] = [before] if fallthrough else []
        guarded = [False] if fallthrough else []
        for index, statements in enumerate(blocks):
            self.env = dict(before)
            if self.block(statements):
                ends.append(self.env)
                guarded.append(about == "principal" and index == 0)
            self.pending.clear()
        if not ends:
            self.env = before
            return False
        if self.claims.active and len(ends) > 1 and about != "presence":
            self.claims.on_branches(ends, guarded)
        self.env = _merge_environments(ends)
        return True

    def tested(self, test: ast.expr) -> Value:
        """The value of a condition: what is checked in it decides how the function goes on."""
        self.lookups.testing += 1
        try:
            return self.value(test)
        finally:
            self.lookups.testing -= 1

    def _if(self, node: ast.If) -> bool:
        test = self.tested(node.test)
        self.lookups.on_refusal(node, test)
        self.filtering(node.test)
        about = self.claims.on_test(node.test, test) if self.claims.active else "presence"
        blocks = [node.body, node.orelse] if node.orelse else [node.body]
        return self._branches(blocks, not node.orelse, about)

    def _one_of(self, node: ast.expr) -> Value:
        """The value of an element; of texts that are written out, what they all end with is known."""
        value = self.value(node)
        if not isinstance(node, (ast.Tuple, ast.List)) or not all(
            isinstance(row, (ast.JoinedStr, ast.Constant)) for row in node.elts
        ):
            return value
        ends = {(self.value(row).text or "")[-1:] for row in node.elts}
        known = len(ends) == 1 and not ends & {"", HOLE[-1]}
        return value._replace(text=HOLE + ends.pop()) if known and not value.is_constant else value

    def _match(self, node: ast.Match) -> bool:
        subject = self.value(node.subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    self.env[name] = subject
        return self._branches([case.body for case in node.cases], True)

    def _loop(self, node: ast.For | ast.AsyncFor) -> None:
        self.bind(node.target, self._one_of(node.iter))
        self.lookups.on_loop(node)
        before = dict(self.env)
        if not self.block(node.body):
            self.env = {**before, **self.env}
        self.block(node.orelse)

    def _while(self, node: ast.While) -> None:
        self.tested(node.test)
        before = dict(self.env)
        if not self.block(node.body):
            self.env = {**before, **self.env}
        self.block(node.orelse)

    def _try(self, node: ast.Try) -> bool:
        before = dict(self.env)
        ends = []
        if self.block([*node.body, *node.orelse]):
            ends.append(self.env)
        for handler in node.handlers:
            self.env = {**before}
            if handler.name:
                self.env[handler.name] = Value(marks=frozenset({"exception"}))
            if self.block(handler.body):
                ends.append(self.env)
        self.env = _merge_environments(ends) if ends else before
        reached = self.block(node.finalbody)
        return bool(ends) and reached

    def _with(self, node: ast.With | ast.AsyncWith) -> bool:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, value)
        return self.block(node.body)

    def _assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.lookups.derived.on_assign(target, node.value)
            if isinstance(target, ast.Name):
                self._note_overwritten(node, target.id, value)
            pairs = unpacked(target, node.value)
            for item, part in pairs:
                self.shared.on_assign(node, item, part, self.value(part))
                self.bind(item, self.value(part))
            if pairs:
                continue
            self.shared.on_assign(node, target, node.value, value)
            self.bind(target, value)

    def _note_overwritten(self, node: ast.Assign, name: str, value: Value) -> None:
        """A filter that holds a boundary and is replaced by one without before anything read it."""
        if not FILTER_NAME.search(name):
            return
        lost = self.pending.pop(name, None)
        if lost is not None and not value.carriers and not value.maybe and "unknown" not in value.marks:
            self.note(oddity("overwritten", node, lost[2]))
        if value.carriers:
            self.pending[name] = (node.lineno, node.col_offset, ast.unparse(node.value)[:LOGGED_TEXT])

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            value = self.value(node.value)
            self.shared.on_assign(node, node.target, node.value, value)
            self.bind(node.target, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        added = self.value(node.value)
        self.shared.on_assign(node, node.target, node.value, added)
        if isinstance(node.target, ast.Name):
            before = self.env.get(node.target.id, UNKNOWN)
            self.env[node.target.id] = concatenate([before, added])
        else:
            self._mutate(node.target, added)

    def _expression(self, node: ast.Expr) -> None:
        value = self.value(node.value)
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in MUTATORS:
            if not HOLDS_RECORDS.search(path_of(call.func.value)):
                self._mutate(call.func.value, value)
            self.shared.on_call(call)
            self.joins.on_append(call)
        elif isinstance(call, ast.Call) and _sets_tenant(call):
            self._mutate(call.func, value)

    def _return(self, node: ast.Return) -> bool:
        self.returns.append(self.value(node.value) if node.value is not None else NOTHING)
        return False

    def _raise(self, node: ast.Raise) -> bool:
        if node.exc is not None:
            self.value(node.exc)
        return False

    def _assert(self, node: ast.Assert) -> None:
        self.tested(node.test)

    def _leave(self, node: ast.stmt) -> bool:
        return False

    def _global(self, node: ast.Global) -> None:
        self.shared.globals.update(node.names)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for decorator in node.decorator_list:
            self.value(decorator)
        self.env[node.name] = UNKNOWN
        self.nested.append(node)

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.value(target)

    def _skip(self, node: ast.stmt) -> None:
        return None

    def bind(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if target.id in self.filled:
                for name in [name for name in self.env if name.startswith(f"{target.id}[")]:
                    del self.env[name]
            self.env[target.id] = self.named(target.id, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            part = value if value.text is None else marked(value)
            for element in target.elts:
                self.bind(element, part)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, value)
        elif isinstance(target, ast.Attribute):
            name = path_of(target)
            if name.startswith("self.") and name.count(".") == 1:
                self.env[name] = self.named(target.attr, value)
            else:
                level = self.vocabulary.level(target.attr)
                self._mutate(target.value, self.labelled(target.attr, value) if level else value)
        elif isinstance(target, ast.Subscript):
            label = target.slice.value if isinstance(target.slice, ast.Constant) else ""
            index = self.value(target.slice)
            labelled = (
                self.labelled(label, value)
                if isinstance(label, str) and self.vocabulary.level(label)
                else value
            )
            self._set_item(target, labelled)
            self._mutate(target.value, join([index, labelled]))

    def _set_item(self, target: ast.Subscript, value: Value) -> None:
        """`req["user_id"] = x` says nothing about `req["id"]`: remember the item, and the dict without it."""
        if isinstance(target.value, ast.Name) and isinstance(target.slice, ast.Constant):
            name = target.value.id
            self.filled.add(name)
            self.env.setdefault(f"{name}[*]", self.env.get(name, UNKNOWN))
            self.env[f"{name}[{target.slice.value!r}]"] = value

    def named(self, name: str, value: Value) -> Value:
        """A value under a name: a name that means a boundary makes one of a value not known to be none."""
        if value.is_constant or value.carriers:
            return value
        if self.vocabulary.level(name) and "request" not in value.marks:
            return Value(value.carriers | {name}, value.maybe, value.params, value.marks)
        extra = names.marks(name) if "unknown" in value.marks or value.params else NONE
        return (
            Value(value.carriers, value.maybe, value.params, value.marks | extra, value.text)
            if extra
            else value
        )

    def labelled(self, label: str, value: Value) -> Value:
        """A value stored under a boundary's name, as in `{"tenant_id": x}`."""
        if self.claims.active:
            value = self.claims.on_label(label, value)
        if value.is_constant or value.carriers or not self.vocabulary.level(label):
            return value
        return Value(value.carriers | {label}, value.maybe, value.params, value.marks)

    def checked(self, source: str, value: Value, reason: str) -> None:
        """A declared guard has bound a variable or attribute to the boundary: from here on it carries it."""
        self.lookups.check(source, reason, self.function.facts.line, firm=True)
        if value.carriers or value.is_constant:
            return
        proven = Value(frozenset({source}), NONE, value.params, value.marks, value.text)
        if source.replace(".", "").isidentifier():
            self.env[source] = proven

    def _mutate(self, target: ast.expr, added: Value) -> None:
        """A container or object takes a value in: whatever the value carries, the container carries."""
        added = as_part(added)
        while isinstance(target, (ast.Attribute, ast.Subscript, ast.Call)):
            name = path_of(target)
            if isinstance(target, ast.Attribute) and name.startswith("self.") and name.count(".") == 1:
                self.env[name] = join([self.env.get(name, CONSTANT), added])
                return
            target = target.func if isinstance(target, ast.Call) else target.value
        if isinstance(target, ast.Name) and target.id != "self":
            self.env[target.id] = join([self.env.get(target.id, UNKNOWN), added])

    # Expressions.

    def value(self, node: ast.expr) -> Value:
        """What is known of an expression's value; accesses inside it are recorded."""
        handler = EXPRESSIONS.get(type(node))
        if handler is not None:
            value = handler(self, node)
            return self.claims.seen(node, value) if self.claims.active else value
        return join([self.value(child) for child in children(node) if isinstance(child, ast.expr)])

    def filtering(self, test: ast.expr) -> None:
        """Note what a condition filters that was retrieved for everybody."""
        for row in post_filters(self, test):
            self.post_filters[row.line, row.column] = row

    def note(self, oddity: Oddity | None) -> None:
        """Keep what was noticed at a call."""
        if oddity is not None:
            self.oddities[oddity.line, oddity.column] = oddity


def _sets_tenant(call: ast.Call) -> bool:
    """`session.execute(text("SET app.tenant = :id"), …)`: what follows in the session is bound to it."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in RUNS_SQL and call.args):
        return False
    texts = (part for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant))
    return any(isinstance(part.value, str) and SETS_TENANT.match(part.value) for part in texts)


def _merge_environments(ends: Sequence[Environment]) -> Environment:
    if len(ends) == 1:
        return ends[0]
    merged = {}
    for name in {name for end in ends for name in end}:
        rows = [end[name] for end in ends if name in end]
        if "." in name and len(rows) < len(ends) and not name.startswith("self."):
            continue  # an attribute that a guard checked on some paths only
        first = rows[0]
        merged[name] = first if all(row is first for row in rows) else merge(rows)
    return merged


STATEMENTS: dict[type[ast.stmt], Callable[..., object]] = {
    ast.If: Interpreter._if,
    ast.Match: Interpreter._match,
    ast.For: Interpreter._loop,
    ast.AsyncFor: Interpreter._loop,
    ast.While: Interpreter._while,
    ast.Try: Interpreter._try,
    ast.With: Interpreter._with,
    ast.AsyncWith: Interpreter._with,
    ast.Assign: Interpreter._assign,
    ast.AnnAssign: Interpreter._annotated,
    ast.AugAssign: Interpreter._augmented,
    ast.Expr: Interpreter._expression,
    ast.Return: Interpreter._return,
    ast.Raise: Interpreter._raise,
    ast.Assert: Interpreter._assert,
    ast.Break: Interpreter._leave,
    ast.Continue: Interpreter._leave,
    ast.FunctionDef: Interpreter._define,
    ast.AsyncFunctionDef: Interpreter._define,
    ast.ClassDef: Interpreter._skip,
    ast.Import: Interpreter._skip,
    ast.ImportFrom: Interpreter._skip,
    ast.Delete: Interpreter._delete,
    ast.Global: Interpreter._global,
}
if hasattr(ast, "TryStar"):
    STATEMENTS[ast.TryStar] = Interpreter._try
