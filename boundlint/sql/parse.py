"""Turns SQL text into the little that scoping needs: tables, predicates that always hold, and links.

`sqlglot` is imported with the first statement, never before. Results are cached by text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from boundlint.sql.tree import (
    Both,
    Compare,
    Either,
    Link,
    Part,
    Predicate,
    Statement,
    Unknown,
    Use,
    Value,
)

DIALECTS = {
    "postgresql": "postgres",
    "psycopg": "postgres",
    "asyncpg": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "microsoft": "tsql",
    "cockroachdb": "postgres",
}
FREE = re.compile(
    r"\s*(?:begin|commit|rollback|savepoint|release|end|start|set|reset|show|pragma|vacuum|analyze|analyse|explain"
    r"|lock|unlock|listen|notify|unlisten|discard|deallocate|prepare|close|fetch|declare|use|attach|detach|grant"
    r"|revoke|comment|reindex|checkpoint|truncate|alter|drop|create\s+(?!.*\bas\s+select\b))\b",
    re.IGNORECASE | re.DOTALL,
)
# A stored program is no statement that runs now; its body holds semicolons.
PROGRAM = re.compile(
    r"\s*create\s+(?:or\s+replace\s+)?(?:temp\w*\s+)?(?:constraint\s+)?(?:trigger|function|procedure)\b",
    re.IGNORECASE,
)
DEFINES = re.compile(r"(?:^|;)\s*(?:create|alter|drop)\b", re.IGNORECASE)
ESCAPED = r"""'(?:[^'\\]|''|\\.)*'"""  # a backslash escapes in MySQL, and in E'…' of PostgreSQL
STRINGS = {"": rf"\b[eE]{ESCAPED}|'(?:[^']|'')*'", "mysql": ESCAPED, "mariadb": ESCAPED}
QUOTED = r""""(?:[^"]|"")*"|`[^`]*`|\[\w+\]|--[^\n]*|/\*.*?\*/|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"""
PLACEHOLDERS = {
    "qmark": r"\?(?P<number>\d*)|(?<![:\w])[:@$](?P<name>[A-Za-z_]\w*)",
    "named": r"\?(?P<number>\d*)|(?<![:\w])[:@$](?P<name>[A-Za-z_]\w*)",
    "format": r"%%|%s|%\((?P<name>\w+)\)s",
    "pyformat": r"%%|%s|%\((?P<name>\w+)\)s",
    "dollar": r"\$(?P<number>\d+)",
    "numeric_dollar": r"\$(?P<number>\d+)",
    "numeric": r"(?<![:\w]):(?P<number>\d+)",
}
NAME = "bnd_parameter_"
ROW = rf"\(\s*:{NAME}\w+(?:\s*,\s*:{NAME}\w+)*\s*\)"
ROWS = re.compile(rf"(?<=values)(\s*{ROW})((?:\s*,\s*{ROW})+)", re.IGNORECASE)


class Unparsable(Exception):
    """The text is no SQL that the parser knows."""


def parse(text: str, dialect: str = "", style: str = "qmark") -> Statement:
    """Parse a text, once. Raises `Unparsable`; nothing else."""
    found = _parse(text, dialect, style)
    if isinstance(found, str):
        raise Unparsable(found)
    return found


@lru_cache(maxsize=2048)
def _parse(text: str, dialect: str, style: str) -> Statement | str:
    """The statement, or why there is none."""
    if not text.strip().strip(";"):
        return Statement(())
    defines = bool(DEFINES.search(text))
    if PROGRAM.match(text) or (FREE.match(text) and ";" not in text.rstrip().rstrip(";")):
        return Statement((), defines)
    import sqlglot
    from sqlglot.errors import SqlglotError

    log = logging.getLogger("sqlglot")  # it warns of what it does not know, into the tests' own output
    disabled, log.disabled = log.disabled, True
    try:
        text, rows = _without_rows(named(text, style, dialect))
        trees = sqlglot.parse(text, dialect=DIALECTS.get(dialect, dialect) or None)
        builder = _Builder(rows)
        for tree in trees:
            if tree is not None:
                builder.statement(tree)
        return Statement(tuple(builder.finished()), defines)
    except (SqlglotError, RecursionError, ValueError) as error:
        return str(error).split("\n")[0][:200]
    finally:
        log.disabled = disabled


def _without_rows(text: str) -> tuple[str, tuple[tuple[Value, ...], ...]]:
    """A statement of many new rows as one of a single row, and all its rows: a parser takes long for thousands."""
    text = re.sub(
        r"^\s*replace\s+into\b", "INSERT INTO", text, count=1, flags=re.IGNORECASE
    )  # not read everywhere
    found = ROWS.findall(text)
    if len(found) != 1 or not re.match(r"\s*insert\b", text, re.IGNORECASE):
        return text, ()
    rows = [re.findall(rf":{NAME}(\w+)", row) for row in re.findall(ROW, "".join(found[0]))]
    return ROWS.sub(r"\1", text), tuple(tuple(Value("parameter", key) for key in row) for row in rows)


