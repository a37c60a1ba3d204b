"""milvus: searches, lookups, writes and deletes of both clients and of the ORM's collection. A filter is an expression."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.expressions import translate
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Watch

READS = ("search", "hybrid_search", "query", "get", "search_iterator", "query_iterator")
WRITES = ("insert", "upsert")
REQUIRED = ("search", "hybrid_search", "query", "insert", "upsert", "delete")
TEMPLATE = re.compile(r"\{\s*(\w+)\s*\}")
FIX = "filter='tenant_id == \"…\" and …', or a partition of the tenant"
WRITE_FIX = 'data=[{…, "tenant_id": …}]'


class _Watch(Watch):
    """The hooks around one method of one class."""

    def __init__(self, patcher: Patcher, client: str, method: str, function: Any) -> None:
        monitor, self._failed = patcher.monitor, patcher.failed
        effect = "read" if method in READS else "write" if method in WRITES else "delete"
        operation = catalog.operation("milvus", f"pymilvus.{client}.{method}", "retrieval", effect)
        super().__init__(monitor, operation, self._describe_call, _rows, fix=FIX, write_fix=WRITE_FIX)
        self._names = list(inspect.signature(function).parameters)[1:]

    def after(self, active: Active, result: Any) -> Any:
        """Look at the rows; the pages of an iterator are looked at as they are taken."""
        __tracebackhide__ = True
        if not hasattr(result, "next"):
            return super().after(active, result)
        following, monitor = result.next, self.monitor

        def next_page(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            with monitor.claiming():
                page = following(*args, **kwargs)
            try:
                super(_Watch, self).after(active, page)
            except Exception as error:
                self._failed(error)
            return page

        result.next = next_page
        return None

    def _describe_call(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = dict(zip(self._names, args, strict=False)) | kwargs
        name = str(given.get("collection_name") or getattr(client, "name", ""))
        partitions = given.get("partition_names") or given.get("partition_name")
        database = given.get("db_name") or getattr(getattr(client, "_config", None), "db_name", None)
        places = tuple(place for place in (partitions, database) if place and place != "default")
        if self.operation.effect == "write":
            data = given.get("data")
            return Call(name, places, payloads=_written(client, data), sent=data, surface="vector write")
        requests = given.get("reqs")
        if requests is not None:
            filters = [translate(_filled(request.expr, kwargs)) for request in requests]
        else:
            filters = [translate(_filled(given.get("filter") or given.get("expr"), given))]
        ids = given.get("ids") if given.get("ids") is not None else given.get("pks")
        keys = ids if isinstance(ids, (list, tuple)) else [] if ids is None else [ids]
        return Call(name, places, filters=filters, keys=keys)


def _filled(expression: Any, given: Mapping[str, Any]) -> str | None:
    """An expression with its parameters (`filter_params`, `expr_params`) in their places."""
    values = given.get("filter_params") or given.get("expr_params") or {}
    if not isinstance(expression, str):
        return None
    return TEMPLATE.sub(lambda m: repr(values[m[1]]) if m[1] in values else m[0], expression)


def _written(client: Any, data: Any) -> list[Any]:
    """The rows of what is written: mappings, a data frame, or one list for each field of the collection."""
    if isinstance(data, Mapping):
        return [data]
    if hasattr(data, "to_dict"):
        return list(data.to_dict("records"))
    if not isinstance(data, (list, tuple)):
        return [data]
    if all(isinstance(row, Mapping) for row in data):
        return list(data)
    fields = [field.name for field in client.schema.fields if not field.auto_id]
    return [dict(zip(fields, row, strict=False)) for row in zip(*data, strict=False)] or [{}]


def _rows(result: Any) -> Iterator[Any]:
    """The fields of each row, of a query or of the hits of each search."""
    for item in result if isinstance(result, (list, tuple)) or hasattr(result, "__getitem__") else ():
        for row in item if isinstance(item, (list, tuple)) else [item]:
            entity = row.get("entity") if hasattr(row, "get") else getattr(row, "entity", None)
            fields = entity if entity is not None else row
            yield fields if isinstance(fields, Mapping) else getattr(fields, "fields", None)


def _installer(name: str, client: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the public methods; what they send below is the same access."""
        owner = getattr(module, name)
        for method in (*READS, *WRITES, "delete"):
            function = vars(owner).get(method)
            if inspect.isfunction(function) or method in REQUIRED:  # the async client has no iterators, say
                watch = _Watch(patcher, client, method, function or len)
                patcher.wrap(owner, method, watch.before, watch.after, claims=True)

    return install


SEAM = Seam(
    "milvus",
    "pymilvus",
    {
        "pymilvus.milvus_client.milvus_client": _installer("MilvusClient", "MilvusClient"),
        "pymilvus.milvus_client.async_milvus_client": _installer("AsyncMilvusClient", "MilvusClient"),
        "pymilvus.orm.collection": _installer("Collection", "Collection"),
    },
)
