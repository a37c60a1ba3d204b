"""What all SQL seams share: the columns of a table as the database knows them, statements and rows judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from boundlint.boundary import Scope
from boundlint.index.words import IDENTITY
from pytest_boundary.active import Active, innermost
from pytest_boundary.checks.rows import Places, foreign_in_rows
from pytest_boundary.checks.sql import Parents, Sql, defines, judge_sql, tables
from pytest_boundary.checks.sql_verdicts import Decided, Verdicts
from pytest_boundary.ledger import Access
from pytest_boundary.levels import Levels
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing, Operation

Query = Callable[[str], "Iterable[Sequence[Any]]"]  # runs a statement beside the user's, and gives its rows
# The names of columns, or the description that a cursor gives where it is made of tuples: to be looked up as it is.
Columns = tuple[Any, ...]
MAX_KEPT = 2000  # statements
PLAIN, VALUE = (
    re.compile(r"[a-z_]\w*$"),
    re.compile(r"[\w.@+ -]{1,200}$"),
)  # written into a statement as they are
ROLE = re.compile(r"\s*(?:set|reset)\s+(?:local\s+|session\s+)*(?:role|authorization)\b", re.IGNORECASE)
EFFECTS = {"insert": "write", "replace": "write", "update": "write", "merge": "write", "delete": "delete"}


@lru_cache(maxsize=2048)
def effect_of(text: str) -> str:
    """What a statement does, by its first word."""
    return EFFECTS.get(text.split(None, 1)[0].lower() if text.strip() else "", "read")


@lru_cache(maxsize=2048)
def changes_schema(text: str, dialect: str, style: str) -> bool:
    """Whether what was known of the schema holds no longer after a statement."""
    return defines(Sql(text, (), dialect, style)) or ROLE.match(text) is not None


def ask(connection: Any, text: str) -> Sequence[Sequence[Any]]:
    """The rows of a statement that runs on a DB-API connection beside the user's."""
    cursor = connection.cursor()
    try:
        cursor.execute(text)
        found: list[Sequence[Any]] = cursor.fetchall()
        return found
    finally:
        cursor.close()


def column_query(dialect: str, table: str) -> str:
    """The statement that gives the columns of a table, one a row, as its second field."""
    name = table.replace("'", "''")
    if dialect == "postgresql":
        return (
            "SELECT row_security_active(c.oid), a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
            f" WHERE c.relname = '{name}' AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped"
            " ORDER BY a.attnum"
        )
    if dialect == "sqlite":
        return f"PRAGMA table_info('{name}')"
    return f"SELECT 0, column_name FROM information_schema.columns WHERE table_name = '{name}' ORDER BY ordinal_position"


