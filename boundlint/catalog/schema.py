"""The strict schema of catalog data: tables of TOML in, dataclasses out, or an error that says where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from boundlint.catalog.model import (
    ROLES,
    Argument,
    Client,
    Effect,
    Family,
    Form,
    Injection,
    Kind,
    Layer,
    Operation,
    Runs,
)
from boundlint.catalog.versions import split_requirement

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_NAME = re.compile(r"[^\W\d]\w*")
_BINDERS = ("constructor", "chained", "terminal", "impossible")
_CHOICES: dict[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "effect": get_args(Effect),
    "form": get_args(Form),
    "layer": get_args(Layer),
    "injection": get_args(Injection),
    "runs": get_args(Runs),
    "role": tuple(sorted(ROLES)),
    "binders": _BINDERS,
}
_FAMILY_KEYS: dict[str, type] = {
    "family": str,
    "title": str,
    "requires": list,
    "quick": bool,
    "setup": str,
    "client": list,
    "operation": list,
}
_CLIENT_KEYS: dict[str, type] = {
    "types": list,
    "factories": list,
    "instances": list,
    "returns": dict,
    "receivers": list,
}
_OPERATION_KEYS: dict[str, type] = {
    "target": str,
    "twin": str,
    "aliases": list,
    "kind": str,
    "effect": str,
    "form": str,
    "layer": str,
    "delegates": list,
    "binders": list,
    "drops": list,
    "injection": str,
    "runs": str,
    "args": list,
    "versions": str,
    "scoped": str,
    "unscoped_example": str,
    "scoped_example": str,
}
_ARGUMENT_KEYS: dict[str, type] = {
    "role": str,
    "position": int,
    "keyword": str,
    "variadic": bool,
    "path": str,
    "required": bool,
    "unscoped": list,
    "through_kwargs": bool,
}
_TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false", list: "a list", dict: "a table"}


class CatalogError(Exception):
    """Catalog data that cannot be used. `str()` gives `file:line: what is wrong`, the line where known."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.message = message


@dataclass(frozen=True)
class Place:
    """Where a table of TOML stands, so that an error can name the line of a key in it.

    `lines` is the text from the table's header to the next header (empty where the text is not at hand).
    """

    path: str
    line: int = 0
    lines: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """`file:line`, as operations and clients remember it."""
        return f"{self.path}:{self.line}" if self.line else self.path

    def error(self, message: str, *needles: str) -> CatalogError:
        """The error at the first line that holds all `needles` (a key, a value), else at the table's own."""
        for count in range(len(needles), 0, -1):
            for offset, text in enumerate(self.lines):
                if all(re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) for needle in needles[:count]):
                    return CatalogError(self.path, self.line + offset, message)
        return CatalogError(self.path, self.line, message)


def table_places(text: str, path: str, header: str) -> list[Place]:
    """The places of the `[[header]]` tables of a TOML text, in order; `header` may be dotted."""
    lines = text.splitlines()
    own = re.compile(r"\s*\[\[\s*" + r"\s*\.\s*".join(map(re.escape, header.split("."))) + r"\s*\]\]")
    sub = re.compile(r"\s*\[+\s*" + re.escape(header) + r"\s*\.")
    heads = [index for index, line in enumerate(lines) if re.match(r"\s*\[\[?\s*[\w\"'.\s-]+\]", line)]
    places = []
    for number, start in enumerate(heads):
        if own.match(lines[start]):
            following = (index for index in heads[number + 1 :] if not sub.match(lines[index]))
            places.append(Place(path, start + 1, tuple(lines[start : next(following, len(lines))])))
    return places


def parse_family(data: Mapping[str, Any], text: str, path: str) -> Family:
    """One data file as a family. Raises `CatalogError`."""
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    head = Place(path, 1, tuple(lines[:first]))
    _check_keys(data, _FAMILY_KEYS, head, "family file")
    for key in ("family", "title", "requires"):
        if key not in data:
            raise head.error(f"{key!r} is missing")
    clients = tuple(parse_client(table, place) for table, place in _tables(data, "client", head, text, path))
    operations = tuple(
        parse_operation(table, place) for table, place in _tables(data, "operation", head, text, path)
    )
    _check_clients(clients, table_places(text, path, "client"))
    _check_operations(clients, operations, table_places(text, path, "operation"))
    requires = _strings(data, "requires", head)
    for requirement in requires:
        _check_requirement(requirement, head, "requires")
    return Family(
        name=data["family"],
        title=data["title"],
        requires=requires,
        clients=clients,
        operations=operations,
        quick=data.get("quick", False),
        setup=data.get("setup", ""),
        source=path,
    )


