"""SQL: whether each table of customers' data is bound to the boundary by the predicates of its own statement.

A statement is parsed once (`sqlglot`, cached by its text) into the small tree of `boundlint.sql.tree`;
here the bound parameters are put in. A table is bound by an equality of its owner column with the boundary's id that
always holds, or through a join (or subquery) by id with a table that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from boundlint.index.words import IDENTITY
from boundlint.sql.parse import Unparsable, parse
from boundlint.sql.tree import Both, Compare, Either, Part, Predicate, Statement, Use, Value
from pytest_boundary.active import Active
from pytest_boundary.checks.sql_known import Named, by_secret, equalities
from pytest_boundary.checks.sql_verdicts import Verdicts
from pytest_boundary.levels import Levels, Owner, same_id
from pytest_boundary.operations import Judgement, Missing

Columns = Callable[[str], "Sequence[str] | None"]  # of a table, None where it is not known
# The values of a foreign key, by the child's table and column, whose parents are known to be the boundary's.
Parents = Mapping[tuple[str, str], "Sequence[object]"]
LINK = re.compile(r"(?:^|_)(?:id|ids|uuid|guid|pk|key|slug)$", re.IGNORECASE)
ANY_OWNER = Owner("", frozenset(), "")


class Sql:
    """A statement as a client runs it. `style` is the DB-API's paramstyle, or "dollar" (`$1`)."""

    __slots__ = ("dialect", "many", "parameters", "style", "text")

    def __init__(
        self, text: str, parameters: Any = (), dialect: str = "", style: str = "qmark", many: bool = False
    ) -> None:
        self.text = text
        self.parameters = parameters
        self.dialect = dialect
        self.style = style
        self.many = many

    @property
    def parameter_sets(self) -> Iterable[Any]:
        """One set of parameters for each execution."""
        return self.parameters if self.many else (self.parameters,)


def judge_sql(
    sql: Sql,
    active: Active,
    levels: Levels,
    columns: Columns,
    *,
    by_key: bool = False,
    verdicts: Verdicts | None = None,
    named: Named | None = None,
    parents: Parents | None = None,
) -> Judgement:
    """What the statement lacks. With `by_key` the client itself made it, from rows that were loaded before.

    A table is customers' data where one of its columns names an owner, unless it is a table of the owners
    themselves (users, tenants). What cannot be parsed is not a pass. `verdicts` are those of this schema;
    `named` looks up a tenant that a statement calls by another name than its id; rows that hang on one of
    `parents` are bound by it, which holds for this execution alone and is not to be remembered.
    """
    try:
        statement = parse(sql.text, sql.dialect, sql.style)
    except Unparsable as error:
        text = f"the statement cannot be parsed, so nobody knows whom it is about: {error}"
        return Missing(text, title="unreadable statement")
    verdicts = Verdicts() if verdicts is None else verdicts
    judged: Judgement = "free"
    for parameters in sql.parameter_sets if statement.parts else ():
        known = verdicts.recall(sql.text, parameters, active, by_key)
        if known is None:
            judging = _Judging(statement, parameters, active, levels, columns, by_key, named, parents or {})
            known = judging.judge()
            if None not in judging.columns.values():  # else a table is not there yet
                verdicts.keep(sql.text, parameters, active, by_key, judging.asked, known)
        judged = known
        if isinstance(judged, Missing):
            break
    return judged


def _parameter(parameters: Any, key: str) -> Any:
    try:
        return parameters[key] if isinstance(parameters, Mapping) else parameters[int(key)]
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def tables(sql: Sql) -> tuple[str, ...]:
    """The tables that a statement uses; none where it cannot be parsed."""
    try:
        statement = parse(sql.text, sql.dialect, sql.style)
    except Unparsable:
        return ()
    return tuple(dict.fromkeys(use.table for part in statement.parts for use in part.uses))


def defines(sql: Sql) -> bool:
    """Whether a statement changes the schema."""
    try:
        return parse(sql.text, sql.dialect, sql.style).defines
    except Unparsable:
        return False