def named(text: str, style: str, dialect: str = "") -> str:
    """The text with each placeholder under a name that every dialect reads: `?` becomes `:bnd_parameter_0`."""
    position = 0
    quoted = f"{STRINGS.get(dialect, STRINGS[''])}|{QUOTED}"
    pattern = re.compile(
        f"(?P<quoted>{quoted})|(?:{PLACEHOLDERS.get(style, PLACEHOLDERS['qmark'])})", re.DOTALL
    )

    def put(match: re.Match[str]) -> str:
        nonlocal position
        if match["quoted"] is not None:
            return match[0]
        if match[0] == "%%":
            return "%"
        groups = match.groupdict()
        if number := groups.get("number"):
            return f":{NAME}{int(number) - 1}"
        if name := groups.get("name"):
            return f":{NAME}{name}"
        position += 1
        return f":{NAME}{position - 1}"

    return pattern.sub(put, text)


class _Builder:
    """Collects the parts of one text; a part's place is kept before its inside is read."""

    def __init__(self, rows: tuple[tuple[Value, ...], ...] = ()) -> None:
        self._parts: list[Part | None] = []
        self._rows = rows  # all of the statement whose first is in the tree

    def finished(self) -> Iterator[Part]:
        for part in self._parts:
            if part is not None:
                yield part

    def statement(self, tree: Any) -> None:
        from sqlglot import exp

        if isinstance(tree, exp.Create) and tree.expression is not None:
            tree = tree.expression
        if isinstance(tree, exp.Command):
            if not FREE.match(f"{tree.this} "):
                raise ValueError(f"unknown statement {tree.this!r}")
            return
        if isinstance(tree, (exp.Query, exp.DML)):
            self._read(tree, None, {})
        elif not isinstance(tree, (exp.Create, exp.Drop, exp.Alter, exp.Transaction, exp.Commit)) and list(
            tree.find_all(exp.Table)
        ):
            raise ValueError(f"unknown statement {type(tree).__name__}")

    def _read(self, tree: Any, parent: int | None, known: dict[str, int]) -> int:
        """Read a query or DML statement; gives the number of its (first) part."""
        from sqlglot import exp

        known = dict(known)
        with_ = tree.args.get("with_") or tree.args.get("with")
        number = len(self._parts)
        if isinstance(tree, exp.SetOperation):
            self._common(with_, parent, known)
            first = self._read(tree.this, parent, known)
            self._read(tree.expression, parent, known)
            return first
        if isinstance(tree, exp.Subquery):
            return self._read(tree.this, parent, known)
        if isinstance(tree, exp.Values) or not isinstance(tree, (exp.Select, exp.DML)):
            return number
        self._parts.append(None)
        self._common(with_, number, known)
        self._parts[number] = self._part(tree, number, parent, known)
        return number

    def _common(self, with_: Any, parent: int | None, known: dict[str, int]) -> None:
        for table in with_.expressions if with_ is not None else ():
            known[table.alias.lower()] = len(self._parts)  # a recursive one reads its own first part
            known[table.alias.lower()] = self._read(table.this, parent, known)

    def _part(self, tree: Any, number: int, parent: int | None, known: dict[str, int]) -> Part:
        from sqlglot import exp

        uses: list[Use] = []
        derived: list[tuple[int, Use]] = []
        effect: Literal["read", "insert", "write", "delete"] = "read"
        if isinstance(tree, exp.Insert):
            effect = "insert"
        elif isinstance(tree, exp.Update):
            effect = "write"
        elif isinstance(tree, exp.Delete):
            effect = "delete"

        def source(node: Any, how: Literal["read", "insert", "write", "delete"]) -> str:
            if isinstance(node, exp.Schema):
                node = node.this
            alias = node.alias_or_name
            if isinstance(node, exp.Table) and node.name:
                inner = known.get(node.name.lower()) if not node.args.get("db") else None
                if inner is None:
                    uses.append(Use(number, alias, node.name.lower(), how))
                else:
                    derived.append((inner, Use(number, alias, "", how)))
            elif isinstance(node, (exp.Subquery, exp.Lateral)):
                query = node.this
                if isinstance(query, (exp.Query, exp.Subquery)):
                    derived.append((self._read(query, number, known), Use(number, alias, "", how)))
            for join in node.args.get("joins") or ():  # (a JOIN b)
                join_on(join)
            return str(alias)

        joins: list[tuple[frozenset[str], Predicate]] = []
        links: list[Link] = []

        def join_on(join: Any) -> None:
            before = {use.alias for use in uses} | {use.alias for _, use in derived}
            alias = source(join.this, "read")
            side = (join.side or "").upper()
            condition = join.args.get("on")
            for column in join.args.get("using") or ():
                for other in before:
                    links.append(Link(other, column.name, alias, column.name, to_left=side != "LEFT"))
            if condition is None:
                return
            bound = {"LEFT": {alias}, "RIGHT": before, "FULL": set()}.get(side, before | {alias})
            joins.append((frozenset(bound), _predicate(condition)))
            for left, left_column, right, right_column in _links(condition):
                to_left, to_right = _reaches(side, left == alias), _reaches(side, right == alias)
                links.append(Link(left, left_column, right, right_column, to_left, to_right))

        target = tree.this if isinstance(tree, exp.DML) else None
        if target is not None:
            source(target, effect)
        origin = tree.args.get("from_") or tree.args.get("from")
        if origin is not None:
            for node in (origin.this, *origin.expressions):
                if node is not None:
                    source(node, "read")
        using = tree.args.get("using")
        for node in using if isinstance(using, list) else ():
            source(node, "read")
        for join in tree.args.get("joins") or ():
            join_on(join)
        where = tree.args.get("where")
        predicate: Predicate = Both(())
        if where is not None:
            predicate = _predicate(where.this)
            links += [Link(*link) for link in _links(where.this)]
        insert_columns: tuple[str, ...] = ()
        values: tuple[tuple[Value, ...], ...] | None = None
        if isinstance(tree, exp.Insert):
            schema = tree.this
            if isinstance(schema, exp.Schema):
                insert_columns = tuple(node.name for node in schema.expressions)
            body = tree.expression
            if isinstance(body, exp.Values):
                values = tuple(
                    tuple(_value(item) for item in (row.expressions if isinstance(row, exp.Tuple) else [row]))
                    for row in body.expressions
                )
                if values == self._rows[:1]:
                    values = self._rows
            elif body is not None:
                values = ()
                self._read(body, number, known)
            else:
                values = ((),)  # DEFAULT VALUES
        links += self._conditions(tree, number, known, uses, derived)
        selected = tuple(
            (node.alias_or_name.lower() or "*", _value(node.unalias()))
            for node in (tree.expressions if isinstance(tree, exp.Select) else ())
        )
        if [name for name, _ in selected] == ["*"] and isinstance(getattr(origin, "this", None), exp.Unnest):
            # SELECT * FROM UNNEST(…, …): each argument is a column of its own
            selected = tuple(("*", _value(node)) for node in origin.this.expressions)
        mentioned = tuple(dict.fromkeys((column.table, column.name) for column in _own_columns(tree)))
        return Part(
            number,
            parent,
            tuple(uses),
            tuple(derived),
            predicate,
            tuple(joins),
            tuple(links),
            selected,
            insert_columns,
            values,
            mentioned,
            *_tested(tree),
        )

    def _conditions(
        self,
        tree: Any,
        number: int,
        known: dict[str, int],
        uses: list[Use],
        derived: list[tuple[int, Use]],
    ) -> Iterator[Link]:
        """Read the subqueries of the conditions and of the selected columns; `x IN (SELECT y …)` links."""
        from sqlglot import exp

        roots = [
            *(tree.expressions if isinstance(tree, (exp.Select, exp.Update)) else ()),
            *(tree.args.get(name) for name in ("where", "having", "qualify", "group", "order", "returning")),
            *(join.args.get("on") for join in tree.args.get("joins") or ()),
        ]
        found: list[Link] = []
        for root in roots:
            if root is None:
                continue
            for query in _outer_queries(root):
                holder = query.find_ancestor(exp.In, exp.EQ)
                inside = len(self._parts)
                self._read(query, number, known)
                if inside >= len(self._parts) or not _always(query, root):
                    continue
                column = None
                if isinstance(holder, exp.In) and holder.args.get("query") is not None:
                    column = holder.this
                elif isinstance(holder, exp.EQ):
                    column = holder.this if isinstance(holder.this, exp.Column) else holder.expression
                if isinstance(column, exp.Column):
                    alias = f"({inside})"
                    derived.append((inside, Use(number, alias, "", "read")))
                    found.append(Link(column.table, column.name, alias, "id", to_right=False))
        yield from found


