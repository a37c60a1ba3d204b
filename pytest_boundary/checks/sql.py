"""SQL: whether each table of customers' data is bound to the boundary by the predicates of its own statement.

A statement is parsed once (`sqlglot`, cached by its text) into the small tree of `pytest_boundary.checks.sql_tree`;
here the bound parameters are put in. A table is bound by an equality of its owner column with the boundary's id that
always holds, or through a join (or subquery) by id with a table that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from boundlint.index.models import IDENTITY
from pytest_boundary.active import Active
from pytest_boundary.checks.sql_parse import Unparsable, parse
from pytest_boundary.checks.sql_tree import Both, Compare, Either, Part, Predicate, Statement, Use, Value
from pytest_boundary.levels import Levels, Owner, same_id
from pytest_boundary.monitor import Judgement, Missing

Columns = Callable[[str], "Sequence[str] | None"]  # of a table, None where it is not known
LINK = re.compile(r"(?:^|_)(?:id|ids|uuid|guid|pk|key|slug)$", re.IGNORECASE)
MAX_KNOWN = 2000  # statements of one schema, and values of one statement
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


class Verdicts:
    """What statements were judged before: by text, boundary, and the values of the parameters that decided.

    A judgement asks for few parameters, those that stand at an owner's column. Whichever others an execution has,
    the same values of these lead to the same questions and to the same answer. It holds while the schema does.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, Hashable, bool], _Decided] = {}

    def recall(self, text: str, parameters: Any, active: Active, by_key: bool) -> Judgement | None:
        """The judgement of an execution like this one, None where there was none yet."""
        decided = self._known.get((text, active.key, by_key))
        if decided is None:
            return None
        place = decided.place
        if place is not None:  # nearly always one value decides: the tenant's id
            try:
                found = decided.by_text.get(parameters[place])
                if found is not None:
                    return found
            except (LookupError, TypeError):
                return None
        return decided.by_values.get(decided.values(parameters))

    def keep(
        self, text: str, parameters: Any, active: Active, by_key: bool, asked: Iterable[str], found: Judgement
    ) -> None:
        """Remember a judgement, which asked for the values of these parameters."""
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        decided = self._known.setdefault((text, active.key, by_key), _Decided())
        places = [_place(key, parameters) for key in asked]
        if new := [place for place in places if place not in decided.asked]:
            decided.asked = (*decided.asked, *new)
            decided.place = decided.asked[0] if len(decided.asked) == 1 else None
            decided.forget()
        if len(decided.by_values) > MAX_KNOWN:
            decided.forget()
        values = decided.values(parameters)
        if values is not None:
            decided.by_values[values] = found
            if decided.place is not None and isinstance(text := parameters[decided.place], str):
                decided.by_text[text] = found

    def clear(self) -> None:
        """The schema has changed."""
        self._known.clear()


class _Decided:
    """One statement in one boundary."""

    __slots__ = ("asked", "by_text", "by_values", "place")

    def __init__(self) -> None:
        self.asked: tuple[str | int, ...] = ()
        self.by_values: dict[Hashable, Judgement] = {}
        self.place: str | int | None = None  # the only parameter that decides
        self.by_text: dict[object, Judgement] = {}  # the same by its value, where that is text

    def forget(self) -> None:
        self.by_values.clear()
        self.by_text.clear()

    def values(self, parameters: Any) -> Hashable:
        """The values that decide, None where they cannot be looked up: one is missing, or is a list."""
        try:
            # 1, 1.0 and True are equal and not written alike
            found = tuple([(value := parameters[place], value.__class__) for place in self.asked])
            hash(found)
            return found
        except (LookupError, TypeError):
            return None


def _place(key: str, parameters: Any) -> str | int:
    return key if isinstance(parameters, Mapping) or not key.isdigit() else int(key)


def judge_sql(
    sql: Sql,
    active: Active,
    levels: Levels,
    columns: Columns,
    *,
    by_key: bool = False,
    verdicts: Verdicts | None = None,
) -> Judgement:
    """What the statement lacks. With `by_key` the client itself made it, from rows that were loaded before.

    A table is customers' data where one of its columns names an owner, unless it is a table of the owners
    themselves (users, tenants). What cannot be parsed is not a pass. `verdicts` are those of this schema.
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
            judging = _Judging(statement, parameters, active, levels, columns, by_key)
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
    ) -> None:
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
                if owners := self._owners(use, part):
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
        links: list[tuple[Use, Use]] = []  # the second is bound where the first is
        for number, part in enumerate(self.parts):
            for use in part.uses:
                if all(self._binds(part, use, owner) for owner in wanted.get(use, (ANY_OWNER,))):
                    bound.add(use)
            links += self._links(number, part)
        free = {use for part in self.parts for use in part.uses if use not in wanted}
        grown = True
        while grown:
            grown = False
            for start, end in links:
                if start in bound and start not in free and end not in bound:
                    bound.add(end)
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

    def _links(self, number: int, part: Part) -> Iterable[tuple[Use, Use]]:
        for link in part.links:
            if not (LINK.search(link.left_column) or LINK.search(link.right_column)):
                continue
            left = self._use(number, link.left, link.left_column)
            right = self._use(number, link.right, link.right_column)
            if left is None or right is None:
                continue
            if link.to_right:
                yield left, right
            if link.to_left:
                yield right, left

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
            for row in part.values
        )

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