class _Judging:
    """One execution of a statement."""

    def __init__(
        self,
        statement: Statement,
        parameters: Any,
        active: Active,
        levels: Levels,
        columns: Columns,
        by_key: bool,
        named: Named | None,
        parents: Parents,
    ) -> None:
        self.named = named
        self.parents = parents
        self.parts = statement.parts
        self.parameters = parameters
        self.active = active
        self.levels = levels
        self.by_key = by_key
        self.asked: dict[str, None] = {}  # the parameters whose values were looked at
        self.columns: dict[str, tuple[str, ...] | None] = {}
        for part in self.parts:
            for use in part.uses:
                if use.table not in self.columns:
                    found = columns(use.table)
                    self.columns[use.table] = None if found is None else tuple(name.lower() for name in found)

    def judge(self) -> Judgement:
        wanted: dict[Use, tuple[Owner, ...]] = {}
        for part in self.parts:
            for use in part.uses:
                owners = () if by_secret(part, use) else self._owners(use, part)
                if owners:
                    wanted[use] = owners
        if not wanted:
            return "free"
        bound = self._bound(wanted)
        for part in self.parts:
            for use in part.uses:
                if use not in wanted or use in bound:
                    continue
                if self.by_key and use.effect in ("write", "delete", "read") and not part.values:
                    continue
                return self._missing(part, use, wanted[use])
        return "scoped"

    def _owners(self, use: Use, part: Part) -> tuple[Owner, ...]:
        if IDENTITY.match("".join(word.capitalize() for word in use.table.split("_"))):
            return ()
        names = self.columns[use.table]
        if names is None:  # the schema is not known: what the statement itself shows
            names = tuple(part.columns_of(use))
        if not self.levels.owned(names):
            return ()
        if not self.active.ids:
            return (ANY_OWNER,)
        owners = self.levels.owners(names, self.active.ids)
        return tuple(owner for owner in owners if owner.level in self._required(names))

    def _required(self, names: Sequence[str]) -> Sequence[str]:
        return (*self.levels.required_for(self.active.ids), "workspace", "user")

    def _bound(self, wanted: Mapping[Use, tuple[Owner, ...]]) -> set[Use]:
        bound: set[Use] = set()
        links: list[
            tuple[Use, Use, str]
        ] = []  # the second is bound where the first is, by a column of its own
        for number, part in enumerate(self.parts):
            for use in part.uses:
                binds = all(self._binds(part, use, owner) for owner in wanted.get(use, (ANY_OWNER,)))
                if binds or (use in wanted and self._hangs_on_parent(part, use)):
                    bound.add(use)
            links += self._links(number, part)
        starts = {start for start, _, _ in links}
        free = {use for part in self.parts for use in part.uses if use not in wanted}
        for use in free & starts:
            if self._is_tenant(self.parts[use.part], use):
                bound.add(use)
        free -= bound
        grown = True
        while grown:
            grown = False
            for start, end, column in links:
                # a table of links (ticket_id, tag_id) hands on what it is bound to; a parent that all share does not
                if start in bound - free and (end not in bound or (end in free and column != "id")):
                    bound.add(end)
                    free -= {end} if column != "id" else set()
                    grown = True
            for part in self.parts:
                for number, holder in part.derived:
                    inner = (
                        [use for use in self.parts[number].uses if use in wanted]
                        if number < len(self.parts)
                        else []
                    )
                    if inner and holder not in bound and all(use in bound for use in inner):
                        bound.add(holder)
                        grown = True
        return bound

    def _is_tenant(self, part: Part, use: Use) -> bool:
        """Whether the only row of a table of owners that is met is the tenant itself: by its id, slug or domain."""
        if not self.active.ids or self.levels.rank(f"{use.table.removesuffix('s')}_id")[0] == "user":
            return False
        wanted = self.active.ids[self.levels.required_for(self.active.ids)[0]]
        for compare in equalities(part, use):
            known, value = self._value(compare.values[0])
            if known and compare.column != "id":
                named = self.named if isinstance(value, str) else None
                value = named(use.table, compare.column, value) if named is not None else None
            if known and value is not None and same_id(value, wanted):
                return True
        return False

    def _hangs_on_parent(self, part: Part, use: Use) -> bool:
        """Whether only rows are met whose foreign key is that of a parent which is the boundary's."""
        if use.effect == "insert" or not self.parents:
            return False
        for compare in equalities(part, use):
            parents = self.parents.get((use.table.lower(), compare.column.lower()), ())
            known, value = self._value(compare.values[0])
            if known and any(same_id(value, str(parent)) for parent in parents):
                return True
        return False

    def _links(self, number: int, part: Part) -> Iterable[tuple[Use, Use, str]]:
        for link in part.links:
            if not (LINK.search(link.left_column) or LINK.search(link.right_column)):
                continue
            left = self._use(number, link.left, link.left_column)
            right = self._use(number, link.right, link.right_column)
            if left is None or right is None:
                continue
            if link.to_right:
                yield left, right, link.right_column.lower()
            if link.to_left:
                yield right, left, link.left_column.lower()

    def _use(self, number: int | None, alias: str, column: str) -> Use | None:
        """The table that a column belongs to, in this part or around it."""
        while number is not None:
            part = self.parts[number]
            for use in part.all_uses:
                if alias and use.alias == alias:
                    return use
            if not alias:
                if len(part.all_uses) == 1:
                    return part.all_uses[0]
                for use in part.all_uses:
                    if column.lower() in (self.columns.get(use.table) or ()):
                        return use
            number = part.parent
        return None

    def _binds(self, part: Part, use: Use, owner: Owner) -> bool:
        if owner is ANY_OWNER:
            return False
        if part.values is not None and use.effect == "insert":
            return self._inserts(part, use, owner)
        if any(self._holds(predicate, part, use, owner) for predicate in part.predicates_for(use)):
            return True
        # a predicate on the derived table around this one
        outer = self.parts[part.parent] if part.parent is not None else None
        holder = outer.holder(self.parts.index(part)) if outer is not None else None
        if outer is not None and holder is not None and owner.fields & part.projected:
            return any(self._holds(p, outer, holder, owner) for p in outer.predicates_for(holder))
        return False

    def _inserts(self, part: Part, use: Use, owner: Owner) -> bool:
        assert part.values is not None
        names = part.insert_columns or self.columns[use.table] or ()
        positions = [position for position, name in enumerate(names) if name.lower() in owner.fields]
        if not positions:
            return False
        if not part.values:  # INSERT … SELECT: the source must be bound, or the value be given
            return any(
                child.parent == self.parts.index(part) and child.projects(position, self._equals(owner))
                for child in self.parts
                for position in positions
            )
        return all(
            any(position < len(row) and self._equals(owner)(row[position]) for position in positions)
            or self._users_own(names, positions, row)
            for row in part.values
        )

    def _users_own(self, names: Sequence[str], positions: Sequence[int], row: Sequence[Value]) -> bool:
        """Whether a new row says that it is no tenant's (NULL), and that it is the boundary's user's."""
        user = self.active.ids.get("user")
        return (
            user is not None
            and all(position < len(row) and self._is_null(row[position]) for position in positions)
            and any(
                self.levels.rank(name.lower())[0] == "user" and same_id(self._value(value)[1], user)
                for name, value in zip(names, row, strict=False)
            )
        )

    def _is_null(self, value: Value) -> bool:
        return value.kind == "parameter" and not self._value(value)[0]

    def _equals(self, owner: Owner) -> Callable[[Value], bool]:
        def equals(value: Value) -> bool:
            if value.kind == "column":
                return value.key.lower() in owner.fields  # carried over from a table that is judged itself
            known, actual = self._value(value)
            if isinstance(actual, (list, tuple)):  # UNNEST: one for each new row
                return bool(actual) and all(same_id(item, owner.id) for item in actual)
            return known and same_id(actual, owner.id)

        return equals

    def _holds(self, predicate: Predicate, part: Part, use: Use, owner: Owner) -> bool:
        if isinstance(predicate, Both):
            return any(self._holds(item, part, use, owner) for item in predicate.parts)
        if isinstance(predicate, Either):
            return bool(predicate.parts) and all(
                self._holds(item, part, use, owner) for item in predicate.parts
            )
        if isinstance(predicate, Compare):
            if predicate.column.lower() not in owner.fields:
                return False
            if predicate.alias and predicate.alias != use.alias:
                return False
            if not predicate.alias and len(part.all_uses) > 1:
                names = self.columns.get(use.table)
                if names is not None and predicate.column.lower() not in names:
                    return False
            values = [self._value(value) for value in predicate.values]
            flat: list[object] = []
            for known, value in values:
                if not known:
                    return False
                flat += value if isinstance(value, (list, tuple, set)) else [value]
            return bool(flat) and all(same_id(value, owner.id) for value in flat)
        return False

    def _value(self, value: Value) -> tuple[bool, Any]:
        if value.kind == "literal":
            return True, value.key
        if value.kind != "parameter":
            return False, None
        self.asked[value.key] = None
        found = _parameter(self.parameters, value.key)
        return found is not None, found

    def _missing(self, part: Part, use: Use, owners: Sequence[Owner]) -> Missing:
        owner = next((o for o in owners if not self._binds(part, use, o)), owners[0])
        names = (use.table, f"table {use.table}")
        if owner is ANY_OWNER:
            return Missing(f"nothing binds table {use.table!r} to a boundary", names)
        column = sorted(owner.fields)[0]
        subject = f"{owner.level} {owner.id!r}"
        if use.effect == "insert":
            text = f"the new row of {use.table!r} does not say {column} = {owner.id!r}"
            return Missing(text, names, f"give {column} of the boundary to the new row")
        compared = any(self._compares(predicate, owner) for predicate in part.predicates_for(use))
        text = f"no predicate binds table {use.table!r} to {subject}"
        if compared:
            text = f"the predicate on {column!r} does not bind table {use.table!r} to {subject}, or not in every case"
        fix = f"add {use.table}.{column} = {owner.id!r} (from the boundary) to the predicate"
        by_id = any(LINK.search(name) for name in part.compared(use))
        bulk = use.effect in ("write", "delete") and not by_id
        return Missing(text, names, fix, rule="BND506" if bulk else "BND501")

    def _compares(self, predicate: Predicate, owner: Owner) -> bool:
        if isinstance(predicate, (Both, Either)):
            return any(self._compares(item, owner) for item in predicate.parts)
        return isinstance(predicate, Compare) and predicate.column.lower() in owner.fields
