"""functools, cachetools and aiocache: caches inside of the process, by their keys and by the functions that they cache."""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.cached import Cached
from pytest_boundary.checks.keys import judge_keys
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

DECORATORS = ("aiocache.decorators.",)
EFFECTS = {
    **dict.fromkeys(("__getitem__", "get", "multi_get"), "read"),
    **dict.fromkeys(("__setitem__", "setdefault", "set", "add", "multi_set"), "write"),
    **dict.fromkeys(("__delitem__", "pop", "delete"), "delete"),
}


def install_functools(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch `lru_cache`, which `cache` calls."""
    cached = Cached(catalog.operation("functools", "functools.lru_cache", "cache", "write"), monitor, patcher)

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
            if callable(maxsize):
                return decorated(original, maxsize)
            return lambda function: decorated(original(maxsize, typed), function)

        def decorated(decorator: Any, function: Any) -> Any:
            if not cached.is_users(function):
                return decorator(function)
            wrapper = decorator(cached.watched(function))
            wrapper.__wrapped__ = function
            return wrapper

        return lru_cache

    patcher.replace(module, "lru_cache", make)


class _Keys:
    """Watches one method of a cache: its keys, what is read, what is written."""

    def __init__(self, client: str, target: str, monitor: Monitor) -> None:
        self.method = target.rpartition(".")[2]
        self.operation: Operation = catalog.operation(client, target, "cache", EFFECTS[self.method])
        self.monitor = monitor

    def judge(self, keys: list[Any], written: Any) -> Active | None:
        """Judge keys; a tuple is a key of several components."""
        __tracebackhide__ = True
        delimiters = self.monitor.settings.delimiters
        texts = [delimiters[0].join(map(str, key)) if isinstance(key, tuple) else key for key in keys]

        def judged(active: Active) -> Judgement:
            return judge_keys(texts, active, self.monitor.levels, delimiters)

        active = self.monitor.before(self.operation, judged, lambda: f"key {', '.join(map(repr, keys[:3]))}")
        if active is not None and self.operation.effect == "write":
            self.monitor.watcher.surface([keys, written], "cache write", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """A cached value that names another owner is foreign."""
        __tracebackhide__ = True
        if self.operation.effect == "read" or self.method in ("pop", "setdefault"):
            self.monitor.read(self.operation, result)
            if owner := foreign_in_value(result, active, self.monitor.levels):
                self.monitor.foreign(self.operation, active, owner)


def install_cachetools(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the decorator, which those of `cachetools.func` call, and what the project itself does with a cache."""
    cached = Cached(catalog.operation("cachetools", "cachetools.cached", "cache", "write"), monitor, patcher)

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def decorator(cache: Any, key: Any = module.keys.hashkey, *more: Any, **options: Any) -> Any:
            made = original(cache, key, *more, **options)

            def decorated(function: Any) -> Any:
                if not cached.is_users(function):
                    return made(function)
                wrapper = made(cached.watched(function, key))
                wrapper.__wrapped__ = function
                return wrapper

            return decorated

        return decorator

    patcher.replace(module, "cached", make)
    for owner in [part for part in vars(module).values() if _is_cache(part, module.Cache)]:
        for method in EFFECTS:
            if method in vars(owner):
                _watch_mapping(owner, method, patcher, monitor)


def _is_cache(part: Any, base: type) -> bool:
    return isinstance(part, type) and issubclass(part, base)


def _watch_mapping(owner: Any, method: str, patcher: Patcher, monitor: Monitor) -> None:
    keys = _Keys("cachetools", f"cachetools.Cache.{method}", monitor)

    def before(_cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        __tracebackhide__ = True
        # libraries keep caches of their own, and caches call themselves
        if not monitor.frames.is_user(sys._getframe(2).f_code.co_filename):
            return None
        key, *written = args or (kwargs.get("key"),)
        return keys.judge([key], [written, kwargs])

    patcher.wrap(owner, method, before, keys.after)


def install_aiocache(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what every backend inherits."""
    for method in ("get", "multi_get", "set", "add", "multi_set", "delete"):
        keys = _Keys("aiocache", f"aiocache.base.BaseCache.{method}", monitor)

        def before(
            cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any], keys: _Keys = keys
        ) -> Active | None:
            __tracebackhide__ = True
            if monitor.frames.through(DECORATORS):  # judged by the function that it caches
                return None
            first, *written = args or (kwargs.get("key") or kwargs.get("keys") or kwargs.get("pairs"),)
            found = [first]
            if keys.method == "multi_get":
                found = list(first)
            elif keys.method == "multi_set":
                found, written = [key for key, _ in first], [first]
            namespace = kwargs.get("namespace") or getattr(cache, "namespace", None)
            return keys.judge([(namespace, key) if namespace else key for key in found], [written, kwargs])

        patcher.wrap(module.BaseCache, method, before, keys.after, claims=True)


def install_aiocache_decorators(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the functions that are cached; `cached_stampede` inherits from the first."""
    for name in ("cached", "multi_cached"):
        owner = getattr(module, name)
        target = f"aiocache.decorators.{name}"
        cached = Cached(catalog.operation("aiocache", target, "cache", "write"), monitor, patcher)

        def make(original: Any, cached: Cached = cached) -> Any:
            @functools.wraps(original)
            def decorate(self: Any, function: Any) -> Any:
                if not cached.is_users(function):
                    return original(self, function)

                def key(*args: Any, **kwargs: Any) -> Any:
                    by_args = getattr(self, "get_cache_key", None)
                    made = by_args(function, args, kwargs) if by_args is not None else None
                    return [made, getattr(self.cache, "namespace", None)]

                wrapper = original(self, cached.watched(function, key))
                wrapper.__wrapped__ = function
                return wrapper

            return decorate

        patcher.replace(owner, "__call__", make)


SEAMS = (
    Seam("functools", "functools", {"functools": install_functools}),
    Seam("cachetools", "cachetools", {"cachetools": install_cachetools}),
    Seam(
        "aiocache",
        "aiocache",
        {"aiocache.base": install_aiocache, "aiocache.decorators": install_aiocache_decorators},
    ),
)