def parse_client(table: Mapping[str, Any], place: Place) -> Client:
    """One `[[client]]` table. Raises `CatalogError`."""
    _check_keys(table, _CLIENT_KEYS, place, "client")
    types = _paths(table, "types", place)
    if not types:
        raise place.error("'types' is missing: name the classes whose instances are this client")
    returns = table.get("returns", {})
    for method, result in returns.items():
        if not isinstance(result, str) or not _DOTTED.fullmatch(result):
            raise place.error(
                f"'returns.{method}' must be the dotted path of a class, not {result!r}", method
            )
    return Client(
        types=types,
        factories=_paths(table, "factories", place),
        instances=_paths(table, "instances", place),
        returns=dict(returns),
        receivers=_strings(table, "receivers", place),
        source=place.source,
    )


def parse_operation(table: Mapping[str, Any], place: Place) -> Operation:
    """One `[[operation]]` table, shipped or from a project's `[[tool.boundlint.operation]]`.

    Raises `CatalogError` with the file and the line of the key that is wrong.
    """
    _check_keys(table, _OPERATION_KEYS, place, "operation")
    for key in ("target", "kind", "effect"):
        if key not in table:
            raise place.error(f"'{key}' is missing")
    for key in ("kind", "effect", "form", "layer", "injection", "runs"):
        if key in table:
            _check_choice(key, table[key], place, key)
    if "versions" in table:
        _check_requirement(table["versions"], place, "versions")
    for binder in _strings(table, "binders", place):
        _check_choice("binders", binder, place, "binders")
    for key in ("target", "twin"):
        if key in table and not _DOTTED.fullmatch(table[key]):
            raise place.error(
                f"'{key}' must be a dotted path such as 'redis.client.Redis.get', not {table[key]!r}", key
            )
    if table["kind"] == "tool" and "injection" not in table and table.get("form") == "marker":
        raise place.error("a tool marker needs 'injection': visible, hidden_safe or hidden_overridable")
    return Operation(
        target=table["target"],
        kind=table["kind"],
        effect=table["effect"],
        args=_arguments(table, place),
        form=table.get("form", "method"),
        twin=table.get("twin", ""),
        aliases=_paths(table, "aliases", place),
        versions=table.get("versions", ""),
        layer=table.get("layer", "client"),
        delegates=_paths(table, "delegates", place),
        binders=_strings(table, "binders", place),
        drops=_strings(table, "drops", place),
        injection=table.get("injection"),
        runs=table.get("runs"),
        scoped=table.get("scoped", ""),
        unscoped_example=table.get("unscoped_example", ""),
        scoped_example=table.get("scoped_example", ""),
        source=place.source,
    )


def _arguments(table: Mapping[str, Any], place: Place) -> tuple[Argument, ...]:
    arguments = []
    for entry in table.get("args", []):
        if not isinstance(entry, Mapping):
            raise place.error(
                f"each of 'args' must be a table such as {{ role = \"key\" }}, not {entry!r}", "args"
            )
        needle = str(entry.get("keyword", entry.get("role", "args")))
        _check_keys(entry, _ARGUMENT_KEYS, place, "argument", needle)
        if "role" not in entry:
            raise place.error("an argument needs a 'role'", needle)
        _check_choice("role", entry["role"], place, entry["role"], needle)
        position, keyword = entry.get("position"), entry.get("keyword")
        if position is not None and position < 0:
            raise place.error("'position' counts from 0 without self", needle, "position")
        if keyword is not None and not _NAME.fullmatch(keyword):
            raise place.error(f"'keyword' must be a parameter name, not {keyword!r}", "keyword")
        arguments.append(
            Argument(
                role=entry["role"],
                position=position,
                keyword=keyword,
                variadic=entry.get("variadic", False),
                path=entry.get("path", ""),
                required=entry.get("required", False),
                unscoped=_strings(entry, "unscoped", place),
                through_kwargs=entry.get("through_kwargs", False),
            )
        )
    return tuple(arguments)


