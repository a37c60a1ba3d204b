"""mem0: memories by the ids of their user, agent or run, by filters and metadata; a memory id by whose memory it is.

The store, the model and the embeddings below are the same access.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.documents import translate
from pytest_boundary.checks.filters import All, Equals, Filter, fields, judge_filter
from pytest_boundary.checks.keys import carries, judge_keys
from pytest_boundary.checks.payloads import judge_payloads
from pytest_boundary.checks.rows import foreign_owner, redacted
from pytest_boundary.levels import same_id
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.threads import carrying

ENTITIES = ("user_id", "agent_id", "run_id")
READS = ("search", "get_all", "get", "history")
DELETES = ("delete", "delete_all", "reset")
BY_SCOPE = ("add", "search", "get_all", "delete_all", "reset")
BY_ID = ("get", "history", "update", "delete")
FIX = 'user_id=f"{tenant_id}:{user_id}", or filters={"tenant_id": …, "user_id": …}'
FIRST = {"add": "messages", "search": "query"}


class _Watch:
    """The hooks around one method, of the store in this process or of the hosted one."""

    def __init__(self, monitor: Monitor, client: str, method: str) -> None:
        effect = "read" if method in READS else "delete" if method in DELETES else "write"
        self.monitor = monitor
        self.method = method
        self.operation = catalog.operation("mem0", f"mem0.{client}.{method}", "memory", effect)

    def before(self, memory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        """Judge a call by whom it names."""
        __tracebackhide__ = True
        collection = str(getattr(memory, "collection_name", "") or "")
        if self.method in BY_ID:
            memory_id = str(args[0] if args else kwargs.get("memory_id", ""))
            active = self.monitor.before(
                self.operation,
                lambda active: self._judge_memory(memory, memory_id, collection, active),
                lambda: f"memory {memory_id!r}",
            )
        else:
            given = _given(self.method, args, kwargs)
            active = self.monitor.before(
                self.operation,
                lambda active: self._judge(given, collection, active),
                lambda: ", ".join(f"{name} {given[name]!r}" for name in ENTITIES if given.get(name)),
            )
        if active is not None and self.operation.effect == "write":
            self.monitor.watcher.surface([args, kwargs], "memory write", self.operation)
        elif active is not None and self.method == "search":
            self.monitor.watcher.surface(args[:1] or kwargs.get("query"), "embeddings input", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """A memory whose metadata names another owner is foreign."""
        __tracebackhide__ = True
        if self.operation.effect != "read":
            return
        self.monitor.read(self.operation, result)
        found = result.get("results", [result]) if isinstance(result, Mapping) else result
        for item in found if isinstance(found, list) else ():
            payload = _payload(item)
            if owner := foreign_owner(payload, active, self.monitor.levels):
                self.monitor.foreign(self.operation, active, owner)

    def _judge(self, given: Mapping[str, Any], collection: str, active: Active) -> Judgement:
        levels, names = self.monitor.levels, (collection,)
        if collection and carries(collection, active, levels):
            return "scoped"
        if self.method == "reset":
            return Missing("it empties the memories of everybody", names)
        metadata = given.get("metadata")
        if self.method == "add" and isinstance(metadata, Mapping) and levels.owned(map(str, metadata)):
            return judge_payloads([metadata], active, levels, names=names, what="the metadata", fix=FIX)
        condition = translate(given.get("filters"))
        by_filter = judge_filter(condition, active, levels, names=names, fix=FIX)
        needed = levels.required_for(active.ids)
        if any(levels.rank(field)[0] in needed for field in fields(condition)):
            return by_filter
        entities = {name: (given[name],) for name in ENTITIES if given.get(name)}
        bound = {**{field: values for field, values in _bound(condition) if field in ENTITIES}, **entities}
        if any(self._binds(name, values, active) for name, values in bound.items()):
            return "scoped"
        if not isinstance(by_filter, Missing) or not bound:
            return by_filter
        shown = ", ".join(f"{name} {redacted(value)}" for name, values in bound.items() for value in values)
        return Missing(f"{shown} has no component for {active.described()}", names, FIX)

    def _binds(self, name: str, values: tuple[Any, ...], active: Active) -> bool:
        """Whether each value is an id of the boundary's user, or a key of its tenant."""
        user = active.ids.get("user") if name == "user_id" else None
        levels, delimiters = self.monitor.levels, self.monitor.settings.delimiters
        return bool(values) and all(
            (user is not None and same_id(value, user))
            or judge_keys([value], active, levels, delimiters) == "scoped"
            for value in values
        )

    def _judge_memory(self, memory: Any, memory_id: str, collection: str, active: Active) -> Judgement:
        """By the owner of the memory itself, which the store below is asked for."""
        names = (collection,)
        if collection and carries(collection, active, self.monitor.levels):
            return "scoped"
        with self.monitor.claiming():
            try:
                found = memory.vector_store.get(vector_id=memory_id)
            except Exception:  # no such id: the call itself says so
                found = None
        if found is None:
            return "free"
        payload = getattr(found, "payload", None)
        payload = payload if isinstance(payload, Mapping) else {}
        if active.ids and judge_payloads([payload], active, self.monitor.levels) == "scoped":
            return "scoped"
        bound = {name: (payload[name],) for name in ENTITIES if payload.get(name)}
        if any(self._binds(name, values, active) for name, values in bound.items()):
            return "scoped"
        owner = ", ".join(f"{name} {redacted(values[0])}" for name, values in bound.items()) or "nobody"
        return Missing(f"the memory belongs to {owner}, not to {active.described()}", names, FIX)


def _given(method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments by name; the hosted client takes them as `options` too."""
    names = ENTITIES if method == "delete_all" else (FIRST.get(method, "options"), "options")
    given = dict(zip(names, args, strict=False)) | kwargs
    options = given.get("options")
    if options is not None:
        given |= options if isinstance(options, Mapping) else vars(options)
    return given


def _bound(condition: Filter) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The equalities that always hold."""
    if isinstance(condition, Equals):
        yield condition.field, condition.values
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _bound(part)


def _payload(item: Any) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        return {}
    metadata = item.get("metadata")
    return {**item, **(metadata if isinstance(metadata, Mapping) else {})}


def _installer(names: tuple[str, ...], client: str, methods: tuple[str, ...]) -> Callable[..., None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the public methods; what they call below is the same access."""
        for name in names:
            owner = getattr(module, name)
            for method in methods:
                watch = _Watch(monitor, client, method)
                patcher.wrap(owner, method, watch.before, watch.after, claims=True)
        if "concurrent" in vars(module):
            patcher.replace(module, "concurrent", lambda original: _Concurrent(original, monitor))

    return install


class _Concurrent:
    """The package `concurrent` as a module of mem0 knows it: searches for entities run in threads."""

    def __init__(self, original: Any, monitor: Monitor) -> None:
        self._original = original
        self.futures = self
        self.ThreadPoolExecutor = carrying(original.futures.ThreadPoolExecutor, monitor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original.futures, name)


SEAM = Seam(
    "mem0",
    "mem0ai",
    {
        "mem0.memory.main": _installer(("Memory", "AsyncMemory"), "Memory", (*BY_SCOPE, *BY_ID)),
        # the hosted store says nothing of an id before the call
        "mem0.client.main": _installer(
            ("MemoryClient", "AsyncMemoryClient"), "MemoryClient", ("add", "search", "get_all", "delete_all")
        ),
    },
)
