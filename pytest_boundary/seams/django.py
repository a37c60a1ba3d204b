"""Django's ORM: the execute wrappers of every connection judge statements; rows are compared as they are fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any
from weakref import WeakSet

from boundlint.index.words import IDENTITY
from pytest_boundary import catalog
from pytest_boundary.active import Active
from pytest_boundary.checks.rows import foreign_attributes
from pytest_boundary.checks.sql import Sql
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.parents import held_parents
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, dbapi
from pytest_boundary.seams.django_origin import BY_KEY, Origin, Origins
from pytest_boundary.seams.django_tests import built_by_test, called_by_test, install_managers

# while Django updates the row of a loaded object that says itself that it is the boundary's: nearly every `save()`
SAVES_OWN: ContextVar[bool] = ContextVar("boundlint_saves_own", default=False)
FETCHES = ("fetchone", "fetchmany", "fetchall")
CURSOR = "django.db.backends.utils.CursorWrapper"


@lru_cache(maxsize=256)
def _operation(target: str, effect: str, of_test: bool = False) -> Operation:
    found = catalog.operation("django", target, "database", effect)
    return replace(found, of_test=True) if of_test else found


class _Schema(dbapi.Schema):
    """Columns of a Django database; the tables of users and tenants are known by the names of their models."""

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, str] = {}
        self.by_key: set[str] = set()  # statements that went by the key of an object the last time

    def of_owners(self, table: str) -> bool:
        """`crm_account` is the table of `Account`."""
        apps = sys.modules["django.apps"].apps
        if apps.ready and not self._models:
            self._models = {m._meta.db_table.lower(): m.__name__ for m in apps.get_models()}
        return IDENTITY.match(self._models.get(table, "")) is not None or super().of_owners(table)

    def columns(self, table: str, dialect: str, query: dbapi.Query) -> tuple[str, ...] | None:
        """None of an owner for a table of the owners themselves."""
        return () if self.of_owners(table) else super().columns(table, dialect, query)


class _Watch:
    """What the connections of one run share."""

    def __init__(self, patcher: Patcher, monitor: Monitor) -> None:
        self.monitor = monitor
        self.patcher = patcher
        self._claimed_here = monitor.claimed
        self._claimed = monitor.claimed.get
        self._passes, self._keep = dbapi.keeping(monitor)
        self._origins = Origins(os.path.dirname(str(sys.modules["django"].__file__)), monitor.frames)
        self._schemas: dict[tuple[str, str], _Schema] = {}
        self._operations = {effect: self._lazily(effect) for effect in ("read", "write", "delete")}

    def execute(
        self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any
    ) -> Any:
        """The execute wrapper: judges, then runs the statement; the drivers below do not judge it again."""
        __tracebackhide__ = True
        cursor = context["cursor"]
        if many:
            parameters = list(parameters)
        late = None
        try:
            connection = context["connection"]
            try:
                name, schema = connection._boundlint_schema
            except AttributeError:
                name = schema = None
            if name is not connection.settings_dict["NAME"]:
                schema = self._schema(connection)
            kept = None
            if not (many or self._claimed()):
                by_key = sql in schema.by_key
                if not by_key or SAVES_OWN.get():
                    kept = self._passes(sql, parameters or (), schema, by_key)
            if kept is None:
                late = self._before(sql, parameters, many, context)
            else:
                cursor._boundlint_operation = kept
        except Exception as error:
            self.patcher.failed(error)
        claimed = self._claimed_here
        token = claimed.set(True)
        try:
            result = execute(sql, parameters, many, context)
        finally:
            claimed.reset(token)
        if late is not None and cursor.rowcount > 0:
            self.patcher.attempt(late)
        return result

    def _before(self, text: str, parameters: Any, many: bool, context: Any) -> Callable[[], None] | None:
        """Judge a statement now, or give what judges it once it is known whether it met a row."""
        __tracebackhide__ = True
        monitor = self.monitor
        connection, cursor = context["connection"], context["cursor"]
        schema = self._schema(connection)
        effect = dbapi.effect_of(text)
        operation = cursor._boundlint_operation = self._operations[effect]
        given = parameters or ()
        if not many:
            if text not in schema.by_key:
                active = dbapi.known(monitor, operation, schema, text, given)
                if active is not None:
                    self._keep(text, given, schema, schema, operation, active, given=operation)
                    return None
            elif SAVES_OWN.get():
                active = dbapi.known(monitor, operation, schema, text, given, True)
                if active is not None:
                    self._keep(text, given, schema, schema, operation, active, True, operation)
                    return None
        frame = sys._getframe(1)
        origin = (
            Origin() if monitor.claimed.get() else self._origins.model(frame) or self._origins.find(frame)
        )
        if many and not origin.target:  # else the entry is looked for where somebody asks
            operation = cursor._boundlint_operation = _operation(f"{CURSOR}.executemany", effect)
        style = "pyformat" if isinstance(parameters, Mapping) else "format"
        sql = Sql(text, () if parameters is None else parameters, connection.vendor, style, many)

        def judge(by_key: bool) -> None:
            __tracebackhide__ = True
            dbapi.before(
                monitor,
                operation,
                sql,
                schema,
                _query(connection),
                by_key=by_key,
                parents=lambda active: held_parents(monitor, active, _children, _loaded),
            )

        if (
            origin.method == "save_base"
            and origin.new()
            and effect == "write"
            and not text.startswith("INSERT")
        ):
            # the UPDATE that looks whether the key is taken: where it meets a row, it writes over it
            return lambda: judge(False)
        by_key = self._goes_by_key(origin, operation)
        if by_key and not many:
            schema.by_key.add(text)
            if dbapi.known(monitor, operation, schema, text, given, True):
                return None
        judge(by_key)
        return None

    def _schema(self, connection: Any) -> _Schema:
        """That of the database that a connection is for: while tests are set up, that changes."""
        name = connection.settings_dict["NAME"]
        known: tuple[Any, _Schema] | None = vars(connection).get("_boundlint_schema")
        if known is None or known[0] != name:
            schema = self._schemas.setdefault((connection.alias, str(name)), _Schema())
            known = connection._boundlint_schema = (name, schema)
        return known[1]

    def _lazily(self, effect: str) -> Operation:
        """A statement, whose entry is looked for where somebody asks."""
        some = _operation(f"{CURSOR}.execute", effect)

        def exactly() -> Operation:
            frame = sys._getframe(1)
            origin = self._origins.find(frame)
            target = origin.target
            of_test = target != "" and built_by_test(origin.queryset) and called_by_test(self.monitor, frame)
            return _operation(target or some.operation, effect, of_test)

        return replace(some, exactly=exactly)

    def _goes_by_key(self, origin: Origin, operation: Operation) -> bool:
        """Whether a statement is Django's own, by the key of an object that belongs to the boundary."""
        __tracebackhide__ = True
        active = self.monitor.active()
        if active is None:
            return origin.by_key
        for instance in origin.instances:
            if instance._state.adding:  # the new row is judged by its INSERT
                continue
            if owner := foreign_attributes(instance, active, self.monitor.levels):
                self.monitor.foreign(operation, active, owner, partial(str, type(instance).__name__))
        if origin.by_key or origin.method or not origin.instances:
            return origin.by_key
        # a related manager: what hangs on an object of the boundary is the boundary's, by whatever foreign key
        (instance,) = origin.instances
        owned = not instance._state.adding and self.monitor.levels.owners(_loaded(instance), active.ids)
        return bool(owned) or _by_primary_key(origin.queryset)

    def compare(self, cursor: Any, active: Active, found: Sequence[Any]) -> None:
        """Judge rows that were fetched."""
        __tracebackhide__ = True
        try:
            columns = cursor.cursor.description
            if not columns:
                return
            if columns.__class__ is not tuple or columns[0].__class__ is not tuple:
                columns = dbapi.names_of(columns)
            if found[0].__class__ is not tuple:
                found = [row for row in found if isinstance(row, (tuple, list))]
            if dbapi.own(self.monitor, active, columns, found):
                return
            operation = vars(cursor).get("_boundlint_operation")
            if operation is not None:
                dbapi.rows(self.monitor, operation, active, columns, found)
        except Exception as error:
            self.patcher.failed(error)


