"""A compiled copy of the shipped data, because TOML is slow to read at every start."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, TypeVar

from boundlint.catalog.model import Argument, Client, Family, Operation

_T = TypeVar("_T")
NAME = "catalog.json"


def read(key: str) -> tuple[Family, ...] | None:
    """The families that were compiled under this key; None where no copy is there, undamaged and current.

    A wheel carries a copy beside the data (its build writes it); a source tree keeps one with its bytecode.
    """
    for path in (Path(__file__).with_name(NAME), _own_copy()):
        families = _read(path, key)
        if families is not None:
            return families
    return None


def write(key: str, families: Sequence[Family], path: Path | None = None) -> None:
    """Keep a copy for the next start; silently not, where the folder cannot be written."""
    path = path or _own_copy()
    body = json.dumps([_row(family) for family in families], separators=(",", ":")).encode()
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(f"{key} {_checksum(body)}\n".encode() + body)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _own_copy() -> Path:
    return Path(cache_from_source(__file__)).with_name(NAME)


def _read(path: Path, key: str) -> tuple[Family, ...] | None:
    try:
        header, _, body = path.read_bytes().partition(b"\n")
        if header.decode("ascii") != f"{key} {_checksum(body)}":
            return None
        return tuple(_family(row) for row in json.loads(body))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def code_key() -> bytes:
    """What the compiled form depends on besides the data: the schema's and the model's code."""
    digest = hashlib.sha256()
    for name in ("model.py", "schema.py", "compiled.py"):
        with contextlib.suppress(OSError):
            digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.digest()


def _checksum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _row(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that hold something."""
    row: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if content == field.default:
            continue
        if isinstance(content, tuple) and content and dataclasses.is_dataclass(content[0]):
            content = [_row(item) for item in content]
        row[field.name] = content
    return row


def _defaults(kind: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(kind)}


_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: _defaults(kind) for kind in (Argument, Operation, Client, Family)
}


def _make(kind: type[_T], row: Mapping[str, Any]) -> _T:
    """A frozen dataclass from its row; its `__init__` would take four times as long."""
    made = object.__new__(kind)
    fields = vars(made)
    fields.update(_DEFAULTS[kind])
    for name, content in row.items():
        fields[name] = tuple(content) if type(content) is list else content
    return made


def _operation(row: dict[str, Any]) -> Operation:
    row["args"] = [_make(Argument, argument) for argument in row.get("args", ())]
    return _make(Operation, row)


def _family(row: dict[str, Any]) -> Family:
    row["clients"] = [_make(Client, {"returns": {}, **client}) for client in row["clients"]]
    row["operations"] = [_operation(operation) for operation in row["operations"]]
    return _make(Family, row)
