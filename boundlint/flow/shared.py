"""Objects that outlive a request, and what functions put into them with no key that says whose it is.

These are module globals, class attributes, and the attributes of an object that the project makes once.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from boundlint.findings import TraceStep
from boundlint.flow.values import CONSTANT, NOTHING, Value, join
from boundlint.index.extract import path_of
from boundlint.index.nodes import span_of
from boundlint.index.project import Class, Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow
    from boundlint.flow.interpret import Interpreter

Place = Literal["module global", "class attribute", "singleton"]
How = Literal["bound", "stored", "added", "made", "keyed"]
ADDS = frozenset({"append", "appendleft", "add", "extend", "insert", "update", "setdefault", "put"})
CONTAINERS = frozenset("dict list set defaultdict OrderedDict deque Counter".split())
CONTAINER_NODES = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
PLAIN_BASES = frozenset(
    {"object", "ABC", "Generic", "Protocol"}
)  # bases that do not treat class fields as columns
# Marks of keys that may tell the customers apart although they name no boundary.
TELLING = frozenset(
    {"unknown", "id", "secret", "random", "data", "object", "external", "exception", "request"}
)
CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__enter__", "__aenter__", "__set_name__"})


@dataclass(frozen=True)
class SharedWrite:
    """One thing put into a shared object.

    `how`: the name, class attribute or attribute itself is `bound` to the value, the value is `stored` under a
    constant key or `added` to a collection, the object was `made` to keep conversations and takes no boundary,
    or a value that depends on a boundary is `keyed` by parameters that do not hold it.
    `owned` says that the written expression names a boundary, so that an entry tells whose it is.
    """

    place: Place
    how: How
    holder: str
    name: str
    value: Value
    owned: bool
    function: Function
    span: tuple[int, int, int, int]
    declared: TraceStep | None = None


@dataclass(frozen=True)
class _Target:
    """A shared object as a write names it: `slot` is the attribute, `keys` are the subscripts on the way."""

    place: Place
    holder: str
    name: str
    slot: str
    keys: tuple[ast.expr, ...]
    declared: TraceStep | None


class SharedObjects:
    """Where the shared objects of a project are made, and of what."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._modules: dict[str, dict[str, tuple[int, ast.expr | None]]] = {}
        self._classes: dict[Class, dict[str, tuple[int, ast.expr | None]]] = {}
        self._singletons: dict[str, tuple[str, str]] | None = None
        self._session_types: frozenset[str] | None = None

    def variable(self, path: str, name: str) -> tuple[int, ast.expr | None]:
        """Line and first value of a module variable; (0, None) where the source does not show them."""
        if path not in self._modules:
            self._modules[path] = dict(_bindings(self.flow.slices.module_statements(path)))
        return self._modules[path].get(name, (0, None))

    def field(self, cls: Class, name: str) -> tuple[int, ast.expr | None]:
        """Line and value of a variable of a class body."""
        if cls not in self._classes:
            self._classes[cls] = dict(_bindings(self.flow.slices.class_statements(cls)))
        return self._classes[cls].get(name, (0, None))

    def shared_field(self, cls: Class, name: str) -> tuple[Class, int] | None:
        """The class, and line, whose one container all instances share under this name; None where each has its own."""
        rows = self.flow.project.ancestors(cls)
        if any(isinstance(row, str) and row.rpartition(".")[2] not in PLAIN_BASES for row in rows):
            return None
        own = f"self.{name}"
        for row in rows:
            if not isinstance(row, Class):
                continue
            inside = row.facts.qualname
            methods = self.flow.project.functions(row.path).values()
            if any(method.facts.owner == inside and own in method.facts.stored for method in methods):
                return None
        for row in rows:
            if isinstance(row, Class) and not row.facts.decorators and name in row.facts.attributes:
                line, value = self.field(row, name)
                return (row, line) if _is_container(value) else None
        return None

    def singleton(self, cls: Class) -> TraceStep | None:
        """Where the only object of a class is made, at module level; None for a class with more objects."""
        place = self._only_object(cls)
        if place is None:
            return None
        line = self.variable(*place)[0]
        name = cls.facts.qualname.rpartition(".")[2]
        return TraceStep(place[0], max(line, 1), f"`{place[1]}` is the only {name}, for all requests")

    def is_singleton(self, cls: Class) -> bool:
        """Whether the only object of a class is made at module level."""
        return self._only_object(cls) is not None

    def _only_object(self, cls: Class) -> tuple[str, str] | None:
        if self._singletons is None:
            self._singletons = self._made_at_module_level()
        place = self._singletons.get(cls.name)
        if place is None or self.flow.calls_named(cls.facts.qualname.rpartition(".")[2]):
            return None
        return place

    def _made_at_module_level(self) -> dict[str, tuple[str, str]]:
        """The classes of the project of which module code makes an object, with the variable that holds it."""
        made: dict[str, tuple[str, str]] = {}
        for path, facts in self.flow.project.files.items():
            for name, values in facts.assigned.items():
                for value in values:
                    if value.endswith("()") and value[:-2].replace(".", "").isidentifier():
                        symbol = self.flow.project.resolve(path, value[:-2])
                        if symbol is not None and symbol.cls is not None:
                            made.setdefault(symbol.cls.name, (path, name))
        return made

    def keeps_a_conversation(self, function: Function, path: str) -> bool:
        """Whether an object is a client of which only the constructor can say whose conversation it keeps."""
        if self._session_types is None:
            self._session_types = frozenset(
                type_name
                for type_name, table in self.flow.receivers.lookup.methods.items()
                if (rows := [row for row in table.values() if row.kind == "memory" and row.form == "method"])
                and all("constructor" in row.binders for row in rows)
            )
        typed = self.flow.receivers.type_of(function, path)
        return typed is not None and typed.confidence != "low" and typed.name in self._session_types


