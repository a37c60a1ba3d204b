"""sqlite3 and aiosqlite. The C classes refuse replacement: connections are made of watched subclasses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.sql import Sql
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

Judged = tuple[Operation, Active]
METHODS = ("cursor", "execute", "executemany", "executescript")
STYLE = ("sqlite", "qmark")  # dialect and paramstyle
METHODS = ("cursor", "execute", "executemany", "executescript")
FACTORY = 5  # the position of `factory` among the arguments of sqlite3.connect


@lru_cache(maxsize=2048)
def _operation(method: str, text: str) -> Operation:
    return catalog.operation("sqlite3", f"sqlite3.Connection.{method}", "database", dbapi.effect_of(text))


@lru_cache(maxsize=2048)
def _changes_schema(text: str) -> bool:
    return dbapi.changes_schema(text, *STYLE)


def _rows(connection: Any, text: str) -> Iterable[Sequence[Any]]:
    return sqlite3.Cursor(connection).execute(text).fetchall()


def _classes(monitor: Monitor, patcher: Patcher) -> Any:
    """A function that gives the watched subclass of a connection class."""
    # on the way of every access: what it needs is looked up once
    claimed, judged_above = monitor.claimed.get, monitor.handed.get
    marks, (passes, keep) = monitor.watcher.canaries.known, dbapi.keeping(monitor)
    new_cursor, c_execute = sqlite3.Connection.cursor, sqlite3.Cursor.execute

    def above(text: str) -> bool:
        """Whether a client above has judged this statement."""
        if claimed():
            return not _changes_schema(text)
        return monitor.hands_down and monitor.take_judged(text)

    def judge(connection: Any, method: str, text: str, parameters: Any, many: bool) -> Judged | None:
        """Gives what the rows are to be compared with."""
        __tracebackhide__ = True
        try:
            schema = connection._boundlint_schema
            if schema is None:
                schema = connection._boundlint_schema = dbapi.Schema()
            if not many:
                judged: Judged | None = passes(text, parameters, schema, False)
                if judged is not None:
                    return judged
            operation = _operation(method, text)
            active = None if many else dbapi.known(monitor, operation, schema, text, parameters)
            if active is None:
                sql = Sql(text, parameters, *STYLE, many)
                active = dbapi.before(monitor, operation, sql, schema, lambda text: _rows(connection, text))
                if active is None:
                    return None
            judged = (operation, active)
            if not many:
                keep(text, parameters, schema, schema, operation, active, given=judged)
            return judged
        except Exception as error:
            patcher.failed(error)
            return None

    def compare(cursor: Any, judged: Judged, rows: Sequence[Any]) -> None:
        __tracebackhide__ = True
        try:
            columns = cursor.description
            operation, active = judged
            if not active.memo.get(columns, True) and not marks:  # nothing in them says whose they are
                return
            if columns is None:
                return
            if cursor.row_factory is not None:
                names = dbapi.names_of(columns)
                rows = [
                    tuple([row.get(name) for name in names]) if isinstance(row, dict) else row
                    for row in rows
                    if isinstance(row, (tuple, dict, sqlite3.Row))
                ]
            if not dbapi.own(monitor, active, columns, rows):
                dbapi.rows(monitor, operation, active, columns, rows)
        except Exception as error:
            patcher.failed(error)

    @lru_cache(maxsize=32)
    def cursors(base: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
        execute, executemany, executescript = base.execute, base.executemany, base.executescript
        fetchone, fetchmany, fetchall, following = base.fetchone, base.fetchmany, base.fetchall, base.__next__

        class Cursor(base):  # type: ignore[valid-type, misc]
            _boundlint: Judged | None = None

            def execute(self, sql: str, /, *parameters: Any) -> Any:
                __tracebackhide__ = True
                if self._boundlint is not None:
                    self._boundlint = None
                # `above`, without the call
                if claimed():
                    done = not _changes_schema(sql)
                else:
                    handed = judged_above() if monitor.hands_down else None
                    done = bool(handed and handed[0] == sql)
                    if handed and done:
                        handed.clear()
                if not done:
                    given = parameters[0] if parameters else ()
                    self._boundlint = judge(self.connection, "execute", sql, given, False)
                execute(self, sql, *parameters)  # to some subclasses none is another thing than ()
                return self

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
                __tracebackhide__ = True
                sets = list(parameters)
                if self._boundlint is not None:
                    self._boundlint = None
                if not above(sql):
                    self._boundlint = judge(self.connection, "executemany", sql, sets, True)
                executemany(self, sql, sets)
                return self

            def executescript(self, script: str, /) -> Any:
                __tracebackhide__ = True
                if self._boundlint is not None:
                    self._boundlint = None
                if not above(script):
                    self._boundlint = judge(self.connection, "executescript", script, (), False)
                executescript(self, script)
                return self

            def fetchone(self) -> Any:
                __tracebackhide__ = True
                row = fetchone(self)
                if row is not None and self._boundlint is not None:
                    compare(self, self._boundlint, (row,))
                return row

            def fetchmany(self, *size: Any, **named: Any) -> Any:
                __tracebackhide__ = True
                rows = fetchmany(self, *size, **named)
                if rows and self._boundlint is not None:
                    compare(self, self._boundlint, rows)
                return rows

            def fetchall(self) -> Any:
                __tracebackhide__ = True
                rows = fetchall(self)
                if rows and self._boundlint is not None:
                    compare(self, self._boundlint, rows)
                return rows

            def __next__(self) -> Any:
                __tracebackhide__ = True
                row = following(self)
                if self._boundlint is not None:
                    compare(self, self._boundlint, (row,))
                return row

        return Cursor

    plain: Any = cursors(sqlite3.Cursor)

    class Connection(sqlite3.Connection):
        """Stands right above the C class, below what the application makes of it."""

        _boundlint_schema: dbapi.Schema | None = None

        def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
            if factory is sqlite3.Cursor:
                return new_cursor(self, plain)
            return new_cursor(self, cursors(factory) if isinstance(factory, type) else factory)

        # the C methods make a plain cursor of their own
        def execute(self, sql: str, /, *parameters: Any) -> Any:
            __tracebackhide__ = True
            cursor: Any = new_cursor(self, plain)
            if not ((claimed() or monitor.hands_down) and above(sql)):
                given = parameters[0] if parameters else ()
                cursor._boundlint = judge(self, "execute", sql, given, False)
            return c_execute(cursor, sql, *parameters)

        def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
            __tracebackhide__ = True
            return new_cursor(self, plain).executemany(sql, parameters)

        def executescript(self, script: str, /) -> Any:
            __tracebackhide__ = True
            return new_cursor(self, plain).executescript(script)

    @lru_cache(maxsize=32)
    def connections(base: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
        if base is sqlite3.Connection:
            return Connection
        # a method of the application's that asks C by name, not by `super()`, would pass by the hooks
        instead = {
            name: vars(Connection)[name]
            for name in METHODS
            if (code := getattr(getattr(base, name), "__code__", None))
            and "__class__" not in code.co_freevars
        }
        return type("Connection", (base, Connection), instead)

    return connections


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Replace `connect`: each connection is an instance of a watched subclass of the class asked for."""
    connections = _classes(monitor, patcher)

    def make(original: Any) -> Any:
        def connect(*args: Any, **kwargs: Any) -> Any:
            if len(args) > FACTORY:
                watched = connections(args[FACTORY])
                return original(*args[:FACTORY], watched, *args[FACTORY + 1 :], **kwargs)
            base = kwargs.pop("factory", sqlite3.Connection)
            return original(*args, factory=connections(base), **kwargs)

        return connect

    patcher.replace(module, "connect", make)


def install_async(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """aiosqlite runs sqlite3 in a thread of its own: carry there who asks."""

    def make(original: Any) -> Any:
        async def execute(owner: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            return await original(owner, monitor.carried(function), *args, **kwargs)

        return execute

    patcher.replace(module.Connection, "_execute", make)


SEAMS = (
    Seam("sqlite3", "sqlite3", {"sqlite3.dbapi2": install, "sqlite3": install}),
    Seam("aiosqlite", "aiosqlite", {"aiosqlite.core": install_async}),
)
