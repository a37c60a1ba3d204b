"""weaviate: searches, generation, aggregates, writes and deletes of collections, and their batches.

The sync and the async client share the functions that are watched: they give a result or something to await. A tenant of
the store scopes, and so does a filter.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import After, Before, Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Watch, several

SEARCHES = ("near_text", "near_vector", "near_object", "near_image", "near_media", "bm25", "hybrid")
FETCHES = ("fetch_objects", "fetch_object_by_id", "fetch_objects_by_ids")
WRITES = ("insert", "insert_many", "ingest", "replace")
CHANGES = ("update", "delete_by_id", "delete_many")
FIX = 'filters=Filter.by_property("tenant_id").equal(…), or collection.with_tenant(tenant_id)'
WRITE_FIX = 'properties={…, "tenant_id": …}, or collection.with_tenant(tenant_id)'


def translate(condition: Any) -> Filter:
    """A filter of the client in the words of the check."""
    if condition is None:
        return NOTHING
    operator = getattr(getattr(condition, "operator", None), "value", "")
    if operator == "And":
        return All(tuple(translate(part) for part in condition.filters))
    if operator == "Or":
        return AnyOf(tuple(translate(part) for part in condition.filters))
    target = getattr(condition, "target", None)
    if operator == "Equal" and isinstance(target, str):
        return Equals(target, (condition.value,))
    if operator == "ContainsAny" and isinstance(target, str) and isinstance(condition.value, (list, tuple)):
        return Equals(target, tuple(condition.value))
    return Other()


class _Watch(Watch):
    """The hooks around one method of one class."""

    def __init__(self, monitor: Monitor, owner: str, method: str, function: Any) -> None:
        effect = (
            "delete"
            if method.startswith("delete")
            else "read"
            if method in (*SEARCHES, *FETCHES)
            else "write"
        )
        effect = "read" if method == "over_all" else effect
        target = f"weaviate.collections.{owner}.{method}"
        operation = catalog.operation("weaviate", target, "retrieval", effect)
        super().__init__(monitor, operation, self._of_call, _properties, fix=FIX, write_fix=WRITE_FIX)
        self._method = method
        self._names = list(inspect.signature(function).parameters)[1:]

    def _of_call(self, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = dict(zip(self._names, args, strict=False)) | kwargs
        name = str(given.get("collection") or getattr(owner, "name", None) or getattr(owner, "_name", ""))
        tenant = given.get("tenant") or _tenant(owner)
        places = (tenant,) if tenant else ()
        sent = [args, kwargs]
        if self._method in (*WRITES, "_add_object"):
            return Call(name, places, payloads=list(_written(given)), sent=sent, surface="vector write")
        if self._method == "update":
            return Call(name, places, sent=sent, surface="vector write")
        condition = given.get("filters") if self._method != "delete_many" else given.get("where")
        asked = given.get("query")
        surface = "embeddings input" if asked is not None else ""
        return Call(name, places, [translate(condition)], sent=asked, surface=surface)


def _tenant(owner: Any) -> Any:
    return getattr(owner, "_tenant", None) or getattr(owner, "_BaseExecutor__tenant", None)


def _written(given: Mapping[str, Any]) -> Iterator[Any]:
    """The properties of each object: a mapping, or an object around one."""
    for name in ("objects", "objs"):
        for item in several(given.get(name)):
            yield getattr(item, "properties", item)
    if "objects" not in given and "objs" not in given:
        yield given.get("properties")


def _properties(result: Any) -> Iterator[Any]:
    """The properties of each object that came back; an object by its id comes alone."""
    if not hasattr(result, "objects") and (hasattr(result, "groups") or hasattr(result, "total_count")):
        yield from _aggregated(result)
        return
    for item in getattr(result, "objects", None) or ([result] if hasattr(result, "properties") else ()):
        found = getattr(item, "properties", None)
        yield found if isinstance(found, Mapping) else None


def _aggregated(result: Any) -> Iterator[Any]:
    """What an aggregate says of single values: that which a group has in common, and the most frequent ones."""
    for group in getattr(result, "groups", None) or [result]:
        common = getattr(group, "grouped_by", None)
        if common is not None:
            yield {common.prop: common.value}
        for name, aggregate in (getattr(group, "properties", None) or {}).items():
            for frequent in getattr(aggregate, "top_occurrences", None) or ():
                yield {name: frequent.value}


def _around(patcher: Patcher, before: Before, after: After) -> Callable[[Any], Any]:
    """Hooks around a plain function whose result may have to be awaited."""
    begin, end, monitor = patcher.guarded(before), patcher.guarded(after), patcher.monitor

    async def awaited(result: Any, state: Any) -> Any:
        __tracebackhide__ = True
        with monitor.claiming():
            found = await result
        if state is not None:
            end(state, found)
        return found

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def calling(instance: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if monitor.claimed.get():
                return original(instance, *args, **kwargs)
            state = begin(instance, args, kwargs)
            with monitor.claiming():
                result = original(instance, *args, **kwargs)
            if inspect.isawaitable(result):
                return awaited(result, state)
            if state is not None:
                end(state, result)
            return result

        return calling

    return make


def _installer(*named: tuple[str, str, tuple[str, ...]]) -> Callable[[ModuleType, Patcher, Monitor], None]:
    """For each class of a module, how the catalog calls it, and the methods that the classes above give it."""

    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        for name, described, methods in named:
            for method in methods:
                above = getattr(module, name).__mro__
                owner = next((found for found in above if inspect.isfunction(vars(found).get(method))), None)
                if owner is None:
                    raise patcher.broken(f"{name}.{method} not found")
                watch = _Watch(monitor, described, method, vars(owner)[method])
                patcher.replace(owner, method, _around(patcher, watch.before, watch.after))

    return install


QUERIES = (*SEARCHES, *FETCHES)
SEAM = Seam(
    "weaviate",
    "weaviate-client",
    {
        "weaviate.collections.query": _installer(("_QueryCollection", "query._QueryCollection", QUERIES)),
        "weaviate.collections.generate": _installer(
            ("_GenerateCollection", "generate._GenerateCollection", (*SEARCHES, "fetch_objects"))
        ),
        "weaviate.collections.aggregate": _installer(
            (
                "_AggregateCollection",
                "aggregate._AggregateCollection",
                ("over_all", "hybrid", "near_text", "near_vector", "near_object", "near_image"),
            )
        ),
        "weaviate.collections.data.sync": _installer(
            ("_DataCollection", "data._DataCollection", (*WRITES, *CHANGES))
        ),
        "weaviate.collections.batch.base": _installer(("_BatchBase", "batch._BatchBase", ("_add_object",))),
        "weaviate.collections.batch.sync": _installer(
            ("_BatchBaseSync", "batch._BatchBase", ("_add_object",))
        ),
        "weaviate.collections.batch.async_": _installer(
            ("_BatchBaseAsync", "batch._BatchBase", ("_add_object",))
        ),
    },
)
