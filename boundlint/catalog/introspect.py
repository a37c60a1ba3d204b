"""Looks at installed clients: finds a dotted path, and compares a signature with the catalog's arguments."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import linecache
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from boundlint.catalog.model import Argument

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ASYNC_WORDS = ("Awaitable", "Coroutine", "AsyncIterator", "AsyncGenerator", "AsyncIterable", "Future")


@dataclass(frozen=True)
class Found:
    """An object at a dotted path, and what it was read from (None for a module's own)."""

    value: Any
    owner: Any = None
    name: str = ""

    @property
    def function(self) -> Any:
        """The function behind a bound or plain method: the same object where two classes share it."""
        return getattr(self.value, "__func__", self.value)


@dataclass(frozen=True)
class Missing:
    """Nothing is at the dotted path; `reason` says what was tried.

    `optional`: the client has the module, but a package that the module needs is not installed.
    """

    reason: str
    optional: bool = False


def is_installed(path: str) -> bool:
    """Whether the package that a dotted path starts with is there, whatever of it may be missing."""
    parts = path.split(".")
    spec = None
    try:
        # a namespace package such as `google` or `langgraph.store` is shared: look deeper
        for depth in range(1, len(parts) + 1):
            spec = importlib.util.find_spec(".".join(parts[:depth]))
            if spec is None or spec.origin is not None or spec.submodule_search_locations is None:
                break
    except (ImportError, ValueError, AttributeError):
        return parts[0] in sys.modules
    return spec is not None


def resolve(path: str) -> Found | Missing:
    """Import what the dotted path needs and walk it."""
    parts = path.split(".")
    try:
        value: Any = importlib.import_module(parts[0])
        owner: Any = None
        for index, part in enumerate(parts[1:], 1):
            here = ".".join(parts[:index])
            following = _step(value, part, ".".join(parts[: index + 1]))
            # a function may hide the module of its own name: `pkg.search.search` inside `pkg.search`
            hidden = sys.modules.get(here)
            if following is _NOTHING and hidden is not None and hidden is not value:
                following = _step(hidden, part, ".".join(parts[: index + 1]))
            if following is _NOTHING:
                return Missing(f"{here} has no {part!r}")
            owner, value = value, following
    except ImportError as error:
        return Missing(f"needs a package that is not installed ({error})", optional=True)
    except Exception as error:  # a client's import may raise anything
        return Missing(f"cannot be imported: {type(error).__name__}: {error}")
    return Found(value, None if inspect.ismodule(owner) else owner, parts[-1])


_NOTHING = object()


def _step(value: Any, part: str, path: str) -> Any:
    following = getattr(value, part, _NOTHING)
    # a package may stand in for itself with a lazy object (pinecone 7): it is no module, but has a path
    if following is _NOTHING and (inspect.ismodule(value) or hasattr(value, "__path__")):
        try:
            following = importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name is not None and not (path + ".").startswith(error.name + "."):
                raise
    return following


def names_attribute(value: type, attribute: str) -> bool:
    """Whether the class's own code names the attribute: instances or a metaclass set it (`Model.objects`)."""
    word = re.compile(rf"\b{re.escape(attribute)}\b")
    for owner in (*inspect.getmro(value), *inspect.getmro(type(value))):
        if owner not in (object, type) and word.search(_source(owner)):
            return True
    return False


def _source(owner: type) -> str:
    """A class's source, "" where there is none.  `inspect` would parse the whole module for each class."""
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    lines, spans = _classes_of(file) if file is not None and file.endswith(".py") else ([], {})
    first, last = spans.get(owner.__qualname__, (1, 0))
    return "".join(lines[first - 1 : last])


@lru_cache(maxsize=64)
def _classes_of(file: str) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The lines of a module and the spans of its classes by qualified name; none for what cannot be read."""
    try:
        lines = linecache.getlines(file)
        tree = ast.parse("".join(lines))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return [], {}
    spans: dict[str, tuple[int, int]] = {}
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, node = pending.pop()
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.ClassDef):
                spans[prefix + child.name] = (child.lineno, child.end_lineno or child.lineno)
                inner = f"{prefix}{child.name}."
            elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = f"{prefix}{child.name}.<locals>."
            if isinstance(child, (ast.stmt, ast.excepthandler)):
                pending.append((inner, child))
    return lines, spans


def is_async(found: Found) -> bool:
    """Whether a call gives something to await or to iterate asynchronously, as far as can be told."""
    function = inspect.unwrap(found.function) if callable(found.function) else found.function
    if any(
        check(candidate)
        for candidate in (found.function, function)
        for check in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    ):
        return True
    returned = str(getattr(function, "__annotations__", {}).get("return", ""))
    if any(word in returned for word in _ASYNC_WORDS):
        return True
    # redis and others share one plain function between both clients: the async class makes it awaitable
    owner = found.owner if isinstance(found.owner, type) else type(found.owner)
    where = [part.lower() for part in (*owner.__module__.split("."), owner.__qualname__)]
    return any(word.startswith(("async", "aio", "_async")) or word.endswith("async") for word in where)


def signature_of(found: Found) -> tuple[inspect.Parameter, ...] | None:
    """The parameters that a caller passes, without self or cls; None where the client shows no signature."""
    try:
        signature = inspect.signature(found.value)
    except (ValueError, TypeError):
        return None
    parameters = tuple(signature.parameters.values())
    if isinstance(found.owner, type) and not isinstance(found.value, type) and parameters:
        raw = inspect.getattr_static(found.owner, found.name, None)
        plain = inspect.isroutine(found.value) and not inspect.ismethod(found.value)
        bound = isinstance(raw, (staticmethod, classmethod)) or not plain
        if not bound and parameters[0].kind in _POSITIONAL:
            return parameters[1:]
        if bound and not isinstance(raw, staticmethod) and parameters[0].name == "self":
            return parameters[1:]
    return parameters


@dataclass(frozen=True)
class _Parameters:
    """A signature arranged for questions."""

    names: dict[str, inspect.Parameter]
    order: list[str]  # what can be passed by position
    star: bool
    double_star: bool


def argument_problems(found: Found, arguments: tuple[Argument, ...], relative: bool = False) -> Iterator[str]:
    """What the signature contradicts; a client that takes anything contradicts nothing.

    A `relative` of the described function (its twin, the same method of another type) may name what the
    other takes through **kwargs, leave it out, or take it in fewer or further ways; where both take an
    argument by position, it must be the same.
    """
    if not callable(found.value) and not isinstance(found.value, property):
        yield "cannot be called"
        return
    shown = signature_of(found)
    if shown is None:
        return
    kinds = {parameter.kind for parameter in shown}
    parameters = _Parameters(
        names={parameter.name: parameter for parameter in shown},
        order=[parameter.name for parameter in shown if parameter.kind in _POSITIONAL],
        star=inspect.Parameter.VAR_POSITIONAL in kinds,
        double_star=inspect.Parameter.VAR_KEYWORD in kinds,
    )
    for argument in arguments:
        if relative and (argument.through_kwargs or argument.variadic):
            continue
        if argument.variadic and argument.keyword is None:
            problem = _variadic_problem(argument, parameters)
        elif argument.keyword is None:
            problem = _positional_problem(argument, parameters, relative)
        else:
            problem = _keyword_problem(argument, argument.keyword, parameters, relative)
        if problem:
            name = argument.keyword or (
                "**" if argument.position is None else f"position {argument.position}"
            )
            yield f"argument {name} ({argument.role}) {problem}"


def _variadic_problem(argument: Argument, parameters: _Parameters) -> str:
    if argument.position is None:
        return "" if parameters.double_star else "takes further keywords, but there is no **kwargs"
    if not parameters.star:
        return "takes further positional arguments, but there is no *args"
    first = len(parameters.order)
    return "" if first <= argument.position else f"starts at position {first}"


def _positional_problem(argument: Argument, parameters: _Parameters, relative: bool) -> str:
    position, order = argument.position, parameters.order
    if position is None or (parameters.star and position >= len(order)):
        return ""  # filled in by the framework, or one of *args
    if position >= len(order):
        return f"does not exist: there are {len(order)} positional arguments"
    parameter = parameters.names[order[position]]
    named = parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    return f"can be passed by the keyword {parameter.name!r} too" if named and not relative else ""


def _keyword_problem(argument: Argument, keyword: str, parameters: _Parameters, relative: bool) -> str:
    position, found = argument.position, parameters.names.get(keyword)
    if found is None or found.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        # bare *args and **kwargs say nothing about what is taken
        if parameters.double_star and (argument.through_kwargs or parameters.star or relative):
            return ""
        return f"does not exist (there are: {', '.join(parameters.names) or 'none'})"
    if found.kind is inspect.Parameter.POSITIONAL_ONLY:
        return "is positional-only"
    if found.kind is inspect.Parameter.KEYWORD_ONLY:
        return "" if position is None or relative else "is keyword-only"
    here = parameters.order.index(keyword)
    if position is None:
        return "" if relative or argument.through_kwargs else f"can be passed by position {here} too"
    return "" if here == position else f"is at position {here}, not {position}"
