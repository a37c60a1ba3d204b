"""Django's cache: every backend makes its keys in one place, where the final key is judged; values as they come back."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial, wraps
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.keys import LOCK, judge_keys
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Operation
from pytest_boundary.patching import MARK, Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.django import install_async

BASE = "django.core.cache.backends.base.BaseCache"
METHODS = (
    *("get", "get_many", "set", "set_many", "add", "get_or_set", "delete", "delete_many"),
    *("has_key", "touch", "incr", "decr", "incr_version", "decr_version"),
)
# Django's own sessions go by a key that nobody guesses; rates are counted for everybody.
FREE_CALLERS = ("django.contrib.sessions.", "rest_framework.throttling", "django_ratelimit.")
RATE = re.compile(r"(?:^|[^a-z])(?:throttle|throttling|rate[_-]?limit|ratelimit)(?:[^a-z]|$)")
FRAGMENT = "template.cache."
MAX_FRAGMENTS = 5000


@dataclass
class _Call:
    """A call of a cache that is under way, with everything that it calls in its turn."""

    operation: Operation
    free: bool = False
    keys: set[str] = field(default_factory=set)


class _Watch:
    """What the caches of one run share."""

    def __init__(self, patcher: Patcher, monitor: Monitor, base: type) -> None:
        self.patcher = patcher
        self.monitor = monitor
        self.base = base
        self.call: ContextVar[_Call | None] = ContextVar("boundlint_django_cache", default=None)

    def prepare(self, backend: type) -> None:
        """Watch the methods of a backend's class and of those that it is made of."""
        for owner in backend.__mro__:
            if not issubclass(owner, self.base):
                continue
            for method in METHODS:
                found = vars(owner).get(method)
                if found is not None and getattr(found, MARK, None) is not self.patcher:
                    self.patcher.replace(owner, method, partial(self._method, method))

    def _method(self, name: str, original: Any) -> Any:
        target = f"{BASE}.{name}"
        operation = catalog.operation(
            "django-cache", target, "cache", "" if target in catalog.entries() else "write"
        )
        free = operation.effect in catalog.FREE_EFFECTS
        monitor, call, lazy = self.monitor, self.call, name == "get_or_set"

        @wraps(original)
        def method(cache: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if call.get() is not None or monitor.claimed.get():  # by another method, or by a client above
                return original(cache, *args, **kwargs)
            prepared = self._fresh if lazy else _evaluated
            args = tuple(map(prepared, args))
            kwargs = {name: prepared(value) for name, value in kwargs.items()}
            caller = str(sys._getframe(1).f_globals.get("__name__", ""))
            inner = call.set(_Call(operation, free or caller.startswith(FREE_CALLERS)))
            token = monitor.claimed.set(False)
            try:
                result = original(cache, *args, **kwargs)
            finally:
                monitor.claimed.reset(token)
                call.reset(inner)
            self.patcher.attempt(self._after, operation, (args, kwargs), result)
            return result

        return method

    def _fresh(self, default: Any) -> Any:
        """The default of `get_or_set`, which asks the database on its own account."""
        if not callable(default):
            return _evaluated(default)

        def fresh() -> Any:
            __tracebackhide__ = True
            token, outer = self.monitor.claimed.set(False), self.call.set(None)
            try:
                return _evaluated(default())
            finally:
                self.call.reset(outer)
                self.monitor.claimed.reset(token)

        return fresh

    def _after(self, operation: Operation, given: Any, result: Any) -> None:
        __tracebackhide__ = True
        monitor = self.monitor
        active = monitor.active()
        if active is None:
            return
        if operation.effect == "write":
            monitor.watcher.surface(given, "cache write", operation)
        if operation.method in ("get", "get_many", "get_or_set"):
            monitor.read(operation, result)
            if owner := foreign_in_value(_plain(result), active, monitor.levels):
                monitor.foreign(operation, active, owner)

    def make_key(self, original: Any) -> Any:
        """The hook at the key: what the key function of the project has put in counts."""

        def make_and_validate_key(cache: Any, *args: Any, **kwargs: Any) -> str:
            __tracebackhide__ = True
            key: str = original(cache, *args, **kwargs)
            self.patcher.attempt(self._judge, key)
            return key

        make_and_validate_key.watch = self  # type: ignore[attr-defined]
        return make_and_validate_key

    def make_redis_key(self, original: Any) -> Any:
        """The same for django-redis, below whose further methods the redis client is watched."""

        def make_key(client: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            key = original(client, *args, **kwargs)
            if self.call.get() is not None:
                self.patcher.attempt(self._judge, str(key))
            return key

        return make_key

    def _judge(self, key: str) -> None:
        """Judge one key, each once in a call: `get_or_set` makes it three times."""
        __tracebackhide__ = True
        monitor = self.monitor
        call = self.call.get() or _Call(
            catalog.operation("django-cache", f"{BASE}.make_key", "cache", "read")
        )
        if key in call.keys:
            return
        call.keys.add(key)

        def judge(active: Active) -> Judgement:
            if call.free or LOCK.search(key.lower()) or RATE.search(key.lower()):
                return "free"
            return judge_keys([key + _varied(key)], active, monitor.levels, monitor.settings.delimiters)

        if self.call.get() is not None:
            monitor.claimed.set(False)
        monitor.before(call.operation, judge, lambda: f"key {key!r}")
        if self.call.get() is not None:
            monitor.claimed.set(True)  # until the method ends: the redis below is the same access


def _varied(key: str) -> str:
    """What a fragment of a template varies on, as further components of its key."""
    start = key.find(FRAGMENT)
    if start < 0:
        return ""
    function = sys.modules["django.core.cache.utils"].make_template_fragment_key
    return str(getattr(function, "varied", {}).get(key[start:], ""))


def _evaluated(value: Any) -> Any:
    """A value whose querysets have asked the database, as they would when the cache pickles them."""
    if isinstance(value, Mapping):
        _evaluated(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            _evaluated(part)
    elif hasattr(value, "_result_cache") and hasattr(value, "_fetch_all"):
        value._fetch_all()
    return value


def _plain(value: Any) -> Any:
    """A cached value in plain data: objects of models become their fields."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(part) for part in value]
    cached = getattr(value, "_result_cache", None)  # a queryset
    if isinstance(cached, list):
        return [_plain(part) for part in cached]
    if hasattr(value, "_meta") and hasattr(value, "_state"):
        return {name: part for name, part in vars(value).items() if not name.startswith("_")}
    return value


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the keys of all backends, and the methods of each one that is made."""
    base = module.BaseCache
    watch = _Watch(patcher, monitor, base)
    patcher.replace(base, "make_and_validate_key", watch.make_key)
    install_async(module, patcher, monitor)

    def preparing(original: Any) -> Any:
        @wraps(original)
        def __init__(cache: Any, *args: Any, **kwargs: Any) -> None:
            original(cache, *args, **kwargs)
            watch.prepare(type(cache))

        return __init__

    patcher.replace(base, "__init__", preparing)
    caches = getattr(sys.modules.get("django.core.cache"), "caches", None)
    if caches is not None and sys.modules["django.conf"].settings.configured:
        for cache in caches.all(initialized_only=True):
            watch.prepare(type(cache))


def install_fragments(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """A fragment of a template is kept under a hash of what it varies on: remember what that was."""

    def make(original: Any) -> Any:
        varied: dict[str, str] = {}
        delimiter = monitor.settings.delimiters[0]

        def make_template_fragment_key(fragment_name: str, vary_on: Any = None) -> str:
            parts = None if vary_on is None else list(vary_on)
            key: str = original(fragment_name, parts)
            if len(varied) > MAX_FRAGMENTS:
                varied.clear()
            varied[key] = "".join(f"{delimiter}{part}" for part in parts or ())
            return key

        make_template_fragment_key.varied = varied  # type: ignore[attr-defined]
        return make_template_fragment_key

    patcher.replace(module, "make_template_fragment_key", make)


def install_redis(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """django-redis makes its keys itself."""
    base = sys.modules["django.core.cache.backends.base"].BaseCache
    watch = vars(base)["make_and_validate_key"].watch
    patcher.replace(module.DefaultClient, "make_key", watch.make_redis_key)


SEAM = Seam(
    "django-cache",
    "django",
    {
        "django.core.cache.backends.base": install,
        "django.core.cache.utils": install_fragments,
        "django_redis.client.default": install_redis,
    },
)
