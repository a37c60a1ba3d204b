"""SQLAlchemy: the cursor events of every engine, the ORM's events, and the rows as they are fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any
from weakref import ref

from pytest_boundary import UnscopedAccess, catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.rows import foreign_owner
from pytest_boundary.checks.sql import Sql
from pytest_boundary.monitor import Monitor, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi

LOADED = "boundlint_loaded"  # execution option: the ORM loads by the key of an object that it has
# The entry that the user called, by the file of SQLAlchemy that it stands in.
OWNERS = {
    "orm/session.py": "sqlalchemy.orm.Session",
    "orm/scoping.py": "sqlalchemy.orm.Session",
    "orm/query.py": "sqlalchemy.orm.Query",
    "engine/base.py": "sqlalchemy.Connection",
}
FLUSHING: ContextVar[bool] = ContextVar("boundlint_flushing", default=False)


@lru_cache(maxsize=256)
def _operation(target: str, effect: str) -> Operation:
    return catalog.operation("sqlalchemy", target, "database", effect)


def install_engine(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Judge each statement right before the cursor runs it, and each row when it is fetched."""
    from sqlalchemy import event

    folder = os.path.dirname(str(module.__file__)) + os.sep
    entries = _Entries(folder)
    schemas: dict[int, tuple[ref[Any], dbapi.Schema]] = {}

    def schema_of(engine: Any) -> dbapi.Schema:
        known = schemas.get(id(engine))
        if known is None or known[0]() is not engine:
            known = schemas[id(engine)] = (ref(engine), dbapi.Schema())
        return known[1]

    latest: ContextVar[Operation | None] = ContextVar("boundlint_sqlalchemy", default=None)

    def before_cursor_execute(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        __tracebackhide__ = True
        try:
            if monitor.claimed.get():
                return
            dialect = connection.dialect
            operation = _operation(entries.find(sys._getframe(1)), dbapi.effect_of(statement))
            latest.set(operation)
            options = context.execution_options if context is not None else {}
            sql = Sql(statement, parameters, dialect.name, dialect.paramstyle, many)
            schema = schema_of(connection.engine)
            by_key = FLUSHING.get() or bool(options.get(LOADED))
            dbapi.before(monitor, operation, sql, schema, _query(connection), by_key=by_key)
            monitor.judged(statement)
        except UnscopedAccess:
            raise
        except Exception as error:
            monitor.fault(patcher.seam, error)

    engine = module.engine.Engine
    event.listen(engine, "before_cursor_execute", before_cursor_execute)
    patcher.undo(lambda: event.remove(engine, "before_cursor_execute", before_cursor_execute))

    def before_fetch(
        _strategy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Active, list[str]] | None:
        active = monitor.active()
        cursor = args[1] if len(args) > 1 else kwargs.get("dbapi_cursor")
        description = getattr(cursor, "description", None)
        if active is None or not description:
            return None
        return active, [column[0] for column in description]

    def after_fetch(state: tuple[Active, list[str]], result: Any) -> None:
        __tracebackhide__ = True
        active, names = state
        rows = [result] if isinstance(result, tuple) or hasattr(result, "keys") else result
        operation = latest.get() or _operation("sqlalchemy.Connection.execute", "read")
        if rows:
            dbapi.rows(monitor, operation, active, names, rows)

    cursors = sys.modules["sqlalchemy.engine.cursor"]
    for strategy in (
        cursors.CursorFetchStrategy,
        cursors.BufferedRowCursorFetchStrategy,
        cursors.FullyBufferedCursorFetchStrategy,
    ):
        for method in ("fetchone", "fetchmany", "fetchall"):
            patcher.wrap(strategy, method, before_fetch, after_fetch)


def install_orm(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Tell what the ORM does by the keys of loaded objects from what the application asked for."""
    from sqlalchemy import event

    session = module.Session

    def do_orm_execute(state: Any) -> None:
        if state.is_column_load or state.is_relationship_load:
            state.update_execution_options(**{LOADED: True})

    event.listen(session, "do_orm_execute", do_orm_execute)
    patcher.undo(lambda: event.remove(session, "do_orm_execute", do_orm_execute))

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def flush(self: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            try:
                _judge_changed(self, monitor)
            except UnscopedAccess:
                raise
            except Exception as error:
                monitor.fault(patcher.seam, error)
            token = FLUSHING.set(True)
            try:
                return original(self, *args, **kwargs)
            finally:
                FLUSHING.reset(token)

        return flush

    patcher.replace(session, "flush", make)


def _judge_changed(session: Any, monitor: Monitor) -> None:
    """An object that is changed or deleted must be the boundary's own: the UPDATE names its key alone."""
    __tracebackhide__ = True
    active = monitor.active()
    if active is None:
        return
    for changed, effect in ((session.dirty, "write"), (session.deleted, "delete")):
        for item in changed:
            if owner := foreign_owner(_loaded(item), active, monitor.levels):
                operation = _operation(
                    f"sqlalchemy.orm.Session.{'flush' if effect == 'write' else 'delete'}", effect
                )
                monitor.foreign(operation, active, owner, lambda item=item: type(item).__name__)  # type: ignore[misc]


def _loaded(item: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(item).items() if not name.startswith("_")}


def _query(connection: Any) -> dbapi.Query:
    def query(text: str) -> Iterable[Sequence[Any]]:
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text)
            found: list[Sequence[Any]] = cursor.fetchall()
            return found
        finally:
            cursor.close()

    return query


class _Entries:
    """Finds the public method that the user's code called: the outermost frame of SQLAlchemy around a hook."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._files: dict[
            str, str | None
        ] = {}  # "" for a file of SQLAlchemy that is no entry, None for others

    def find(self, frame: FrameType | None) -> str:
        """The catalog's target for the method, from the frame of a hook outwards."""
        found = ("sqlalchemy.Connection", "execute")
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
        return ".".join(found)

    def _owner(self, filename: str) -> str | None:
        if filename.startswith(self._folder):
            return OWNERS.get(filename[len(self._folder) :].replace(os.sep, "/"), "")
        return "" if "sqlalchemy" in filename else None  # its compiled modules name other paths


SEAM = Seam("sqlalchemy", "sqlalchemy", {"sqlalchemy": install_engine, "sqlalchemy.orm": install_orm})
