"""LangGraph: stores by their namespaces, checkpointers by their thread ids. Concrete classes override the base's methods,
so that each subclass is watched, those of other distributions and of the application included.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, subclasses
from pytest_boundary.active import Active
from pytest_boundary.checks.documents import translate
from pytest_boundary.checks.filters import judge_filter
from pytest_boundary.checks.keys import judge_keys
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.levels import same_id
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

STORE = "langgraph.store.base.BaseStore"
SAVER = "langgraph.checkpoint.base.BaseCheckpointSaver"
STORE_METHODS = ("get", "search", "put", "delete", "list_namespaces")
SAVER_READS = ("get_tuple", "list", "get_delta_channel_history")
SAVER_WRITES = ("put", "put_writes", "copy_thread")
SAVER_DELETES = ("delete_thread", "delete_for_runs", "prune")
NAMESPACE_FIX = "(tenant_id, …) as the first components of the namespace"
THREAD_FIX = 'config={"configurable": {"thread_id": f"{tenant_id}:…"}}'


class _Store:
    """Judges the operations of stores, one by one or in a batch."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.operations: dict[str, Operation] = {
            method: catalog.operation(
                "langgraph", f"{STORE}.{method}", "memory", _effect(method, ("put",), ("delete",))
            )
            for method in STORE_METHODS
        }

    def method(self, name: str) -> tuple[Callable[..., Any], Callable[..., None]]:
        """The hooks around one of the named methods, sync or async."""

        def before(_store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            __tracebackhide__ = True
            value = dict(zip(("namespace", "key", "value"), args, strict=False)) | kwargs
            given = value.get("prefix") if name == "list_namespaces" else value.get("namespace", args[:1])
            namespace = () if given is None else given
            key = value.get("key") if name in ("get", "put", "delete") else None
            written = value.get("value") if name == "put" else None
            condition = kwargs.get("filter") if name == "search" else None
            return self._begin(name, namespace, key, written, condition, kwargs.get("query"))

        return before, self._end

    def batch(self, _store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a batch: each of its operations is an access of its own."""
        __tracebackhide__ = True
        ops = args[0] if args else kwargs.get("ops", ())
        if not isinstance(ops, (list, tuple)):
            text = "the operations are in an iterator: to look at them would use them up; give a list"
            self.monitor.before(self.operations["put"], lambda _active: Missing(text), lambda: "a batch")
            return None
        return [self._operation(op) for op in ops]

    def results(self, states: Sequence[Any], results: Any) -> None:
        """After a batch."""
        __tracebackhide__ = True
        for state, result in zip(states, results, strict=False):
            if state is not None:
                self._end(state, result)

    def _operation(self, op: Any) -> Any:
        __tracebackhide__ = True
        if hasattr(op, "namespace_prefix"):
            return self._begin("search", op.namespace_prefix, None, None, op.filter, op.query)
        if hasattr(op, "match_conditions"):
            paths = [condition.path for condition in op.match_conditions or ()]
            return self._begin("list_namespaces", [part for path in paths for part in path])
        if hasattr(op, "value"):
            return self._begin("delete" if op.value is None else "put", op.namespace, op.key, op.value)
        return self._begin("get", op.namespace, op.key)

    def _begin(
        self,
        method: str,
        namespace: Iterable[Any],
        key: Any = None,
        written: Any = None,
        condition: Any = None,
        query: Any = None,
    ) -> tuple[Operation, Active] | None:
        __tracebackhide__ = True
        operation = self.operations[method]
        parts = [str(part) for part in namespace]

        def judge(active: Active) -> Judgement:
            return self._judge(parts, key, condition, active)

        def shown() -> str:
            return f"namespace {tuple(parts)!r}" + (f" key {key!r}" if key is not None else "")

        active = self.monitor.before(operation, judge, shown)
        if active is None:
            return None
        if written is not None:
            self.monitor.watcher.surface([key, written], "memory write", operation)
        if query is not None:
            self.monitor.watcher.surface(query, "embeddings input", operation)
        return operation, active

    def _judge(self, parts: list[str], key: Any, condition: Any, active: Active) -> Judgement:
        levels, delimiters = self.monitor.levels, self.monitor.settings.delimiters
        needed = levels.required_for(active.ids)
        if needed and all(any(same_id(part, active.ids[level]) for part in parts) for level in needed):
            return "scoped"  # a component of its own needs no escaping
        joined = delimiters[0].join([*parts, *([str(key)] if key is not None else [])])
        judged = judge_keys(
            [joined] if joined else [], active, levels, delimiters, what="namespace", fix=NAMESPACE_FIX
        )
        if isinstance(judged, Missing) and condition:  # a filter may bind what the namespace does not
            return "scoped" if judge_filter(translate(condition), active, levels) == "scoped" else judged
        return judged

    def _end(self, state: tuple[Operation, Active], result: Any) -> None:
        __tracebackhide__ = True
        operation, active = state
        if operation.effect != "read" or result is None:
            return
        items = result if isinstance(result, list) else [result]
        values = [item.value for item in items if hasattr(item, "value")]
        _compare(self.monitor, operation, active, values)


class _Saver:
    """Judges the methods of checkpointers, sync and async alike."""

    def __init__(self, monitor: Monitor, method: str) -> None:
        self.monitor = monitor
        self.method = method
        self.operation = catalog.operation(
            "langgraph", f"{SAVER}.{method}", "checkpoint", _effect(method, SAVER_WRITES, SAVER_DELETES)
        )

    def before(self, _saver: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        """Judge a call by its thread ids."""
        __tracebackhide__ = True
        threads = [str(thread) for thread in self._threads(args, kwargs)]

        def judge(active: Active) -> Judgement:
            levels, delimiters = self.monitor.levels, self.monitor.settings.delimiters
            return judge_keys(threads, active, levels, delimiters, what="thread id", fix=THREAD_FIX)

        active = self.monitor.before(
            self.operation, judge, lambda: f"thread {', '.join(map(repr, threads[:3])) or 'of everybody'}"
        )
        if active is not None and self.operation.effect == "write":
            self.monitor.watcher.surface([args[1:], kwargs], "checkpoint write", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """What a checkpoint holds must not name another owner: its metadata, the values of its channels."""
        __tracebackhide__ = True
        if self.operation.effect != "read" or result is None:
            return
        checkpoint = getattr(result, "checkpoint", None)
        held = checkpoint.get("channel_values") if isinstance(checkpoint, Mapping) else result
        _compare(self.monitor, self.operation, active, [getattr(result, "metadata", None), held])

    def _threads(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[Any]:
        if self.method in SAVER_DELETES:
            given = args[0] if args else next(iter(kwargs.values()), None)
            return given if isinstance(given, (list, tuple)) else [given] if given is not None else []
        if self.method == "copy_thread":
            return [*args[:2], *(kwargs[n] for n in ("source_thread_id", "target_thread_id") if n in kwargs)]
        config = args[0] if args else kwargs.get("config")
        found = config.get("configurable", {}) if isinstance(config, Mapping) else {}
        thread, space = found.get("thread_id"), found.get("checkpoint_ns")
        # the namespace within a thread is part of its key
        return (
            [self.monitor.settings.delimiters[0].join(map(str, filter(None, (thread, space))))]
            if thread
            else []
        )


def _compare(monitor: Monitor, operation: Operation, active: Active, values: list[Any]) -> None:
    __tracebackhide__ = True
    monitor.read(operation, values)
    if owner := foreign_in_value(values, active, monitor.levels):
        monitor.foreign(operation, active, owner)


def _effect(method: str, writes: Sequence[str], deletes: Sequence[str]) -> str:
    return "write" if method in writes else "delete" if method in deletes else "read"


def install_stores(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the methods of the base class, and what each subclass has of its own."""
    store = _Store(monitor)

    def watch(owner: type) -> None:
        for method in STORE_METHODS:
            for name in (method, f"a{method}"):
                if subclasses.defines(owner, name):
                    patcher.wrap(owner, name, *store.method(method), claims=True)
        for name in ("batch", "abatch"):
            if subclasses.defines(owner, name):
                patcher.wrap(owner, name, store.batch, store.results, claims=True)
        _claim_tables(owner, patcher)

    for method in STORE_METHODS:
        for name in (method, f"a{method}"):
            if not subclasses.defines(module.BaseStore, name):
                raise patcher.broken(f"BaseStore.{name} not found")
    subclasses.each(patcher, module.BaseStore, watch)


def _claim_tables(owner: type, patcher: Patcher) -> None:
    """The tables that a store makes for itself are nobody's."""
    if subclasses.defines(owner, "setup"):
        patcher.wrap(owner, "setup", lambda *_: None, claims=True)


def install_batched(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """The task that runs what was queued: each of it was judged where it was asked for."""
    patcher.wrap(module, "_run", lambda *_: None, claims=True)


def install_savers(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what each checkpointer has of its own; the methods of the base class do nothing."""
    watches = {method: _Saver(monitor, method) for method in (*SAVER_READS, *SAVER_WRITES, *SAVER_DELETES)}
    base = module.BaseCheckpointSaver

    def watch(owner: type) -> None:
        if owner is base:
            return
        for method, saver in watches.items():
            for name in (method, f"a{method}"):
                if subclasses.defines(owner, name):
                    patcher.wrap(owner, name, saver.before, saver.after, claims=True)
        _claim_tables(owner, patcher)

    for method in ("get_tuple", "list", "put", "put_writes", "delete_thread"):
        for name in (method, f"a{method}"):
            if name not in vars(base):
                raise patcher.broken(f"BaseCheckpointSaver.{name} not found")
    subclasses.each(patcher, base, watch)


def install_executor(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """What a graph hands to its threads and tasks for itself (no node) is judged as if it were called here."""

    def make(original: Any) -> Any:
        def submit(executor: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            if inspect.ismethod(function):
                return monitor.carried(original)(executor, function, *args, **kwargs)
            return original(executor, function, *args, **kwargs)

        return submit

    for name in ("BackgroundExecutor", "AsyncBackgroundExecutor"):
        patcher.replace(getattr(module, name), "submit", make)


SEAM = Seam(
    "langgraph",
    "langgraph",
    {
        "langgraph.store.base": install_stores,
        "langgraph.store.base.batch": install_batched,
        "langgraph.checkpoint.base": install_savers,
        "langgraph.pregel._executor": install_executor,
    },
)