class Shared:
    """The writes to shared objects of one function while its body is followed."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.globals: set[str] = set()
        self.found: dict[tuple[int, int, int, int], SharedWrite] = {}

    def on_assign(self, node: ast.stmt, target: ast.expr, given: ast.expr | None, value: Value) -> None:
        """An assignment; of a plain name only where it is declared global, or at module level."""
        if isinstance(target, ast.Name) and not self.run.function.facts.qualname:
            self._on_module_variable(node, target.id)
            return
        if isinstance(target, ast.Name) and target.id not in self.globals:
            return
        found = self._target(target)
        if found is None or value.is_constant or self._is_keyed(given):
            return
        how: How = "added" if isinstance(node, ast.AugAssign) else "stored" if found.keys else "bound"
        self._note(node, found, how, value, [given] if given is not None else [])

    def on_call(self, node: ast.Call) -> None:
        """`history.append(message)` and its kin."""
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in ADDS:
            return
        found = self._target(node.func.value)
        if found is None:
            return
        given = [*node.args, *(row.value for row in node.keywords)]
        keys: list[ast.expr] = [key for row in given if isinstance(row, ast.Dict) for key in row.keys if key]
        if node.func.attr in ("setdefault", "insert") and node.args:
            keys.append(node.args[0])
        value = join([self.run.value(row) for row in given])
        if value.is_constant or not self._constant(keys):
            return
        self._note(node, found, "added", value, [*given, *node.keywords])

    def on_module(self) -> None:
        """The conversations that class bodies of the module share."""
        module = self.run.function
        for cls in self.run.flow.project.classes(module.path).values():
            if cls.facts.decorators:
                continue
            for name, values in cls.facts.attributes.items():
                if not any(row.endswith("()") for row in values):
                    continue
                _line, value = self.run.flow.shared_objects.field(cls, name)
                path = path_of(value) if value is not None else ""
                shared_objects = self.run.flow.shared_objects
                if isinstance(value, ast.Call) and shared_objects.keeps_a_conversation(module, path):
                    holder = f"{cls.facts.qualname}.{name}"
                    span = span_of(value)
                    self.found[span] = SharedWrite(
                        "class attribute", "made", holder, name, CONSTANT, False, module, span
                    )

    def _on_module_variable(self, node: ast.stmt, name: str) -> None:
        value = getattr(node, "value", None)
        path = path_of(value) if value is not None else ""
        module = self.run.function
        if isinstance(value, ast.Call) and self.run.flow.shared_objects.keeps_a_conversation(module, path):
            span = span_of(value)
            self.found[span] = SharedWrite("module global", "made", name, name, CONSTANT, False, module, span)

    def _note(
        self,
        node: ast.stmt | ast.expr,
        found: _Target,
        how: How,
        value: Value,
        given: Sequence[ast.AST],
    ) -> None:
        if not self._constant(found.keys):
            if how != "stored" or not self._is_keyed_short(found.keys, value):
                return  # whatever varies may tell the customers apart
            how = "keyed"
        owned = any(self._names_boundary(row) for row in given)
        span = span_of(node)
        self.found[span] = SharedWrite(
            found.place,
            how,
            found.holder,
            found.slot or found.name,
            value,
            owned,
            self.run.function,
            span,
            found.declared,
        )

    def _constant(self, keys: Iterable[ast.expr]) -> bool:
        """Whether all keys are constants."""
        return all(value is NOTHING or value.is_constant for value in (self.run.value(key) for key in keys))

    def _is_keyed_short(self, keys: Iterable[ast.expr], value: Value) -> bool:
        """Whether a value depends on a boundary that its key, made of other parameters, does not hold."""
        key = join([self.run.value(row) for row in keys])
        if key.carriers or key.maybe or not key.params or key.marks & TELLING:
            return False
        return bool(value.carriers)

    def _is_keyed(self, given: ast.expr | None) -> bool:
        """`{**known, key: value}`: a mapping made anew, under a key that varies."""
        if isinstance(given, ast.Dict):
            return not self._constant([key for key in given.keys if key])
        return isinstance(given, ast.DictComp)

    def _names_boundary(self, given: ast.AST) -> bool:
        vocabulary = self.run.vocabulary
        for node in ast.walk(given):
            names = [getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "arg", "")]
            if any(isinstance(name, str) and name and vocabulary.level(name) for name in names):
                return True
            # A constant needs a name that means nothing else: "user" is also a chat role.
            named = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if named.isidentifier() and vocabulary.is_strict(named):
                return True
        return False

    def _is_local(self, name: str) -> bool:
        return name not in self.globals and self.run.flow.receivers.is_local(self.run.function, name)

    def _target(self, node: ast.expr) -> _Target | None:
        """The shared object that a write reaches; None for anything that ends with the request."""
        keys: list[ast.expr] = []
        attributes: list[str] = []
        holder = path_of(node)
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.Subscript):
                keys.append(node.slice)
                node = node.value
            elif isinstance(node, ast.Attribute):
                attributes.insert(0, node.attr)
                node = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                if node.func.attr not in ("setdefault", "get"):
                    return None
                keys.append(node.args[0])
                node = node.func.value
            else:
                return None
        holder = ".".join([node.id, *attributes])
        place = self._of_object(node.id, attributes, bool(keys)) or self._of_module(node.id, attributes)
        if place is None:
            return None
        where, declared = place
        name = attributes[0] if attributes and where != "module global" else node.id
        slot = attributes[-1] if attributes else ""
        return _Target(where, holder, name, slot, tuple(keys), declared)

    def _of_object(
        self, root: str, attributes: list[str], keyed: bool
    ) -> tuple[Place, TraceStep | None] | None:
        """An attribute of `self`, of `cls`, or of a class that is named."""
        flow, function = self.run.flow, self.run.function
        if not attributes:
            return None
        first = attributes[0]
        if root == "self" and first != "__class__":
            owner = flow.receivers.owner(function)
            if owner is None:
                return None
            shared = flow.shared_objects.shared_field(owner, first)
            if shared is not None:
                cls, line = shared
                return "class attribute", TraceStep(
                    cls.path, line, "one object for all instances is made here"
                )
            outer = function.facts.qualname.rpartition(".")[2]
            made = flow.shared_objects.singleton(owner) if outer not in CONSTRUCTORS else None
            return ("singleton", made) if made is not None else None
        if root in ("self", "cls"):
            return "class attribute", None
        symbol = flow.project.resolve(function.path, root) if not self._is_local(root) else None
        return ("class attribute", None) if symbol is not None and symbol.cls is not None else None

    def _of_module(self, root: str, attributes: list[str]) -> tuple[Place, TraceStep | None] | None:
        """A module variable: rebound, a container, or an object of the project."""
        flow, function = self.run.flow, self.run.function
        if root in ("self", "cls") or self._is_local(root):
            return None
        symbol = flow.project.resolve(function.path, root)
        if symbol is None or symbol.kind != "variable" or not function.facts.qualname:
            return None
        line, value = flow.shared_objects.variable(symbol.path, symbol.name)
        step = TraceStep(symbol.path, max(line, 1), f"`{symbol.name}` is made once, for all requests")
        if attributes:
            return ("singleton", step) if self._is_own_object(symbol.path, value) else None
        return ("module global", step) if root in self.globals or _is_container(value) else None

    def _is_own_object(self, path: str, value: ast.expr | None) -> bool:
        """Whether a value is made of a class of the project that is no thread's own."""
        if not isinstance(value, ast.Call):
            return False
        symbol = self.run.flow.project.resolve(path, path_of(value.func))
        if symbol is None or symbol.cls is None:
            return False
        bases = self.run.flow.project.ancestors(symbol.cls)
        return not any(isinstance(row, str) and row.rpartition(".")[2] == "local" for row in bases)


