"""pinecone: searches, lookups, writes and deletes of the indexes, over HTTP and gRPC, and of their documents.

A namespace of the tenant scopes, and so does a filter, which is a document.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.checks.documents import translate
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Watch, several
from pytest_boundary.threads import carrying

INDEX_READS = (
    *("query", "query_namespaces", "search", "search_records", "fetch", "fetch_by_metadata"),
    *("list", "list_paginated"),
)
INDEX_WRITES = ("upsert", "upsert_records", "upsert_from_dataframe", "update")
DOCUMENT_READS = ("search", "fetch", "list")
DOCUMENT_WRITES = ("upsert", "batch_upsert", "update")
DEFAULT = "__default__"
FIX = 'namespace=tenant_id, or filter={"tenant_id": …}'
WRITE_FIX = 'namespace=tenant_id, or metadata={…, "tenant_id": …}'


class _Watch(Watch):
    """The hooks around one method."""

    def __init__(self, monitor: Monitor, method: str, function: Any) -> None:
        reads, writes = (*INDEX_READS, *DOCUMENT_READS), (*INDEX_WRITES, *DOCUMENT_WRITES)
        effect = "read" if method in reads else "write" if method in writes else "delete"
        operation = catalog.operation("pinecone", f"pinecone.Index.{method}", "retrieval", effect)
        super().__init__(monitor, operation, self._of_call, _payloads, fix=FIX, write_fix=WRITE_FIX)
        self._method = method
        self._names = list(inspect.signature(function).parameters)[1:]

    def _of_call(self, index: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = dict(zip(self._names, args, strict=False)) | kwargs
        name = _host(index)
        namespace = given.get("namespaces") or given.get("namespace")
        places = (namespace,) if namespace and namespace != DEFAULT else ()
        asked = given.get("inputs") or given.get("query")
        condition = given.get("filter")
        if condition is None and isinstance(asked, Mapping):
            condition = asked.get("filter")
        keys = given.get("ids") or ([given["id"]] if given.get("id") and self._method == "update" else [])
        if self._method in ("list", "list_paginated"):
            # a prefix matches what goes on without a delimiter, too
            keys = [f"{given['prefix']}*"] if given.get("prefix") else []
        if self.operation.effect != "write":
            surface = "embeddings input" if asked else ""
            return Call(name, places, [translate(condition)], keys=list(keys), sent=asked, surface=surface)
        sent = [args, kwargs]
        if self._method == "update":
            keys = keys or [_get(row, "_id") or _get(row, "id") for row in several(given.get("documents"))]
            return Call(name, places, [translate(condition)], keys=keys, sent=sent, surface="vector write")
        return Call(name, places, payloads=list(_written(given)), sent=sent, surface="vector write")


def _host(index: Any) -> str:
    host = getattr(index, "host", None) or getattr(getattr(index, "_config", None), "host", "")
    return str(host).removeprefix("https://").removeprefix("http://")


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _written(given: Mapping[str, Any]) -> Iterator[Any]:
    """The metadata of vectors (mappings, tuples, objects), the fields of records and documents."""
    for vector in several(given.get("vectors")):
        if isinstance(vector, Iterator):
            yield vector
        elif isinstance(vector, tuple):
            yield vector[2] if len(vector) > 2 else {}
        else:
            yield _get(vector, "metadata")
    for record in (*several(given.get("records")), *several(given.get("documents"))):
        yield record.to_dict() if hasattr(record, "to_dict") else record
    frame = given.get("df")
    if frame is not None:
        yield from (row.get("metadata") for row in frame.to_dict("records"))


def _payloads(result: Any) -> Iterator[Any]:
    """The fields of what came back: matches, vectors by id, hits of records, documents."""
    for name in ("matches", "vectors", "documents"):
        found = _get(result, name)
        yield from _fields(found.values() if isinstance(found, Mapping) else found or ())
    yield from _fields(_get(_get(result, "result"), "hits") or ())


def _fields(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        for name in ("metadata", "fields"):
            found = _get(item, name)
            if isinstance(found, Mapping):
                yield found
        if isinstance(item, Mapping):
            yield item
        elif hasattr(item, "to_dict"):
            yield item.to_dict()


def _installer(name: str, methods: tuple[str, ...]) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the public methods; the transport below is the same access."""
        owner = getattr(module, name)
        for method in methods:
            watch = _Watch(monitor, method, vars(owner).get(method, len))
            patcher.wrap(owner, method, watch.before, watch.after, claims=True)
        install_threads(module, patcher, monitor)

    return install


def install_threads(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """The client's own threads: for several namespaces, for batches, for `query_async`."""
    if "ThreadPoolExecutor" in vars(module):
        patcher.replace(module, "ThreadPoolExecutor", lambda original: carrying(original, monitor))


def install_pool(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """`async_req=True` hands the call to a pool of threads."""

    def make(original: Any) -> Any:
        def submit(pool: Any, function: Any, kwargs: dict[str, Any]) -> Any:
            return original(pool, monitor.carried(function), kwargs)

        return submit

    patcher.replace(module._LegacyAsyncPool, "submit", make)


OF_INDEX = (*INDEX_READS, *INDEX_WRITES, "delete")
OF_DOCUMENTS = (*DOCUMENT_READS, *DOCUMENT_WRITES, "delete")
SEAM = Seam(
    "pinecone",
    "pinecone",
    {
        "pinecone.index": _installer("Index", OF_INDEX),
        "pinecone.async_client.async_index": _installer("AsyncIndex", OF_INDEX),
        "pinecone.grpc": _installer("GrpcIndex", OF_INDEX),
        "pinecone.client.documents": _installer("Documents", OF_DOCUMENTS),
        "pinecone.async_client.documents": _installer("AsyncDocuments", OF_DOCUMENTS),
        "pinecone._internal.bulk.engine": install_threads,
        "pinecone._legacy.async_req": install_pool,
    },
)
