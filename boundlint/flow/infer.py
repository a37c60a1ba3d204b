"""The last real step of receiver resolution: astroid's inference over one module, inside a budget.

Nothing is imported, and nothing is looked up on `sys.path`: an imported name stands for a stub that is made
from the way the module uses it, so that the answer does not depend on what is installed.  Modules of the
project come in as text, when the caller offers it.  Changes when astroid does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astroid import nodes  # type: ignore[import-untyped]

_STUB_CLASS = "class {name}:\n    def __enter__(self):\n        return self\n"
_STUB_FUNCTION = "def {name}(*args, **kwargs):\n    return _unknown_\n"


@dataclass(frozen=True)
class Budget:
    """What one question may cost: inferred nodes; seconds as the last resort, for they vary by machine."""

    nodes: int = 400
    seconds: float = 0.5


class Modules:
    """Modules that astroid has parsed, a bounded number; owned by the caller, for one thread.

    `read` gives the source of a module of the project by its dotted name, None for any other module.
    """

    def __init__(self, read: Callable[[str], str | None] | None = None, most: int = 64) -> None:
        self._read = read
        self._most = most
        self._parsed: dict[tuple[str, str], tuple[str, nodes.Module | None]] = {}

    def get(self, source: str, name: str, path: str) -> nodes.Module | None:
        """The tree of the module; None where astroid cannot parse it."""
        known = self._parsed.get((name, path))
        if known is not None and known[0] == source:
            return known[1]
        while len(self._parsed) >= self._most:
            del self._parsed[next(iter(self._parsed))]
        module = self._build(source, name, path)
        self._parsed[(name, path)] = (source, module)
        return module

    def _build(self, source: str, name: str, path: str) -> nodes.Module | None:
        from astroid import nodes
        from astroid.exceptions import AstroidError  # type: ignore[import-untyped]

        parsed = _parse(source, name, path)
        if parsed is None:
            return None
        module, finish = parsed
        used = _used_names(module)
        stubs: dict[str, nodes.Module] = {}

        def import_module(
            modname: str, relative_only: bool = False, level: int | None = None, use_cache: bool = True
        ) -> nodes.Module:
            absolute = _absolute(module, modname, level)
            source = self._read(absolute) if self._read is not None and absolute != name else None
            if source is not None:
                found = self.get(source, absolute, absolute)
                if found is not None:
                    return found
            if absolute not in stubs:
                stubs[absolute] = _stub(absolute, used, import_module)
            return stubs[absolute]

        assert isinstance(module, nodes.Module)
        module.import_module = import_module
        with suppress(AstroidError, RecursionError):
            finish()
        return module


def infer_class(
    source: str,
    module_name: str,
    path: str,
    line: int,
    column: int,
    budget: Budget,
    modules: Modules,
    receiver: str = "",
) -> str | None:
    """The dotted name of the class of a receiver, or None where astroid does not know; never raises.

    The receiver is what a called attribute hangs on: `self.store` in `self.store.get(key)`.  `line` counts
    from 1 and `column` from 0 in bytes, as in `ast`; of several receivers that start there the longest is
    meant.  With `receiver`, a path text as the index writes it, the column is not looked at.
    """
    from astroid.context import InferenceContext  # type: ignore[import-untyped]

    try:
        module = modules.get(source, module_name, path)
        if module is None:
            return None
        node = _find(module, line, column, receiver)
        if node is None:
            return None
        meter = _Meter(InferenceContext.max_inferred - budget.nodes, time.monotonic() + budget.seconds)
        for inferred in node.infer(context=InferenceContext(nodes_inferred=meter)):
            name = _class_name(inferred)
            if name is not None:
                return name
    except Exception:  # astroid is known to fail in many ways, and this step is a bonus
        return None
    finally:
        _forget()
    return None


class _Spent(Exception):
    """The time is up."""


class _Meter(list[int]):
    """The cell in which astroid counts inferred nodes; it starts below zero and looks at the clock."""

    def __init__(self, start: int, deadline: float) -> None:
        super().__init__([start])
        self._deadline = deadline

    def __setitem__(self, index: Any, value: Any) -> None:
        if time.monotonic() > self._deadline:
            raise _Spent
        super().__setitem__(index, value)


def _parse(source: str, name: str, path: str) -> tuple[nodes.Module, Callable[[], None]] | None:
    """The tree of a source, and what is left to do once its imports are answered by us.

    astroid's builder follows imports on `sys.path` while it builds, for stars and for attributes that are set
    on objects.  Both are put off; of the attributes those of `self` and `cls` are enough, and cheap.
    """
    from astroid import nodes
    from astroid.builder import AstroidBuilder  # type: ignore[import-untyped]
    from astroid.exceptions import AstroidBuildingError
    from astroid.manager import AstroidManager  # type: ignore[import-untyped]

    stars: list[tuple[Any, Any]] = []
    attributes: list[Any] = []

    class Builder(AstroidBuilder):  # type: ignore[misc]
        def add_from_names_to_locals(self, node: Any, global_name: Any) -> None:
            if any(imported == "*" for imported, _ in node.names):
                stars.append((node, global_name))
            else:
                super().add_from_names_to_locals(node, global_name)

        def delayed_assattr(self, node: Any) -> None:
            if isinstance(node.expr, nodes.Name) and node.expr.name in ("self", "cls"):
                attributes.append(node)

    def finish() -> None:
        for node, global_name in stars:
            AstroidBuilder.add_from_names_to_locals(builder, node, global_name)
        for node in attributes:
            AstroidBuilder.delayed_assattr(builder, node)

    manager = AstroidManager()
    known = manager.astroid_cache.get(name)
    try:
        # No transforms: they bring knowledge of libraries by importing them into astroid.
        builder = Builder(manager, apply_transforms=False)
        return builder.string_build(source, name, path), finish
    except (AstroidBuildingError, RecursionError, MemoryError, ValueError):
        return None
    finally:
        # The builder leaves the module in a table of the process; ours are the caller's.
        if known is None:
            manager.astroid_cache.pop(name, None)
        else:
            manager.astroid_cache[name] = known


def _forget() -> None:
    """Empty astroid's process-wide memory of answers, so that none depends on the questions before it."""
    from astroid import context

    forget = getattr(context, "_invalidate_cache", None)
    if forget is not None:
        forget()


