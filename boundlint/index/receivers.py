"""What a call is made on: the ladder from an import to a name, each step less certain than the one before.

Works on the index's facts alone, so no source is parsed again.  Types are dotted paths for classes outside
of the project and `path::qualname` for the project's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from boundlint.catalog.lookup import Lookup
from boundlint.catalog.model import Operation
from boundlint.findings import Confidence
from boundlint.index.dependencies import injected
from boundlint.index.project import Class, Function, Project, last_name, split_path

DEEPEST = 12  # steps of one resolution
WRAPPERS = re.compile(
    r"^(?:typing\.|t\.|collections\.abc\.|contextlib\.|orm\.|sqlalchemy\.orm\.)?(?:Optional|Annotated|ClassVar|Final|Union|Mapped|Awaitable|Coroutine"
    r"|Generator|AsyncGenerator|Iterator|AsyncIterator|Iterable|AsyncIterable|AbstractContextManager"
    r"|AbstractAsyncContextManager|ContextManager|AsyncContextManager|Depends|Required|NotRequired"
    r"|type|Type)\[(.*)\]$"
)
CONTAINERS = re.compile(
    r"^(?:typing\.|t\.|collections\.abc\.)?(?:List|list|Sequence|Iterable|Set|set|Tuple|tuple|Deque|deque)\[(.*)\]$"
)
MAPPINGS = re.compile(
    r"^(?:typing\.|t\.|collections\.abc\.)?(?:Dict|dict|Mapping|MutableMapping|DefaultDict|defaultdict|OrderedDict)\[(.*)\]$"
)
LOWER: dict[Confidence, Confidence] = {"high": "medium", "medium": "low", "low": "low"}


@dataclass(frozen=True)
class Typed:
    """A type and how sure the ladder is of it."""

    name: str
    confidence: Confidence = "high"
    is_class: bool = False  # the class itself, not an instance


@dataclass(frozen=True)
class Callee:
    """What a call reaches: an operation of the catalog, functions of the project, or a name outside."""

    kind: Literal["operation", "function", "class", "external", "unknown"]
    confidence: Confidence = "high"
    operation: Operation | None = None
    function: Function | None = None
    cls: Class | None = None
    external: str = ""


UNKNOWN = Callee("unknown", "low")


class Receivers:
    """Resolution of receivers and callees over one project.  Answers are remembered."""

    def __init__(
        self,
        project: Project,
        lookup: Lookup,
        infer: Callable[[Function, str, str], str | None] | None = None,
    ) -> None:
        self.project = project
        self.lookup = lookup
        self._infer = infer
        self._types: dict[tuple[Function, str], Typed | None] = {}
        self._bound: dict[Function, frozenset[str]] = {}
        self._callees: dict[tuple[Function, str], Callee] = {}

    def callee(self, function: Function, path: str, infer: bool = False) -> Callee:
        """What the call path means inside the function; `infer` allows what costs most, if nobody has asked before."""
        key = (function, path)
        known = self._callees.get(key)
        if known is None:
            known = self._callee(function, path, infer)
            self._callees[key] = known
        return known

    def type_of(self, function: Function, path: str, depth: int = DEEPEST) -> Typed | None:
        """The type of the expression that a path stands for."""
        key = (function, path)
        if key in self._types:
            return self._types[key]
        if depth <= 0:
            return None
        self._types[key] = None
        found = self._type_of(function, path, depth - 1)
        if found is None and depth < DEEPEST:
            del self._types[key]
        else:
            self._types[key] = found
        return found

    def owner(self, function: Function) -> Class | None:
        """The class whose instance `self` is, also inside functions nested in a method."""
        current: Function | None = function
        while current is not None:
            if current.facts.owner:
                return self.project.classes(current.path).get(current.facts.owner)
            current = self.parent(current)
        return None

    def parent(self, function: Function) -> Function | None:
        """The function around a nested function."""
        if not function.facts.parent:
            return None
        return self.project.functions(function.path).get(function.facts.parent)

    def _callee(self, function: Function, path: str, infer: bool) -> Callee:
        receiver, method = split_path(path)
        if not receiver:
            return self._plain(function, path)
        head = re.split(r"[.(\[]", path, maxsplit=1)[0]
        if "(" not in path and "[" not in path and not self.is_local(function, head):
            found = self._named(function, path)
            if found is not None:
                return found
        typed = self.type_of(function, receiver)
        if typed is not None:
            return self._method(typed, method)
        inferred = self._infer(function, receiver, method) if infer and self._infer is not None else None
        if inferred is not None:
            return self._method(Typed(inferred, "medium"), method)
        if method in self.lookup.method_names:
            for guess in self.lookup.guesses(last_name(receiver)):
                operation = self.lookup.operation(guess, method)
                if operation is not None:
                    return Callee("operation", "low", operation=operation)
        return self._unique(receiver, method)

    def _plain(self, function: Function, name: str) -> Callee:
        if "(" in name or "[" in name or "?" in name:
            return UNKNOWN
        around: Function | None = function
        while around is not None:
            nested = self.project.functions(function.path).get(f"{around.facts.qualname}.{name}")
            if nested is not None and around.facts.qualname:
                return Callee("function", function=nested)
            around = self.parent(around)
        if self.is_local(function, name):
            for value in function.facts.assigned.get(name, ()):
                if not value.startswith((":", "?")) and value != name and "(" not in value and "." in value:
                    return self.callee(function, value)
            return UNKNOWN
        found = self._named(function, name)
        if found is not None:
            return found
        built_in = self.lookup.functions.get(f"builtins.{name}")
        return Callee("operation", operation=built_in) if built_in is not None else UNKNOWN

    def _named(self, function: Function, dotted: str) -> Callee | None:
        symbol = self.project.resolve(function.path, dotted)
        if symbol is None:
            return None
        if symbol.function is not None:
            return Callee("function", function=symbol.function)
        if symbol.cls is not None:
            return Callee("class", cls=symbol.cls)
        if symbol.kind == "external":
            operation = self.lookup.function(symbol.name)
            if operation is not None:
                return Callee("operation", operation=operation)
            return Callee("external", external=symbol.name)
        return None

    def _task(self, function: Function) -> Typed | None:
        """The client that a decorator makes of a project function: `@app.task` makes a task of it."""
        module = self.project.functions(function.path)[""]
        for decorator in function.facts.decorators:
            callee = self.callee(module, decorator.partition("(")[0].strip())
            target = callee.operation.target if callee.operation is not None else callee.external
            made = self.lookup.made_by(target) if target else None
            if made is not None:
                return Typed(made, callee.confidence)
        return None

    def _method(self, typed: Typed, method: str) -> Callee:
        cls = self.project.class_named(typed.name)
        if cls is None:
            operation = self.lookup.operation(typed.name, method)
            if operation is not None:
                return Callee("operation", typed.confidence, operation=operation)
            return Callee("external", typed.confidence, external=f"{typed.name}.{method}")
        for row in self.project.ancestors(cls):
            if isinstance(row, Class):
                found = self.project.functions(row.path).get(f"{row.facts.qualname}.{method}")
                if found is not None and not _is_stub(found):
                    return Callee("function", typed.confidence, function=found)
                forwarded = self._forwarded(row, method)
                if forwarded is not None:
                    return Callee("operation", LOWER[typed.confidence], operation=forwarded)
                if found is not None:
                    return Callee("function", typed.confidence, function=found)
            else:
                operation = self.lookup.operation(row, method)
                if operation is not None:
                    return Callee("operation", LOWER[typed.confidence], operation=operation)
        return UNKNOWN

    def _forwarded(self, cls: Class, method: str) -> Operation | None:
        """The operation of the client that a class hands all other attributes on to: `getattr(self._client, name)`."""
        forwards = self.project.functions(cls.path).get(f"{cls.facts.qualname}.__getattr__")
        if forwards is None or "getattr" not in forwards.facts.calls:
            return None
        words = forwards.facts.names.split()
        fields = (*cls.facts.attributes, *(row.name for row in cls.facts.fields))
        for name in dict.fromkeys(name for name in fields if name in words):
            typed = self.type_of(forwards, f"self.{name}")
            operation = self.lookup.operation(typed.name, method) if typed is not None else None
            if operation is not None:
                return operation
        return None

    def _unique(self, receiver: str, method: str) -> Callee:
        """The only project function of a telling name, where the receiver's name does not speak against it."""
        if receiver in ("self", "cls", "super()") or "_" not in method.strip("_"):
            return UNKNOWN
        rows = self.project.methods_named.get(method, ())
        if len(rows) == 1 and rows[0].facts.owner:
            return Callee("function", "low", function=rows[0])
        return UNKNOWN

    def is_local(self, function: Function, name: str) -> bool:
        """Whether a function, or one around it, binds the name."""
        around: Function | None = function
        while around is not None and around.facts.qualname:
            bound = self._bound.get(around)
            if bound is None:
                params = (param.name for param in around.facts.params)
                bound = self._bound[around] = frozenset((*around.facts.assigned, *params))
            if name in bound:
                return True
            around = self.parent(around)
        return False

    def _type_of(self, function: Function, path: str, depth: int) -> Typed | None:
        if path.endswith("[]"):
            return self._item(function, path[:-2], depth)
        if path.endswith("()"):
            return self._result(function, path[:-2], depth)
        receiver, name = split_path(path)
        if not receiver:
            return self._variable(function, name, depth)
        return self._attribute(function, receiver, name, depth)

    def _variable(self, function: Function, name: str, depth: int) -> Typed | None:
        if name in ("self", "cls"):
            owner = self.owner(function)
            return Typed(owner.name, is_class=name == "cls") if owner else None
        around: Function | None = function
        while around is not None and around.facts.qualname:
            for value in around.facts.assigned.get(name, ()):
                found = self._valued(around, value, depth) if value != name else None
                if found is not None:
                    return found
            for param in around.facts.params:
                if param.name == name:
                    default = param.default or ""
                    return (
                        self._annotated(function.path, param.annotation)
                        or self._dependency(function, param.annotation, depth)
                        or self._dependency(function, default, depth)
                    )
            around = self.parent(around)
        return self._module_name(function, name, depth)

    def _module_name(self, function: Function, name: str, depth: int) -> Typed | None:
        symbol = self.project.resolve(function.path, name)
        if symbol is None:
            return None
        if symbol.cls is not None:
            return Typed(symbol.cls.name, is_class=True)
        if symbol.kind == "external":
            return Typed(symbol.name, is_class=True) if symbol.name in self.lookup.clients else None
        if symbol.function is not None:
            return self._task(symbol.function)
        if symbol.kind != "variable":
            return None
        module = self.project.functions(symbol.path)[""]
        for value in self.project.files[symbol.path].assigned.get(symbol.name, ()):
            found = (
                self._valued(module, value, depth) if value != name or symbol.path != function.path else None
            )
            if found is not None:
                return found
        return None

    def _valued(self, function: Function, value: str, depth: int) -> Typed | None:
        if value.startswith(":"):
            return self._annotated(function.path, value[1:])
        return None if value.startswith("?") else self.type_of(function, value, depth)

    def _attribute(self, function: Function, receiver: str, name: str, depth: int) -> Typed | None:
        typed = self.type_of(function, receiver, depth)
        if typed is None:
            return self._dotted(function, f"{receiver}.{name}", depth)
        cls = self.project.class_named(typed.name)
        if cls is None:
            returned = self.lookup.returns.get(typed.name, {}).get(name)
            return Typed(returned, typed.confidence) if returned else None
        found = self.project.attribute(cls, name)
        if found is not None:
            path, values = found
            scope = self.project.method(cls, "__init__") or self.project.functions(path)[""]
            for value in values:
                inner = self._valued(scope, value, depth)
                if inner is not None:
                    return Typed(inner.name, inner.confidence, inner.is_class)
        method = self.project.method(cls, name)
        if method is not None and any("property" in decorator for decorator in method.facts.decorators):
            return self._returned(method, depth)
        for row in self.project.ancestors(cls):
            if isinstance(row, str) and (returned := self.lookup.returns.get(row, {}).get(name)):
                return Typed(returned, LOWER[typed.confidence])
        return None

    def _dotted(self, function: Function, dotted: str, depth: int) -> Typed | None:
        head = dotted.partition(".")[0]
        if "(" in dotted or "[" in dotted or self.is_local(function, head):
            return None
        symbol = self.project.resolve(function.path, dotted)
        if symbol is None:
            return None
        if symbol.cls is not None:
            return Typed(symbol.cls.name, is_class=True)
        if symbol.function is not None:
            return self._task(symbol.function)
        if symbol.kind == "external" and symbol.name in self.lookup.clients:
            return Typed(symbol.name, is_class=True)
        if symbol.kind == "variable":
            module = self.project.functions(symbol.path)[""]
            return self.type_of(module, symbol.name, depth)
        return None

    def _item(self, function: Function, container: str, depth: int) -> Typed | None:
        typed = self.type_of(function, container, depth)
        if typed is None:
            return self._element(function, container)
        returned = self.lookup.returns.get(typed.name, {}).get("__getitem__")
        return Typed(returned, typed.confidence) if returned else None

    def _element(self, function: Function, container: str) -> Typed | None:
        """The element type of a variable annotated as a list or mapping."""
        annotation = ""
        if "." not in container:
            annotations = [p.annotation for p in function.facts.params if p.name == container]
            annotations += [v[1:] for v in function.facts.assigned.get(container, ()) if v.startswith(":")]
            annotations += [
                v[1:]
                for v in self.project.files[function.path].assigned.get(container, ())
                if v.startswith(":")
            ]
            annotation = annotations[0] if annotations else ""
        elif container.startswith("self.") and container.count(".") == 1:
            owner = self.owner(function)
            found = self.project.attribute(owner, container[5:]) if owner else None
            annotation = next((v[1:] for v in found[1] if v.startswith(":")), "") if found else ""
        if match := CONTAINERS.match(annotation):
            return self._annotated(function.path, match[1])
        if match := MAPPINGS.match(annotation):
            parts = _split(match[1])
            return self._annotated(function.path, parts[-1])
        return None

    def _result(self, function: Function, called: str, depth: int) -> Typed | None:
        receiver, name = split_path(called)
        if called == "super":
            owner = self.owner(function)
            rows = self.project.ancestors(owner)[1:] if owner else ()
            return next((Typed(row.name if isinstance(row, Class) else row) for row in rows), None)
        if not receiver and self.is_local(function, called):
            typed = self.type_of(function, called, depth)
            return Typed(typed.name, typed.confidence) if typed and typed.is_class else None
        callee = self.callee(function, called)
        if callee.kind == "class" and callee.cls is not None:
            return Typed(callee.cls.name)
        if callee.kind == "function" and callee.function is not None:
            return self._returned(callee.function, depth, receiver, function)
        made = self.lookup.made_by(callee.external) if callee.kind == "external" else None
        if made is None and callee.operation is not None:
            target = callee.operation.target
            made = self.lookup.made_by(target)
        if made is not None:
            return Typed(made, callee.confidence)
        if receiver:
            typed = self.type_of(function, receiver, depth)
            returned = self.lookup.returns.get(typed.name, {}).get(name) if typed else None
            if typed and returned:
                return Typed(returned, typed.confidence)
            if typed is not None and (cls := self.project.class_named(typed.name)) is not None:
                for row in self.project.ancestors(cls):
                    if isinstance(row, str) and (returned := self.lookup.returns.get(row, {}).get(name)):
                        return Typed(returned, LOWER[typed.confidence])
        return None

    def returned_type(self, function: Function) -> Typed | None:
        """The type of what a project function returns."""
        return self._returned(function, DEEPEST)

    def _returned(
        self, callee: Function, depth: int, receiver: str = "", caller: Function | None = None
    ) -> Typed | None:
        """What a project function returns: by annotation, else by what it returns."""
        found = self._annotated(callee.path, callee.facts.annotation)
        if found is not None:
            return found
        if callee.facts.annotation in ("Self", "typing.Self"):
            return self.type_of(caller, receiver, depth) if caller and receiver else None
        for value in callee.facts.returned:
            if value.startswith(("?", "self()")) or value == "self":
                continue
            inner = self.type_of(callee, value, depth)
            if inner is not None:
                return Typed(inner.name, LOWER[inner.confidence], inner.is_class)
        return None

    def _dependency(self, function: Function, text: str, depth: int) -> Typed | None:
        """The result of a dependency: `Depends(get_store)` as a default or inside `Annotated`."""
        for module, name in injected(self.project, function, text):
            return self.type_of(module, f"{name}()", depth)
        return None

    def _annotated(self, path: str, annotation: str) -> Typed | None:
        """The class that an annotation names; aliases such as `DB = Annotated[Session, ...]` are followed."""
        for name in named_types(annotation):
            symbol = self.project.resolve(path, name)
            if symbol is None:
                if name in self.lookup.clients:
                    return Typed(name)
                continue
            if symbol.cls is not None:
                return Typed(symbol.cls.name)
            if symbol.kind == "external":
                return Typed(symbol.name)
            if symbol.kind == "variable":
                values = self.project.files[symbol.path].assigned.get(symbol.name, ())
                alias = next((v[1:] for v in values if v.startswith(":")), "")
                if alias and (found := self._annotated(symbol.path, alias)) is not None:
                    return found
        return None


