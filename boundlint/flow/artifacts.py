"""Files that two customers could share: where code writes them, under which name, and who removes them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from boundlint.flow.objectstores import fetched
from boundlint.flow.origins import Body
from boundlint.flow.paths import DEEPEST, FilePath, Paths, mentions
from boundlint.flow.values import HOLE
from boundlint.index.extract import path_of
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.catalog.model import Operation
    from boundlint.findings import Confidence
    from boundlint.flow.analysis import Flow

Kind = Literal["shared-path", "left-behind", "profile", "shared-object"]
LONGEST_SOURCE = 80
# Text of a path that says "for a moment": a temporary folder or name.
TEMPORARY = re.compile(r"(?:^|[/_.\-\\])(?:tmp|temp|temporary|scratch)(?:[/_.\-\\\d{]|$)", re.IGNORECASE)
# Names of what was handed in from outside, and of what is made of it.
HANDED_IN = re.compile(
    r"^(?:\w+_)?(?:file|files|upload|uploads|uploaded|blob|binary|bytes|byte|content|contents|data|pdf|docx?|document|image|img|audio|video|attachment|body"
    r"|text|html|markdown|csv|xlsx?|buffer|chunk|payload|media|screenshot|transcript|email|message|messages|result|results|report|output|code|script)$"
)
NOT_CONTENT = re.compile(
    r"\.(?:log|pid|lock|env|toml|ini|cfg|yaml|yml|sock|md5|sha256|version|pkl|pt|bin|index|db|sqlite|pem|crt|key)$|config|settings|manifest|schema|swagger|openapi|version|health|heartbeat"
    r"|model|weights|vocab|checkpoint|metrics|requirements",
    re.IGNORECASE,
)
# Calls that write what an object holds to a path, whatever the object is.
SAVES = re.compile(
    r"^(?:save\w*|export|to_(?:csv|excel|parquet|file|json|html|pdf)|imwrite|write_(?:image|file|pdf)|copyfile|copy2?|urlretrieve|download_(?:file|to|media)\w*)$"
)
CLEANERS = re.compile(
    r"^_?(?:clean_?up\w*|cleanup\w*|clean|purge\w*|unlink|rmtree|rmdir|remove_\w*(?:file|tmp|temp|dir|path|folder)\w*|delete_\w*(?:file|tmp|temp|dir|path|folder)\w*"
    r"|safe_(?:remove|delete|unlink)\w*|removefile|remove_all|aremove|silent_remove)$"
)
MOVERS = frozenset({"os.replace", "os.rename", "os.renames", "shutil.move"})
WRITE_MODE = re.compile(r"[wax+]")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that is written where customers meet.  Lines and columns are those of the call.

    `call` is the operation's target, or the call as written; `path` is the file's path with `{}` for what varies; `varies` says by what (`time`, `name`); `content` is the
    source text of what is written into it.
    """

    kind: Kind
    line: int
    column: int
    end_line: int
    end_column: int
    function: Function
    call: str
    confidence: Confidence
    path: str
    varies: frozenset[str]
    content: str
    temporary: bool
    handed_on: bool = False


def artifacts(flow: Flow, body: Body) -> Iterator[Artifact]:
    """The files that a function and those nested in it write where customers meet."""
    search = _Search(flow, body)
    for node in body.nodes:
        if isinstance(node, ast.Call):
            found = search.file_call(node)
            if found is not None:
                yield found
    for inner in body.inner:
        yield from artifacts(flow, inner)


