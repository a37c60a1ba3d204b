"""Loads the catalog: finds the data files, reads them through the schema, and names what was read."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from boundlint.catalog import compiled
from boundlint.catalog.model import Catalog, Client, Family, Operation
from boundlint.catalog.schema import CatalogError, Place, parse_family, parse_operation, table_places

__all__ = [
    "CatalogError",
    "Place",
    "catalog_digest",
    "load_catalog",
    "load_family",
    "parse_operation",
    "shipped_files",
    "table_places",
]


def shipped_files() -> tuple[Path, ...]:
    """The data files that come with boundlint, sorted by name."""
    return tuple(sorted(Path(__file__).parent.glob("*.toml")))


def load_family(path: Path) -> Family:
    """One data file. Raises `CatalogError` where it cannot be read or does not follow the schema."""
    return _parse(str(path), _read(path))


def load_catalog(extra_files: Iterable[Path] = (), extra_operations: Iterable[Operation] = ()) -> Catalog:
    """The family `project` of `extra_operations`, the families of `extra_files`, then the shipped ones.

    The project may describe a shipped operation anew: readers take the first entry of a target.  Raises
    `CatalogError` where a file cannot be used, or two files describe one family or one operation.
    """
    shipped = [(path, _read(path)) for path in shipped_files()]
    extra = [(path, _read(path)) for path in extra_files]
    operations = tuple(extra_operations)
    families = [*(_parse(str(path), content) for path, content in extra), *_shipped(shipped)]
    if extra:
        _check_unique(families)
    if operations:
        project = _project_family(families, operations)
        _check_unique([project])
        families.insert(0, project)
    digest = _digest([*extra, *shipped])
    digest.update(repr(operations).encode())
    return Catalog(tuple(families), digest.hexdigest()[:32])


def shipped_key() -> str:
    """The name under which the shipped data is compiled: new with the data and with the schema's code."""
    return _key([(path, _read(path)) for path in shipped_files()])


def _key(contents: Sequence[tuple[Path, bytes]]) -> str:
    digest = _digest(contents)
    digest.update(compiled.code_key())
    return digest.hexdigest()


def _shipped(contents: Sequence[tuple[Path, bytes]]) -> tuple[Family, ...]:
    key = _key(contents)
    families = compiled.read(key)
    if families is None:
        # shown from the package's root, so that the compiled copy holds wherever it is installed
        families = tuple(_parse(f"boundlint/catalog/{path.name}", content) for path, content in contents)
        _check_unique(families)
        compiled.write(key, families)
    return families


def _digest(contents: Iterable[tuple[Path, bytes]]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for path, content in contents:
        digest.update(path.name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    return digest


def catalog_digest(catalog: Catalog) -> str:
    """32 hex digits that change whenever the catalog says something else."""
    return catalog.digest or hashlib.sha256(repr(catalog.families).encode()).hexdigest()[:32]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CatalogError(str(path), 0, f"cannot be read: {error.strerror or error}") from error


def _parse(path: str, content: bytes) -> Family:
    # needed only where no compiled copy is at hand
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CatalogError(path, line, "is not UTF-8 text") from error
    text = text.replace("\r\n", "\n")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line (\d+)", str(error))
        line = int(match[1]) if match else len(text.splitlines())
        raise CatalogError(path, line, f"is not valid TOML: {error}") from error
    return parse_family(data, text, path)


def _project_family(families: Iterable[Family], operations: tuple[Operation, ...]) -> Family:
    known = {name for family in families for client in family.clients for name in client.types}
    clients: dict[str, Client] = {}
    for operation in operations:
        if operation.form != "method":
            continue
        owner, twin = operation.target.rpartition(".")[0], operation.twin.rpartition(".")[0]
        types = tuple(dict.fromkeys(path for path in (owner, twin) if path and path not in known))
        if types and owner not in clients:
            clients[owner] = Client(types=types, source=operation.source)
    return Family("project", "This project's own operations", (), tuple(clients.values()), operations)


def _check_unique(families: Iterable[Family]) -> None:
    names: dict[str, Family] = {}
    targets: dict[tuple[str, str], Operation] = {}
    for family in families:
        if family.name in names:
            message = f"the family {family.name!r} is already described by {names[family.name].source}"
            raise CatalogError(family.source, 1, message)
        names[family.name] = family
        for operation in family.operations:
            other = targets.setdefault((operation.target, operation.versions), operation)
            if other is not operation:
                path, _, line = operation.source.rpartition(":")
                message = f"{operation.target!r} is described twice (first at {other.source})"
                raise CatalogError(path or operation.source, int(line) if line.isdigit() else 0, message)
