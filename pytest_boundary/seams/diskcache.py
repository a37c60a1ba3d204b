"""diskcache: the keys of a cache on disk. Its sqlite3 statements below are the same access."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.keys import judge_keys
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

READS = ("get", "read", "__getitem__")
WRITES = ("set", "add", "__setitem__")
DELETES = ("pop", "delete", "__delitem__")


class _Watch:
    def __init__(self, monitor: Monitor, method: str) -> None:
        effect = "read" if method in READS else "write" if method in WRITES else "delete"
        self.monitor = monitor
        self.operation: Operation = catalog.operation(
            "diskcache", f"diskcache.core.Cache.{method}", "cache", effect
        )

    def before(self, _cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        """Judge one key; a tuple is a key of several components."""
        __tracebackhide__ = True
        key = args[0] if args else kwargs.get("key")
        text = self.monitor.settings.delimiters[0].join(map(str, key)) if isinstance(key, tuple) else key

        def judge(active: Active) -> Judgement:
            return judge_keys([text], active, self.monitor.levels, self.monitor.settings.delimiters)

        active = self.monitor.before(self.operation, judge, lambda: f"key {key!r}")
        if active is not None and self.operation.effect == "write":
            self.monitor.watcher.surface([args, kwargs], "cache write", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """A cached value that names another owner is foreign."""
        __tracebackhide__ = True
        if self.operation.effect == "read":
            self.monitor.read(self.operation, result)
            if owner := foreign_in_value(result, active, self.monitor.levels):
                self.monitor.foreign(self.operation, active, owner)


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch `Cache`, which `FanoutCache` and the persistent types are made of."""
    # the cache's own tables, made and read when it is opened
    patcher.wrap(module.Cache, "__init__", lambda *_: None, claims=True)
    for method in (*READS, *WRITES, *DELETES):
        watch = _Watch(monitor, method)
        patcher.wrap(module.Cache, method, watch.before, watch.after, claims=True)


SEAM = Seam("diskcache", "diskcache", {"diskcache.core": install})
