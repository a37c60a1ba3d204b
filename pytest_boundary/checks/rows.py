"""What a client returned: a record that names another owner is foreign, however right the filter looked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.levels import Levels, Owner, same_id

MAX_VALUE = 1_000_000  # bytes of a stored JSON document that is looked into
MAX_DEPTH = 4
MAX_SHAPES = 2000  # kinds of records that are remembered for one boundary
Places = tuple[tuple[Owner, int], ...]  # an owner, and the position of its column
Fields = tuple[tuple[str, Owner], ...]  # a field, and the owner that it must name


def foreign_owner(record: Mapping[str, Any], active: Active, levels: Levels) -> str:
    """ "tenant 'x'" where a record's own fields name another owner, "" where they do not."""
    names = tuple(record)
    fields = active.fields.get(names)
    if fields is None:
        fields = _fields(names, active, levels)
    for name, owner in fields:
        if record[name] != owner.id:
            return _foreign(record, fields)
    return ""  # nearly always


def foreign_attributes(item: object, active: Active, levels: Levels) -> str:
    """The same for what an object of a mapper holds in its public attributes."""
    held = vars(item)
    names = ("", *held)
    fields = active.fields.get(names)
    if fields is None:
        fields = _fields(names, active, levels)
    for name, owner in fields:
        if held[name] != owner.id:
            return _foreign(held, fields)
    return ""  # nearly always


def _fields(names: tuple[object, ...], active: Active, levels: Levels) -> Fields:
    """The fields of records of this shape that say whose they are; those of an object begin with ""."""
    found: Fields | None = active.fields.get(names)
    if found is None:
        if len(active.fields) > MAX_SHAPES:
            active.fields.clear()
        public = names[:1] == ("",)
        asked = [name for name in names if isinstance(name, str) and not (public and name[:1] in ("", "_"))]
        needed = levels.required_for(active.ids)
        found = active.fields[names] = tuple(
            (name, owner)
            for owner in levels.owners(asked, active.ids)
            if owner.level in needed
            for name in owner.fields
        )
    return found


def _foreign(record: Mapping[str, Any], fields: Fields) -> str:
    for name, owner in fields:
        value = record[name]
        if value.__class__ is str and value == owner.id:  # nearly always
            continue
        if value is None or isinstance(value, (Mapping, list, tuple, set)) or value == "":
            continue
        if not same_id(value, owner.id):
            return f"{owner.level} {redacted(value)}"
    return ""


def belongs(record: Mapping[str, Any], active: Active, levels: Levels) -> bool:
    """Whether a record says itself that it is the boundary's; one that names no owner does not."""
    owners = levels.owners([name for name in record if isinstance(name, str)], active.ids)
    return bool(owners) and all(
        any(record[name] is not None and same_id(record[name], owner.id) for name in owner.fields)
        for owner in owners
    )


def foreign_in_rows(places: Places, rows: Iterable[Sequence[Any]]) -> str:
    """The same for rows of a table, whose owners stand at these places."""
    for row in rows:
        for owner, position in places:
            value = row[position]
            if value is not None and value != owner.id and not same_id(value, owner.id):
                return f"{owner.level} {redacted(value)}"
    return ""


def foreign_in_value(value: object, active: Active, levels: Levels, depth: int = MAX_DEPTH) -> str:
    """The same for a stored value: text that holds a JSON document, or lists and mappings of such."""
    if value.__class__ is str:  # nearly always
        if value[:1] not in ("{", "["):
            return ""
    elif isinstance(value, (bytes, bytearray)):
        if value[:1] not in (b"{", b"[") or len(value) > MAX_VALUE:
            return ""
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        if value[:1] not in ("{", "[") or len(value) > MAX_VALUE:
            return ""
        try:
            value = json.loads(value)
        except ValueError:
            return ""
    if depth <= 0:
        return ""
    if isinstance(value, Mapping):
        plain = {
            key.decode("utf-8", "replace") if isinstance(key, bytes) else key: part
            for key, part in value.items()
        }
        if found := foreign_owner(plain, active, levels):
            return found
        return _first(plain.values(), active, levels, depth)
    if isinstance(value, (list, tuple, set)):
        return _first(value, active, levels, depth)
    return ""


def _first(values: Iterable[object], active: Active, levels: Levels, depth: int) -> str:
    for value in values:
        if found := foreign_in_value(value, active, levels, depth - 1):
            return found
    return ""


def redacted(value: object) -> str:
    """Enough of an id to recognize it in a test, never more of what may be content."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) <= 40 else text[:12] + "…")
