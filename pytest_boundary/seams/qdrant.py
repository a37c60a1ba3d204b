"""qdrant: searches, counts, writes and deletes of both clients. A filter is a tree of must, should and must_not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Watch, several

SEARCHES = (
    *("query_points", "query_points_groups", "query_batch_points", "scroll", "count", "facet", "retrieve"),
    *("search_matrix_pairs", "search_matrix_offsets"),
)
WRITES = (
    "upsert",
    "upload_points",
    "upload_collection",
    "set_payload",
    "overwrite_payload",
    "batch_update_points",
)
DELETES = ("delete", "delete_payload", "clear_payload", "delete_vectors", "update_vectors")
FIX = 'query_filter=Filter(must=[FieldCondition(key="tenant_id", match=MatchValue(value=…)), …])'


def translate(condition: Any) -> Filter:
    """A filter of qdrant, as a model, a mapping or None, in the words of the check."""
    if condition is None:
        return NOTHING
    if isinstance(condition, (list, tuple)):
        return All(tuple(translate(part) for part in condition))
    key, match = _get(condition, "key"), _get(condition, "match")
    if isinstance(key, str) and match is not None:
        value, one_of = _get(match, "value"), _get(match, "any")
        if value is not None:
            return Equals(key, (value,))
        return Equals(key, tuple(one_of)) if one_of is not None else Other()
    if not _is_filter(condition):  # a nested condition, ids, an empty field
        return Other()
    parts = [translate(part) for part in several(_get(condition, "must"))]
    should = [translate(part) for part in several(_get(condition, "should"))]
    if should:
        parts.append(AnyOf(tuple(should)))
    minimum = _get(condition, "min_should")
    if minimum is not None:
        parts.append(AnyOf(tuple(translate(part) for part in several(_get(minimum, "conditions")))))
    return All(tuple(parts))


def _is_filter(condition: Any) -> bool:
    return any(_get(condition, name) is not None for name in ("must", "should", "must_not", "min_should"))


def _get(item: Any, name: str) -> Any:
    if isinstance(item, Mapping):
        return item.get(name)
    # the fields of a model; asking a model for what it has not takes it long
    fields = getattr(item, "__dict__", None)
    return fields.get(name) if fields is not None else None


def _with_prefetches(condition: Any, prefetches: Any) -> Filter:
    """A search's own filter scopes, and so do its prefetches where each of them does, or those below it."""
    own = translate(condition)
    legs = [_with_prefetches(_get(leg, "filter"), _get(leg, "prefetch")) for leg in several(prefetches)]
    return All((own, AnyOf(tuple(legs)))) if legs else own


class _Watch(Watch):
    """The hooks around one method of the client."""

    def __init__(self, monitor: Monitor, method: str, function: Any) -> None:
        target = f"qdrant_client.QdrantClient.{method}"
        effect = "read" if method in SEARCHES else "delete" if method in DELETES else "write"
        operation = catalog.operation("qdrant", target, "retrieval", effect)
        quick = self._equal if method != "query_batch_points" else None
        super().__init__(monitor, operation, self._of_call, _payloads, fix=FIX, equalities=quick)
        self._method = method
        self._value = catalog.arguments(target).value
        self._names = list(inspect.signature(function).parameters)[1:]

    def _equal(
        self, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[tuple[str, Any]]:
        """Of a filter's own `must`, which holds whatever stands beside it."""
        held = getattr(self._value("filter", args, kwargs), "__dict__", None)
        must = held.get("must") if held is not None else None
        for condition in must if must.__class__ is list else ():
            fields = getattr(condition, "__dict__", {})
            match = getattr(fields.get("match"), "__dict__", None)
            if match is not None and "key" in fields and "value" in match:
                yield fields["key"], match["value"]

    def _of_call(self, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = dict(zip(self._names, args, strict=False)) | kwargs
        name = str(given.get("collection_name", ""))
        places = tuple(filter(None, [self._value("partition", args, kwargs)]))
        if self._method in SEARCHES:
            if self._method == "query_batch_points":
                requests = several(given.get("requests"))
                filters = [_with_prefetches(_get(r, "filter"), _get(r, "prefetch")) for r in requests]
            else:
                filters = [_with_prefetches(self._value("filter", args, kwargs), given.get("prefetch"))]
            asked = given.get("query")
            surface = "embeddings input" if asked is not None else ""
            return Call(name, places, filters, sent=asked, surface=surface)
        sent = {key: value for key, value in given.items() if key != "collection_name"}
        if self._method in WRITES:
            written = self._value("metadata", args, kwargs) or self._value("document", args, kwargs)
            batch = _get(written, "payloads")
            payloads = (
                several(batch) if batch is not None else [_payload(point) for point in several(written)]
            )
            return Call(name, places, payloads=payloads, sent=sent, surface="vector write")
        selector = self._value("filter", args, kwargs)
        inner = _get(selector, "filter")
        filters = [translate(inner if inner is not None else selector)]
        return Call(name, places, filters, sent=sent, surface="vector write")


def _payload(point: Any) -> Any:
    if isinstance(point, Iterator):
        return point
    payload = _get(point, "payload")
    if payload is None and isinstance(point, Mapping):
        payload = point
    return dict(payload) if isinstance(payload, Mapping) else {}


def _payloads(result: Any) -> Iterator[Any]:
    """The payloads of any result: of a query, a batch, groups, a page of a scroll."""
    if isinstance(result, tuple):
        result = result[0]
    for item in several(result):
        held = getattr(item, "__dict__", None)
        if held is not None and "payload" in held:  # a point or a record
            yield held["payload"]
            continue
        groups, points, hits = _get(item, "groups"), _get(item, "points"), _get(item, "hits")
        if isinstance(groups, list):
            yield from _payloads(groups)
        elif isinstance(points, list) or isinstance(hits, list):
            yield from (_get(point, "payload") for point in points or hits)
        else:
            yield _get(item, "payload")


def _installer(name: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the public methods of the client; what it calls below is the same access."""
        owner = getattr(module, name)
        for method in (*SEARCHES, *WRITES, *DELETES):
            # not every version has every method; the ones that carry most are required
            if method in vars(owner) or method in (
                "query_points",
                "scroll",
                "upsert",
                "delete",
                "count",
                "retrieve",
            ):
                watch = _Watch(monitor, method, vars(owner).get(method, len))
                patcher.wrap(owner, method, watch.before, watch.after, claims=True)

    return install


SEAM = Seam(
    "qdrant",
    "qdrant-client",
    {
        "qdrant_client.qdrant_client": _installer("QdrantClient"),
        "qdrant_client.async_qdrant_client": _installer("AsyncQdrantClient"),
    },
)
