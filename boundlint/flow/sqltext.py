"""Queries in SQL text: which owned table a statement that is run touches, by which id, and what it compares.

Only what a followed function runs is parsed, each text once. A statement that cannot be read whole (it does not
parse, its conditions or its table are filled in from elsewhere) says nothing: it is neither scoped nor open.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.guards import mentions_boundary
from boundlint.flow.queries import IDENTIFIER, Effect, Lookup, unbound, unwrapped
from boundlint.flow.values import HOLE, NONE, Value, join
from boundlint.index.extract import path_of
from boundlint.index.models import AUDIT
from boundlint.index.nodes import source_of, span_of
from boundlint.index.statements import is_sql
from boundlint.index.tables import Table, is_identity
from boundlint.sql.parse import NAME, Unparsable, parse
from boundlint.sql.tree import Both, Compare, Part, Statement, Use
from boundlint.sql.tree import Value as SqlValue

if TYPE_CHECKING:
    from boundlint.flow.arguments import Arguments
    from boundlint.flow.interpret import Interpreter
    from boundlint.index.receivers import Callee

RUNS = re.compile(
    r"execut|^_?a?(?:exec|fetch|query|select|run|raw|read_sql|iterate|stream|scalar|cursor|update|delete)(?:_|$|[a-z]*$)"
    r"|^(?:one|all|first|get_one|get_all|get_first)$"
)
TEXT_KEYWORDS = ("query", "sql", "statement", "stmt", "operation", "text")
PARAMETER_KEYWORDS = frozenset("params parameters values args vars param arguments bind_params".split())
WRAPPERS = re.compile(r"(?i)^(?:\w+_)?(?:sql_?)?(?:text|sql|textclause|dedent|cleandoc)$")
# A sum, or whether there is one at all: of the rows themselves nothing is told.
COUNTS = re.compile(
    r"(?i)^\s*SELECT\s+(?:DISTINCT\s+)?(?:(?:COUNT|SUM|MIN|MAX|AVG|EXISTS|COALESCE\s*\(\s*(?:COUNT|SUM|MAX|MIN|AVG))\s*\(|1\b(?!\s*,))"
)
GROUPED = re.compile(r"(?i)\bGROUP\s+BY\b")
CURSOR = re.compile(r"(?:^|[._])c(?:ur|urs|ursor)?\d?$")
HOLE_NAME = "hole_"
MOST_HOLES = 12
EFFECTS: Mapping[str, Effect] = {"read": "read", "write": "update", "delete": "delete"}


@dataclass(frozen=True)
class Template:
    """A text with its filled-in parts under names (`hole_0`), and their expressions."""

    text: str
    holes: tuple[ast.expr, ...] = ()


@dataclass(frozen=True)
class Ran:
    """A statement that is run: its query of an owned table, and type name and boundary columns of the rows it creates."""

    lookup: Lookup | None
    created: tuple[tuple[str, str], ...] = ()


def keeps_text(name: str, receiver: Value, given: Arguments) -> Value | None:
    """The value of `text("SELECT …")`, and of `.bindparams(…)` on it: the SQL itself; None for any other call."""
    if name == "bindparams" and receiver.text is not None and is_sql(receiver.text):
        return join([receiver, given.joined()])._replace(text=receiver.text)
    if not given.positional or not WRAPPERS.match(name):
        return None
    value = given.positional[0][0]
    return value if value.text is not None and is_sql(value.text) else None


def statement_run(
    run: Interpreter, node: ast.Call, name: str, callee: Callee, receiver: Value, given: Arguments
) -> Ran | None:
    """What a call runs on an owned table; None for any other call."""
    tables = run.flow.tables
    if not tables or not RUNS.search(name):
        return None
    place, argument, text = _text_argument(given)
    words = set(re.findall(r"\w+", text.lower()))
    if words.isdisjoint(tables) or (COUNTS.match(text) and not GROUPED.search(text)):
        return None
    if callee.function is not None and mentions_boundary(run.flow, callee.function):
        return None  # a helper of the project may bind the connection first
    bound = dict(_bound(run, argument))
    template = Template(text) if HOLE not in text else _template(run, argument)
    statement = _parsed(template.text) if template is not None else None
    if template is None or statement is None:
        return None
    created = tuple(_created(run, statement))
    touched = _touched(statement, tables)
    if touched is None:
        return Ran(None, created) if created else None
    parameters = _parameters(run, template, bound, given.positional[place:], given)
    return Ran(_lookup(run, node, statement, touched, parameters, receiver), created)


def _text_argument(given: Arguments) -> tuple[int, ast.expr, str]:
    """Where the arguments after the SQL begin, its expression, and its text; "" where a call is given none."""
    rows = [(0, given.keywords[name]) for name in TEXT_KEYWORDS if name in given.keywords]
    rows += [(1, row) for row in given.positional[:1]]
    for place, (value, argument) in rows:
        if value.text is not None and is_sql(value.text):
            return place, argument, value.text
    return 0, ast.Constant(""), ""


def _bound(run: Interpreter, argument: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The parameters in `text("…").bindparams(id=…)`, directly or under a name."""
    if isinstance(argument, ast.Name):
        argument = _assigned(run, argument.id) or argument
    while isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute):
        if argument.func.attr == "bindparams":
            yield from ((row.arg, row.value) for row in argument.keywords if row.arg)
        argument = argument.func.value


