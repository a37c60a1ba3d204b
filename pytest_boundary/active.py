"""Which boundary an operation runs in: the kit's scope, the test's own, or the application's context."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from boundlint import boundary as kit
from boundlint.boundary import LEVELS, AgentBoundary, Scope, current_scope
from pytest_boundary.levels import NO_OWNER, Levels

MAX_KNOWN = 500  # scopes that are kept in the plugin's words
innermost = kit._active  # what `current_scope` reads, without the call: this is on the way of every access


@dataclass(frozen=True)
class Active:
    """The ids that an operation must carry; `reason` is that of `cross_boundary`; `entered` a place."""

    ids: Mapping[str, str]
    reason: str = ""
    path: str = ""
    line: int = 0
    memo: dict[Any, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # what checks derive from the ids
    fields: dict[Any, Any] = field(
        default_factory=dict, compare=False, repr=False
    )  # … for records, by their shape

    @cached_property
    def key(self) -> tuple[tuple[str, str], ...]:
        """The ids in a form that can be looked up."""
        return tuple(sorted(self.ids.items()))

    def described(self, levels: Iterable[str] = ("tenant",)) -> str:
        """ "tenant 'northstar-dental'"."""
        named = [f"{level} {self.ids[level]!r}" for level in levels if level in self.ids]
        return ", ".join(named or [f"{level} {value!r}" for level, value in self.ids.items()])


@dataclass
class Boundaries:
    """Answers what is active. `item` is the running test's own boundary; `open` are the scopes entered."""

    levels: Levels
    getters: tuple[str, ...]
    item: Active | None = None
    thread: int = 0  # the thread that runs the test
    open: list[Scope] = field(default_factory=list)
    # set while a job runs in this process: the boundary that it was enqueued in, which a worker would not have
    job: ContextVar[Active | None] = field(default_factory=lambda: ContextVar("boundlint_job", default=None))
    _asking: threading.local = field(default_factory=threading.local)
    _known: dict[int, tuple[Scope, Active]] = field(default_factory=dict)  # by the scope's id
    _of_ids: dict[tuple[tuple[str, str], ...], Active] = field(default_factory=dict)
    _of_class: dict[type, tuple[str, ...]] = field(default_factory=dict)  # its names that may hold an id

    def active(self) -> Active | None:
        """The boundary of here and now, None where there is none."""
        scope = innermost.get()
        if scope is not None:
            known = self._known.get(id(scope))
            if known is None or known[0] is not scope:
                if len(self._known) > MAX_KNOWN:
                    self._known.clear()
                known = self._known[id(scope)] = (scope, of_scope(scope))
            return known[1]
        if self.getters and (answer := self._of_application()) is not None:
            return answer
        if self.item is not None and threading.get_ident() == self.thread and self.job.get() is None:
            return self.item
        return None

    def of_item(self, active: Active) -> bool:
        """Whether a boundary is that of the test's mark or fixture, no scope that the test or the code entered."""
        item = self.item
        return item is not None and (active.path, active.line) == (item.path, item.line)

    def caller(self) -> Active | None:
        """The boundary of who enqueues a job here: the active one, or that of the job which does."""
        return self.active() or self.job.get()

    def begin_job(self, caller: Active) -> Token[Active | None]:
        """From now on this context is that of a job: it has what it enters itself, and nothing of its caller."""
        if current_scope() is not None:
            kit._active.set(None)
        return self.job.set(caller)

    def end_job(self, token: Token[Active | None]) -> None:
        """The job is over."""
        self.job.reset(token)

    def elsewhere(self) -> Active | None:
        """A boundary that is active where this code was started, while here is none: it was lost on the way."""
        if (job := self.job.get()) is not None:
            return job
        if threading.get_ident() == self.thread:
            return None
        if self.open:
            return of_scope(self.open[-1])
        return self.item

    def _of_application(self) -> Active | None:
        if getattr(self._asking, "now", False):  # the application's own getter touches a client
            return None
        self._asking.now = True
        try:
            ids: dict[str, str] = {}
            for dotted in self.getters:
                getter = _resolve(dotted)
                if getter is None:
                    continue
                try:
                    value = getter()
                except Exception:  # outside of a request; a LookupError as a rule
                    continue
                for level, found in self._ids_of(value, dotted).items():
                    ids.setdefault(level, found)
            return self._interned(ids) if ids else None
        finally:
            self._asking.now = False

    def _interned(self, ids: dict[str, str]) -> Active:
        """One object for the same ids, which keeps what checks derive from them."""
        key = tuple(ids.items())
        known = self._of_ids.get(key)
        if known is None:
            if len(self._of_ids) > MAX_KNOWN:
                self._of_ids.clear()
            known = self._of_ids[key] = Active(ids, path=", ".join(self.getters))
        return known

    def _names_of(self, value: object) -> Iterable[object]:
        """The names that may hold an id: the keys of a mapping, else attributes, of which a class is asked once."""
        kind = type(value)
        if isinstance(value, Mapping):
            return value
        if kind.__dir__ is not object.__dir__ or hasattr(kind, "__getattr__"):  # a proxy
            return dir(value)
        names = self._of_class.get(kind)
        if names is None:
            names = tuple(name for name in dir(kind) if self.levels.rank(name)[1] != NO_OWNER)
            self._of_class[kind] = names
        held = getattr(value, "__dict__", {})
        more = [name for name in held if name not in names and self.levels.rank(name)[1] != NO_OWNER]
        return sorted((*names, *more)) if more else names

    def _ids_of(self, value: object, dotted: str) -> dict[str, str]:
        if value is None:
            return {}
        if isinstance(value, AgentBoundary):
            return {str(level): found for level, found in value.ids.items()}
        if isinstance(value, (str, int)) or type(value).__name__ == "UUID":
            level, _ = self.levels.rank(dotted.replace(":", ".").rpartition(".")[2].removeprefix("get_"))
            return {level or "tenant": str(value)}
        found: dict[str, tuple[int, str]] = {}
        for name in self._names_of(value):
            if not isinstance(name, str) or name.startswith("__"):
                continue
            level, rank = self.levels.rank(name)
            if rank == NO_OWNER or rank >= found.get(level, (NO_OWNER, ""))[0]:
                continue
            try:
                held = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
            except Exception:  # a property that needs more than there is
                continue
            if isinstance(held, (str, int)) or type(held).__name__ == "UUID":
                found[level] = (rank, str(held))
        return {level: found[level][1] for level in (*LEVELS, *found) if level in found}


def of_scope(scope: Scope) -> Active:
    """A scope of `boundlint.boundary` in the plugin's words."""
    ids = {str(level): value for level, value in scope.boundary.ids.items()} if scope.boundary else {}
    return Active(ids, scope.reason, scope.path, scope.line)


def _resolve(dotted: str) -> Callable[[], object] | None:
    """The callable that `app.context:get_current` or `app.context.get_current` names, once it is imported."""
    module_name, separator, rest = dotted.partition(":")
    if not separator:
        module_name, _, rest = dotted.rpartition(".")
        while module_name and module_name not in sys.modules:
            module_name, _, first = module_name.rpartition(".")
            rest = f"{first}.{rest}"
    found: object = sys.modules.get(module_name)
    for name in rest.split("."):
        found = getattr(found, name, None)
    return found if callable(found) else None