class Schema:
    """Remembers the columns of the tables of one database; a change of the schema forgets them."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[str, ...]] = {}
        self.verdicts = Verdicts()
        self.style = ("", "qmark")  # dialect and paramstyle, as `Sql` has them

    def columns(self, table: str, dialect: str, query: Query) -> tuple[str, ...] | None:
        """The columns, None where the database does not tell."""
        found = self._columns.get(table)
        if found is None:
            try:
                rows = list(query(column_query(dialect, table)))
            except (
                Exception
            ):  # an aborted transaction, a dialect without this view: the user's statement tells
                return None
            if not rows:
                return None
            # where row-level security holds for this role the database itself adds the predicate
            secured = dialect == "postgresql" and bool(rows[0][0])
            found = () if secured else tuple(str(row[1]) for row in rows)
            self._columns[table] = found
        return found

    def of_owners(self, table: str) -> bool:
        """Whether a table is that of tenants or users themselves."""
        return IDENTITY.match("".join(word.capitalize() for word in table.split("_"))) is not None

    def named(self, table: str, column: str, value: str, dialect: str, query: Query) -> object:
        """The id of the one owner whose row holds a value, None where there is none, or more."""
        if not (self.of_owners(table) and PLAIN.match(table) and PLAIN.match(column) and VALUE.match(value)):
            return None
        names = Schema.columns(self, table, dialect, query) or ()
        if column not in names or "id" not in names:
            return None
        try:
            found = list(query(f"SELECT id FROM {table} WHERE {column} = '{value}'"))
        except Exception:  # the user's statement tells
            return None
        return found[0][0] if len(found) == 1 else None

    def knows(self, table: str) -> bool:
        """Whether the columns of a table were asked for."""
        return table in self._columns

    def forget(self) -> None:
        """After CREATE, ALTER, DROP, and a change of role, which row-level security goes by."""
        self._columns.clear()
        self.verdicts.clear()


# Of a statement's text, its parameters, the database that it runs on, and whether it goes by the key of an object:
# what was kept with it where it passes, else None.
Passes = Callable[[str, Any, object, bool], Any]


def keeping(monitor: Monitor) -> tuple[Passes, Callable[..., None]]:
    """What passes a statement that passed before in the same scope, by as few steps as can be, and what keeps such.

    Nearly every access ends in the first; what it does not pass may be scoped all the same. The caller has asked
    whether the access is claimed.
    """
    entered, asked, marks = innermost.get, monitor.asked.get, monitor.watcher.canaries.known
    kept: dict[str, tuple[Scope, object, Decided, Judgement, Access, bool, Any]] = {}

    def passes(text: str, parameters: Any, owner: object, by_key: bool) -> Any:
        found = kept.get(text)
        if found is None:
            return None
        scope, kept_owner, decided, verdict, access, kept_by_key, given = found
        if (
            scope is not entered()
            or owner is not kept_owner
            or by_key is not kept_by_key
            or asked() is not None
            or marks
        ):
            return None
        if decided.place is None:
            if decided.always != verdict:
                return None
        else:
            try:
                if decided.by_text.get(parameters[decided.place]) != verdict:
                    return None
            except (LookupError, TypeError):  # not the parameters that it needs: the driver tells
                return None
        monitor.ledger.counts[access] += 1
        return given

    def keep(
        text: str,
        parameters: Any,
        owner: object,
        schema: Schema,
        operation: Operation,
        active: Active,
        by_key: bool = False,
        given: Any = True,
    ) -> None:
        """Remember a statement that has just passed, and what `passes` is to give for it."""
        scope = entered()
        if monitor.by_site or scope is None or asked() is not None:
            return
        decided = schema.verdicts.of(active)[by_key].get(text)
        verdict = None if decided is None else decided.at_hand(parameters)
        if decided is None or not (verdict == "scoped" or verdict == "free"):
            return
        if len(kept) > MAX_KEPT:
            kept.clear()
        access = operation.scoped if verdict == "scoped" else operation.free
        kept[text] = (scope, owner, decided, verdict, access, by_key, given)

    return passes, keep


def known(
    monitor: Monitor, operation: Operation, schema: Schema, text: str, parameters: Any, by_key: bool = False
) -> Active | None:
    """The boundary of an execution that passes as one like it did before; None where `before` has to be asked.

    Nearly every access ends here: a seam calls it first, with what it has at hand.
    """
    __tracebackhide__ = True
    active = monitor.active()
    if active is None:
        return None
    verdicts = schema.verdicts
    latest, statements = verdicts.latest
    decided = (statements if latest is active else verdicts.of(active))[by_key].get(text)
    if decided is None:
        return None
    verdict = decided.always if decided.always is not None else decided.recall(parameters)
    if verdict == "scoped":
        access = operation.scoped
    elif verdict == "free":
        access = operation.free
    else:
        return None
    if monitor.by_site:
        monitor.passed(operation, verdict, _shown, text, schema)
    else:  # what `passed` does, without the call
        monitor.ledger.counts[access] += 1
    if operation.effect != "read" and monitor.watcher.canaries.known:
        monitor.watcher.surface(parameters, "database write", operation)
    return active


def before(
    monitor: Monitor,
    operation: Operation,
    sql: Sql,
    schema: Schema,
    query: Query,
    *,
    by_key: bool = False,
    parents: Callable[[Active], Parents] | None = None,
) -> Active | None:
    """Judge a statement before it runs; gives the boundary that its rows are to be compared with.

    `parents` are asked for where the statement lacks something: its rows may hang on objects of the boundary.
    """
    __tracebackhide__ = True
    verdicts: Verdicts | None = schema.verdicts
    if changes_schema(sql.text, sql.dialect, sql.style):
        schema.forget()
        verdicts = None  # it must come here each time

    def columns(table: str) -> tuple[str, ...] | None:
        token = monitor.claimed.set(True)
        try:
            return schema.columns(table, sql.dialect, query)
        finally:
            monitor.claimed.reset(token)

    def named(table: str, column: str, value: str) -> object:
        with monitor.claiming():
            return schema.named(table, column, value, sql.dialect, query)

    def judge(active: Active) -> Judgement:
        judged = judge_sql(
            sql, active, monitor.levels, columns, by_key=by_key, verdicts=verdicts, named=named
        )
        if isinstance(judged, Missing) and parents is not None and not sql.many:
            known = parents(active)
            if known:
                return judge_sql(
                    sql, active, monitor.levels, columns, by_key=by_key, named=named, parents=known
                )
        return judged

    schema.style = (sql.dialect, sql.style)
    active = monitor.before(operation, judge, lambda: _shown(sql.text, schema))
    if active is not None and operation.effect != "read":
        monitor.watcher.surface(sql.parameters, "database write", operation)
    return active


def _shown(text: str, schema: Schema) -> str:
    named = ", ".join(tables(Sql(text, (), *schema.style)))
    text = " ".join(text.split())
    short = text if len(text) <= 120 else text[:117] + "…"
    return f"table {named}: {short}" if named else short


def own(monitor: Monitor, active: Active, columns: Columns, found: Iterable[Sequence[Any]]) -> bool:
    """Whether rows that were read have nothing to tell: no foreign owner stands in them, and nobody looks for marks.

    Nearly all rows end here; the others are handed to `rows`. `found` is no iterator.
    """
    places = active.memo.get(columns)
    if places is None:
        places = owners_at(columns, active, monitor.levels)
    if monitor.watcher.canaries.known:
        return False
    for owner, position in places:
        wanted = owner.id
        for row in found:
            if row[position] != wanted:
                return False
    return True


def rows(
    monitor: Monitor,
    operation: Operation,
    active: Active,
    columns: Sequence[Any],
    found: Sequence[Sequence[Any]],
) -> None:
    """Judge rows after they were read."""
    __tracebackhide__ = True
    columns = tuple(columns)
    if monitor.watcher.canaries.known:
        monitor.read(operation, [tuple(row) for row in found])
    places = active.memo.get(columns)
    if places is None:
        places = owners_at(columns, active, monitor.levels)
    if places and (owner := foreign_in_rows(places, found)):
        monitor.foreign(operation, active, owner, _shown_columns, columns)


def owners_at(columns: Columns, active: Active, levels: Levels) -> Places:
    """Where rows with these columns say whose they are."""
    found = active.memo[columns] = levels.positions(_plain(names_of(columns)), active.ids, active.key)
    return found


def names_of(columns: Columns) -> tuple[str, ...]:
    """The names of columns, of which a cursor tells more."""
    return tuple([column if isinstance(column, str) else column[0] for column in columns])


def _shown_columns(columns: Columns) -> str:
    return f"columns {', '.join(names_of(columns))}"[:160]


@lru_cache(maxsize=1024)
def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    """Column names without the number that SQLAlchemy gives to the second one of a name."""
    return tuple(
        name.rstrip("0123456789").removesuffix("_") if name[-1:].isdigit() else name for name in names
    )