def _reaches(side: str, joined: bool) -> bool:
    """Whether the ON of a join restricts the joined table (or the ones before it)."""
    return {"LEFT": joined, "RIGHT": not joined, "FULL": False}.get(side, True)


def _outer_queries(root: Any) -> Iterator[Any]:
    """The queries inside an expression, without those inside of them."""
    from sqlglot import exp

    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, (exp.Select, exp.SetOperation)):
            yield node
            continue
        stack.extend(reversed(list(node.iter_expressions())))


def _always(node: Any, root: Any) -> bool:
    """Whether nothing between a node and the root makes it hold only sometimes."""
    from sqlglot import exp

    while node is not root and node is not None:
        node = node.parent
        if isinstance(node, (exp.Or, exp.Not, exp.Case)):
            return False
    return True


def _own_columns(tree: Any) -> Iterator[Any]:
    """The columns of a part, without those of the queries inside of it."""
    from sqlglot import exp

    stack = list(tree.iter_expressions())
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Column):
            yield node
        elif not isinstance(node, (exp.Select, exp.SetOperation, exp.With)):
            stack.extend(node.iter_expressions())


def _tested(tree: Any) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...], bool]:
    """What the conditions of a part test: columns, parameters, and whether one of them is not to be seen.

    `a.id = b.parent_id` ties two tables and tests neither.
    """
    from sqlglot import exp

    where, having = tree.args.get("where"), tree.args.get("having")
    roots = [row.this for row in (where, having) if row is not None]
    roots += [join.args["on"] for join in tree.args.get("joins") or () if join.args.get("on") is not None]
    columns: dict[tuple[str, str], None] = {}
    given: dict[str, None] = {}
    opaque = False
    stack, conditions = list(roots), list(roots)
    while conditions:
        node = _plain(conditions.pop())
        if isinstance(node, (exp.And, exp.Or)):
            conditions += node.flatten()
        elif isinstance(node, exp.Not):
            conditions.append(node.this)
        elif isinstance(node, exp.Placeholder):
            opaque = True
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Column):
            columns[node.table, node.name.lower()] = None
        elif isinstance(node, exp.Placeholder):
            given[str(node.this or "").removeprefix(NAME)] = None
        elif not isinstance(node, (exp.Select, exp.SetOperation)) and not _ties(node):
            stack.extend(node.iter_expressions())
    return tuple(columns), tuple(given), opaque


