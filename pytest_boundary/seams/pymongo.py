"""pymongo: the methods of both collection classes, commands and bulk writes of a client; documents as they come back.

Which collections hold customers' data is told by their documents: those that are written, and a few that are there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial, wraps
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.filters import fields
from pytest_boundary.checks.mongo import Part, field_names, judge_parts, plainly_scoped
from pytest_boundary.checks.rows import foreign_owner
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.pymongo_calls import (
    CLIENT_METHODS,
    DATABASE_METHODS,
    FINDS,
    LAZY,
    METHODS,
    Given,
    Read,
)

COLLECTION, DATABASE = "pymongo.collection.Collection", "pymongo.database.Database"
SAMPLE = 20  # documents that are looked at in a collection that nobody has written to in this run

HALVES, OLD = ("pymongo.synchronous", "pymongo.asynchronous"), "pymongo"  # one half until 4.8
NEW = frozenset({"bulk_write", "cursor_command"})  # what clients and databases of old did not have
LATE = "_boundlint_late"


@lru_cache(maxsize=256)
def _operation(target: str, effect: str) -> Operation:
    return catalog.operation("pymongo", target, "database", effect)


class _Watch:
    """What the clients of one run share: the fields of each collection, by its full name."""

    def __init__(self, patcher: Patcher, monitor: Monitor) -> None:
        self.patcher = patcher
        self.monitor = monitor
        self.fields: dict[str, set[str]] = {}
        self.sampled: set[str] = set()

    def unknown(self, parts: Iterable[Part]) -> Iterator[str]:
        """The collections of which nothing is known that tells whose they are."""
        for part in parts:
            if part.collection not in self.sampled and not self.monitor.levels.owned(
                self.fields.get(part.collection, ())
            ):
                yield part.collection

    def learn(self, collection: str, documents: Iterable[Any], *, sample: bool = False) -> None:
        """The fields of documents that were written or found."""
        known = self.fields.setdefault(collection, set())
        for document in documents:
            if isinstance(document, Mapping):
                known.update(field_names(document))
                if sample:  # an empty collection tells nothing yet
                    self.sampled.add(collection)

    def judge(self, operation: Operation, parts: Sequence[Part]) -> Active | None:
        """Judge a call; gives what its documents are to be compared with."""
        __tracebackhide__ = True
        monitor = self.monitor

        def judged(active: Active) -> Judgement:
            return judge_parts(parts, active, monitor.levels, self.fields)

        def shown() -> str:
            asked = sorted({field for part in parts for field in fields(part.condition)})
            names = ", ".join(dict.fromkeys(repr(part.name) for part in parts))
            return f"collection {names}" + (f", filter on {', '.join(asked)}" if asked else "")

        active = monitor.before(operation, judged, shown)
        written = [document for part in parts for document in part.documents]
        changes = [part.changes for part in parts if part.changes]
        for part in parts:
            self.learn(part.collection, part.documents)
        if active is not None and (written or changes):
            monitor.watcher.surface([written, changes], "database write", operation)
        return active

    def compare(self, operation: Operation, documents: Iterable[Any]) -> None:
        """Judge documents that came back."""
        __tracebackhide__ = True
        monitor = self.monitor
        active = monitor.active()
        if active is None:
            return
        found = documents
        if monitor.watcher.canaries.known:
            found = list(documents)
            monitor.read(operation, found)
        for document in found:
            named = document.__class__ is dict or isinstance(document, Mapping)
            if named and (owner := foreign_owner(document, active, monitor.levels)):
                shown = f"fields {', '.join(map(str, document))}"
                monitor.foreign(operation, active, owner, partial(str, shown[:160]))
                return


def _effect(parts: Sequence[Part]) -> str:
    effects = {part.effect for part in parts}
    return "write" if effects & {"write", "insert"} else "delete" if "delete" in effects else "read"


def _shown_find(collection: str, query: Mapping[str, Any]) -> str:
    return f"collection {_last(collection)!r}, filter on {', '.join(sorted(query))}"


def _results(result: Any) -> Iterable[Any]:
    """The documents that a method gives at once: one, those of a command's reply, or the values of `distinct`."""
    if isinstance(result, Mapping):
        reply = result.get("cursor")
        return reply.get("firstBatch", ()) if isinstance(reply, Mapping) else [result]
    return result if isinstance(result, list) else ()


@dataclass(frozen=True)
class _Kind:
    """Of collections, databases and clients: the catalog's target, the name of one, and how it opens a collection."""

    target: str
    named: Callable[[Any], str]
    opened: Callable[[Any, str], Any]  # by the name with its database


