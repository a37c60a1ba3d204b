"""qdrant: searches, counts, writes and deletes of both clients. A filter is a tree of must, should and must_not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other, judge_filter
from pytest_boundary.checks.keys import carries
from pytest_boundary.checks.payloads import judge_payloads
from pytest_boundary.checks.rows import foreign_owner
from pytest_boundary.monitor import Judgement, Missing, Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

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
    parts = [translate(part) for part in _several(_get(condition, "must"))]
    should = [translate(part) for part in _several(_get(condition, "should"))]
    if should:
        parts.append(AnyOf(tuple(should)))
    minimum = _get(condition, "min_should")
    if minimum is not None:
        parts.append(AnyOf(tuple(translate(part) for part in _several(_get(minimum, "conditions")))))
    key, match = _get(condition, "key"), _get(condition, "match")
    if isinstance(key, str) and match is not None:
        value, several = _get(match, "value"), _get(match, "any")
        if value is not None:
            return Equals(key, (value,))
        return Equals(key, tuple(several)) if several is not None else Other()
    nested = _get(condition, "nested")
    if nested is not None:
        return Other()
    if not parts and not _is_filter(condition):
        return Other()
    return All(tuple(parts))


def _is_filter(condition: Any) -> bool:
    return any(_get(condition, name) is not None for name in ("must", "should", "must_not", "min_should"))


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class _Watch:
    """What one method of the client needs."""

    def __init__(self, monitor: Monitor, method: str) -> None:
        target = f"qdrant_client.QdrantClient.{method}"
        effect = "read" if method in SEARCHES else "delete" if method in DELETES else "write"
        self.monitor = monitor
        self.method = method
        self.operation = catalog.operation("qdrant", target, "retrieval", effect)
        self.arguments = catalog.arguments(target)

    def before(self, _client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Judge a call by its collection, its shard key, its filters and its payloads."""
        __tracebackhide__ = True
        collection = self.arguments.value("collection", args, kwargs) or kwargs.get("collection_name", "")

        def judge(active: Active) -> Judgement:
            return self._judge(str(collection), args, kwargs, active)

        active = self.monitor.before(self.operation, judge, lambda: f"collection {collection!r}")
        if active is not None and self.operation.effect != "read":
            self.monitor.watcher.surface([args[1:], kwargs], "vector write", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """A point that names another owner is foreign: the filter comes after the ranking."""
        __tracebackhide__ = True
        if self.operation.effect != "read":
            return
        payloads = [_get(point, "payload") or {} for point in _points(result)]
        self.monitor.read(self.operation, payloads)
        for payload in payloads:
            if owner := foreign_owner(payload, active, self.monitor.levels):
                self.monitor.foreign(self.operation, active, owner)

    def _judge(
        self, collection: str, args: tuple[Any, ...], kwargs: dict[str, Any], active: Active
    ) -> Judgement:
        value = self.arguments.value
        for name in (collection, value("partition", args, kwargs)):
            if name and carries(name, active, self.monitor.levels):
                return "scoped"
        if self.method in WRITES:
            return self._judge_payloads(collection, args, kwargs, active)
        if self.method == "query_batch_points":
            requests = _several(kwargs.get("requests", args[1] if len(args) > 1 else None))
            filters = [translate(_get(request, "filter")) for request in requests]
        elif self.method in DELETES:
            selector = value("filter", args, kwargs)
            filters = [
                translate(_get(selector, "filter") if _get(selector, "filter") is not None else selector)
            ]
        else:
            filters = [translate(value("filter", args, kwargs))]
            prefetch = _several(
                kwargs.get("prefetch", args[3] if len(args) > 3 and "query" in self.method else None)
            )
            # prefetches scope where each of them does
            if prefetch and all(
                self._by(translate(_get(part, "filter")), active, collection) == "scoped" for part in prefetch
            ):
                return "scoped"
        for condition in filters or [NOTHING]:
            judged = self._by(condition, active, collection)
            if isinstance(judged, Missing):
                return judged
        return "scoped"

    def _by(self, condition: Filter, active: Active, collection: str) -> Judgement:
        return judge_filter(condition, active, self.monitor.levels, names=(collection,), fix=FIX)

    def _judge_payloads(
        self, collection: str, args: tuple[Any, ...], kwargs: dict[str, Any], active: Active
    ) -> Judgement:
        given = self.arguments.value("metadata", args, kwargs) or self.arguments.value(
            "document", args, kwargs
        )
        batch = _get(given, "payloads")
        payloads = list(batch) if batch else [_payload(point) for point in _several(given)]
        return judge_payloads(payloads, active, self.monitor.levels, names=(collection,))


def _payload(point: Any) -> dict[str, Any]:
    payload = _get(point, "payload")
    if payload is None and isinstance(point, Mapping):
        payload = point
    return dict(payload) if isinstance(payload, Mapping) else {}


def _points(result: Any) -> Iterable[Any]:
    """The points of any result: of a query, a batch, groups, a page of a scroll."""
    if isinstance(result, tuple):
        result = result[0]
    for item in _several(result):
        groups, points, hits = _get(item, "groups"), _get(item, "points"), _get(item, "hits")
        if isinstance(groups, list):
            yield from _points(groups)
        elif isinstance(points, list):
            yield from points
        elif isinstance(hits, list):
            yield from hits
        else:
            yield item


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
                watch = _Watch(monitor, method)
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
