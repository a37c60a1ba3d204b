"""Replaces attributes of clients, when and only if the application imports them, and puts them back."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.metadata
import inspect
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_boundary import UnscopedAccess, iterating

if TYPE_CHECKING:
    from pytest_boundary.monitor import Monitor

T = TypeVar("T")
MARK = "__boundlint_patch__"
Before = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
After = Callable[[Any, Any], Any]


class SeamBroken(Exception):
    """A client's internals are not what the seam was written for."""


class Patcher:
    """What one seam has changed. Every change is undone by `restore`, in reverse order."""

    def __init__(self, seam: str, distribution: str, monitor: Monitor) -> None:
        self.seam = seam
        self.distribution = distribution
        self.monitor = monitor
        self._undo: list[Callable[[], None]] = []
        self.patched: list[tuple[Any, str, Any]] = []  # owner, attribute, original

    def broken(self, what: str) -> SeamBroken:
        """The error that says that the client is not as expected."""
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            version = "(unknown version)"
        return SeamBroken(f"{self.distribution} {version}: {what}; enforcement would be incomplete")

    def undo(self, callback: Callable[[], None]) -> None:
        """Remember how to take back a change that is no attribute, such as an event listener."""
        self._undo.append(callback)

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Put `make(original)` in place of an attribute that stands in the owner's own `__dict__`."""
        if name not in vars(owner):
            raise self.broken(f"{getattr(owner, '__name__', owner)}.{name} not found")
        original = vars(owner)[name]
        if getattr(original, MARK, None) is self:
            return
        replacement = make(original)
        setattr(replacement, MARK, self)
        setattr(owner, name, replacement)
        self.patched.append((owner, name, original))

        def put_back() -> None:
            setattr(owner, name, original)

        self._undo.append(put_back)

    def add(self, owner: Any, name: str, function: Any) -> None:
        """Give a class a method in place of what it answers by `__getattr__`."""
        setattr(function, MARK, self)
        setattr(owner, name, function)
        self._undo.append(lambda: delattr(owner, name))

    def wrap(
        self, owner: Any, name: str, before: Before, after: After | None = None, *, claims: bool = False
    ) -> None:
        """Call `before(self, args, kwargs)`, then the original, then `after(what before gave, result)`.

        What `after` gives, where that is not None, is returned in place of the result: a stream that is looked at.

        An async method is awaited in between, a generator has each of its items passed to `after`. `after` is skipped
        where `before` gave None. With `claims` the
        clients below are not judged: this access is one event. For a module's function `before` gets the first
        positional argument as `self`, for a class method the class.
        """

        def make(original: Any) -> Any:
            if isinstance(original, classmethod):
                return classmethod(make(original.__func__))
            if not inspect.isfunction(original):
                raise self.broken(f"{getattr(owner, '__name__', owner)}.{name} is no plain function any more")
            if inspect.isgeneratorfunction(original) or inspect.isasyncgenfunction(original):
                return iterating.around(original, before, after, self, claims)
            return self._around(original, before, after, claims)

        self.replace(owner, name, make)

    def restore(self) -> None:
        """Put every original object back."""
        while self._undo:
            self._undo.pop()()

    def _around(self, original: Any, before: Before, after: After | None, claims: bool) -> Any:
        claimed, failed = self.monitor.claimed, self.failed

        # On the way of every access, so that the guards stand here and not in a function of their own.
        if inspect.iscoroutinefunction(original):

            @functools.wraps(original)
            async def awaiting(instance: Any, *args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                if claimed.get():
                    return await original(instance, *args, **kwargs)
                try:
                    state = before(instance, args, kwargs)
                except Exception as error:
                    failed(error)
                    state = None
                if claims:  # `claiming`, without its generator
                    token = claimed.set(True)
                    try:
                        result = await original(instance, *args, **kwargs)
                    finally:
                        claimed.reset(token)
                else:
                    result = await original(instance, *args, **kwargs)
                if after is not None and state is not None:
                    try:
                        instead = after(state, result)
                    except Exception as error:
                        failed(error)
                    else:
                        return result if instead is None else instead
                return result

            return awaiting

        @functools.wraps(original)
        def calling(instance: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if claimed.get():
                return original(instance, *args, **kwargs)
            try:
                state = before(instance, args, kwargs)
            except Exception as error:
                failed(error)
                state = None
            if claims:
                token = claimed.set(True)
                try:
                    result = original(instance, *args, **kwargs)
                finally:
                    claimed.reset(token)
            else:
                result = original(instance, *args, **kwargs)
            if after is not None and state is not None:
                try:
                    instead = after(state, result)
                except Exception as error:
                    failed(error)
                else:
                    return result if instead is None else instead
            return result

        return calling

    def failed(self, error: Exception) -> None:
        """A hook raised: an error of ours is kept and never the test's; a finding goes on."""
        __tracebackhide__ = True
        if isinstance(error, UnscopedAccess):
            raise error
        self.monitor.fault(self.seam, error)

    def attempt(self, hook: Callable[..., T], *args: Any) -> T | None:
        """Call a hook whose own errors are ours, never the test's: None then. `wrap` does this itself."""
        __tracebackhide__ = True
        try:
            return hook(*args)
        except Exception as error:
            self.failed(error)
            return None

    def guarded(self, hook: Callable[..., T]) -> Callable[..., T | None]:
        """A hook that is called as `attempt` calls it."""
        return functools.wraps(hook)(functools.partial(self.attempt, hook))


class ImportWatch(importlib.abc.MetaPathFinder):
    """Calls back right after a module was executed. Looks at the names that it waits for and at no other."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callable[[ModuleType], None]]] = {}
        self._finding: set[str] = set()

    def when_imported(self, name: str, callback: Callable[[ModuleType], None]) -> None:
        """Call back now where the module is there already, else after its import."""
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is not None and not getattr(spec, "_initializing", False):
            callback(module)
        else:
            self._waiting.setdefault(name, []).append(callback)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the other finders give, whose loader calls back."""
        if fullname not in self._waiting or fullname in self._finding:
            return None
        self._finding.add(fullname)
        try:
            for finder in sys.meta_path:
                if finder is self or not hasattr(finder, "find_spec"):
                    continue
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    self._attach(spec)
                    return spec
        finally:
            self._finding.discard(fullname)
        return None

    def _attach(self, spec: importlib.machinery.ModuleSpec) -> None:
        loader = spec.loader
        if loader is None or isinstance(loader, type):
            return
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # the instance's attribute: this very function
            execute(module)
            for callback in self._waiting.pop(spec.name, ()):
                callback(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]

    def start(self) -> None:
        """Take part in imports from now on."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Take part no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        self._waiting.clear()