def _loaded(instance: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(instance).items() if not name.startswith("_")}


def _children(value: Any) -> dict[tuple[str, str], object] | None:
    """The foreign keys of other models to an object that was loaded or saved."""
    kind = type(value)  # a lazy object is left alone
    if not issubclass(kind, sys.modules["django.db.models"].Model) or value._state.adding:
        return None
    return {
        (relation.related_model._meta.db_table.lower(), relation.field.column.lower()): vars(value).get(
            relation.field.target_field.attname
        )
        for relation in kind._meta.related_objects
        if relation.field.concrete and not relation.many_to_many
    }


def _by_primary_key(queryset: Any) -> bool:
    """Whether a query asks for objects by their primary key, as that of a foreign key's target does."""
    where = queryset.query.where
    key = queryset.model._meta.pk
    return (
        not where.negated
        and where.connector == "AND"
        and any(
            getattr(getattr(child, "lhs", None), "target", None) is key
            and child.lookup_name in ("exact", "in")
            for child in where.children
        )
    )


def _query(connection: Any) -> dbapi.Query:
    return lambda text: dbapi.ask(connection.connection, text)


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Put a wrapper into each connection, of every thread: those that are there and those to come."""
    if not hasattr(module.BaseDatabaseWrapper, "execute_wrapper"):
        raise patcher.broken("BaseDatabaseWrapper.execute_wrapper not found")
    watch = _Watch(patcher, monitor)
    watched: WeakSet[Any] = WeakSet()
    wrapper = watch.execute

    def connected(connection: Any, **_: Any) -> None:
        if wrapper not in connection.execute_wrappers:
            # in front: leaving `with connection.execute_wrapper(…)` takes the last one out
            connection.execute_wrappers.insert(0, wrapper)
            watched.add(connection)

    def restore() -> None:
        created.disconnect(connected)
        for connection in list(watched):
            if wrapper in connection.execute_wrappers:
                connection.execute_wrappers.remove(wrapper)

    created = module.connection_created
    created.connect(connected, weak=False)
    patcher.undo(restore)
    if sys.modules["django.conf"].settings.configured:
        for connection in sys.modules["django.db"].connections.all(initialized_only=True):
            connected(connection)

    claimed = monitor.claimed
    wrapped = module.utils.CursorWrapper
    if "__getattr__" not in vars(wrapped):
        raise patcher.broken("CursorWrapper.__getattr__ not found")
    forwarded = wrapped.__getattr__

    def fetching(name: str) -> Any:
        one = name == "fetchone"

        def fetch(cursor: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if cursor.db.vendor == "sqlite":  # it compares no rows of what was judged above it
                result = forwarded(cursor, name)(*args, **kwargs)
            else:
                token = claimed.set(True)  # the driver's rows are these
                try:
                    result = forwarded(cursor, name)(*args, **kwargs)
                finally:
                    claimed.reset(token)
            if result and (active := monitor.active()) is not None:
                watch.compare(cursor, active, [result] if one else result)
            return result

        return fetch

    def iterating(original: Any) -> Any:
        def __iter__(cursor: Any) -> Iterator[Any]:
            __tracebackhide__ = True
            rows = original(cursor)
            while True:
                active = monitor.active()
                token = claimed.set(True)
                try:
                    row = next(rows, rows)
                finally:
                    claimed.reset(token)
                if row is rows:
                    return
                if active is not None:
                    watch.compare(cursor, active, [row])
                yield row

        return __iter__

    for name in FETCHES:
        if name in vars(wrapped):
            raise patcher.broken(f"CursorWrapper.{name} is no attribute of the driver's cursor any more")
        patcher.add(wrapped, name, fetching(name))
    patcher.replace(wrapped, "__iter__", iterating)


def install_queries(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """The asynchronous methods; and what the walk through the frames reads."""
    install_async(module, patcher, monitor)
    for method, local in (("delete", "del_query"), ("bulk_update", "objs")):
        if local not in vars(module.QuerySet)[method].__code__.co_varnames:
            raise patcher.broken(f"{local!r} in QuerySet.{method} not found")


def install_models(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """The same for the methods of models."""
    install_async(module, patcher, monitor)
    for method in sorted(BY_KEY):
        if method not in vars(module.Model):
            raise patcher.broken(f"Model.{method} not found")

    def saving(original: Any) -> Any:
        def _do_update(instance: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            own = False
            try:
                active = monitor.active()
                if active is not None and not instance._state.adding:
                    own = not foreign_attributes(instance, active, monitor.levels)
            except Exception as error:
                patcher.failed(error)
            token = SAVES_OWN.set(own)
            try:
                return original(instance, *args, **kwargs)
            finally:
                SAVES_OWN.reset(token)

        return _do_update

    if "_do_update" in vars(module.Model):  # else the frames tell
        patcher.replace(module.Model, "_do_update", saving)


def install_async(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """`acount()` and its like run in a thread where no line of the user stands: remember who asked.

    asgiref takes the context along, so that the boundary is there already.
    """

    def make(original: Any) -> Any:
        def sync_to_async(function: Any, **options: Any) -> Any:
            return original(monitor.frames.asked_here(function), **options)

        return sync_to_async

    patcher.replace(module, "sync_to_async", make)


def _housekeeping(owner: str, *methods: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    """Django's own work on whole databases: migrations, and what its test cases load and flush."""

    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        for method in methods:
            patcher.wrap(getattr(module, owner), method, lambda *_: None, claims=True)

    return install


COMMANDS = "django.core.management.commands"
SEAM = Seam(
    "django",
    "django",
    {
        "django.db.backends.base.base": install,
        "django.db.models.query": install_queries,
        "django.db.models.manager": install_managers,
        "django.db.models.base": install_models,
        "django.db.models.fields.related_descriptors": install_async,
        "django.db.backends.base.creation": _housekeeping(
            "BaseDatabaseCreation", "serialize_db_to_string", "deserialize_db_from_string"
        ),
        **{
            f"{COMMANDS}.{name}": _housekeeping("Command", "handle")
            for name in ("flush", "loaddata", "migrate")
        },
    },
)