def _find(module: nodes.Module, line: int, column: int, receiver: str) -> nodes.NodeNG | None:
    """The receiver at a place, or with a path text on a line."""
    from astroid import nodes

    best: tuple[int, nodes.NodeNG] | None = None
    for call in _nodes(module):
        if not isinstance(call, nodes.Call) or not isinstance(call.func, nodes.Attribute):
            continue
        node = call.func.expr
        if receiver:
            if (call.lineno or 0) <= line <= (call.end_lineno or 0) and path_text(node) == receiver:
                return node
        elif (node.lineno, node.col_offset) == (line, column):
            size = len(path_text(node))
            if best is None or size > best[0]:
                best = (size, node)
    return best[1] if best is not None else None


def path_text(node: nodes.NodeNG) -> str:
    """The text of names, attributes, calls and subscripts; `?` for anything else."""
    from astroid import nodes

    suffix = ""
    while True:
        if isinstance(node, nodes.Name):
            return str(node.name) + suffix
        if isinstance(node, nodes.Attribute):
            node, suffix = node.expr, f".{node.attrname}{suffix}"
        elif isinstance(node, nodes.Call):
            node, suffix = node.func, f"(){suffix}"
        elif isinstance(node, nodes.Subscript):
            node, suffix = node.value, f"[]{suffix}"
        elif isinstance(node, nodes.Await):
            node = node.value
        else:
            return "?" + suffix


def _class_name(inferred: Any) -> str | None:
    from astroid import bases, nodes

    if isinstance(inferred, bases.Proxy) and not isinstance(inferred, bases.Instance):
        return None  # bound methods and generators
    if not isinstance(inferred, (bases.Instance, nodes.ClassDef)):
        return None
    name: str = inferred.qname()
    return None if name.startswith(("builtins.", ".")) or "_unknown_" in name else name


def _nodes(module: nodes.Module) -> Iterator[nodes.NodeNG]:
    stack: list[nodes.NodeNG] = [module]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(node.get_children())))


def _absolute(module: nodes.Module, name: str, level: int | None) -> str:
    if not level:
        return name
    package = module.name.split(".")
    kept = package[: max(0, len(package) - level)]
    return ".".join([*kept, *([name] if name else [])])


def _used_names(module: nodes.Module) -> frozenset[str]:
    """The dotted names that the module takes from its imports: `redis.asyncio.Redis`."""
    from astroid import nodes

    bound: dict[str, list[str]] = {}
    used: set[str] = set()
    for node in _nodes(module):
        if isinstance(node, nodes.Import):
            for name, alias in node.names:
                bound.setdefault(alias or name.partition(".")[0], []).append(
                    name if alias else name.partition(".")[0]
                )
        elif isinstance(node, nodes.ImportFrom):
            origin = _absolute(module, node.modname, node.level)
            for name, alias in node.names:
                bound.setdefault(alias or name, []).append(f"{origin}.{name}")
                used.add(f"{origin}.{name}")
    for node in _nodes(module):
        if isinstance(node, nodes.Attribute):
            first, _, rest = path_text(node).partition(".")
            used.update(f"{target}.{rest}" for target in bound.get(first, ()))
    return frozenset(used)


def _stub(name: str, used: frozenset[str], import_module: Callable[..., nodes.Module]) -> nodes.Module:
    """A module with a class for each capitalized name that is used of it, a module or function for others."""
    members: dict[str, str] = {}
    for dotted in sorted(used):
        if not dotted.startswith(f"{name}."):
            continue
        member, _, rest = dotted[len(name) + 1 :].partition(".")
        if not member.isidentifier():
            continue
        if member[0].isupper():
            members[member] = _STUB_CLASS.format(name=member)
        elif rest:
            members[member] = f"import {name}.{member} as {member}\n"
        else:
            members.setdefault(member, _STUB_FUNCTION.format(name=member))
    parsed = _parse("".join(members.values()), name, f"<stub of {name}>")
    assert parsed is not None
    stub = parsed[0]
    stub.import_module = import_module
    return stub
