"""asyncpg: connections (those of a pool call the same methods), prepared statements, cursors, COPY of records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from types import FrameType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.sql import Sql, tables
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

DIALECT = "postgresql"
POOL = "asyncpg.pool"

Call = tuple[str, Any, bool]  # text, arguments, whether these are many sets of them
State = tuple[Active, Operation]  # what the rows of a statement are compared with


@lru_cache(maxsize=128)
def _operation(target: str, effect: str) -> Operation:
    return catalog.operation("asyncpg", target, "database", effect)


class _Watch:
    """What the connections of one run share."""

    def __init__(self, patcher: Patcher, fetch: Callable[..., Any], record: type) -> None:
        self.patcher = patcher
        self.monitor = patcher.monitor
        self._record = record
        self._fetch = fetch  # the original: what it asks is not judged
        self._schemas: WeakKeyDictionary[Any, dbapi.Schema] = WeakKeyDictionary()
        # by connection, then by the name of the portal that a cursor has opened
        self._portals: WeakKeyDictionary[Any, dict[str, State]] = WeakKeyDictionary()

    async def judge(self, connection: Any, method: str, call: Call) -> State | None:
        """Judge a statement, unless a client above has; gives what its rows are to be compared with."""
        __tracebackhide__ = True
        if self.monitor.take_judged(call[0]):
            return None
        text, arguments, many = call
        operation = _operation(_target(sys._getframe(1), method), dbapi.effect_of(text))
        schema = self._schemas.get(connection)
        if schema is None:
            schema = self._schemas[connection] = dbapi.Schema()
        if not many:
            active = self.patcher.attempt(dbapi.known, self.monitor, operation, schema, text, arguments)
            if active is not None:
                return active, operation
        sql = Sql(text, arguments, DIALECT, "dollar", many)
        found = await self._columns(connection, schema, sql)
        active = self.patcher.attempt(dbapi.before, self.monitor, operation, sql, schema, found.__getitem__)
        return None if active is None else (active, operation)

    async def _columns(
        self, connection: Any, schema: dbapi.Schema, sql: Sql
    ) -> dict[str, list[Sequence[Any]]]:
        """What the schema will ask, asked beforehand: its query cannot wait."""
        found: dict[str, list[Sequence[Any]]] = {}
        try:
            for table in tables(sql):
                if not schema.knows(table):
                    text = dbapi.column_query(DIALECT, table)
                    found[text] = [tuple(row.values()) for row in await self._fetch(connection, text)]
        except Exception:  # an aborted transaction: the user's statement tells
            return found
        return found

    def opened(self, cursor: Any, state: State) -> None:
        """Remember for whom a cursor reads; its class has no room for it."""
        self._portals.setdefault(cursor._connection, {})[cursor._portal_name] = state

    def state(self, cursor: Any) -> State | None:
        """For whom a cursor reads, None where a client above compares the rows."""
        return self._portals.get(cursor._connection, {}).get(cursor._portal_name)

    def compare(self, state: State, result: Any) -> None:
        """Judge the records that came back: a list, one, or none."""
        __tracebackhide__ = True
        records = result if isinstance(result, list) else [result]
        records = [record for record in records if isinstance(record, self._record)]
        if records:
            active, operation = state
            rows = [tuple(record.values()) for record in records]
            dbapi.rows(self.monitor, operation, active, list(records[0].keys()), rows)


def _target(frame: FrameType, method: str) -> str:
    """The method that the user called; one of a pool calls that of a connection."""
    for _ in range(4):
        if frame.f_back is None:
            break
        frame = frame.f_back
        if frame.f_globals.get("__name__") == POOL and frame.f_code.co_name == method:
            return f"asyncpg.Pool.{method}"
    return f"asyncpg.Connection.{method}"


def _sets(arguments: Any) -> Any:
    """The sets of arguments of `executemany`, which may be an iterator."""
    return arguments if hasattr(arguments, "__aiter__") else list(arguments)


def _query(text: Any, arguments: tuple[Any, ...]) -> Call:
    return str(text), arguments, False


def _many(text: str, sets: Any) -> Call:
    return (text, sets, True) if isinstance(sets, list) else (text, (), False)


def _records(table: str, records: Any, columns: Sequence[str] | None) -> Call:
    """`copy_records_to_table` as the INSERT that it stands for."""
    names = f" ({', '.join(columns)})" if columns else ""
    width = len(records[0]) if isinstance(records, list) and records else len(columns or ())
    places = ", ".join(f"${number}" for number in range(1, width + 1))
    return _many(
        f"INSERT INTO {table}{names} " + (f"VALUES ({places})" if places else "DEFAULT VALUES"), records
    )


def _put(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str) -> tuple[Any, Any, Any]:
    """An argument that may be an iterator, as a list; gives it with the arguments that hold it."""
    if len(args) > position:
        value = _sets(args[position])
        return value, (*args[:position], value, *args[position + 1 :]), kwargs
    value = _sets(kwargs[name])
    return value, args, {**kwargs, name: value}


Read = Callable[[Any, Any, Any], "tuple[Any, Call, Any, Any]"]  # the connection, the call, args and kwargs


def _connection_query(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    return self, _query(args[0] if args else kwargs["query"], args[1:]), args, kwargs


def _connection_many(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    text = args[0] if args else kwargs.get("command", kwargs.get("query"))
    sets, args, kwargs = _put(args, kwargs, 1, "args")
    return self, _many(str(text), sets), args, kwargs


def _connection_table(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    return self, _query(f"SELECT * FROM {args[0] if args else kwargs['table_name']}", ()), args, kwargs


def _connection_records(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    records = _sets(kwargs["records"])
    table = args[0] if args else kwargs["table_name"]
    call = _records(table, records, kwargs.get("columns"))
    return self, call, args, {**kwargs, "records": records}


def _prepared(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    return self._connection, _query(self._query, args), args, kwargs


def _prepared_many(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    sets, args, kwargs = _put(args, kwargs, 0, "args")
    return self._connection, _many(self._query, sets), args, kwargs


def _cursor(self: Any, args: Any, kwargs: Any) -> tuple[Any, Call, Any, Any]:
    return self._connection, _query(self._query, self._args), args, kwargs


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch `Connection`, whose methods the connections of a pool call, prepared statements and cursors."""
    connection, cursor = module.connection.Connection, module.cursor.BaseCursor
    prepared = module.prepared_stmt.PreparedStatement
    if "fetch" not in vars(connection):
        raise patcher.broken("Connection.fetch not found")
    watch = _Watch(patcher, vars(connection)["fetch"], module.Record)

    def judging(owner: Any, method: str, read: Read, target: str = "") -> None:
        def make(original: Any) -> Any:
            @wraps(original)
            async def judged(self: Any, *args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                state = None
                if not monitor.claimed.get():
                    understood = patcher.attempt(read, self, args, kwargs)
                    if understood is not None:
                        on, call, args, kwargs = understood
                        state = await watch.judge(on, target or method, call)
                result = await original(self, *args, **kwargs)
                if state is not None:
                    if owner is cursor:
                        watch.opened(self, state)
                    patcher.attempt(watch.compare, state, result)
                return result

            return judged

        patcher.replace(owner, method, make)

    def fetching(original: Any) -> Any:
        @wraps(original)
        async def fetched(self: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            result = await original(self, *args, **kwargs)
            state = watch.state(self)
            if state is not None:
                patcher.attempt(watch.compare, state, result)
            return result

        return fetched

    for method in ("fetch", "fetchrow", "fetchval"):
        judging(connection, method, _connection_query)
        judging(prepared, method, _prepared, "prepare")
    for method in ("executemany", "fetchmany"):
        if method in vars(connection) or method != "fetchmany":  # fetchmany is new in 0.30
            judging(connection, method, _connection_many)
            judging(prepared, method, _prepared_many, "prepare")
    for method, read in (
        ("execute", _connection_query),
        ("copy_from_query", _connection_query),
        ("copy_from_table", _connection_table),
        ("copy_records_to_table", _connection_records),
    ):
        judging(connection, method, read)
    for method in ("_bind_exec", "_bind"):
        judging(cursor, method, _cursor, "cursor")
    patcher.replace(cursor, "_exec", fetching)
    # what a pool runs when a connection is given back
    patcher.wrap(connection, "reset", lambda *_: None, claims=True)


SEAM = Seam("asyncpg", "asyncpg", {"asyncpg": install})
