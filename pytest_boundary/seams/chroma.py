"""chroma: searches, lookups, writes and deletes of both kinds of collection. A filter is a document (`where`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.checks.documents import equalities, translate
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Describe, Equalities, Watch, several

READS = ("query", "get", "search", "peek")
WRITES = ("add", "upsert")
BY_ID = ("update", "delete")
FIX = 'where={"tenant_id": …}   ($and for more conditions)'
WRITE_FIX = 'metadatas=[{…, "tenant_id": …}]'


def _describe(method: str) -> Describe:
    value = catalog.arguments(f"chromadb.api.models.Collection.Collection.{method}").value

    def describe(collection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        name = str(collection.name)
        places = tuple(
            place
            for place in (collection.tenant, collection.database)
            if place not in ("default_tenant", "default_database")
        )
        if method == "count":  # a number, and no filter is possible
            return Call(name, places, free=True)
        if method in WRITES:
            sent, metadatas = [args, kwargs], several(value("metadata", args, kwargs))
            number = len(several(value("id", args, kwargs)))
            written = [metadata or {} for metadata in metadatas]
            written += [{}] * (number - len(written))
            return Call(name, places, payloads=written, sent=sent, surface="vector write")
        ids = several(value("id", args, kwargs))
        if method == "update":
            return Call(name, places, keys=ids, sent=[args, kwargs], surface="vector write")
        if method == "search":
            searches = several(value("filter", args, kwargs))
            wheres = [_where(getattr(search, "_where", None)) for search in searches]
        else:
            wheres = [_where(value("filter", args, kwargs))]
        asked = value("query", args, kwargs)
        return Call(
            name,
            places,
            filters=[translate(where) for where in wheres],
            keys=ids,
            sent=asked,
            surface="embeddings input" if asked is not None else "",
        )

    return describe


def _equal(method: str) -> Equalities | None:
    """A filter's own equalities; conditions of `search` are objects."""
    if method not in ("query", "get"):
        return None
    value = catalog.arguments(f"chromadb.api.models.Collection.Collection.{method}").value

    def equal(_collection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[tuple[str, Any]]:
        document = kwargs.get("where") or value("filter", args, kwargs)
        # one condition on a text: nearly always
        if document.__class__ is dict and len(document) == 1 and "$and" not in document:
            ((name, wanted),) = document.items()
            if wanted.__class__ is str:
                return ((name, wanted),)
        return equalities(document)

    return equal


def _where(condition: Any) -> Any:
    """A condition of `search` is an object that writes itself as a document."""
    return condition.to_dict() if hasattr(condition, "to_dict") else condition


def _metadatas(result: Any) -> list[Any]:
    """The metadata of every record: in a list (`get`), or in one list for each query."""
    found = result.get("metadatas") if isinstance(result, dict) else None
    if not found:
        return []
    if found[0].__class__ is list and len(found) == 1:  # of one query
        return found[0]
    if found[0].__class__ is dict:
        return found  # type: ignore[no-any-return]
    return [part for item in found for part in (item if isinstance(item, list) else [item])]


def _installer(name: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the methods of the collection; the server or the engine below is the same access."""
        owner = getattr(module, name)
        for method in (*READS, *WRITES, *BY_ID, "count"):
            if method == "search" and method not in vars(owner):  # newer than the rest
                continue
            effect = "read" if method in (*READS, "count") else "delete" if method == "delete" else "write"
            target = f"chromadb.api.models.Collection.Collection.{method}"
            operation = catalog.operation("chroma", target, "retrieval", effect)
            watch = Watch(
                monitor,
                operation,
                _describe(method),
                _metadatas,
                fix=FIX,
                write_fix=WRITE_FIX,
                equalities=_equal(method),
            )
            patcher.wrap(owner, method, watch.before, watch.after, claims=True)

    return install


SEAM = Seam(
    "chroma",
    "chromadb",
    {
        "chromadb.api.models.Collection": _installer("Collection"),
        "chromadb.api.models.AsyncCollection": _installer("AsyncCollection"),
    },
)
