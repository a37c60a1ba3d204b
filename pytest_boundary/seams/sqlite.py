"""sqlite3 and aiosqlite. The C classes refuse replacement: connections are made of watched subclasses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

from pytest_boundary import UnscopedAccess, catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.sql import Sql
from pytest_boundary.monitor import Monitor, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

FACTORY = 5  # the position of `factory` among the arguments of sqlite3.connect


@lru_cache(maxsize=64)
def _operation(method: str, effect: str) -> Operation:
    return catalog.operation("sqlite3", f"sqlite3.Connection.{method}", "database", effect)


def _query(connection: Any) -> dbapi.Query:
    def query(text: str) -> Iterable[Sequence[Any]]:
        return sqlite3.Cursor(connection).execute(text).fetchall()

    return query


def _classes(monitor: Monitor, patcher: Patcher) -> Any:
    """A function that gives the watched subclass of a connection class."""

    def guarded(hook: Any, *args: Any) -> Any:
        __tracebackhide__ = True
        try:
            return hook(*args)
        except UnscopedAccess:
            raise
        except Exception as error:
            monitor.fault(patcher.seam, error)
            return None

    def judge(cursor: Any, method: str, text: str, parameters: Any, many: bool) -> Active | None:
        __tracebackhide__ = True
        if monitor.take_judged(text):
            return None
        connection = cursor.connection
        schema = vars(connection).setdefault("_boundlint_schema", dbapi.Schema())
        operation = _operation(method, dbapi.effect_of(text))
        sql = Sql(text, parameters, "sqlite", "qmark", many)
        active = dbapi.before(monitor, operation, sql, schema, _query(connection))
        cursor._boundlint_operation = operation
        return active

    def compare(cursor: Any, rows: Sequence[Any]) -> None:
        __tracebackhide__ = True
        active = cursor._boundlint_active
        if cursor.description is None:
            return
        names = [column[0] for column in cursor.description]
        plain = [
            tuple(row.get(name) for name in names) if isinstance(row, dict) else row
            for row in rows
            if isinstance(row, (tuple, dict, sqlite3.Row))
        ]
        dbapi.rows(monitor, cursor._boundlint_operation, active, names, plain)

    @lru_cache(maxsize=32)
    def cursors(base: type[sqlite3.Cursor]) -> type[sqlite3.Cursor]:
        class Cursor(base):  # type: ignore[valid-type, misc]
            _boundlint_active: Active | None = None

            def execute(self, sql: str, /, *parameters: Any) -> Any:
                __tracebackhide__ = True
                self._boundlint_active = guarded(judge, self, "execute", sql, *(parameters or ((),)), False)
                super().execute(sql, *parameters)  # to some subclasses none is another thing than ()
                return self

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
                __tracebackhide__ = True
                sets = list(parameters)
                self._boundlint_active = guarded(judge, self, "executemany", sql, sets, True)
                super().executemany(sql, sets)
                return self

            def executescript(self, script: str, /) -> Any:
                __tracebackhide__ = True
                guarded(judge, self, "executescript", script, (), False)
                super().executescript(script)
                return self

            def fetchone(self) -> Any:
                __tracebackhide__ = True
                row = super().fetchone()
                if row is not None and self._boundlint_active is not None:
                    guarded(compare, self, [row])
                return row

            def fetchmany(self, *size: Any, **named: Any) -> Any:
                __tracebackhide__ = True
                rows = super().fetchmany(*size, **named)
                if self._boundlint_active is not None:
                    guarded(compare, self, rows)
                return rows

            def fetchall(self) -> Any:
                __tracebackhide__ = True
                rows = super().fetchall()
                if self._boundlint_active is not None:
                    guarded(compare, self, rows)
                return rows

            def __next__(self) -> Any:
                __tracebackhide__ = True
                row = super().__next__()
                if self._boundlint_active is not None:
                    guarded(compare, self, [row])
                return row

        return Cursor

    @lru_cache(maxsize=32)
    def connections(base: type[sqlite3.Connection]) -> type[sqlite3.Connection]:
        class Connection(base):  # type: ignore[valid-type, misc]
            def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
                made = cursors(factory) if isinstance(factory, type) else factory
                return super().cursor(made)

            # the C methods make a plain cursor of their own
            def execute(self, sql: str, /, *parameters: Any) -> Any:
                __tracebackhide__ = True
                return self.cursor().execute(sql, *parameters)

            def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
                __tracebackhide__ = True
                return self.cursor().executemany(sql, parameters)

            def executescript(self, script: str, /) -> Any:
                __tracebackhide__ = True
                return self.cursor().executescript(script)

        return Connection

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
