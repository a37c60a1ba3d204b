"""SQLAlchemy: where a connection runs a statement, the ORM's events, and the rows as they are fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any
from weakref import ref

from pytest_boundary import UnscopedAccess, catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.rows import foreign_attributes
from pytest_boundary.checks.sql import Sql
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.parents import held_parents
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

# The entry that the user called, by the file of SQLAlchemy that it stands in.
OWNERS = {
    "orm/session.py": "sqlalchemy.orm.Session",
    "orm/scoping.py": "sqlalchemy.orm.Session",
    "orm/query.py": "sqlalchemy.orm.Query",
    "engine/base.py": "sqlalchemy.Connection",
}
# where a connection of SQLAlchemy 2 runs a statement, batches of new rows, and the defaults of columns
EXECUTIONS = ("_exec_single_context", "_exec_insertmany_context", "_cursor_execute")
STATEMENT = ("sqlalchemy.Connection", "execute")
FLUSHING: ContextVar[bool] = ContextVar("boundlint_flushing", default=False)


@lru_cache(maxsize=256)
def _operation(owner: str, method: str, effect: str) -> Operation:
    return catalog.operation("sqlalchemy", f"{owner}.{method}", "database", effect)


def install_engine(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Judge each statement right before the cursor runs it, and each row when it is fetched."""
    folder = os.path.dirname(str(module.__file__)) + os.sep
    entries = _Entries(folder)
    operations = {effect: entries.operation(effect) for effect in ("read", "write", "delete")}
    schemas: dict[int, tuple[ref[Any], dbapi.Schema]] = {}
    passes, keep = dbapi.keeping(monitor)

    def schema_of(engine: Any) -> dbapi.Schema:
        known = schemas.get(id(engine))
        if known is None or known[0]() is not engine:
            known = schemas[id(engine)] = (ref(engine), dbapi.Schema())
        return known[1]

    def judge(connection: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        __tracebackhide__ = True
        operation = operations[dbapi.effect_of(statement)]
        schema = schema_of(connection.engine)
        by_key = FLUSHING.get()
        passed = None if many else dbapi.known(monitor, operation, schema, statement, parameters, by_key)
        if passed is None and not by_key and _loads(context):  # asked where it does not pass without
            by_key = True
            passed = None if many else dbapi.known(monitor, operation, schema, statement, parameters, by_key)
        if passed is not None and not many:
            keep(statement, parameters, connection.dialect, schema, operation, passed, by_key)
        if passed is None:
            dialect = connection.dialect
            sql = Sql(statement, parameters, dialect.name, dialect.paramstyle, many)
            dbapi.before(
                monitor,
                operation,
                sql,
                schema,
                lambda text: dbapi.ask(connection.connection, text),
                by_key=by_key,
                parents=lambda active: held_parents(monitor, active, _children, _loaded),
            )

    connection = module.engine.Connection
    if all(name in vars(connection) for name in EXECUTIONS):
        _watch_executions(connection, patcher, monitor, judge, passes)
    else:
        _listen(module.engine.Engine, patcher, monitor, judge)

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def fetch(strategy: Any, result: Any, cursor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            active = monitor.active()
            if active is None:
                return original(strategy, result, cursor, *args, **kwargs)
            columns = getattr(cursor, "description", None)  # beforehand: the last row closes the cursor
            found = original(strategy, result, cursor, *args, **kwargs)
            if found and columns:
                try:
                    if columns.__class__ is not tuple or columns[0].__class__ is not tuple:
                        columns = dbapi.names_of(columns)
                    rows = found if found.__class__ is list else _several(found)
                    if not dbapi.own(monitor, active, columns, rows):
                        operation = operations[dbapi.effect_of(result.context.statement or "")]
                        dbapi.rows(monitor, operation, active, columns, rows)
                except Exception as error:
                    patcher.failed(error)
            return found

        return fetch

    cursors = sys.modules["sqlalchemy.engine.cursor"]
    for strategy in (
        cursors.CursorFetchStrategy,
        cursors.BufferedRowCursorFetchStrategy,
        cursors.FullyBufferedCursorFetchStrategy,
    ):
        for method in ("fetchone", "fetchmany", "fetchall"):
            patcher.replace(strategy, method, make)


Judge = Callable[[Any, str, Any, Any, bool], None]  # connection, statement, parameters, context, many


def _watch_executions(
    owner: Any, patcher: Patcher, monitor: Monitor, judge: Judge, passes: dbapi.Passes
) -> None:
    """Judge in the methods where every statement of SQLAlchemy 2 passes.

    The event `before_cursor_execute` adds 12 µs to a Core select where this adds 7, and 3 of them stay for the rest of
    the process when its listener is removed (measured, docs/pytest.md).
    """

    claimed, hand_down = monitor.claimed.get, monitor.handed.set

    def refused(cursor: Any, error: Exception) -> None:
        __tracebackhide__ = True
        with suppress(Exception):  # what SQLAlchemy does where a cursor's execution fails
            cursor.close()
        patcher.failed(error)

    def single(original: Any) -> Any:
        def execute(connection: Any, dialect: Any, context: Any, *args: Any) -> Any:
            __tracebackhide__ = True
            if not claimed():
                try:
                    statement, parameters = context.statement, context.parameters
                    many = len(parameters) != 1
                    if not many:
                        parameters = parameters[0]
                    if many or passes(statement, parameters, connection.dialect, FLUSHING.get()) is None:
                        judge(connection, statement, parameters, context, many)
                    monitor.hands_down = True
                    hand_down([statement])  # what `judged` does, without the call
                except UnscopedAccess as error:
                    refused(context.cursor, error)
                except Exception as error:
                    patcher.failed(error)
            return original(connection, dialect, context, *args)

        return execute

    def batches(original: Any) -> Any:
        def execute(connection: Any, dialect: Any, context: Any) -> Any:
            """New rows in batches, each a statement of its own text: all are judged as one."""
            __tracebackhide__ = True
            if monitor.claimed.get():
                return original(connection, dialect, context)
            try:
                judge(connection, context.statement, context.parameters, context, True)
            except UnscopedAccess as error:
                refused(context.cursor, error)
            except Exception as error:
                patcher.failed(error)
            with monitor.claiming():
                return original(connection, dialect, context)

        return execute

    def default(original: Any) -> Any:
        def execute(
            connection: Any, cursor: Any, statement: str, parameters: Any, context: Any = None
        ) -> Any:
            """A sequence, or the default of a column."""
            __tracebackhide__ = True
            if not monitor.claimed.get():
                try:
                    judge(connection, statement, parameters, context, False)
                    monitor.judged(statement)
                except UnscopedAccess as error:
                    refused(cursor, error)
                except Exception as error:
                    patcher.failed(error)
            return original(connection, cursor, statement, parameters, context)

        return execute

    for name, make in zip(EXECUTIONS, (single, batches, default), strict=True):
        patcher.replace(owner, name, make)


def _listen(engine: Any, patcher: Patcher, monitor: Monitor, judge: Judge) -> None:
    """Judge in the event of every cursor, where SQLAlchemy has other methods than those."""
    from sqlalchemy import event

    def before_cursor_execute(
        connection: Any, _cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        __tracebackhide__ = True
        if monitor.claimed.get():
            return
        try:
            judge(connection, statement, parameters, context, many)
            monitor.judged(statement)
        except Exception as error:
            patcher.failed(error)

    event.listen(engine, "before_cursor_execute", before_cursor_execute)
    patcher.undo(lambda: event.remove(engine, "before_cursor_execute", before_cursor_execute))


def install_orm(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Judge the objects that are flushed: their statements go by their keys."""
    session = module.Session
    if not all(hasattr(session(), name) for name in ("_new", "_deleted")):
        raise patcher.broken("Session._new or Session._deleted not found")
    if not hasattr(session().identity_map, "_modified"):
        raise patcher.broken("Session.identity_map._modified not found")

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def flush(self: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            modified = self.identity_map._modified
            if not modified and not self._deleted and not self._new:  # before every query
                return original(self, *args, **kwargs)
            try:
                active = monitor.active()
                if active is not None:
                    _judge_changed(modified, self._deleted, monitor, active)
            except Exception as error:
                patcher.failed(error)
            token = FLUSHING.set(True)
            try:
                return original(self, *args, **kwargs)
            finally:
                FLUSHING.reset(token)

        return flush

    patcher.replace(session, "flush", make)


def _judge_changed(modified: Any, deleted: Any, monitor: Monitor, active: Active) -> None:
    """An object that is changed or deleted must be the boundary's own: the UPDATE names its key alone."""
    __tracebackhide__ = True
    levels = monitor.levels
    for state in (*modified, *deleted) if deleted else tuple(modified):
        item = state.obj()
        if item is not None and (owner := foreign_attributes(item, active, levels)):
            method, effect = ("delete", "delete") if state in deleted else ("flush", "write")
            operation = _operation("sqlalchemy.orm.Session", method, effect)
            monitor.foreign(operation, active, owner, lambda item=item: type(item).__name__)


def _loads(context: Any) -> bool:
    """Whether the ORM loads what belongs to objects that it has, by their keys."""
    options = getattr(getattr(context, "invoked_statement", None), "_compile_options", None)
    if options is None:
        return False
    path = getattr(options, "_current_path", None)
    return bool(getattr(options, "_for_refresh_state", False) or (path is not None and not path.is_root))


def _loaded(item: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(item).items() if not name.startswith("_")}


def _children(item: Any) -> dict[tuple[str, str], object] | None:
    """The foreign keys of other tables to an object that was loaded or flushed."""
    state = vars(item).get("_sa_instance_state") if hasattr(type(item), "_sa_class_manager") else None
    if state is None or state.key is None:
        return None
    table = state.mapper.local_table
    return {
        (other.name.lower(), key.parent.name.lower()): vars(item).get(
            state.mapper.get_property_by_column(key.column).key
        )
        for other in getattr(getattr(table, "metadata", None), "tables", {}).values()
        for key in other.foreign_keys
        if key.column.table is table
    }


def _several(found: Any) -> Any:
    return [found] if isinstance(found, tuple) or hasattr(found, "keys") else found


class _Entries:
    """Finds the public method that the user's code called: the outermost frame of SQLAlchemy around a hook."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[
            str, str | None
        ] = {}  # "" for a file of SQLAlchemy that is no entry, None for others

    def operation(self, effect: str) -> Operation:
        """A statement, which the user may have run by any of the entries."""
        some = _operation(*STATEMENT, effect)
        return replace(some, exactly=lambda: _operation(*self._find(sys._getframe(1)), effect))

    def _find(self, frame: FrameType | None) -> tuple[str, str]:
        """The class and the method, as the catalog knows them, from the frame of a hook outwards."""
        found = STATEMENT
        files = self._files
        inside = False
        while frame is not None:
            code = frame.f_code
            filename = code.co_filename
            if filename not in files:
                files[filename] = self._owner(filename)
            owner = files[filename]
            if owner is not None:
                inside = True
                if owner and code.co_name[0] != "_":
                    found = (owner, code.co_name)
            elif inside:
                break
            frame = frame.f_back
        return found

    def _owner(self, filename: str) -> str | None:
        if filename.startswith(self._folder):
            return OWNERS.get(filename[len(self._folder) :].replace(os.sep, "/"), "")
        return "" if "sqlalchemy" in filename else None  # its compiled modules name other paths


SEAM = Seam("sqlalchemy", "sqlalchemy", {"sqlalchemy": install_engine, "sqlalchemy.orm": install_orm})
