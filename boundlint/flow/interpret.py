"""Follow values through one function body: assignments, branches, expressions.  Calls are in `calls`."""

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
from boundlint.flow.joins import Joins
from boundlint.flow.lookups import Lookups
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
    OddityKind,
    PostFilter,
    Value,
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
LOGGED_TEXT = 80  # characters of source quoted in a message
FILTER_NAME = re.compile(r"(?:^|_)(?:filters?|where|conditions?|criteria|predicate)$")
RUNS_SQL = frozenset({"execute", "exec", "exec_driver_sql"})
SETS_TENANT = re.compile(r"\s*(?:SET\s|SELECT\s+(?:pg_catalog\.)?set_config\()", re.IGNORECASE)
SHORT_DIGEST = 12  # hex digits (48 bits): by the birthday bound, two of some 16 million boundaries collide


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
        self._pending: dict[str, tuple[int, int, str]] = {}  # scoped filters that nobody has read yet
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
        self._pending.clear()
        ends: list[Environment] = [before] if fallthrough else []
        guarded = [False] if fallthrough else []
        for index, statements in enumerate(blocks):
            self.env = dict(before)
            if self.block(statements):
                ends.append(self.env)
                guarded.append(about == "principal" and index == 0)
            self._pending.clear()
        if not ends:
            self.env = before
            return False
        if self.claims.active and len(ends) > 1 and about != "presence":
            self.claims.on_branches(ends, guarded)
        self.env = _merge_environments(ends)
        return True

    def _tested(self, test: ast.expr) -> Value:
        """The value of a condition: what is checked in it decides how the function goes on."""
        self.lookups.testing += 1
        try:
            return self.value(test)
        finally:
            self.lookups.testing -= 1

    def _if(self, node: ast.If) -> bool:
        test = self._tested(node.test)
        self.lookups.on_refusal(node, test)
        self._note_post_filter(node.test)
        about = self.claims.on_test(node.test, test) if self.claims.active else "presence"
        blocks = [node.body, node.orelse] if node.orelse else [node.body]
        return self._branches(blocks, not node.orelse, about)

    def _match(self, node: ast.Match) -> bool:
        subject = self.value(node.subject)
        for case in node.cases:
            for part in ast.walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    self.env[name] = subject
        return self._branches([case.body for case in node.cases], True)

    def _loop(self, node: ast.For | ast.AsyncFor) -> None:
        self._bind(node.target, self.value(node.iter))
        if isinstance(node.target, ast.Name) and ast.unparse(node.iter) != node.target.id:
            self.lookups.loops[node.target.id] = ast.unparse(node.iter)
        before = dict(self.env)
        if not self.block(node.body):
            self.env = {**before, **self.env}
        self.block(node.orelse)

    def _while(self, node: ast.While) -> None:
        self._tested(node.test)
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
                self._bind(item.optional_vars, value)
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
                self._bind(item, self.value(part))
            if pairs:
                continue
            self.shared.on_assign(node, target, node.value, value)
            self._bind(target, value)

    def _note_overwritten(self, node: ast.Assign, name: str, value: Value) -> None:
        """A filter that holds a boundary and is replaced by one without before anything read it."""
        if not FILTER_NAME.search(name):
            return
        lost = self._pending.pop(name, None)
        if lost is not None and not value.carriers and not value.maybe and "unknown" not in value.marks:
            self._note("overwritten", node, lost[2])
        if value.carriers:
            self._pending[name] = (node.lineno, node.col_offset, ast.unparse(node.value)[:LOGGED_TEXT])

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            value = self.value(node.value)
            self.shared.on_assign(node, node.target, node.value, value)
            self._bind(node.target, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        added = self.value(node.value)
        self.shared.on_assign(node, node.target, node.value, added)
        if isinstance(node.target, ast.Name):
            before = self.env.get(node.target.id, UNKNOWN)
            self.env[node.target.id] = _concatenate([before, added])
        else:
            self._mutate(node.target, added)

    def _expression(self, node: ast.Expr) -> None:
        value = self.value(node.value)
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in MUTATORS:
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
        self._tested(node.test)

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

    def _bind(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            if target.id in self.filled:
                for name in [name for name in self.env if name.startswith(f"{target.id}[")]:
                    del self.env[name]
            self.env[target.id] = self._named(target.id, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            part = value if value.text is None else marked(value)
            for element in target.elts:
                self._bind(element, part)
        elif isinstance(target, ast.Starred):
            self._bind(target.value, value)
        elif isinstance(target, ast.Attribute):
            name = path_of(target)
            if name.startswith("self.") and name.count(".") == 1:
                self.env[name] = self._named(target.attr, value)
            else:
                level = self.vocabulary.level(target.attr)
                self._mutate(target.value, self._labelled(target.attr, value) if level else value)
        elif isinstance(target, ast.Subscript):
            label = target.slice.value if isinstance(target.slice, ast.Constant) else ""
            index = self.value(target.slice)
            labelled = (
                self._labelled(label, value)
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

    def _named(self, name: str, value: Value) -> Value:
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

    def _labelled(self, label: str, value: Value) -> Value:
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

    def _constant(self, node: ast.Constant) -> Value:
        if node.value is None:
            return NOTHING
        return Value(text=node.value) if isinstance(node.value, str) else CONSTANT

    def _name(self, node: ast.Name) -> Value:
        name = node.id
        self._pending.pop(name, None)
        known = self.env.get(name)
        if known is not None:
            return known
        if self.vocabulary.level(name):
            self.ambient.add(name)
            return Value(frozenset({name}))
        return self.flow.module_variable(self.function.path, name)

    def _attribute(self, node: ast.Attribute) -> Value:
        path = path_of(node)
        known = self.env.get(path)
        if known is not None:
            return known
        if path.startswith(("self.", "cls.")) and path.count(".") == 1:
            if self.vocabulary.level(node.attr):
                self.ambient.add(path)
                return Value(frozenset({path}))
            value = self.flow.class_attribute(self.function, node.attr)
            extra = names.marks(node.attr)
            return (
                Value(value.carriers, value.maybe, value.params, value.marks | extra, value.text)
                if extra
                else value
            )
        base = self.value(node.value)
        if any(mark.startswith("model:") for mark in base.marks):
            return Value(marks=base.marks)  # a column: it scopes where a query compares it
        if self.vocabulary.level(node.attr):
            return Value(
                base.carriers | {path if "?" not in path else node.attr},
                base.maybe,
                base.params,
                base.marks - {"none"},
            )
        if base.is_constant and "(" not in path:
            found = self.flow.dotted_variable(self.function, path)
            if found is not None:
                held = names.root_marks(path)
                return marked(found, *held) if len(held) > 1 else found
        extra = names.marks(node.attr) | names.root_marks(path)
        return Value(
            base.carriers, base.maybe, base.params, (base.marks | extra) - {"none"} or frozenset({"unknown"})
        )

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
            item = self.env.get(f"{node.value.id}[{node.slice.value!r}]")
            if item is not None:
                return item
            base = self.env.get(f"{node.value.id}[*]", base)
        index = self.value(node.slice)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            label = node.slice.value
            if self.vocabulary.level(label):
                return Value(base.carriers | {f'["{label}"]'}, base.maybe, base.params, base.marks)
            held = names.root_marks(f"{path_of(node.value)}.{label}")
            extra = names.marks(label) | (held if len(held) > 1 else NONE)
            return Value(base.carriers, base.maybe, base.params, base.marks | extra or frozenset({"unknown"}))
        joined = join([base, index])
        if isinstance(node.slice, ast.Slice) and "digest" in base.marks and base.carriers:
            self._note_short_digest(node, node.slice)
        return joined if joined.text is None else marked(joined)

    def _joined(self, node: ast.JoinedStr) -> Value:
        return _concatenate([self.value(part) for part in node.values])

    def _formatted(self, node: ast.FormattedValue) -> Value:
        value = self.value(node.value)
        return (
            value
            if value.text is not None
            else Value(value.carriers, value.maybe, value.params, value.marks, HOLE)
        )

    def _binary(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if self.claims.active and isinstance(node.op, (ast.Sub, ast.BitAnd)):
            self.claims.on_difference([left, right])
        if isinstance(node.op, ast.Add):
            return _concatenate([left, right])
        if isinstance(node.op, ast.Mod) and left.text is not None:
            text = re.sub(r"%(\(\w+\))?[-\d.]*[a-zA-Z]", HOLE, left.text)
            return Value(right.carriers, right.maybe, right.params, right.marks, text)
        return join([left, right])

    def _boolean(self, node: ast.BoolOp) -> Value:
        values = [self.value(part) for part in node.values]
        if isinstance(node.op, ast.And):
            return join(values)
        if self.claims.active:
            self.claims.on_either(values, [ast.unparse(part) for part in node.values])
        return merge(values)

    def _conditional(self, node: ast.IfExp) -> Value:
        test = self._tested(node.test)
        values = [self.value(node.body), self.value(node.orelse)]
        if self.claims.active and self.claims.on_test(node.test, test) == "":
            sources = [ast.unparse(node.body), ast.unparse(node.orelse)]
            self.claims.on_either(values, sources)
            self.claims.on_either(values[::-1], sources[::-1])
        return merge(values)

    def _dict(self, node: ast.Dict) -> Value:
        rows = []
        for key, item in zip(node.keys, node.values, strict=False):
            value = self.value(item)
            if key is None:
                rows.append(value)
                continue
            label = key.value if isinstance(key, ast.Constant) else None
            rows.append(
                as_part(self._labelled(label, value))
                if isinstance(label, str)
                else join([self.value(key), value])
            )
        return join(rows)

    def _compare(self, node: ast.Compare) -> Value:
        values = [self.value(node.left), *(self.value(part) for part in node.comparators)]
        self.lookups.on_compare(node, values)
        for value in values:
            if any(row.carriers and row is not value for row in values):
                self.compared |= _origins(value)
        if self.claims.active:
            self.claims.on_compare(node, values)
        return join(values)

    def _lambda(self, node: ast.Lambda) -> Value:
        before = self.env
        self.env = dict(before)
        for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            self.env[arg.arg] = self._named(arg.arg, UNKNOWN)
        value = self.value(node.body)
        self.env = before
        return value

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        before = self.env
        self.env = dict(before)
        for generator in node.generators:
            self._bind(generator.target, self.value(generator.iter))
            for condition in generator.ifs:
                self.value(condition)
                self._note_post_filter(condition)
        if isinstance(node, ast.DictComp):
            value = join([self.value(node.key), self.value(node.value)])
        else:
            value = marked(self.value(node.elt))
        self.env = before
        return value

    def _named_expression(self, node: ast.NamedExpr) -> Value:
        value = self.value(node.value)
        self._bind(node.target, value)
        return value

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            self.returns.append(self.value(node.value))
        return UNKNOWN

    def _call(self, node: ast.Call) -> Value:
        return self.flow.calls.evaluate(self, node)

    def _note_post_filter(self, test: ast.expr) -> None:
        """Record a comparison of a retrieved element's boundary with the boundary at hand."""
        if not self.accesses:
            return
        for node in ast.walk(test):
            if not isinstance(node, ast.Compare) or len(node.comparators) != 1:
                continue
            if not isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.In, ast.NotIn)):
                continue
            sides = (node.left, node.comparators[0])
            for element, boundary in (sides, sides[::-1]):
                label = _label(element)
                named = bool(label) and self.vocabulary.level(label) is not None
                if not named and not _is_computed_item(element):
                    continue
                value, other = self.value(element), self.value(boundary)
                origins = {mark for mark in value.marks if mark.startswith("from@")}
                filters = {name for name in value.params & other.params if FILTER_NAME.search(name)}
                if not origins or _origins(other) & origins or not (other.carriers if named else filters):
                    continue
                for access in self.accesses.values():
                    if (
                        f"from@{access.line}:{access.column}" in origins
                        and access.operation.kind == "retrieval"
                        and (named or not filters & access.scope.params)
                    ):
                        self.post_filters[node.lineno, node.col_offset] = PostFilter(
                            access, node.lineno, node.col_offset, ast.unparse(node)[:LOGGED_TEXT]
                        )

    def _note_short_digest(self, node: ast.Subscript, part: ast.Slice) -> None:
        upper = part.upper.value if isinstance(part.upper, ast.Constant) else None
        named = {getattr(row, "id", getattr(row, "attr", "")) for row in ast.walk(node.value)}
        of_boundary = any(name and self.vocabulary.is_strict(name) for name in named)
        if part.lower is None and isinstance(upper, int) and 0 < upper < SHORT_DIGEST and of_boundary:
            self._note("truncated-digest", node, ast.unparse(node)[:LOGGED_TEXT])

    def note_prefix(self, node: ast.Call, argument: Value) -> None:
        """`key.startswith(tenant_id)`, `column.like(f"{tenant_id}%")`: `acme` also matches `acme-2`."""
        if not isinstance(node.func, ast.Attribute) or not argument.carriers:
            return
        text = argument.text if argument.text is not None else HOLE
        open_end = (node.func.attr == "startswith" and text.endswith(HOLE)) or (
            node.func.attr in ("like", "ilike") and text.endswith(HOLE + "%")
        )
        if open_end:
            self._note("prefix-match", node, ast.unparse(node)[:LOGGED_TEXT])

    def _note(self, kind: OddityKind, node: ast.expr | ast.stmt, source: str) -> None:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        self.oddities[node.lineno, node.col_offset] = Oddity(
            kind, node.lineno, node.col_offset, end_line, end_column, source
        )

    def note(self, oddity: Oddity | None) -> None:
        """Keep what was noticed at a call."""
        if oddity is not None:
            self.oddities[oddity.line, oddity.column] = oddity

    def note_boolean_filter(self, node: ast.Call) -> None:
        """`filter(A.x == 1 and B.y == 2)`: Python keeps one of the comparisons only."""
        name = path_of(node.func).rpartition(".")[2]
        if name not in ("filter", "where", "having", "and_", "or_"):
            return
        for argument in node.args:
            if _loses_a_condition(argument):
                self._note("boolean-operator", argument, ast.unparse(argument))


def _sets_tenant(call: ast.Call) -> bool:
    """`session.execute(text("SET app.tenant = :id"), …)`: what follows in the session is bound to it."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in RUNS_SQL and call.args):
        return False
    texts = (part for part in ast.walk(call.args[0]) if isinstance(part, ast.Constant))
    return any(isinstance(part.value, str) and SETS_TENANT.match(part.value) for part in texts)


def _label(node: ast.expr) -> str:
    """The name under which an element holds a part: `r.metadata["tenant_id"]` or `r.get("tenant_id")`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value if isinstance(node.slice.value, str) else ""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and node.args
    ):
        first = node.args[0]
        return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str" and node.args:
        return _label(node.args[0])
    return ""


def _is_computed_item(node: ast.expr) -> bool:
    """`payload[key]`, `payload.get(key)`: an item whose name is that of a condition in a filter."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Name)
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and bool(node.args)
        and isinstance(node.args[0], ast.Name)
    )


def _origins(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("from@")}


def _is_column_test(node: ast.expr) -> bool:
    """`Model.column == x`: a comparison whose left side is an attribute of a capitalized name."""
    return isinstance(node, ast.Compare) and _is_column(node.left)


def _loses_a_condition(node: ast.expr) -> bool:
    """Whether Python evaluates what was meant for the database: `A.x == 1 and A.y`, `not A.x`, `A.x is None`."""
    if isinstance(node, ast.BoolOp):
        return sum(_is_column_test(part) for part in node.values) >= 2
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _is_column(node.operand)
    return (
        isinstance(node, ast.Compare)
        and _is_column(node.left)
        and isinstance(node.ops[0], (ast.Is, ast.IsNot, ast.In, ast.NotIn))
    )


def _is_column(node: ast.expr) -> bool:
    """`Model.column`: an attribute in lower case of a capitalized name."""
    if not isinstance(node, ast.Attribute) or not node.attr.islower():
        return False
    base = node.value
    return isinstance(base, ast.Name) and base.id[:1].isupper() and not base.id.isupper()


def _concatenate(values: Sequence[Value]) -> Value:
    joined = join(values)
    if any(row.text is None and not row.is_constant for row in values):
        text = "".join(row.text if row.text is not None else HOLE for row in values)
    else:
        text = "".join(row.text or "" for row in values)
    return Value(joined.carriers, joined.maybe, joined.params, joined.marks, text)


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
EXPRESSIONS: dict[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: Interpreter._constant,
    ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute,
    ast.Subscript: Interpreter._subscript,
    ast.JoinedStr: Interpreter._joined,
    ast.FormattedValue: Interpreter._formatted,
    ast.BinOp: Interpreter._binary,
    ast.BoolOp: Interpreter._boolean,
    ast.IfExp: Interpreter._conditional,
    ast.Dict: Interpreter._dict,
    ast.Compare: Interpreter._compare,
    ast.Lambda: Interpreter._lambda,
    ast.ListComp: Interpreter._comprehension,
    ast.SetComp: Interpreter._comprehension,
    ast.GeneratorExp: Interpreter._comprehension,
    ast.DictComp: Interpreter._comprehension,
    ast.NamedExpr: Interpreter._named_expression,
    ast.Yield: Interpreter._yield,
    ast.YieldFrom: Interpreter._yield,
    ast.Call: Interpreter._call,
}