KINDS = {
    "collection": _Kind(COLLECTION, lambda it: str(it.full_name), lambda it, name: it.database[_last(name)]),
    "database": _Kind(DATABASE, lambda it: str(it.name), lambda it, name: it[_last(name)]),
    "client": _Kind(
        "pymongo.MongoClient", lambda it: "", lambda it, name: it[name.partition(".")[0]][_last(name)]
    ),
}


def _last(name: str) -> str:
    """The collection of a full name."""
    return name.partition(".")[2]


class _Methods:
    """Puts watching methods into one class."""

    def __init__(
        self, watch: _Watch, kind: _Kind, methods: Mapping[str, Read], find: Any, late: bool
    ) -> None:
        self.watch = watch
        self.monitor = watch.monitor
        self.kind = kind
        self.methods = methods
        self.find = find  # the original of the collections
        self.late = late

    def start(self, method: str, instance: Any, args: Any, kwargs: Any) -> _Call:
        """What a call is about; of one that is not understood, nothing."""
        given = Given(args, kwargs)
        read = self.methods[method]
        parts = self.watch.patcher.attempt(lambda: list(read(self.kind.named(instance), given))) or []
        return _Call(self, instance, given, parts, _operation(f"{self.kind.target}.{method}", _effect(parts)))

    def passes(self, operation: Operation, collection: str, args: Any, kwargs: Any) -> Active | None:
        """The boundary that a search is scoped to at the first look; it is counted then."""
        watch, monitor = self.watch, self.monitor
        active = monitor.active()
        if active is None:
            return None
        query = args[0] if args else kwargs.get("filter")
        known, sampled = watch.fields.get(collection, ()), collection in watch.sampled
        if not plainly_scoped(collection, query, active, monitor.levels, known, sampled):
            return None
        if monitor.by_site:
            monitor.passed(operation, "scoped", _shown_find, collection, query)
        else:  # what `passed` does, without the call
            monitor.ledger.counts[operation.scoped] += 1
        return active

    def make(self, original: Any) -> Any:
        """The watching method for a method, asynchronous for an asynchronous one."""
        monitor, watch, method = self.monitor, self.watch, original.__name__
        claimed, failed, marks = monitor.claimed, watch.patcher.failed, monitor.watcher.canaries.known
        finds = self.kind.target == COLLECTION and method in FINDS
        found = _operation(f"{COLLECTION}.{method}", "read")
        unasked = self.late and method in LAZY  # an asynchronous client's cursor, made without waiting

        @wraps(original)
        async def awaiting(instance: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if monitor.claimed.get():
                return await original(instance, *args, **kwargs)
            active: Active | None = None
            if finds:
                active = watch.patcher.attempt(self.passes, found, instance.full_name, args, kwargs)
            if active is not None:
                with monitor.claiming():
                    result = await original(instance, *args, **kwargs)
                watch.patcher.attempt(watch.compare, found, _results(result))
                return result
            call = self.start(method, instance, args, kwargs)
            await call.learn_async()
            call.judge()
            with monitor.claiming():
                result = await original(instance, *call.given.args, **call.given.kwargs)
            watch.patcher.attempt(watch.compare, call.operation, _results(result))
            return result

        @wraps(original)
        def calling(instance: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if claimed.get():
                return original(instance, *args, **kwargs)
            active = None
            if finds:
                try:
                    active = self.passes(found, instance.full_name, args, kwargs)
                except Exception as error:
                    failed(error)
            if active is not None:
                token = claimed.set(True)
                try:
                    result = original(instance, *args, **kwargs)
                finally:
                    claimed.reset(token)
                try:
                    if result.__class__ is not dict:
                        watch.compare(found, _results(result))
                    elif marks or foreign_owner(result, active, monitor.levels):
                        watch.compare(found, (result,))
                except Exception as error:
                    failed(error)
                return result
            call = self.start(method, instance, args, kwargs)
            late = unasked and any(True for _ in watch.unknown(call.parts))
            if not unasked:
                call.learn()
            if not late:
                call.judge()
            with monitor.claiming():
                result = original(instance, *call.given.args, **call.given.kwargs)
            if late:  # nothing can be asked here: it is judged when the cursor asks
                vars(result)[LATE] = call
            watch.patcher.attempt(watch.compare, call.operation, _results(result))
            return result

        return awaiting if inspect.iscoroutinefunction(original) else calling


@dataclass(frozen=True)
class _Call:
    """One call on its way."""

    by: _Methods
    instance: Any
    given: Given
    parts: Sequence[Part]
    operation: Operation

    def judge(self) -> None:
        """Judge it, once its collections are known."""
        __tracebackhide__ = True
        if self.parts:
            self.by.watch.patcher.attempt(self.by.watch.judge, self.operation, self.parts)

    def _samples(self) -> Iterator[tuple[str, Any]]:
        for name in list(self.by.watch.unknown(self.parts)):
            yield name, self.by.find(self.by.kind.opened(self.instance, name), {}, limit=SAMPLE)

    def learn(self) -> None:
        """Look at a few documents of collections that nobody has written to."""
        watch, monitor = self.by.watch, self.by.monitor
        if not any(True for _ in watch.unknown(self.parts)):
            return
        # no server, no rights: the user's own call tells
        with monitor.claiming(), suppress(Exception):
            for name, sample in self._samples():
                watch.learn(name, list(sample), sample=True)

    async def learn_async(self) -> None:
        """The same for an asynchronous client."""
        watch, monitor = self.by.watch, self.by.monitor
        if not any(True for _ in watch.unknown(self.parts)):
            return
        with monitor.claiming(), suppress(Exception):
            for name, sample in self._samples():
                watch.learn(name, [document async for document in sample], sample=True)


def _install_half(half: str, patcher: Patcher, watch: _Watch) -> None:
    """Watch one half of pymongo: its collections, databases and clients, and what their cursors give."""
    prefix = "Async" if half.endswith("asynchronous") else ""

    def find_class(module: str, name: str) -> Any:
        owner = getattr(sys.modules.get(f"{half}.{module}"), prefix + name, None)
        if owner is None:
            raise patcher.broken(f"{half}.{module}.{prefix}{name} not found")
        return owner

    collection, cursor = find_class("collection", "Collection"), find_class("cursor", "Cursor")
    if "find" not in vars(collection):
        raise patcher.broken("Collection.find not found")
    find = vars(collection)["find"]
    for kind, owner, methods in (
        ("collection", collection, METHODS),
        ("database", find_class("database", "Database"), DATABASE_METHODS),
        ("client", find_class("mongo_client", "MongoClient"), CLIENT_METHODS),
    ):
        watching = _Methods(watch, KINDS[kind], methods, find, late=bool(prefix))
        for method in methods:
            if method not in NEW or method in vars(owner) or half != OLD:
                patcher.replace(owner, method, watching.make)
    for owner, method in ((cursor, "find"), (find_class("command_cursor", "CommandCursor"), "aggregate")):
        operation = _operation(f"{COLLECTION}.{method}", "read")
        # before 4.9 `__next__` was the same function under another name, and there was no `to_list`
        names = ("next", "__next__") if half == OLD else ("next", "_next_batch")
        for name in (*names, *(["try_next"] if "try_next" in vars(owner) else [])):
            patcher.replace(owner, name, _fetching(watch, operation))


def _fetching(watch: _Watch, operation: Operation) -> Callable[[Any], Any]:
    """Watches what a cursor gives: a document, or those that it adds to a list."""
    monitor = watch.monitor

    def found(result: Any, args: tuple[Any, ...], before: int) -> Iterable[Any]:
        return args[0][before:] if args and isinstance(args[0], list) else _results(result)

    def make(original: Any) -> Any:
        @wraps(original)
        async def awaiting(cursor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            call = vars(cursor).pop(LATE, None)
            if call is not None:
                await call.learn_async()
                call.judge()
            before = len(args[0]) if args else 0
            result = await original(cursor, *args, **kwargs)
            watch.patcher.attempt(watch.compare, operation, found(result, args, before))
            return result

        @wraps(original)
        def calling(cursor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if monitor.claimed.get():
                return original(cursor, *args, **kwargs)
            before = len(args[0]) if args else 0
            result = original(cursor, *args, **kwargs)
            watch.patcher.attempt(watch.compare, operation, found(result, args, before))
            return result

        return awaiting if inspect.iscoroutinefunction(original) else calling

    return make


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch both halves, which share what is known of the collections."""
    watch = _Watch(patcher, monitor)
    halves = HALVES if HALVES[0] in sys.modules else (OLD,)
    for half in halves:
        _install_half(half, patcher, watch)
    for name in ("InsertOne", "UpdateOne", "ReplaceOne", "DeleteOne"):
        slots = {slot for owner in getattr(module, name).__mro__ for slot in getattr(owner, "__slots__", ())}
        needed = {
            "_doc" if name == "InsertOne" else "_filter",
            *(() if halves == (OLD,) else ("_namespace",)),
        }
        if not needed <= slots:
            raise patcher.broken(f"{name}.{min(needed - slots)} not found")


SEAM = Seam("pymongo", "pymongo", {"pymongo": install})
