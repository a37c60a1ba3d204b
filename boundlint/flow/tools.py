"""The functions that a model may call, and which of their parameters it fills: by the catalog's tool entries.

A tool is declared by a decorator, by a call that takes the function, or as a method of a tool class.  A
parameter that a marker hides is filled by the framework; where the marker or the declaration is
`hidden_overridable`, a value that the model sends wins all the same.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from boundlint.catalog.lookup import Lookup
from boundlint.catalog.model import Injection, Operation
from boundlint.index.extract import path_of
from boundlint.index.facts import Param
from boundlint.index.project import Function, Project
from boundlint.index.receivers import Receivers

NAMED = re.compile(r"[\"'](\w+)[\"']")
Statements = Callable[[Function], "list[ast.stmt] | None"]
Called = Mapping[str, Sequence[tuple[Function, str]]]
Declared = tuple[Function, Operation, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Tool:
    """One declared tool.

    `operation` is the catalog's target that declares it; `visible` are the parameters that the model fills,
    `overridable` those that are hidden from its schema while its value wins, `hidden` those that only the
    framework fills.  `certain` is False where only the decorator's name speaks for a tool.
    """

    function: Function
    operation: str
    visible: tuple[str, ...]
    overridable: tuple[str, ...]
    hidden: tuple[str, ...]
    certain: bool = True


def find_tools(receivers: Receivers, called: Called, statements: Statements) -> Mapping[Function, Tool]:
    """All tools of a project.

    `called` holds the functions with a call path by the path's last name, `statements` gives the body of a
    function, or of a module for its function ``.
    """
    finder = _Finder(receivers, statements)
    found: dict[Function, Tool] = {}
    for function, operation, certain, hidden in (*finder.declared(), *finder.registered(called)):
        tool = finder.tool(function, operation, certain, hidden)
        known = found.get(function)
        if known is not None and known.overridable:
            tool = replace(tool, visible=tuple(n for n in tool.visible if n not in known.overridable))
            tool = replace(tool, overridable=known.overridable)
        found[function] = tool
    return found


class _Finder:
    def __init__(self, receivers: Receivers, statements: Statements) -> None:
        self.receivers = receivers
        self.project: Project = receivers.project
        self.statements = statements
        lookup: Lookup = receivers.lookup
        operations = {id(row): row for row in lookup.functions.values()}
        operations |= {id(row): row for table in lookup.methods.values() for row in table.values()}
        tools = [row for row in operations.values() if row.kind == "tool"]
        self.decorators = frozenset(row.method for row in tools if row.form == "decorator")
        takers = [row for row in tools if _given(row)]
        self.takers = frozenset(row.method for row in takers)
        self.methods: dict[str, Operation] = {}
        for row in tools:
            if row.form == "method" and row.injection == "visible" and not _given(row):
                for name in (row.method, row.twin.rpartition(".")[2]):
                    if name:
                        self.methods.setdefault(name, row)
        self.markers = {
            name: row.injection
            for name, row in lookup.functions.items()
            if row.form == "marker" and row.kind == "tool"
        }

    def declared(self) -> Iterator[Declared]:
        """The functions that a decorator or a base class makes tools, and the names a declaration binds itself."""
        for function in self.project.all_functions():
            facts = function.facts
            for decorator in facts.decorators:
                name = re.split(r"[(\[]", decorator, maxsplit=1)[0].strip()
                if name.rpartition(".")[2] in self.decorators:
                    yield from self._decorated(function, name, decorator)
            if facts.owner and facts.name in self.methods:
                yield from self._method(function)

    def registered(self, called: Called) -> Iterator[Declared]:
        """The functions that a call of a catalog operation is given as tools."""
        takers: dict[Function, dict[str, Operation]] = defaultdict(dict)
        for name in self.takers:
            for function, path in called.get(name, ()):
                operation = self.receivers.callee(function, path).operation
                if operation is not None and operation.kind == "tool" and _given(operation):
                    takers[function][path] = operation
        for function, found in takers.items():
            for statement in self.statements(function) or ():
                for node in ast.walk(statement):
                    if (
                        isinstance(node, ast.Call)
                        and (operation := found.get(path_of(node.func))) is not None
                    ):
                        bound = _bound_in(ast.unparse(node), operation)
                        for item in _handed(node, operation):
                            target = self.receivers.callee(function, path_of(item)).function
                            if target is not None:
                                yield target, operation, True, bound

    def _decorated(self, function: Function, name: str, decorator: str) -> Iterator[Declared]:
        around = self.receivers.parent(function) or self.project.functions(function.path)[""]
        callee = self.receivers.callee(around, name)
        operation = callee.operation
        if operation is not None and operation.kind == "tool":
            yield function, operation, callee.confidence != "low", _bound_in(decorator, operation)
        elif callee.kind in ("unknown", "function") and "tool" in name.rpartition(".")[2]:
            named = Operation(name, "tool", "none", form="decorator", injection="visible")
            yield function, named, False, ()

    def _method(self, function: Function) -> Iterator[Declared]:
        owner = self.project.classes(function.path).get(function.facts.owner)
        for row in self.project.ancestors(owner)[1:] if owner is not None else ():
            if isinstance(row, str):
                operation = self.receivers.lookup.operation(row, function.facts.name)
                if operation is not None and operation.kind == "tool" and operation.injection == "visible":
                    yield function, operation, True, ()
                    return

    def tool(self, function: Function, operation: Operation, certain: bool, bound: tuple[str, ...]) -> Tool:
        """The parameters of a tool function by who fills them."""
        visible, overridable, hidden = [], [], []
        params = [row for row in function.facts.params if row.kind in ("pos", "kw")]
        if function.facts.owner and params and params[0].name in ("self", "cls"):
            params = params[1:]
        places = {
            row.path.partition(".")[2] for row in operation.args if row.role == "context" and "." in row.path
        }
        for index, param in enumerate(params):
            injection = self._marked(function, param)
            if injection == "hidden_safe" or param.name in places or str(index) in places:
                hidden.append(param.name)
            elif injection == "hidden_overridable" or param.name in bound:
                overridable.append(param.name)
            else:
                visible.append(param.name)
        return Tool(function, operation.target, tuple(visible), tuple(overridable), tuple(hidden), certain)

    def _marked(self, function: Function, param: Param) -> Injection | None:
        """How a marker in the annotation or default of a parameter injects it."""
        for name in re.findall(r"[A-Za-z_][\w.]*", f"{param.annotation} {param.default or ''}"):
            symbol = self.project.resolve(function.path, name)
            if symbol is not None and symbol.kind == "external":
                injection = self.markers.get(symbol.name)
                if injection is not None and injection != "visible":
                    return injection
            elif symbol is not None and symbol.kind == "variable":
                for value in self.project.files[symbol.path].assigned.get(symbol.name, ()):
                    if value.startswith(":"):
                        inner = self._marked(
                            Function(symbol.path, function.facts), Param("", "pos", value[1:], None)
                        )
                        if inner is not None:
                            return inner
        return None


def _given(operation: Operation) -> bool:
    """Whether a call of the operation is handed functions that become tools."""
    return any(row.role in ("function", "tools") for row in operation.args)


def _handed(node: ast.Call, operation: Operation) -> Iterable[ast.expr]:
    """The expressions in a call that name tool functions."""
    for argument in operation.args:
        if argument.role not in ("function", "tools"):
            continue
        given = [row.value for row in node.keywords if row.arg and row.arg == argument.keyword]
        if argument.position is not None and argument.position < len(node.args):
            given.append(node.args[argument.position])
        for value in given:
            items = value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
            yield from (item for item in items if isinstance(item, (ast.Name, ast.Attribute)))


def _bound_in(source: str, operation: Operation) -> tuple[str, ...]:
    """Parameters that a declaration fills by name (`partial_params={"user_id": …}`), if it can be overridden."""
    if operation.injection != "hidden_overridable":
        return ()
    keywords = [row.keyword for row in operation.args if row.role == "context" and row.keyword]
    names: list[str] = []
    for keyword in keywords:
        _, found, rest = source.partition(f"{keyword}=")
        if found:
            names += NAMED.findall(rest.partition("}")[0])
    return tuple(names)