def _template(run: Interpreter, argument: ast.expr) -> Template | None:
    """A text that is put together in one place, with its holes named; None where parts come from elsewhere."""
    holes: list[ast.expr] = []
    text = _written(run, argument, holes)
    if text is None or len(holes) > MOST_HOLES:
        return None
    prefix = f":{NAME}" if style_of(text) in ("format", "dollar") else ":"
    return Template(re.sub(f"\0({HOLE_NAME}\\d+)\0", rf"{prefix}\1", text), tuple(holes))


def _written(run: Interpreter, node: ast.expr, holes: list[ast.expr]) -> str | None:
    """The text of an expression; what is not constant becomes `\\0hole_N\\0` and joins the holes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and node.args and WRAPPERS.match(path_of(node.func).rpartition(".")[2]):
        return _written(run, node.args[0], holes)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "bindparams":
        return _written(run, node.func.value, holes)
    if isinstance(node, ast.Name) and (assigned := _assigned(run, node.id)) is not None:
        return _written(run, assigned, holes)
    parts: list[ast.expr]
    if isinstance(node, ast.JoinedStr):
        parts = node.values
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [node.left, node.right]
    else:
        return None
    texts = []
    for part in parts:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        text = _written(run, inner, holes) if not isinstance(inner, ast.Name) else None
        if text is None:
            known = run.value(inner).text
            text = known if known is not None and HOLE not in known else None
        if text is None:
            holes.append(inner)
            text = f"\0{HOLE_NAME}{len(holes) - 1}\0"
        texts.append(text)
    return "".join(texts)


def _assigned(run: Interpreter, name: str, grows: bool = False) -> ast.expr | None:
    """What a local name is given, where the function binds it once; a collection may grow, a text may not."""
    found: list[ast.expr | None] = []
    for node in (part for statement in run.flow.body(run.function) or () for part in ast.walk(statement)):
        if isinstance(node, ast.Assign):
            found += [node.value for target in node.targets if path_of(target) == name]
        elif isinstance(node, ast.AnnAssign) and path_of(node.target) == name:
            found.append(node.value)
        elif (isinstance(node, ast.AugAssign) and path_of(node.target) == name and not grows) or (
            isinstance(node, ast.Call) and path_of(node.func) in (f"{name}.insert", f"{name}.pop")
        ):
            found.append(None)
    return found[0] if len(found) == 1 else None


def style_of(text: str) -> str:
    """The style of a text's placeholders."""
    if re.search(r"%s|%\(\w+\)s", text):
        return "format"
    return "dollar" if re.search(r"\$\d", text) else "named"


def _parsed(text: str) -> Statement | None:
    """A statement in the first dialect that reads it; None for what no dialect does."""
    for dialect in ("mysql", "sqlite") if "`" in text else ("postgres", "mysql"):
        try:
            return parse(text, dialect, style_of(text))
        except Unparsable:
            continue
    return None


def _created(run: Interpreter, statement: Statement) -> Iterator[tuple[str, str]]:
    """Type name and boundary column for each row that a statement creates."""
    for part in statement.parts:
        for use in part.uses:
            table = run.flow.tables.get(use.table) if use.effect == "insert" else None
            for column in part.insert_columns if table is not None else ():
                if table is not None and run.vocabulary.column(column.lower()) and column not in AUDIT:
                    yield table.type_name, column.lower()


def _touched(statement: Statement, tables: Mapping[str, Table]) -> tuple[Table, Part, Use] | None:
    """The owned table that a statement is about: what it changes, else what it reads by an id, else the first."""
    if any(use.effect == "insert" for part in statement.parts for use in part.uses):
        return None
    rows = [
        (tables[use.table], part, use) for part in statement.parts for use in part.uses if use.table in tables
    ]
    changed = [row for row in rows if row[2].effect != "read"]
    if not changed and any(use.effect != "read" for part in statement.parts for use in part.uses):
        return None  # what it changes is nobody's
    by_id = [row for row in rows if any(IDENTIFIER.match(name) for name, _ in _compares(row[1], row[2]))]
    return next(iter(changed or by_id or rows), None)


def _compares(part: Part, use: Use) -> Iterator[tuple[str, tuple[SqlValue, ...]]]:
    """The columns of a table that always equal a value, with it."""
    first = part.uses[0].alias == use.alias
    stack = list(part.predicates_for(use))
    while stack:
        row = stack.pop()
        if isinstance(row, Both):
            stack.extend(reversed(row.parts))
        elif isinstance(row, Compare) and (row.alias == use.alias or (not row.alias and first)):
            yield row.column.lower(), row.values


Parameters = Mapping[str, tuple[Value, ast.expr]]  # by key; "" is what holds those that are not told apart


