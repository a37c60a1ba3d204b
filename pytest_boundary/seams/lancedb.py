"""lancedb: queries where they run, and the tables' own reads, writes and deletes. A filter is SQL text.

A query is built in steps and runs when its rows are asked for: there its filter is whole.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, subclasses
from pytest_boundary.active import Active
from pytest_boundary.checks.rows import foreign_owner
from pytest_boundary.checks.where import equalities, translate
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam
from pytest_boundary.seams.points import Call, Describe, Watch
from pytest_boundary.threads import carrying

TERMINALS = ("to_list", "to_arrow", "to_pandas", "to_polars", "to_pydantic", "to_batches", "to_df")
READS = ("to_pandas", "to_arrow", "to_polars", "head", "count_rows")
WRITES = ("add", "update")
PLAIN = frozenset({str, int, float, bool, list, bytes, type(None)})  # values that hold no record
FIX = """.where("tenant_id = '…'")   (before or after the search; it must hold for every row)"""
WRITE_FIX = 'rows that say {…, "tenant_id": …}'
FIRST = {"add": "data", "update": "where", "delete": "where", "count_rows": "filter"}


class _Rows(Watch):
    """Compares rows in whatever form they come. `failed` takes what goes wrong while batches are taken."""

    def __init__(self, *args: Any, failed: Callable[[Exception], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._failed = failed

    def after(self, active: Active, result: Any) -> Any:
        """Look at the rows; batches come later, and are looked at as they are taken."""
        __tracebackhide__ = True
        if self.operation.effect != "read":
            return None
        if result.__class__ is not list:
            if hasattr(result, "read_next_batch"):
                return result.from_batches(result.schema, self._batches(active, result))
            if hasattr(result, "__anext__"):
                result._inner = self._batches_later(active, result._inner)
                return None
        self.look(active, result)
        return None

    def look(self, active: Active, result: Any) -> None:
        """The columns that name an owner, and those that hold records; all columns where marks are looked for."""
        __tracebackhide__ = True
        levels = self.monitor.levels
        if self._marks:
            self.monitor.read(self.operation, list(_records(result, lambda name: True)))
        plain = result.__class__ is list  # rows, or objects of a model
        records = result if plain else _records(result, lambda name: bool(levels.rank(name)[0]))
        for item in records:
            record = item if item.__class__ is dict or isinstance(item, Mapping) else vars(item)
            owner = foreign_owner(record, active, levels)
            for part in record.values():
                if part.__class__ not in PLAIN and isinstance(part, Mapping):
                    owner = owner or foreign_owner(part, active, levels)
            if owner:
                self.monitor.foreign(self.operation, active, owner)

    def _batches(self, active: Active, reader: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        for batch in reader:
            self._look_at(active, batch)
            yield batch

    async def _batches_later(self, active: Active, reader: Any) -> AsyncIterator[Any]:
        __tracebackhide__ = True
        while True:
            try:
                batch = await reader.__anext__()
            except StopAsyncIteration:
                return
            self._look_at(active, batch)
            yield batch

    def _look_at(self, active: Active, batch: Any) -> None:
        __tracebackhide__ = True
        try:
            self.look(active, batch)
        except Exception as error:
            self._failed(error)


def _records(result: Any, wanted: Callable[[str], bool]) -> Iterator[Mapping[str, Any]]:
    """The rows of a list, an Arrow table or a data frame; of columns, the wanted ones and those of records."""
    if isinstance(result, list):
        for item in result:
            yield item if isinstance(item, Mapping) else vars(item)
    elif hasattr(result, "schema") and hasattr(result, "to_pylist"):  # Arrow, a table or a batch
        names = [
            name
            for name, kind in zip(result.schema.names, result.schema.types, strict=True)
            if str(kind).startswith("struct<") or (wanted(name) and "list<" not in str(kind))
        ]
        yield from result.select(names).to_pylist()
    elif hasattr(result, "to_dicts"):  # polars
        yield from result.to_dicts()
    elif hasattr(result, "to_dict"):  # pandas
        yield from result.to_dict("records")


def _text(condition: Any) -> str | None:
    """A filter as SQL: text, or an expression that writes itself."""
    found: str | None = condition.to_sql() if hasattr(condition, "to_sql") else condition
    return found


def _name(table: Any) -> str:
    return str(getattr(table, "name", "") or "")


def _of_query(query: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> Call:
    """A query that runs: of the sync builders, of the async ones, or a sync one around an async one."""
    inner: Any = getattr(query, "_inner", None)
    around: Any = inner if hasattr(inner, "to_query_object") else query
    if hasattr(query, "_where"):
        condition, late = query._where, bool(getattr(query, "_postfilter", False))
    else:
        whole = around.to_query_object()
        condition, late = whole.filter, bool(whole.postfilter)
    name = _name(getattr(around, "_table", None))
    return Call(name, filters=[translate(_text(condition))], late=late and condition is not None)


def _equal(query: Any, _args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[tuple[str, object], ...]:
    """Of the filter of a sync query, unless it is applied to what the ranking has left."""
    text = getattr(query, "_where", None)
    return equalities(text) if text.__class__ is str and not getattr(query, "_postfilter", False) else ()


def _of_table(method: str) -> Describe:
    first = FIRST.get(method)

    def describe(table: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        given = kwargs if not args or first is None else {first: args[0], **kwargs}
        name = _name(table)
        if method == "add":
            data = given.get("data")
            return Call(name, payloads=_written(data), sent=data, surface="vector write")
        if method == "update":  # the async method takes the values first
            if isinstance(given.get("where"), Mapping):
                given = {**given, "updates": given["where"], "where": kwargs.get("where")}
            sent = [args, kwargs]
            where = _text(given.get("where"))
            return Call(name, filters=[translate(where)], sent=sent, surface="vector write")
        where = given.get("where", given.get("predicate", given.get("filter")))
        return Call(name, filters=[translate(_text(where))])

    return describe


def _of_merge(builder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    data = args[0] if args else kwargs.get("new_data")
    filters = []
    if (
        builder._when_not_matched_by_source_delete
    ):  # of rows that the new data does not have: whose, says a condition
        expression = getattr(builder, "_when_not_matched_by_source_condition_expr", None)
        filters = [translate(_text(expression or builder._when_not_matched_by_source_condition))]
    return Call(
        _name(builder._table), filters=filters, payloads=_written(data), sent=data, surface="vector write"
    )


def _of_new_table(_connection: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    name = str(args[0] if args else kwargs.get("name", ""))
    data = args[1] if len(args) > 1 else kwargs.get("data")
    if data is None:
        return Call(name, free=True)
    return Call(name, payloads=_written(data), sent=data, surface="vector write")


def _written(data: Any) -> list[Any]:
    """The rows of what is written, each with the fields of its records; [{}] where they cannot be looked at."""
    if isinstance(data, Iterator):
        return [data]
    if isinstance(data, Mapping):
        data = [data]
    records = list(_records(data, lambda name: True)) if data is not None else []
    flat: list[Mapping[str, Any]] = [
        {**{k: v for part in record.values() if isinstance(part, Mapping) for k, v in part.items()}, **record}
        for record in records
    ]
    return flat or ([] if hasattr(data, "__len__") and len(data) == 0 else [{}])


def install_queries(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what makes a query run, wherever a class has its own."""
    for base in (module.LanceQueryBuilder, module.AsyncQueryBase, module.BaseQueryBuilder):
        if not subclasses.defines(base, "to_list"):
            raise patcher.broken(f"{base.__name__}.to_list not found")
        for owner in (base, *subclasses.below(base)):
            for method in TERMINALS:
                if subclasses.defines(owner, method):
                    target = f"lancedb.query.LanceQueryBuilder.{method}"
                    operation = catalog.operation("lancedb", target, "retrieval", "read")
                    watch = _Rows(
                        monitor, operation, _of_query, fix=FIX, equalities=_equal, failed=patcher.failed
                    )
                    patcher.wrap(owner, method, watch.before, watch.after, claims=True)

    # the two halves of a hybrid query run in threads of their own
    patcher.replace(module, "ThreadPoolExecutor", lambda original: carrying(original, monitor))