def _check_clients(clients: Sequence[Client], places: Sequence[Place]) -> None:
    owners: dict[str, Client] = {}
    for index, client in enumerate(clients):
        for path in client.types:
            if path in owners:
                message = f"{path!r} is a type of two clients (the other: {owners[path].source})"
                raise _at(places, index, client.source).error(message, path)
            owners[path] = client


def _check_operations(
    clients: Sequence[Client], operations: Sequence[Operation], places: Sequence[Place]
) -> None:
    types = {path: client for client in clients for path in client.types}
    seen: dict[str, list[Operation]] = {}
    for index, operation in enumerate(operations):
        place = _at(places, index, operation.source)
        for other in seen.setdefault(operation.target, []):
            if other.versions == operation.versions or not (other.versions and operation.versions):
                hint = "" if other.versions == operation.versions else "; give both their 'versions'"
                message = f"{operation.target!r} is described twice (first at {other.source}){hint}"
                raise place.error(message, "target")
        seen[operation.target].append(operation)
        if operation.form != "method":
            continue
        owner = operation.target.rpartition(".")[0]
        if owner not in types:
            raise place.error(f"no client has the type {owner!r}{_nearest(owner, types)}", "target")
        if operation.twin and operation.twin.rpartition(".")[0] not in types:
            missing = operation.twin.rpartition(".")[0]
            raise place.error(
                f"the twin's class {missing!r} is no client's type{_nearest(missing, types)}", "twin"
            )


def _tables(
    data: Mapping[str, Any], key: str, head: Place, text: str, path: str
) -> Iterable[tuple[Mapping[str, Any], Place]]:
    tables = data.get(key, [])
    places = table_places(text, path, key)
    for index, table in enumerate(tables):
        if not isinstance(table, Mapping):
            raise head.error(f"{key!r} must be written as [[{key}]] tables", key)
        yield table, _at(places if len(places) == len(tables) else [], index, path)


def _at(places: Sequence[Place], index: int, source: str) -> Place:
    return places[index] if index < len(places) else Place(source)


def _check_keys(
    table: Mapping[str, Any], known: Mapping[str, type], place: Place, what: str, *needles: str
) -> None:
    for key, value in table.items():
        wanted = known.get(key)
        if wanted is None:
            raise place.error(f"unknown key {key!r} in this {what}{_nearest(key, known)}", key, *needles)
        # bool is an int in Python, not in TOML
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise place.error(f"{key!r} must be {_TYPE_NAMES[wanted]}, not {value!r}", key, *needles)


def _check_choice(kind: str, value: str, place: Place, *needles: str) -> None:
    if value not in _CHOICES[kind]:
        listed = "" if kind == "role" else f" (known: {', '.join(_CHOICES[kind])})"
        message = f"unknown {kind} {value!r}{_nearest(value, _CHOICES[kind])}{listed}"
        raise place.error(message, *needles)


def _check_requirement(requirement: str, place: Place, key: str) -> None:
    try:
        split_requirement(requirement)
    except ValueError as error:
        raise place.error(f"{key!r}: {error}", key) from None


def _nearest(word: str, known: Iterable[str]) -> str:
    import difflib  # only errors need it

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _strings(table: Mapping[str, Any], key: str, place: Place) -> tuple[str, ...]:
    values = table.get(key, [])
    for value in values:
        if not isinstance(value, str):
            raise place.error(f"{key!r} must be a list of strings, not {value!r}", key)
    return tuple(values)


def _paths(table: Mapping[str, Any], key: str, place: Place) -> tuple[str, ...]:
    values = _strings(table, key, place)
    for value in values:
        if not _DOTTED.fullmatch(value):
            raise place.error(f"{key!r} must be dotted paths such as 'redis.Redis', not {value!r}", key)
    return values
