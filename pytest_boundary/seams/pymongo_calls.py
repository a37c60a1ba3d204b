"""What the calls of pymongo do in collections, read from their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pytest_boundary.checks.mongo import Part, condition, pipeline_parts

Read = Callable[[str, "Given"], Iterable[Part]]  # the collection's full name and the call, to what it does


class Given:
    """The arguments of one call. An iterator of documents is kept as a list, and handed on as one."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = list(args)
        self.kwargs = dict(kwargs)

    def value(self, position: int, name: str) -> Any:
        """An argument, None where it is not given."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def items(self, position: int, name: str) -> Sequence[Any]:
        """An argument that holds several."""
        found = self.value(position, name)
        if (
            not isinstance(found, (list, tuple))
            and isinstance(found, Iterable)
            and not isinstance(found, Mapping)
        ):
            found = list(found)
            if position < len(self.args):
                self.args[position] = found
            else:
                self.kwargs[name] = found
        return found if isinstance(found, (list, tuple)) else ()


def _finds(effect: str, position: int = 0) -> Read:
    return lambda name, given: [Part(name, condition(given.value(position, "filter")), effect=effect)]


def _updates(name: str, given: Given) -> Iterable[Part]:
    return [_update(name, given.value(0, "filter"), given.value(1, "update"))]


def _replaces(name: str, given: Given) -> Iterable[Part]:
    return [
        Part(
            name,
            condition(given.value(0, "filter")),
            _documents(given.value(1, "replacement")),
            effect="write",
        )
    ]


def _inserts(name: str, given: Given) -> Iterable[Part]:
    return [Part(name, documents=_documents(given.value(0, "document")), effect="insert")]


def _inserts_many(name: str, given: Given) -> Iterable[Part]:
    return [Part(name, documents=_documents(*given.items(0, "documents")), effect="insert")]


def _aggregates(name: str, given: Given) -> Iterable[Part]:
    return pipeline_parts(name, given.items(0, "pipeline"))


def _bulk(name: str, given: Given) -> Iterable[Part]:
    for request in (*given.items(0, "requests"), *given.items(0, "models")):
        where = getattr(request, "_namespace", None) or name
        kind = type(request).__name__
        if kind == "InsertOne":
            yield Part(where, documents=_documents(request._doc), effect="insert")
        elif kind == "ReplaceOne":
            yield Part(where, condition(request._filter), _documents(request._doc), effect="write")
        elif kind.startswith("Update"):
            yield _update(where, request._filter, request._doc)
        else:
            yield Part(where, condition(request._filter), effect="delete")


def _command(name: str, given: Given) -> Iterable[Part]:
    """`database.command({"find": "notes", "filter": …})`; commands that touch no documents give nothing."""
    command = given.value(0, "command")
    if isinstance(command, str):
        command = {command: given.value(1, "value"), **given.kwargs}
    if not isinstance(command, Mapping) or not command:
        return
    verb, collection = next(iter(command.items()))
    where = f"{name}.{collection}"
    if verb in ("find", "count", "distinct", "findAndModify", "findandmodify", "mapReduce"):
        effect = "write" if verb.lower() == "findandmodify" else "read"
        yield Part(where, condition(command.get("filter", command.get("query"))), effect=effect)
    elif verb == "aggregate":
        yield from pipeline_parts(where, command.get("pipeline", ()))
    elif verb == "insert":
        yield Part(where, documents=_documents(*command.get("documents", ())), effect="insert")
    for update in command.get("updates", ()) if verb == "update" else ():
        yield _update(where, update.get("q"), update.get("u"))
    for delete in command.get("deletes", ()) if verb == "delete" else ():
        yield Part(where, condition(delete.get("q")), effect="delete")


def _update(name: str, query: Any, update: Any) -> Part:
    changes: dict[str, Any] = {}
    for operator in ("$set", "$setOnInsert") if isinstance(update, Mapping) else ():
        changes |= update.get(operator, {})
    return Part(name, condition(query), changes=changes, effect="write")


def _documents(*values: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(value for value in values if isinstance(value, Mapping))


METHODS: dict[str, Read] = {
    **dict.fromkeys(("find", "find_one", "find_raw_batches", "count_documents"), _finds("read")),
    "distinct": _finds("read", 1),
    **dict.fromkeys(("aggregate", "aggregate_raw_batches", "watch"), _aggregates),
    **dict.fromkeys(("update_one", "update_many", "find_one_and_update"), _updates),
    **dict.fromkeys(("replace_one", "find_one_and_replace"), _replaces),
    **dict.fromkeys(("delete_one", "delete_many", "find_one_and_delete"), _finds("delete")),
    "insert_one": _inserts,
    "insert_many": _inserts_many,
    "bulk_write": _bulk,
}
FINDS = frozenset(
    {"find", "find_one", "find_raw_batches", "count_documents"}
)  # by a filter, their first argument
LAZY = frozenset({"find", "find_raw_batches"})  # they ask nothing themselves: their cursors do
DATABASE_METHODS: dict[str, Read] = {"command": _command, "cursor_command": _command}
CLIENT_METHODS: dict[str, Read] = {"bulk_write": _bulk}