def _tables(*names: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the methods of the tables that touch rows by themselves."""
        for name in names:
            owner = getattr(module, name)
            for method in (*READS, *WRITES, "delete"):
                if not subclasses.defines(owner, method):
                    if method in (
                        "head",
                        "to_polars",
                    ):  # some tables have it from their base, which calls to_arrow
                        continue
                    raise patcher.broken(f"{name}.{method} not found")
                effect = "read" if method in READS else "delete" if method == "delete" else "write"
                target = f"lancedb.table.LanceTable.{method}"
                operation = catalog.operation("lancedb", target, "retrieval", effect)
                watch = _Rows(
                    monitor, operation, _of_table(method), fix=FIX, write_fix=WRITE_FIX, failed=patcher.failed
                )
                patcher.wrap(owner, method, watch.before, watch.after, claims=True)

    return install


def install_merge(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch an upsert where it runs."""
    target = "lancedb.table.LanceTable.merge_insert"
    operation = catalog.operation("lancedb", target, "retrieval", "write")
    watch = _Rows(monitor, operation, _of_merge, write_fix=WRITE_FIX, failed=patcher.failed)
    patcher.wrap(module.LanceMergeInsertBuilder, "execute", watch.before, watch.after, claims=True)


def install_connections(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the rows that a new table begins with."""
    target = "lancedb.db.LanceDBConnection.create_table"
    operation = catalog.operation("lancedb", target, "retrieval", "write")
    for owner in (module.LanceDBConnection, module.AsyncConnection):
        watch = _Rows(monitor, operation, _of_new_table, write_fix=WRITE_FIX, failed=patcher.failed)
        patcher.wrap(owner, "create_table", watch.before, watch.after, claims=True)


SEAM = Seam(
    "lancedb",
    "lancedb",
    {
        "lancedb.query": install_queries,
        "lancedb.table": _tables("LanceTable", "AsyncTable"),
        "lancedb.remote.table": _tables("RemoteTable"),
        "lancedb.merge": install_merge,
        "lancedb.db": install_connections,
    },
)
