"""psycopg 3: the cursor classes, sync and async, with their server-side subclasses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.sql import Sql, tables
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

DIALECT = "postgresql"


class _Watch:
    """What the cursors of one run share: the schema of each connection's database."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self._schemas: WeakKeyDictionary[Any, dbapi.Schema] = WeakKeyDictionary()

    def schema(self, cursor: Any) -> dbapi.Schema:
        """That of the cursor's connection."""
        return self._schemas.setdefault(cursor.connection, dbapi.Schema())

    def statement(self, cursor: Any, query: Any, parameters: Any, many: bool) -> Sql:
        """The statement as text: it may be composed, or bytes."""
        if hasattr(query, "as_string"):
            query = query.as_string(cursor)
        text = query.decode() if isinstance(query, bytes) else str(query)
        raw = "Raw" in type(cursor).__name__  # RawCursor: $1
        return Sql(
            text, () if parameters is None else parameters, DIALECT, "dollar" if raw else "pyformat", many
        )

    def judge(self, cursor: Any, method: str, sql: Sql, query: dbapi.Query) -> None:
        """Judge a statement, unless a client above has."""
        __tracebackhide__ = True
        if self.monitor.claimed.get() or self.monitor.take_judged(sql.text):
            return
        effect = dbapi.effect_of(sql.text)
        operation = catalog.operation("psycopg", f"psycopg.Cursor.{method}", "database", effect)
        dbapi.before(self.monitor, operation, sql, self.schema(cursor), query)

    def started(
        self, cursor: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]
    ) -> tuple[Active, list[str]] | None:
        """Before rows are fetched."""
        active = self.monitor.active()
        if active is None or not cursor.description:
            return None
        return active, [column.name for column in cursor.description]

    def fetched(self, state: tuple[Active, list[str]], result: Any) -> None:
        """After rows were fetched: one, or a list."""
        __tracebackhide__ = True
        active, names = state
        found = result if isinstance(result, list) else [] if result is None else [result]
        rows = [tuple(row.values()) if isinstance(row, dict) else row for row in found]
        operation = catalog.operation("psycopg", "psycopg.Cursor.execute", "database", "read")
        dbapi.rows(self.monitor, operation, active, names, [row for row in rows if isinstance(row, tuple)])


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch `Cursor` and `ServerCursor`, whose methods override it, and their async twins."""
    watch = _Watch(monitor)

    def judging(method: str, many: bool) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def execute(cursor: Any, query: Any, params: Any = None, *args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                sets = list(params) if many and params is not None else params

                def judge() -> None:
                    __tracebackhide__ = True
                    sql = watch.statement(cursor, query, sets, many)
                    watch.judge(cursor, method, sql, _query(module, cursor))

                patcher.attempt(judge)
                return original(cursor, query, sets, *args, **kwargs)

            return execute

        return make

    def judging_async(method: str, many: bool) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            async def execute(cursor: Any, query: Any, params: Any = None, *args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                sets = list(params) if many and params is not None else params
                sql = patcher.attempt(lambda: watch.statement(cursor, query, sets, many))
                if sql is not None and not monitor.claimed.get():
                    rows = await _columns(module, watch, cursor, sql)
                    patcher.attempt(lambda: watch.judge(cursor, method, sql, rows.__getitem__))
                return await original(cursor, query, sets, *args, **kwargs)

            return execute

        return make

    server, async_server = module.ServerCursor, module.AsyncServerCursor
    for owner in (module.Cursor, server):
        patcher.replace(owner, "execute", judging("execute", False))
        for method in ("fetchone", "fetchmany", "fetchall"):
            patcher.wrap(owner, method, watch.started, watch.fetched)
        patcher.wrap(owner, "__next__", watch.started, watch.fetched)
    patcher.replace(module.Cursor, "executemany", judging("executemany", True))
    patcher.replace(module.Cursor, "stream", judging("stream", False))
    for owner in (module.AsyncCursor, async_server):
        patcher.replace(owner, "execute", judging_async("execute", False))
        for method in ("fetchone", "fetchmany", "fetchall"):
            patcher.wrap(owner, method, watch.started, watch.fetched)
        patcher.wrap(owner, "__anext__", watch.started, watch.fetched)
    patcher.replace(module.AsyncCursor, "executemany", judging_async("executemany", True))


def _query(module: ModuleType, cursor: Any) -> dbapi.Query:
    def query(text: str) -> Iterable[Sequence[Any]]:
        with module.Cursor(cursor.connection, row_factory=module.rows.tuple_row) as own:
            found: list[Sequence[Any]] = own.execute(text).fetchall()
            return found

    return query


async def _columns(
    module: ModuleType, watch: _Watch, cursor: Any, sql: Sql
) -> dict[str, list[Sequence[Any]]]:
    """What the schema will ask, asked beforehand: the hooks of an async cursor cannot wait."""
    found: dict[str, list[Sequence[Any]]] = {}
    schema = watch.schema(cursor)
    token = watch.monitor.claimed.set(True)
    try:
        for table in tables(sql):
            if not schema.knows(table):
                text = dbapi.column_query(DIALECT, table)
                async with module.AsyncCursor(cursor.connection, row_factory=module.rows.tuple_row) as own:
                    await own.execute(text)
                    found[text] = await own.fetchall()
    except Exception:  # an aborted transaction: the user's statement tells
        return found
    finally:
        watch.monitor.claimed.reset(token)
    return found


SEAM = Seam("psycopg", "psycopg", {"psycopg": install})