def _parameters(
    run: Interpreter,
    template: Template,
    bound: Mapping[str, ast.expr],
    rest: tuple[tuple[Value, ast.expr], ...],
    given: Arguments,
) -> Parameters:
    """What a call gives to the parameters of its statement."""
    found = {f"{HOLE_NAME}{index}": (run.value(node), node) for index, node in enumerate(template.holes)}
    found |= {name: (run.value(node), node) for name, node in bound.items()}
    found |= {name: row for name, row in given.keywords.items() if name not in PARAMETER_KEYWORDS}
    sets = [*(row for name, row in given.keywords.items() if name in PARAMETER_KEYWORDS), *rest]
    if style_of(template.text) == "dollar" and not (
        len(sets) == 1 and isinstance(sets[0][1], (ast.List, ast.Tuple))
    ):
        found |= {str(index): row for index, row in enumerate(rest)}
    else:
        for value, node in sets[:1]:
            told = _told_apart(run, node)
            found |= {key: (run.value(inner), inner) for key, inner in told or ()}
            if value.carriers or value.maybe:  # one of those that are not told apart may be the boundary
                found[""] = (value, node)
    return found


def _told_apart(run: Interpreter, node: ast.expr) -> list[tuple[str, ast.expr]] | None:
    """The single parameters in `(a, b)`, `{"a": a}`, `dict(a=a)` or a name given one; None where they cannot be told."""
    if isinstance(node, ast.Name):
        assigned = _assigned(run, node.id, grows=True)
        return None if assigned is None or isinstance(assigned, ast.Name) else _told_apart(run, assigned)
    if isinstance(node, (ast.Tuple, ast.List)):
        if any(isinstance(row, ast.Starred) for row in node.elts):
            return None
        if len(node.elts) == 1 and isinstance(node.elts[0], ast.Dict):  # one set of several
            return _told_apart(run, node.elts[0])
        return [(str(index), row) for index, row in enumerate(node.elts)]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        keys = [(key.value, row) for key, row in pairs if isinstance(key, ast.Constant)]
        return [(str(key), row) for key, row in keys] if len(keys) == len(node.keys) else None
    if isinstance(node, ast.Call) and path_of(node.func) == "dict" and not node.args:
        return [(row.arg, row.value) for row in node.keywords if row.arg]
    return None


def _lookup(
    run: Interpreter,
    node: ast.Call,
    statement: Statement,
    touched: tuple[Table, Part, Use],
    parameters: Parameters,
    receiver: Value,
) -> Lookup:
    table, part, use = touched
    level = run.vocabulary.column
    ids = {
        ast.unparse(unwrapped(parameters[key][1])): parameters[key][0]
        for column, values in _compares(part, use)
        for key in map(_key, values)
        if IDENTIFIER.match(column) and not level(column) and key and key in parameters
    }
    ids = {source: value for source, value in ids.items() if not value.is_constant}
    keys = {key for row in statement.parts for key in row.given}
    keys |= {key for row in statement.parts for use in row.uses for key in _filled(row, use)}
    elsewhere = {key for key in parameters if key.startswith(HOLE_NAME)} - keys
    compared = [parameters[key] for key in sorted(keys | elsewhere) if key in parameters]
    carriers = {f"{table.name}.{column}" for row in statement.parts for column in _boundaries(run, row)}
    maybe: set[str] = set()
    if elsewhere or any(row.opaque for row in statement.parts) or not keys <= parameters.keys():
        maybe.add("**")  # a condition, or what it compares with, comes from elsewhere
        compared += [parameters[""]] if "" in parameters else []
    given = [unbound(value) for value, _ in compared]
    carriers.update(*(value.carriers for value in given), receiver.carriers)
    maybe.update(*(value.maybe for value in given), receiver.maybe)
    return Lookup(
        table.model or table.name,
        table.type_name,
        EFFECTS.get(use.effect, "read"),
        path_of(node.func),
        run.function,
        span_of(node),
        source_of(node),
        Value(
            frozenset(carriers),
            frozenset(maybe - carriers),
            NONE.union(*(value.params for value in given)),
        ),
        frozenset(column for _, column in part.tested),
        tuple(ids),
        join(ids.values()),
        values=frozenset(ast.unparse(source) for _, source in compared),
        is_table=not table.model,
    )


def _key(value: SqlValue) -> str:
    """The key of a parameter, or of what is filled in; "" for what is constant or a column."""
    if value.kind == "parameter":
        return value.key
    found = re.search(rf"\b{HOLE_NAME}\d+", value.key) if value.kind == "literal" else None
    return found[0] if found is not None else ""


def _filled(part: Part, use: Use) -> Iterator[str]:
    """What is filled into quotes that a column of a table always equals."""
    for _, values in _compares(part, use):
        yield from (key for key in map(_key, values) if key.startswith(HOLE_NAME))


def _boundaries(run: Interpreter, part: Part) -> Iterator[str]:
    """The boundary columns that the conditions of a part test, those of the users' and tenants' own tables included."""
    identities = {use.alias for use in part.uses if is_identity(use.table)}
    for alias, column in part.tested:
        if run.vocabulary.column(column) or alias in identities:
            yield column
