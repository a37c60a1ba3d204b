"""The whole project as one lookup: symbols across imports, classes with their ancestors, callers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from boundlint.index.facts import ClassFacts, FileFacts, FunctionFacts
from boundlint.index.modules import Modules

MOST_REEXPORTS = 8  # hops from a name to its definition


@dataclass(frozen=True, eq=False)
class Function:
    """A function together with the file it stands in.  A project makes one object of each, equal to itself alone."""

    path: str
    facts: FunctionFacts


@dataclass(frozen=True, eq=False)
class Class:
    """A class together with the file it stands in.  A project makes one object of each, equal to itself alone."""

    path: str
    facts: ClassFacts

    @cached_property
    def name(self) -> str:
        """The type name used for project classes: `path::qualname`."""
        return f"{self.path}::{self.facts.qualname}"


@dataclass(frozen=True)
class Symbol:
    """What a dotted name stands for.

    `external` names something outside of the project by its dotted path; `variable` is a module variable,
    then `name` is it and `path` its file.
    """

    kind: Literal["function", "class", "module", "variable", "external"]
    path: str = ""
    name: str = ""
    function: Function | None = None
    cls: Class | None = None


class Project:
    """All facts of a project and the questions that need more than one file.  Answers are remembered."""

    def __init__(self, files: Iterable[FileFacts]) -> None:
        self.files: dict[str, FileFacts] = {facts.path: facts for facts in files}
        self.modules = Modules(self.files)
        self._functions: dict[str, dict[str, Function]] = {}
        self._nested: dict[str, dict[str, list[Function]]] = {}
        self._classes: dict[str, dict[str, Class]] = {}
        self._resolved: dict[tuple[str, str], Symbol | None] = {}
        self._ancestors: dict[Class, tuple[Class | str, ...]] = {}

    def functions(self, path: str) -> Mapping[str, Function]:
        """The functions of a file by qualified name; of several with one name the last counts, as in Python."""
        known = self._functions.get(path)
        if known is None:
            facts = self.files[path]
            known = {row.qualname: Function(path, row) for row in facts.functions}
            self._functions[path] = known
        return known

    def nested(self, function: Function) -> Sequence[Function]:
        """The functions inside of a function, at any depth; none for the code outside of functions."""
        known = self._nested.get(function.path)
        if known is None:
            rows = self.functions(function.path)
            known = self._nested[function.path] = defaultdict(list)
            for row in rows.values() if any(row.facts.parent for row in rows.values()) else ():
                name = row.facts.qualname if row.facts.parent else ""
                while name := name.rpartition(".")[0]:
                    if name in rows:
                        known[name].append(row)
        return known.get(function.facts.qualname, ())

    def classes(self, path: str) -> Mapping[str, Class]:
        """The classes of a file by qualified name."""
        known = self._classes.get(path)
        if known is None:
            known = {row.qualname: Class(path, row) for row in self.files[path].classes}
            self._classes[path] = known
        return known

    def class_named(self, name: str) -> Class | None:
        """The project class of a type name `path::qualname`."""
        path, found, qualname = name.partition("::")
        return self.classes(path).get(qualname) if found and path in self.files else None

    def resolve(self, path: str, dotted: str) -> Symbol | None:
        """What a dotted name means at module level of a file; None when it is nothing known there."""
        key = (path, dotted)
        if key not in self._resolved:
            self._resolved[key] = None
            self._resolved[key] = self._resolve(path, dotted, MOST_REEXPORTS)
        return self._resolved[key]

    def _resolve(self, path: str, dotted: str, hops: int) -> Symbol | None:
        if hops <= 0:
            return None
        head, _, rest = dotted.partition(".")
        facts = self.files[path]
        local = self._local(path, head, rest)
        if local is not None:
            return local
        target = facts.imports.get(head)
        if target is not None:
            absolute = self.modules.absolute(path, target)
            return self._dotted(f"{absolute}.{rest}" if rest else absolute, path, hops - 1)
        for star in facts.stars:
            module = self.modules.find(self.modules.absolute(path, star), path)
            if module is not None and module != path:
                found = self._resolve(module, dotted, hops - 1)
                if found is not None and found.kind != "external":
                    return found
        return None

    def _local(self, path: str, head: str, rest: str) -> Symbol | None:
        name = f"{head}.{rest}" if rest else head
        function = self.functions(path).get(name)
        if function is not None and name:
            return Symbol("function", path, name, function=function)
        cls = self.classes(path).get(name)
        if cls is not None:
            return Symbol("class", path, name, cls=cls)
        if rest and (owner := self.classes(path).get(head)) is not None:
            method = self.method(owner, rest)
            return Symbol("function", method.path, rest, function=method) if method else None
        if head in self.files[path].assigned:
            return Symbol("variable", path, name)
        return None

    def _dotted(self, dotted: str, near: str, hops: int) -> Symbol | None:
        """Resolve an absolute dotted name: the longest project module in front, then a name inside it."""
        parts = dotted.split(".")
        for cut in range(len(parts), 0, -1):
            module = self.modules.find(".".join(parts[:cut]), near)
            if module is None:
                continue
            if cut == len(parts):
                return Symbol("module", module, dotted)
            found = self._resolve(module, ".".join(parts[cut:]), hops)
            if found is not None:
                return found
            if cut > 1 or len(parts) == 2:
                return None
        return Symbol("external", "", dotted)

    def ancestors(self, cls: Class) -> tuple[Class | str, ...]:
        """The class and its bases, depth first; a base outside of the project is its dotted name."""
        known = self._ancestors.get(cls)
        if known is not None:
            return known
        self._ancestors[cls] = (cls,)
        rows: list[Class | str] = [cls]
        for base in cls.facts.bases:
            symbol = self.resolve(cls.path, base.partition("[")[0])
            if symbol is not None and symbol.cls is not None:
                if symbol.cls != cls:
                    rows.extend(row for row in self.ancestors(symbol.cls) if row not in rows)
            elif symbol is not None and symbol.kind == "external":
                rows.append(symbol.name)
            else:
                rows.append(base.partition("[")[0])
        self._ancestors[cls] = tuple(rows)
        return self._ancestors[cls]

    def method(self, cls: Class, name: str) -> Function | None:
        """The method that an instance of the class would run."""
        for row in self.ancestors(cls):
            if isinstance(row, Class):
                found = self.functions(row.path).get(f"{row.facts.qualname}.{name}")
                if found is not None:
                    return found
        return None

    def methods(self, cls: Class) -> list[Function]:
        """The functions in the body of a class, and what is inside of them."""
        inside = f"{cls.facts.qualname}."
        rows = self.functions(cls.path)
        return [row for name, row in rows.items() if name.startswith(inside)]

    def attribute(self, cls: Class, name: str) -> tuple[str, list[str]] | None:
        """File and values of an attribute set on the class or through `self`."""
        for row in self.ancestors(cls):
            if isinstance(row, Class) and name in row.facts.attributes:
                return row.path, row.facts.attributes[name]
        return None

    def all_functions(self) -> Iterator[Function]:
        """Every function of the project, module level included, in file order."""
        for path in self.files:
            yield from self.functions(path).values()

    @cached_property
    def subclasses(self) -> Mapping[Class, tuple[Class, ...]]:
        """The direct and indirect project subclasses of each project class."""
        found: dict[Class, list[Class]] = defaultdict(list)
        for path in self.files:
            for cls in self.classes(path).values():
                for row in self.ancestors(cls)[1:]:
                    if isinstance(row, Class):
                        found[row].append(cls)
        return {cls: tuple(rows) for cls, rows in found.items()}

    @cached_property
    def methods_named(self) -> Mapping[str, tuple[Function, ...]]:
        """Project functions by their last name."""
        found: dict[str, list[Function]] = defaultdict(list)
        for function in self.all_functions():
            if function.facts.qualname:
                found[function.facts.name].append(function)
        return {name: tuple(rows) for name, rows in found.items()}


def split_path(path: str) -> tuple[str, str]:
    """A call path's receiver and method: `self.store.get` -> (`self.store`, `get`); no dot, no receiver."""
    receiver, _, method = path.rpartition(".")
    return receiver, method


def last_name(path: str) -> str:
    """The last plain name of a path: `self.redis_client()` -> `redis_client`."""
    name = path.rpartition(".")[2]
    while name.endswith(("()", "[]")):
        name = name[:-2]
    return name