class _Search:
    """Looks at the calls of one function that write files."""

    def __init__(self, flow: Flow, body: Body) -> None:
        self.flow = flow
        self.function = body.function
        self.known = body.known
        self.body = body
        self.paths = Paths(flow, body.function, body.known)

    def file_call(self, node: ast.Call) -> Artifact | None:
        """What a call writes where customers meet; None for any other call."""
        stored = fetched(self.flow, self.body, node)
        if stored is not None:
            return self._artifact("shared-object", node, stored.call, "medium", stored.bucket, stored.key)
        called = path_of(node.func)
        if SAVES.match(called.rpartition(".")[2]):
            return self._saved(node, called)
        if called.rpartition(".")[2] not in self.flow.file_methods:
            return None
        callee = self.flow.receivers.callee(self.function, called)
        operation = callee.operation or self.flow.by_method.get(called.rpartition(".")[2])
        if operation is None or operation.kind != "file" or operation.effect != "write":
            return None
        given = {row.role: _argument(node, row.position, row.keyword) for row in operation.args}
        if "path" in given and "mode" not in given:
            return self._profile(node, operation, callee.confidence, given["path"])
        if "path" in given or "constructor" in operation.binders:
            return self._write(node, operation, callee.confidence, given)
        return self._left_behind(node, operation, callee.confidence, given)

    def _artifact(
        self,
        kind: Kind,
        node: ast.Call,
        call: str,
        confidence: Confidence,
        path: FilePath,
        content: str,
        handed_on: bool = False,
    ) -> Artifact:
        return Artifact(
            kind,
            node.lineno,
            node.col_offset,
            node.end_lineno or node.lineno,
            node.end_col_offset or node.col_offset,
            self.function,
            call,
            confidence,
            path.text,
            path.parts,
            content[:LONGEST_SOURCE],
            bool(TEMPORARY.search(path.text)) or "temporary" in path.parts,
            handed_on,
        )

    def _profile(
        self, node: ast.Call, operation: Operation, confidence: Confidence, given: ast.expr | None
    ) -> Artifact | None:
        if given is None or (isinstance(given, ast.Constant) and not given.value):
            return None  # without a folder the browser makes a fresh one
        path = self.paths.path(given, node.lineno, 0)
        if path.parts - {"config"}:
            return None
        return self._artifact("profile", node, operation.target, confidence, path, "")

    def _write(
        self,
        node: ast.Call,
        operation: Operation,
        confidence: Confidence,
        given: dict[str, ast.expr | None],
    ) -> Artifact | None:
        """A file opened for writing, or written at once, under a name that another customer's may have too."""
        if "mode" in given:
            mode = given["mode"]
            if not isinstance(mode, ast.Constant) or not WRITE_MODE.search(str(mode.value)):
                return None
            target = given["path"]
        else:
            target = node.func.value if isinstance(node.func, ast.Attribute) else None
        if target is None:
            return None
        path = self.paths.path(target, node.lineno, 0)
        if path.parts - {"time", "name", "count", "config", "temporary"} or NOT_CONTENT.search(path.text):
            return None
        if not path.text.replace(HOLE, "").strip("/."):
            return None
        content = self._written(node) if "mode" in given else given.get("value")
        if content is None or not self.is_handed_in(content, node.lineno, 0):
            return None
        return self._artifact("shared-path", node, operation.target, confidence, path, ast.unparse(content))

    def _saved(self, node: ast.Call, called: str) -> Artifact | None:
        """What any object saves into the system's temporary folder, under a name that others may get too."""
        for target in (*node.args[:2], *(row.value for row in node.keywords)):
            if not isinstance(
                target, (ast.Name, ast.JoinedStr, ast.BinOp, ast.Call, ast.Constant, ast.Attribute)
            ):
                continue
            path = self.paths.path(target, node.lineno, 0)
            in_system = "temporary" in path.parts or path.text.startswith("/tmp/")
            if not in_system or path.parts - {"time", "name", "count", "temporary"}:
                continue
            if path.text.replace(HOLE, "").strip("/.") in ("", "tmp") and "name" not in path.parts:
                continue
            if NOT_CONTENT.search(path.text):
                continue
            receiver = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else called
            return self._artifact("shared-path", node, called, "medium", path, receiver)
        return None

    def _left_behind(
        self,
        node: ast.Call,
        operation: Operation,
        confidence: Confidence,
        given: dict[str, ast.expr | None],
    ) -> Artifact | None:
        """A temporary file that nobody removes: not the function, not its class, not those it hands it to."""
        kept = given.get("flag")
        if "flag" in given and not (isinstance(kept, ast.Constant) and kept.value is False):
            return None
        if self.removes(self.function) or self._moves():
            return None
        content = self._written(node)
        if content is None or not self.is_handed_in(content, node.lineno, 0):
            return None
        around = [self.function, *self.flow.callers(self.flow.outermost(self.function))]
        if any(self.removes(row) for row in (*around, *self._siblings())):
            return None
        path = FilePath("", frozenset({"temporary"}))
        return self._artifact(
            "left-behind",
            node,
            operation.target,
            confidence,
            path,
            ast.unparse(content),
            self._hands_on(node),
        )

    def removes(self, function: Function) -> bool:
        """Whether a function, or one nested in it, removes any file."""
        for facts in (row.facts for row in (function, *self.flow.project.nested(function))):
            if any(CLEANERS.match(word) for word in facts.names.split()):
                return True
            for call in facts.calls:
                if call.rpartition(".")[2] in self.flow.file_methods:
                    operation = self.flow.receivers.callee(function, call).operation
                    if operation is not None and operation.kind == "file" and operation.effect == "delete":
                        return True
        return False

    def _moves(self) -> bool:
        """Whether the function puts a file in its place under another name, as writes that are atomic do."""
        for node in self.body.nodes:
            if isinstance(node, ast.Call):
                path = path_of(node.func)
                if path in MOVERS or (
                    path.endswith(".replace") and len(node.args) == 1 and not node.keywords
                ):
                    return True
        return False

    def _siblings(self) -> list[Function]:
        """The other methods of the class, which may remove what this one keeps on `self`."""
        owner = self.flow.receivers.owner(self.function)
        return self.flow.project.methods(owner) if owner is not None else []

    def _hands_on(self, node: ast.Call) -> bool:
        """Whether the function returns the file or its name: then its callers may remove it."""
        names_of = {"?"}
        for part in self.body.nodes:
            if isinstance(part, (ast.With, ast.AsyncWith)):
                for item in part.items:
                    if item.context_expr is node and item.optional_vars is not None:
                        names_of.add(path_of(item.optional_vars))
            elif isinstance(part, ast.Assign) and part.value is node:
                names_of |= {path_of(row) for target in part.targets for row in _targets(target)}
        changed = True
        while changed:
            changed = False
            for part in self.body.nodes:
                if isinstance(part, ast.Assign) and any(
                    path_of(row) in names_of
                    for row in ast.walk(part.value)
                    if isinstance(row, (ast.Name, ast.Attribute))
                ):
                    for target in part.targets:
                        for row in _targets(target):
                            if path_of(row) not in names_of:
                                names_of.add(path_of(row))
                                changed = True
        return any(
            isinstance(part, (ast.Return, ast.Yield))
            and part.value is not None
            and any(
                path_of(row) in names_of
                for row in ast.walk(part.value)
                if isinstance(row, (ast.Name, ast.Attribute))
            )
            for part in self.body.nodes
        )

    def _written(self, opened: ast.Call) -> ast.expr | None:
        """What is written into the file that a call opens: by `f.write(x)`, or by a call that takes both."""
        handles = set()
        for node in self.body.nodes:
            if isinstance(node, (ast.With, ast.AsyncWith)):
                for item in node.items:
                    if _unwrapped(item.context_expr) is opened and item.optional_vars is not None:
                        handles.add(path_of(item.optional_vars))
            elif isinstance(node, ast.Assign) and _unwrapped(node.value) is opened:
                handles |= {path_of(row) for target in node.targets for row in _targets(target)}
        for node in self.body.nodes:
            if not isinstance(node, ast.Call) or node.lineno < opened.lineno:
                continue
            receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
            method = path_of(node.func).rpartition(".")[2]
            if method in ("write", "writelines") and receiver is not None and node.args:
                if receiver is opened or _is_one_of(receiver, handles):
                    return node.args[0]
                if path_of(receiver) == "os" and len(node.args) == 2 and path_of(node.args[0]) in handles:
                    return node.args[1]
            elif (
                method in ("copyfileobj", "dump", "copy_to")
                and len(node.args) >= 2
                and _is_one_of(node.args[1], handles)
            ):
                return node.args[0]
        return None

    def _is_boundary(self, name: str) -> bool:
        """Whether a parameter holds a boundary: what is made from it is one customer's."""
        vocabulary = self.flow.vocabulary
        return vocabulary.is_strict(name) or any(
            param.name == name and vocabulary.is_identity(param.annotation)
            for param in self.function.facts.params
        )

    def is_handed_in(self, node: ast.expr, line: int, depth: int) -> bool:
        """Whether a written value comes from outside: a parameter, a request, a response, and no constant."""
        if depth > DEEPEST:
            return False
        if isinstance(node, ast.Await):
            return self.is_handed_in(node.value, line, depth + 1)
        if isinstance(node, ast.Name):
            origin = self.known.of(node.id, line)
            if origin is not None and not mentions(origin, node.id):
                return self.is_handed_in(origin, line, depth + 1)
            looped = self.known.elements_of(node.id)
            if looped is not None and origin is None:
                return self.is_handed_in(looped, line, depth + 1)
            if not self.known.is_param(node.id):
                return False
            return bool(HANDED_IN.match(node.id.lower())) or self._is_boundary(node.id)
        if isinstance(node, ast.Attribute):
            if node.attr in ("content", "text", "body", "file", "data") and not path_of(node).startswith(
                "self."
            ):
                return True
            return self.is_handed_in(node.value, line, depth + 1)
        if isinstance(node, ast.Call):
            name = path_of(node.func).rpartition(".")[2]
            if name in (
                "read",
                "iter_content",
                "aiter_bytes",
                "iter_bytes",
                "getvalue",
                "getbuffer",
                "b64decode",
            ):
                return True
            parts = [*node.args, *(row.value for row in node.keywords)]
            if isinstance(node.func, ast.Attribute):
                parts.append(node.func.value)
            return any(self.is_handed_in(part, line, depth + 1) for part in parts)
        if isinstance(
            node, (ast.JoinedStr, ast.BinOp, ast.Subscript, ast.FormattedValue, ast.List, ast.IfExp)
        ):
            return any(
                self.is_handed_in(part, line, depth + 1)
                for part in ast.iter_child_nodes(node)
                if isinstance(part, ast.expr)
            )
        return False


def _argument(node: ast.Call, position: int | None, keyword: str | None) -> ast.expr | None:
    """The expression that a call gives to an argument."""
    for row in node.keywords:
        if keyword is not None and row.arg == keyword:
            return row.value
    if position is not None and position < len(node.args):
        return node.args[position]
    return None


def _unwrapped(node: ast.expr) -> ast.expr:
    return node.value if isinstance(node, ast.Await) else node


def _is_one_of(node: ast.expr, handles: set[str]) -> bool:
    """Whether an expression is an open file, or the file inside of a temporary file's wrapper."""
    path = path_of(node)
    return path in handles or (path.endswith(".file") and path[:-5] in handles)


def _targets(target: ast.expr) -> list[ast.expr]:
    return list(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else [target]