@lru_cache(maxsize=8192)
def named_types(annotation: str) -> tuple[str, ...]:
    """The class names an annotation offers, `None` and wrappers such as `Optional[...]` taken off."""
    text = annotation.strip().strip("'\"")
    if not text or text == "?":
        return ()
    if match := WRAPPERS.match(text):
        parts = _split(match[1])
        if text.startswith(("Annotated", "typing.Annotated", "t.Annotated")):
            parts = parts[:1]
        return tuple(name for part in parts for name in named_types(part))
    if len(parts := _split(text, "|")) > 1:
        return tuple(name for part in parts for name in named_types(part))
    name = text.partition("[")[0].strip()
    if name in (
        "None",
        "Any",
        "typing.Any",
        "object",
        "str",
        "int",
        "bool",
        "dict",
        "list",
        "bytes",
        "float",
    ):
        return ()
    return (name,) if re.fullmatch(r"[\w.]+", name) else ()


def _split(text: str, separator: str = ",") -> list[str]:
    """Split at separators outside of brackets."""
    parts, depth, current = [], 0, ""
    for character in text:
        if character in "[({":
            depth += 1
        elif character in "])}":
            depth -= 1
        if character == separator and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    return [*parts, current.strip()]


def _is_stub(function: Function) -> bool:
    """Whether a method only declares what another object does: its body is `...`."""
    facts = function.facts
    return not (facts.calls or facts.returned or facts.names or facts.texts)
