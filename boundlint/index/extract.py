"""Turn one file's syntax tree into facts, in one walk."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from boundlint.index import logged
from boundlint.index.facts import ClassFacts, Field, FileFacts, FunctionFacts, Param
from boundlint.index.nodes import child_fields, unpacked
from boundlint.index.statements import is_sql, words_of
from boundlint.index.texts import kind_of

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LONGEST_TEXT = 240  # characters of an annotation, default or class field that are kept
# Functions that call what they are given: `asyncio.to_thread`, `loop.run_in_executor`, `pool.submit`.
DEFERS = re.compile(
    r"thread|executor|submit|_exec$|^exec_|partial|run_sync|sync_to_async|call_soon|apply_async"
)
# A class that a call is on: `Report`, or `models.Report` of a module.
CLASS_PATH = re.compile(r"(?:(?!(?:self|cls)\.)[a-z_][a-z0-9_]*\.)?[A-Z]\w*")
MOST_ASSIGNMENTS = 4  # values remembered for one name
KEY_READERS = frozenset("get pop getlist getattr get_list getall getone".split())
# Keywords that may name a boundary: what is given to them may be this project's word for it.
BOUNDARY_KEYWORD = re.compile(
    r"(?:^|_)(?:tenant|org|organi[sz]ation|workspace|company|customer|account|team)(?:_|$)"
)


def path_of(node: Any) -> str:
    """The path text of an expression (see `boundlint.index.facts`); `?` where it is none."""
    suffix = ""
    while True:
        kind = type(node)
        if kind is ast.Name:
            return f"{node.id}{suffix}"
        if kind is ast.Attribute:
            suffix = f".{node.attr}{suffix}"
            node = node.value
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "cast" and len(node.args) == 2:
                node = node.args[1]
                continue
            suffix = "()" + suffix
            node = node.func
        elif isinstance(node, ast.Subscript):
            suffix = "[]" + suffix
            node = node.value
        elif isinstance(node, (ast.Await, ast.NamedExpr, ast.YieldFrom)):
            node = node.value
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            node = node.values[0]
        elif isinstance(node, ast.IfExp):
            node = node.body if not isinstance(node.body, ast.Constant) else node.orelse
        else:
            return "?" + suffix


def extract(path: str, digest: str, source: str, tree: ast.Module) -> FileFacts:
    """All facts of one file. `path` is root-relative, `digest` that of the content."""
    return _Extractor(path, digest, source).run(tree)


class _Scope:
    """The facts of one function while its body is walked."""

    __slots__ = (
        "assigned",
        "call_lines",
        "calls",
        "columns",
        "given",
        "keys",
        "logged",
        "names",
        "returned",
        "statements",
        "stored",
        "texts",
    )

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.call_lines: list[int] = []
        self.assigned: dict[str, list[str]] = {}
        self.returned: list[str] = []
        self.names: set[str] = set()
        self.keys: set[str] = set()
        self.columns: dict[str, set[str]] = {}
        self.stored: dict[str, None] = {}
        self.texts: dict[str, None] = {}
        self.logged: set[str] = set()
        self.given: dict[str, set[str]] = {}
        self.statements: dict[str, None] = {}

    def dumped_given(self) -> dict[str, str]:
        """The names given to keywords as facts hold them."""
        return {keyword: " ".join(sorted(names)) for keyword, names in self.given.items()}

    def dumped_columns(self) -> dict[str, str]:
        """The columns as facts hold them."""
        return {name: " ".join(sorted(columns)) for name, columns in self.columns.items()}


class _Extractor:
    def __init__(self, path: str, digest: str, source: str) -> None:
        self.path = path
        self.digest = digest
        self.lines = source.split("\n")
        self.ascii = source.isascii()
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.functions: list[FunctionFacts] = []
        self.classes: list[ClassFacts] = []
        self.joins: dict[str, None] = {}

    def run(self, tree: ast.Module) -> FileFacts:
        scope = _Scope()
        self._body(tree.body, scope, owner="", parent="", attributes=None, prefix="")
        end = len(self.lines)
        self.functions.append(
            FunctionFacts(
                "",
                "",
                "",
                1,
                1,
                end,
                False,
                [],
                [],
                "",
                scope.calls,
                scope.call_lines,
                {},
                [],
                " ".join(sorted(scope.names)),
                scope.dumped_columns(),
                list(scope.stored),
                list(scope.texts),
                " ".join(sorted(scope.keys)),
                scope.dumped_given(),
                " ".join(sorted(scope.logged)),
                list(scope.statements),
            )
        )
        return FileFacts(
            self.path,
            self.digest,
            end,
            self.imports,
            self.stars,
            self.functions,
            self.classes,
            scope.assigned,
            list(self.joins),
        )

    def _text(self, node: ast.AST | None) -> str:
        """Source text of an expression, on one line and cut to a bound."""
        if node is None:
            return ""
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value[:LONGEST_TEXT] if len(node.value) < 60 and node.value.isprintable() else "?"
        first, last = node.lineno - 1, node.end_lineno - 1  # type: ignore[attr-defined]
        start, end = node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
        rows = self.lines[first : min(last, first + 12) + 1]
        if not self.ascii:
            encoded = [row.encode("utf-8", "surrogatepass") for row in rows]
            if first == last:
                return encoded[0][start:end].decode("utf-8", "replace")[:LONGEST_TEXT]
            rows = [row.decode("utf-8", "replace") for row in (encoded[0][start:], *encoded[1:])]
        elif first == last:
            return rows[0][start:end][:LONGEST_TEXT]
        else:
            rows = [rows[0][start:], *rows[1:]]
        return " ".join(" ".join(rows).split())[:LONGEST_TEXT]

    def _body(
        self,
        statements: list[ast.stmt],
        scope: _Scope,
        owner: str,
        parent: str,
        attributes: dict[str, list[str]] | None,
        prefix: str,
    ) -> None:
        """Walk the statements of one scope; nested functions and classes become facts of their own."""
        stack: list[ast.AST] = list(reversed(statements))
        names = scope.names
        while stack:
            node = stack.pop()
            kind: Any = type(node)
            if kind is ast.Name:
                names.add(node.id)  # type: ignore[attr-defined]
                continue
            if kind is ast.Constant:
                if type(node.value) is str and (text := kind_of(node.value)):  # type: ignore[attr-defined]
                    scope.texts[text] = None
                    if text == "sql":
                        scope.statements[words_of(node.value)] = None  # type: ignore[attr-defined]
                continue
            if kind is ast.JoinedStr and (template := _template(node)):  # type: ignore[arg-type]
                scope.texts["sql"] = None
                scope.statements[words_of(template)] = None
                stack.extend(row for row in reversed(node.values) if type(row) is not ast.Constant)  # type: ignore[attr-defined]
                continue
            if kind is ast.Attribute:
                names.add(node.attr)  # type: ignore[attr-defined]
                base = node.value  # type: ignore[attr-defined]
                stack.append(base)
                if read := _class_name(base):
                    scope.columns.setdefault(read, set()).add(node.attr)  # type: ignore[attr-defined]
                continue
            if kind is ast.Call:
                self._call(node, scope)  # type: ignore[arg-type]
            elif kind is ast.Compare:
                if join := _join(node, owner):  # type: ignore[arg-type]
                    self.joins[join] = None
            elif kind is ast.Subscript:
                _note_key(node.slice, scope)  # type: ignore[attr-defined]
            elif kind is ast.keyword:
                if node.arg:  # type: ignore[attr-defined]
                    names.add(node.arg)  # type: ignore[attr-defined]
                    _note_given(node, scope)  # type: ignore[arg-type]
                stack.append(node.value)  # type: ignore[attr-defined]
                continue
            elif isinstance(node, FUNCTION):
                self._function(node, owner="", parent=parent, prefix=prefix)
                stack.extend(reversed(node.decorator_list))
                stack.extend(d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None)
                continue
            elif kind is ast.ClassDef:
                self._class(node, parent, prefix)  # type: ignore[arg-type]
                stack.extend(reversed(node.decorator_list))  # type: ignore[attr-defined]
                continue
            elif kind is ast.Import or kind is ast.ImportFrom:
                self._import(node, inner=bool(prefix))  # type: ignore[arg-type]
                continue
            elif isinstance(node, ast.stmt):
                self._binding(node, scope, attributes)
            for name in child_fields(kind):
                value = getattr(node, name, None)
                if type(value) is list:
                    stack += value[::-1]  # names in it, as those of `global`, have no fields
                elif value is not None:
                    stack.append(value)

    @staticmethod
    def _call(node: ast.Call, scope: _Scope) -> None:
        """Remember a call; `to_thread(client.get, key)` calls the function that it is given, too."""
        path = path_of(node.func)
        name = path.rpartition(".")[2]
        scope.calls.append(path)
        scope.call_lines.append(node.lineno)
        if node.args and name in KEY_READERS:
            _note_key(node.args[1 if path == "getattr" and len(node.args) > 1 else 0], scope)
        if name in logged.LEVELS:
            scope.logged |= logged.mentioned(node)
        if node.keywords and (called := CLASS_PATH.match(path)):
            scope.columns.setdefault(called[0], set()).update(row.arg for row in node.keywords if row.arg)
        elif node.args and (given_to := _class_name(node.args[0])):
            given = (row.arg for row in node.keywords if row.arg)
            scope.columns.setdefault(given_to, set()).update(("()", *given))
        if DEFERS.search(name):
            deferred = [
                path_of(argument)
                for argument in node.args[:2]
                if isinstance(argument, (ast.Attribute, ast.Name))
            ]
            scope.calls.extend(deferred)
            scope.call_lines.extend([node.lineno] * len(deferred))

    def _binding(self, node: ast.stmt, scope: _Scope, attributes: dict[str, list[str]] | None) -> None:
        """Remember what a statement assigns, returns or yields."""
        if isinstance(node, ast.Assign):
            value = path_of(node.value)
            if value in ("Annotated[]", "typing.Annotated[]", "t.Annotated[]"):
                value = ":" + self._text(node.value)  # an alias such as `Db = Annotated[Session, ...]`
            for target in node.targets:
                if isinstance(target, (ast.Tuple, ast.List)) and (pairs := unpacked(target, node.value)):
                    for single, part in pairs:
                        self._assign(single, path_of(part), scope, attributes)
                else:
                    self._assign(target, value, scope, attributes)
        elif isinstance(node, ast.AnnAssign):
            self._assign(node.target, ":" + self._text(node.annotation), scope, attributes)
            if node.value is not None:
                self._assign(node.target, path_of(node.value), scope, attributes)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if item.optional_vars is not None:
                    self._assign(item.optional_vars, path_of(item.context_expr), scope, attributes)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._assign(node.target, path_of(node.iter) + "[]", scope, attributes)
        elif isinstance(node, ast.AugAssign):
            _store(node.target, scope)
        elif isinstance(node, ast.Global):
            scope.stored.update(dict.fromkeys(node.names))
        elif isinstance(node, ast.Return):
            _remember(scope.returned, path_of(node.value) if node.value is not None else "?")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield):
            _remember(scope.returned, path_of(node.value.value))

    def _assign(
        self, target: ast.expr, value: str, scope: _Scope, attributes: dict[str, list[str]] | None
    ) -> None:
        if isinstance(target, ast.Name):
            _remember(scope.assigned.setdefault(target.id, []), value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            if attributes is not None and target.value.id in ("self", "cls"):
                _remember(attributes.setdefault(target.attr, []), value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self._assign(item, value if value.startswith("?") else f"?{value}", scope, attributes)
        if not isinstance(target, ast.Name):
            _store(target, scope)

    def _import(self, node: ast.Import | ast.ImportFrom, inner: bool) -> None:
        bound: Iterator[tuple[str, str]]
        if isinstance(node, ast.Import):
            bound = (
                (a.asname or a.name.partition(".")[0], a.name if a.asname else a.name.partition(".")[0])
                for a in node.names
            )
        else:
            base = "." * node.level + (node.module or "")
            self.stars.extend(base for a in node.names if a.name == "*")
            separator = "" if base.endswith(".") or not base else "."
            bound = ((a.asname or a.name, base + separator + a.name) for a in node.names if a.name != "*")
        for name, target in bound:
            if inner:
                self.imports.setdefault(name, target)
            else:
                self.imports[name] = target

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        owner: str,
        parent: str,
        prefix: str,
        attributes: dict[str, list[str]] | None = None,
    ) -> None:
        qualname = f"{prefix}{node.name}"
        scope = _Scope()
        params = list(self._params(node.args))
        first: dict[str, list[str]] | None = attributes
        if attributes is not None:
            first = {}
        self._body(node.body, scope, owner=owner, parent=qualname, attributes=first, prefix=qualname + ".")
        if attributes is not None and first:
            annotations = {param.name: param.annotation for param in params}
            for name, values in first.items():
                known = attributes.setdefault(name, [])
                for value in values:
                    typed = annotations.get(value, "")
                    _remember(known, ":" + typed if typed else value)
        self.functions.append(
            FunctionFacts(
                qualname,
                owner,
                parent,
                min([node.lineno, *(d.lineno for d in node.decorator_list)]),
                node.lineno,
                node.end_lineno or node.lineno,
                isinstance(node, ast.AsyncFunctionDef),
                params,
                [self._text(decorator) for decorator in node.decorator_list],
                self._text(node.returns),
                scope.calls,
                scope.call_lines,
                scope.assigned,
                scope.returned,
                " ".join(sorted(scope.names)),
                scope.dumped_columns(),
                list(scope.stored),
                list(scope.texts),
                " ".join(sorted(scope.keys)),
                scope.dumped_given(),
                " ".join(sorted(scope.logged)),
                list(scope.statements),
            )
        )

    def _params(self, arguments: ast.arguments) -> Iterator[Param]:
        positional = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        rows = [(arg, "pos", default) for arg, default in zip(positional, defaults, strict=False)]
        if arguments.vararg:
            rows.append((arguments.vararg, "var", None))
        rows += [
            (arg, "kw", default)
            for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=False)
        ]
        if arguments.kwarg:
            rows.append((arguments.kwarg, "varkw", None))
        for arg, kind, default in rows:
            value = None if default is None else self._default(default)
            yield Param(arg.arg, kind, self._text(arg.annotation), value)

    def _default(self, node: ast.expr) -> str:
        if isinstance(node, ast.Constant):
            return repr(node.value)[:LONGEST_TEXT]
        return self._text(node)

    def _class(self, node: ast.ClassDef, parent: str, prefix: str) -> None:
        qualname = f"{prefix}{node.name}"
        attributes: dict[str, list[str]] = {}
        fields: list[Field] = []
        scope = _Scope()
        rest: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, FUNCTION):
                self._function(statement, qualname, parent, qualname + ".", attributes)
                rest_nodes: list[ast.expr] = [*statement.decorator_list]
                rest.extend(ast.Expr(value) for value in rest_nodes)
                continue
            if isinstance(statement, ast.Assign):
                fields.extend(
                    Field(target.id, "", self._text(statement.value))
                    for target in statement.targets
                    if isinstance(target, ast.Name)
                )
                for target in statement.targets:
                    if isinstance(target, ast.Name):
                        _remember(attributes.setdefault(target.id, []), path_of(statement.value))
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                annotation = self._text(statement.annotation)
                fields.append(Field(statement.target.id, annotation, self._text(statement.value)))
                _remember(attributes.setdefault(statement.target.id, []), ":" + annotation)
            elif isinstance(statement, ast.ClassDef):
                self._class(statement, parent, qualname + ".")
                continue
            rest.append(statement)
        self._body(rest, scope, owner=qualname, parent=parent, attributes=None, prefix=qualname + ".")
        self.classes.append(
            ClassFacts(
                qualname,
                node.lineno,
                node.end_lineno or node.lineno,
                [self._text(base) for base in node.bases],
                [f"{row.arg}={self._text(row.value)}" for row in node.keywords if row.arg],
                [self._text(decorator) for decorator in node.decorator_list],
                fields,
                attributes,
            )
        )


def _template(node: ast.JoinedStr) -> str:
    """The text of an f-string that is a SQL statement, `{}` for what is filled in; "" for any other."""
    first = node.values[0] if node.values else None
    if not (isinstance(first, ast.Constant) and is_sql(str(first.value) + " {}")):
        return ""
    return "".join(str(row.value) if isinstance(row, ast.Constant) else "{}" for row in node.values)


def _store(target: ast.expr, scope: _Scope) -> None:
    """Remember an attribute or an item that is assigned."""
    if isinstance(target, (ast.Attribute, ast.Subscript)):
        scope.stored[path_of(target)] = None


def _class_name(node: ast.expr) -> str:
    """`Report`, or `models.Report` of a module; "" for what is named like no class."""
    if type(node) is ast.Name:
        return node.id if node.id[:1].isupper() else ""
    if type(node) is ast.Attribute and type(node.value) is ast.Name and node.attr[:1].isupper():
        path = f"{node.value.id}.{node.attr}"
        return path if CLASS_PATH.fullmatch(path) else ""
    return ""


def _note_given(node: ast.keyword, scope: _Scope) -> None:
    keyword, value = node.arg or "", node.value
    if isinstance(value, ast.Name) and value.id != keyword and BOUNDARY_KEYWORD.search(keyword):
        scope.given.setdefault(keyword, set()).add(value.id)


def _note_key(node: ast.expr, scope: _Scope) -> None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        scope.keys.add(node.value)


def _join(node: ast.Compare, owner: str) -> str:
    """`Task.doc_id == Document.id`: two columns of models; "" for anything else.

    A model is a capitalized name, or `cls.model` in a class that is about one.
    """
    sides = (node.left, *node.comparators)
    if len(sides) != 2 or type(node.ops[0]) is not ast.Eq:
        return ""
    columns = []
    for side in sides:
        path = path_of(side) if type(side) is ast.Attribute else ""
        model, _, column = path.rpartition(".")
        if owner and model in ("cls.model", "self.model"):
            columns.append(f"{owner}.model.{column}")
        elif model[:1].isupper() and model.isidentifier():
            columns.append(path)
    return "==".join(columns) if len(columns) == 2 else ""


def _remember(values: list[str], value: str) -> None:
    if value not in values and len(values) < MOST_ASSIGNMENTS:
        values.append(value)