def may_share(flow: Flow, function: Function) -> bool:
    """Whether, by its facts alone, a function writes to something that outlives it."""
    facts = function.facts
    variables = flow.project.files[function.path].assigned
    if not facts.qualname:
        return any(
            value.endswith("()") and flow.shared_objects.keeps_a_conversation(function, value)
            for values in variables.values()
            for value in values
        ) or any(
            value.endswith("()") and flow.shared_objects.keeps_a_conversation(function, value)
            for cls in flow.project.classes(function.path).values()
            for values in cls.facts.attributes.values()
            for value in values
        )
    added = [path.rpartition(".")[0] for path in facts.calls if path.rpartition(".")[2] in ADDS]
    for path in (*facts.stored, *added):
        root = path.partition(".")[0].partition("[")[0].partition("(")[0]
        if root in ("self", "cls"):
            owner = flow.receivers.owner(function)
            if owner is None or facts.name in CONSTRUCTORS:
                continue
            first = path.partition(".")[2].partition(".")[0].partition("[")[0].partition("(")[0]
            if root == "cls" or first == "__class__" or flow.shared_objects.is_singleton(owner):
                return True
            if first and flow.shared_objects.shared_field(owner, first):
                return True
        elif root not in facts.assigned or path == root:
            symbol = flow.project.resolve(function.path, root) if root else None
            if symbol is not None and (symbol.kind == "variable" or (symbol.cls is not None and "." in path)):
                return True
    return False


def _bindings(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, tuple[int, ast.expr | None]]]:
    """Names bound by statements, the first binding last, so that it wins in a dictionary."""
    rows: list[tuple[str, tuple[int, ast.expr | None]]] = []
    for statement in statements:
        for node in ast.walk(statement):
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            rows.extend((t.id, (t.lineno, value)) for t in targets if isinstance(t, ast.Name))
    return reversed(rows)


def _is_container(value: ast.expr | None) -> bool:
    if isinstance(value, CONTAINER_NODES):
        return True
    return isinstance(value, ast.Call) and path_of(value.func).rpartition(".")[2] in CONTAINERS
