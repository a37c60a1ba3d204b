"""The fact cache on disk: text rows under digest keys in SQLite. Changes when the storage changes.

A cache may be lost at any time and is never believed without proof: each row carries a checksum over the
stamp, its key and its payload.  Whatever is wrong with the file (damaged, foreign, locked, read-only), the
caller sees missing rows, not an exception; `Cache.problem` says why.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

CACHE_DIRECTORY = ".boundlint_cache"
DATABASE = "facts.sqlite3"
TAG = "CACHEDIR.TAG"
TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache directory that boundlint created; deleting it is safe.\n"
)
IGNORE = ".gitignore"
IGNORE_TEXT = "# Made by boundlint.\n*\n"

_APPLICATION_ID = 0x626E646C  # "bndl": a database of anybody else is not ours to read
_SCHEMA = 1
_BUSY_SECONDS = 2.0
_CHUNK = 500  # SQLite before 3.32 takes at most 999 parameters
_PAGE_BYTES = 16384  # rows of some kB: measured 30 % faster to read than the default of 4096
_SIDE_FILES = ("-journal", "-wal", "-shm")

T = TypeVar("T")


class Cache:
    """Rows of text under string keys.  Use it in the process and thread that opened it; do not fork with it.

    `problem` is "" while the cache works, else one sentence that says why it is not read or not written.
    """

    def __init__(self, path: Path, stamp: str) -> None:
        self.problem = ""
        self._path = path
        self._stamp = stamp.encode("utf-8", "surrogatepass")
        self._connection: sqlite3.Connection | None = None
        self._writable = True

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get_many(self, keys: Sequence[str]) -> dict[str, str]:
        """The stored payloads of those keys that are present and intact; any other key is left out."""
        return self._guarded(lambda connection: self._read(connection, keys), {})

    def put_many(self, rows: Mapping[str, str]) -> None:
        """Store the rows in one transaction, all or none; a cache that cannot be written is left alone."""
        if not rows or not self._writable:
            return
        prepared = []
        for key, text in rows.items():
            payload = text.encode("utf-8", "surrogatepass")
            prepared.append((key, payload, self._checksum(key, payload)))

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", prepared)

        self._guarded(write, None, writing=True)

    def prune(self, keep: Collection[str]) -> None:
        """Delete every row whose key is not in `keep`."""
        if not self._writable:
            return
        wanted = set(keep)

        def delete(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                stored = connection.execute("SELECT key FROM facts").fetchall()
                stale = [(key,) for (key,) in stored if key not in wanted]
                connection.executemany("DELETE FROM facts WHERE key = ?", stale)

        self._guarded(delete, None, writing=True)

    def close(self) -> None:
        """Let go of the file; the cache answers nothing afterwards."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _checksum(self, key: str, payload: bytes) -> bytes:
        # The stamp is part of it, so that a row which an older version writes late never verifies.
        head = b"%d:%s:%s\0" % (len(self._stamp), self._stamp, key.encode("utf-8", "surrogatepass"))
        digest = hashlib.sha256(head, usedforsecurity=False)
        digest.update(payload)
        return digest.digest()[:16]

    def _read(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = list(keys[start : start + _CHUNK])
            marks = ",".join("?" * len(chunk))
            query = f"SELECT key, payload, checksum FROM facts WHERE key IN ({marks})"
            for key, payload, checksum in connection.execute(query, chunk):
                # SQLite columns hold any type: in a tampered file the types are not what we wrote.
                if not (isinstance(key, str) and isinstance(payload, bytes)):
                    continue
                if checksum == self._checksum(key, payload):
                    found[key] = payload.decode("utf-8", "surrogatepass")
        return found

    def _guarded(
        self, action: Callable[[sqlite3.Connection], T], otherwise: T, *, writing: bool = False
    ) -> T:
        if self._connection is None:
            return otherwise
        try:
            return action(self._connection)
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            if writing and not _is_damage(error):
                self._writable = False  # what is stored can still be read
                self.problem = f"the cache {self._path} is not written: {error}"
            else:
                self._give_up(error)
            return otherwise

    def _give_up(self, error: Exception) -> None:
        self.close()
        self.problem = f"the cache {self._path} is not used: {error}"
        if _is_damage(error) and self._writable:
            with suppress(OSError):
                _remove_database(self._path)

    def _open(self) -> None:
        try:
            self._connection = _connect(self._path, self._stamp, writable=True)
        except (sqlite3.Error, OSError, ValueError) as error:
            if not _is_damage(error):
                self._open_read_only(error)
                return
            try:
                _remove_database(self._path)
                self._connection = _connect(self._path, self._stamp, writable=True)
            except (sqlite3.Error, OSError, ValueError) as second:
                self._give_up(second)

    def _open_read_only(self, reason: Exception) -> None:
        self._writable = False
        try:
            self._connection = _connect(self._path, self._stamp, writable=False)
        except (sqlite3.Error, OSError, ValueError):
            self._give_up(reason)


def open_cache(directory: Path, stamp: str) -> Cache:
    """Open, or make, the cache in `directory`.  Never raises: see `Cache.problem`.

    `stamp` names everything that the meaning of all rows depends on (tool version, schema of the payloads);
    rows written under another stamp are dropped.
    """
    cache = Cache(directory / DATABASE, stamp)
    try:
        _prepare(directory)
    except OSError as error:
        cache.problem = f"the cache {directory} is not used: {error}"
        return cache
    cache._open()
    return cache


def remove_cache(directory: Path) -> bool:
    """Delete the cache in `directory` and say whether there was one.

    Only files that boundlint makes are deleted, and the directory only when nothing else is in it.
    Raises OSError where the file system refuses.
    """
    if directory.is_symlink() or not (directory / TAG).is_file():
        return False
    _remove_database(directory / DATABASE)
    for name in (IGNORE, TAG):
        (directory / name).unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()
    return True


def _prepare(directory: Path) -> None:
    # A linted project could plant a link, and would then choose where we write.
    if directory.is_symlink():
        raise OSError("it is a symbolic link")
    directory.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        # A directory with other things in it is somebody's: git shall not ignore those.
        names = {entry.name for entry in directory.iterdir()}
        if names <= {IGNORE, TAG} and len(names) < 2:
            for name, text in ((IGNORE, IGNORE_TEXT), (TAG, TAG_TEXT)):
                with suppress(FileExistsError), (directory / name).open("x", encoding="utf-8") as file:
                    file.write(text)


def _connect(path: Path, stamp: bytes, *, writable: bool) -> sqlite3.Connection:
    if path.exists() and not path.is_file():
        raise OSError("it is not a regular file")
    mode = "rwc" if writable else "ro"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        if writable:
            connection.execute("PRAGMA synchronous = OFF")  # a lost cache costs one cold run
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            with _transaction(connection):
                _create(connection, stamp)
        elif _identity(connection) != (_APPLICATION_ID, _SCHEMA) or _stored_stamp(connection) != stamp:
            raise ValueError("it was written by another version and cannot be renewed")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, stamp: bytes) -> None:
    """Bring an empty file to our schema and drop the rows of another stamp; raise on a foreign database."""
    with closing(connection.execute("SELECT count(*) FROM sqlite_master")) as cursor:
        tables = cursor.fetchone()[0]
    if tables == 0:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_SCHEMA}")
        connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, payload BLOB, checksum BLOB)")
        connection.execute("CREATE TABLE stamp (value BLOB)")
    elif _identity(connection) != (_APPLICATION_ID, _SCHEMA):
        raise _Foreign("it is not a cache of this version of boundlint")
    if _stored_stamp(connection) != stamp:
        connection.execute("DELETE FROM facts")
        connection.execute("DELETE FROM stamp")
        connection.execute("INSERT INTO stamp VALUES (?)", (stamp,))


class _Foreign(sqlite3.DatabaseError):
    """A sound database that boundlint did not make, or made with another schema."""


def _identity(connection: sqlite3.Connection) -> tuple[int, int]:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return int(application), int(connection.execute("PRAGMA user_version").fetchone()[0])


def _stored_stamp(connection: sqlite3.Connection) -> object:
    row = connection.execute("SELECT value FROM stamp").fetchone()
    return row[0] if row else None


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _is_damage(error: Exception) -> bool:
    """Whether the file itself is at fault, not its lock, its rights or a full disk."""
    if isinstance(error, sqlite3.OperationalError):
        # `sqlite_errorcode` is new in Python 3.11; the texts are stable.
        text = str(error)
        return any(
            part in text for part in ("no such", "has no column", "malformed", "disk I/O", "columns but")
        )
    return type(error) in (sqlite3.DatabaseError, sqlite3.IntegrityError, _Foreign)


def _remove_database(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        raise OSError(f"{path} is a directory")
    for name in (path.name, *(path.name + suffix for suffix in _SIDE_FILES)):
        path.with_name(name).unlink(missing_ok=True)
