"""psycopg2. The C classes refuse replacement: connections and cursors are made of watched subclasses."""

from __future__ import annotations

import re
import sys
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

DIALECT = "postgresql"
HELPERS = frozenset({"execute_values", "execute_batch"})  # of psycopg2.extras: they run texts of their own
COPY = re.compile(r"\s*copy\s+(?:\((?P<query>.*)\)|(?P<table>[\w.\"]+)\s*(?:\([^)]*\))?)\s+to\b", re.I | re.S)


@lru_cache(maxsize=64)
def _operation(target: str, effect: str) -> Operation:
    return catalog.operation("psycopg2", target, "database", effect)


def _target(method: str) -> str:
    """What the user called: a helper, or the cursor's own method."""
    frame = sys._getframe(2)
    for _ in range(6):
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "psycopg2.extras" and frame.f_code.co_name in HELPERS:
            return f"psycopg2.extras.{frame.f_code.co_name}"
    return f"psycopg2.extensions.cursor.{method}"


def _text(query: Any, cursor: Any) -> str:
    if hasattr(query, "as_string"):
        query = query.as_string(cursor)
    return query.decode("utf-8", "replace") if isinstance(query, bytes) else str(query)


def _copied(text: str) -> str:
    """The query whose rows a `COPY … TO` gives; "" for a `COPY … FROM`, whose rows nobody here sees."""
    match = COPY.match(text)
    if match is None:
        return ""
    return match["query"] or f"SELECT * FROM {match['table']}"


def _classes(extensions: ModuleType, monitor: Monitor, patcher: Patcher) -> Any:
    """A function that gives the watched subclass of a connection class."""

    def query(connection: Any) -> dbapi.Query:
        def run(text: str) -> Iterable[Sequence[Any]]:
            if connection.async_:  # nothing can be asked in between
                return ()
            with extensions.connection.cursor(connection, cursor_factory=extensions.cursor) as own:
                own.execute(text)
                found: list[Sequence[Any]] = own.fetchall()
                return found

        return run

    def judge(cursor: Any, method: str, statement: Any, parameters: Any, many: bool) -> Active | None:
        __tracebackhide__ = True
        text = _copied(_text(statement, cursor)) if method == "copy_expert" else _text(statement, cursor)
        if monitor.claimed.get() or not text or monitor.take_judged(text):
            return None
        connection = cursor.connection
        schema = vars(connection).setdefault("_boundlint_schema", dbapi.Schema())
        operation = _operation(_target(method), dbapi.effect_of(text))
        cursor._boundlint_operation = operation
        parameters = () if parameters is None else parameters
        active = None if many else dbapi.known(monitor, operation, schema, text, parameters)
        if active is None:
            sql = Sql(text, parameters, DIALECT, "pyformat", many)
            active = dbapi.before(monitor, operation, sql, schema, query(connection))
        return active

    def compare(cursor: Any, found: Sequence[Any]) -> None:
        __tracebackhide__ = True
        if cursor.description is None:
            return
        names = [column.name for column in cursor.description]
        rows = [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in found]
        dbapi.rows(monitor, cursor._boundlint_operation, cursor._boundlint_active, names, rows)

    class Cursor(extensions.cursor):  # type: ignore[misc, name-defined]
        """Stands right above the C class, below all that a project or `psycopg2.extras` makes of it."""

        _boundlint_active: Active | None = None

        def execute(self, query: Any, vars: Any = None) -> Any:
            __tracebackhide__ = True
            self._boundlint_active = patcher.attempt(judge, self, "execute", query, vars, False)
            return super().execute(query, vars)

        def executemany(self, query: Any, vars_list: Any) -> Any:
            __tracebackhide__ = True
            sets = list(vars_list)
            self._boundlint_active = patcher.attempt(judge, self, "executemany", query, sets, True)
            return super().executemany(query, sets)

        def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            patcher.attempt(judge, self, "copy_expert", sql, None, False)
            return super().copy_expert(sql, *args, **kwargs)

        def copy_to(self, file: Any, table: str, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            patcher.attempt(judge, self, "copy_to", f"SELECT * FROM {table}", None, False)
            return super().copy_to(file, table, *args, **kwargs)

        def fetchone(self) -> Any:
            __tracebackhide__ = True
            row = super().fetchone()
            if row is not None and self._boundlint_active is not None:
                patcher.attempt(compare, self, [row])
            return row

        def fetchmany(self, *size: Any, **named: Any) -> Any:
            __tracebackhide__ = True
            rows = super().fetchmany(*size, **named)
            if self._boundlint_active is not None:
                patcher.attempt(compare, self, rows)
            return rows

        def fetchall(self) -> Any:
            __tracebackhide__ = True
            rows = super().fetchall()
            if self._boundlint_active is not None:
                patcher.attempt(compare, self, rows)
            return rows

        def __next__(self) -> Any:
            __tracebackhide__ = True
            row = super().__next__()
            if self._boundlint_active is not None:
                patcher.attempt(compare, self, [row])
            return row

    @lru_cache(maxsize=64)
    def cursors(base: type) -> type:
        if base is extensions.cursor or issubclass(base, Cursor):
            return Cursor if base is extensions.cursor else base
        return type(base.__name__, (base, Cursor), {})

    class Connection(extensions.connection):  # type: ignore[misc, name-defined]
        """The same for connections."""

        def cursor(self, name: Any = None, cursor_factory: Any = None, *args: Any, **kwargs: Any) -> Any:
            factory = cursor_factory or self.cursor_factory or extensions.cursor
            if isinstance(factory, type):
                factory = cursors(factory)
            made = super().cursor(name, factory, *args, **kwargs)
            if not isinstance(made, Cursor):
                monitor.fault(patcher.seam, TypeError(f"the cursors of {factory!r} are not watched"))
            return made

    @lru_cache(maxsize=64)
    def connections(base: type) -> type:
        if base is extensions.connection or issubclass(base, Connection):
            return Connection if base is extensions.connection else base
        return type(base.__name__, (base, Connection), {})

    return connections


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Replace `connect`: each connection is an instance of a watched subclass of the class asked for."""
    extensions = sys.modules["psycopg2.extensions"]
    connections = _classes(extensions, monitor, patcher)

    def make(original: Any) -> Any:
        def connect(
            dsn: Any = None, connection_factory: Any = None, cursor_factory: Any = None, **kwargs: Any
        ) -> Any:
            factory = connection_factory or extensions.connection
            watched = connections(factory) if isinstance(factory, type) else factory
            made = original(dsn, connection_factory=watched, cursor_factory=cursor_factory, **kwargs)
            if not isinstance(made, connections(extensions.connection)):
                monitor.fault(patcher.seam, TypeError(f"the connections of {factory!r} are not watched"))
            return made

        return connect

    patcher.replace(module, "connect", make)


SEAM = Seam("psycopg2", "psycopg2", {"psycopg2": install})
