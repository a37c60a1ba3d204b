"""Functions whose results are cached: what one reads for a tenant must have that tenant in its key.

No hook sees a hit, so that the function itself is watched: it runs on a miss. A finding needs both, data that was read
for the active boundary while it ran, and arguments that name no tenant. A function that touches no customer data, or
whose key is an object of its own such as a session, is left alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.checks.jobs import values_in
from pytest_boundary.checks.keys import has_component
from pytest_boundary.levels import same_id
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing, Operation
from pytest_boundary.patching import Patcher

DATA = frozenset({"memory", "checkpoint", "retrieval", "cache", "database", "file"})
Key = Callable[..., Any]


class Cached:
    """Watches the functions that one decorator caches, until the run is over."""

    def __init__(self, operation: Operation, monitor: Monitor, patcher: Patcher) -> None:
        self.operation = operation
        self.monitor = monitor
        self.failed = patcher.failed
        self.on = True
        patcher.undo(self._stop)

    def _stop(self) -> None:
        self.on = False

    def is_users(self, function: Any) -> bool:
        """Whether a function is the project's own, and not a library's."""
        code = getattr(function, "__code__", None)
        return code is not None and self.monitor.frames.is_user(code.co_filename)

    def watched(self, function: Any, key: Key | None = None) -> Any:
        """A function to be cached in place of this one; `key` makes the cache's key of the arguments."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def missing_async(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                before = self._reads()
                result = await function(*args, **kwargs)
                self._judge(function, before, args, kwargs, key)
                return result

            return missing_async

        @functools.wraps(function)
        def missing(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            before = self._reads()
            result = function(*args, **kwargs)
            self._judge(function, before, args, kwargs, key)
            return result

        return missing

    def _reads(self) -> int:
        """How often this test has read data for its boundary so far."""
        return sum(
            count
            for access, count in list(self.monitor.ledger.counts.items())
            if access.verdict == "scoped" and access.effect == "read" and access.kind in DATA
        )

    def _judge(
        self, function: Any, before: int, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key | None
    ) -> None:
        __tracebackhide__ = True
        if not self.on or self._reads() == before:
            return
        name = function.__qualname__.replace("<locals>.", "")
        try:
            keyed = [args, kwargs, key(*args, **kwargs) if key is not None else None]
            if any(_is_itself(part) for part in (*args, *kwargs.values())):
                return

            def judge(active: Active) -> Judgement:
                return self._judgement(name, function, keyed, active)

            self.monitor.before(self.operation, judge, lambda: f"result of {name}()")
        except Exception as error:
            self.failed(error)

    def _judgement(self, name: str, function: Any, keyed: Any, active: Active) -> Judgement:
        texts = list(values_in(keyed))
        delimiters = self.monitor.settings.delimiters + "(),'\" []"
        for level in self.monitor.levels.required_for(active.ids):
            wanted = active.ids[level]
            if not any(same_id(text, wanted) or has_component(text, wanted, delimiters) for text in texts):
                return Missing(
                    f"{name}() has read data of {active.described((level,))}, and its key names no {level}:"
                    " the next one who asks gets it",
                    (f"{function.__module__}.{name}",),
                    f"an argument that names the {level}, so that it is part of the key",
                )
        return "scoped"


def _is_itself(value: Any) -> bool:
    """Whether a value is equal to nothing but itself, so that a key which holds it is nobody else's."""
    return getattr(type(value), "__hash__", None) == object.__hash__ and not callable(value)