def _ties(node: Any) -> bool:
    """Whether a node is the equality of two columns."""
    from sqlglot import exp

    if not isinstance(node, exp.EQ):
        return False
    return isinstance(_plain(node.this), exp.Column) and isinstance(_plain(node.expression), exp.Column)


def _plain(node: Any) -> Any:
    """An expression without parentheses and casts around it."""
    from sqlglot import exp

    while isinstance(node, (exp.Paren, exp.Cast, exp.Collate)):
        node = node.this
    return node


def _value(node: Any) -> Value:
    from sqlglot import exp

    node = _plain(node)
    if isinstance(node, exp.Placeholder):
        name = str(node.this or "")
        return Value("parameter", name.removeprefix(NAME)) if name.startswith(NAME) else Value("unknown")
    if isinstance(node, exp.Literal):
        return Value("literal", str(node.this))
    if isinstance(node, exp.Column):
        return Value("column", node.name)
    return Value("unknown")


def _predicate(node: Any) -> Predicate:
    from sqlglot import exp

    node = _plain(node)
    if isinstance(node, exp.And):
        return Both(tuple(_predicate(part) for part in node.flatten()))
    if isinstance(node, exp.Or):
        return Either(tuple(_predicate(part) for part in node.flatten()))
    if isinstance(node, exp.EQ):
        left, right = _plain(node.this), _plain(node.expression)
        if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
            left, right = right, left
        if isinstance(left, exp.Column) and not isinstance(right, exp.Column):
            if isinstance(right, exp.Any):  # tenant_id = ANY($1)
                right = right.this
            return Compare(left.table, left.name, (_value(right),))
        if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
            pairs = zip(left.expressions, right.expressions, strict=False)
            return Both(tuple(_predicate(exp.EQ(this=a.copy(), expression=b.copy())) for a, b in pairs))
    if isinstance(node, exp.In) and node.args.get("query") is None and isinstance(node.this, exp.Column):
        return Compare(node.this.table, node.this.name, tuple(_value(item) for item in node.expressions))
    return Unknown()


def _links(node: Any) -> Iterator[tuple[str, str, str, str]]:
    from sqlglot import exp

    node = _plain(node)
    for part in node.flatten() if isinstance(node, exp.And) else (node,):
        part = _plain(part)
        if isinstance(part, exp.And):
            yield from _links(part)
        elif isinstance(part, exp.EQ):
            left, right = _plain(part.this), _plain(part.expression)
            if isinstance(left, exp.Column) and isinstance(right, exp.Column):
                yield left.table, left.name, right.table, right.name
        elif isinstance(part, exp.Exists):
            continue
