"""Whether an expression writes customers' content as it is.

Names alone are weak evidence, so a value is followed to what it was assigned from, and everything that is
counted, cut, hashed or redacted on the way counts as fine.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.content_names import (
    AMBIGUOUS,
    OF_RECORD,
    OF_REQUEST,
    REQUEST_NAME,
    RESPONSE_NAME,
    Content,
    strong,
)
from boundlint.flow.origins import Origins
from boundlint.index.extract import path_of
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.catalog.model import Operation
    from boundlint.flow.analysis import Flow

DEEPEST = 6  # assignments and wrappers that are looked through
LONGEST_SOURCE = 60
CLEAN = re.compile(
    r"(?:^|_)(?:len|type|id|ids|hash|bool|int|float|min|max|sum|count|any|all|isinstance|keys|redact\w*|mask\w*|saniti[sz]e\w*|scrub\w*|anonymi[sz]e\w*"
    r"|truncat\w*|shorten\w*|preview|hexdigest|digest|sha\d*|md5|round|sizeof|getsizeof|fingerprint|obfuscate\w*|summari[sz]e\w*|safe\w*|clip\w*|abbreviat\w*"
    r"|size|name|status|stats|format_exc\w*|tokens?_count|count_tokens?|num_tokens\w*|elide\w*|hide\w*|filter\w*|exclude\w*|remove\w*|encrypt\w*|error\w*)(?:_|$)"
)
WRAPPERS = frozenset(
    "str repr dumps pformat model_dump model_dump_json dict strip format decode encode join json to_dict to_json dumps_json orjson list tuple sorted "
    "loads lower upper replace json_dumps".split()
)
HTTP_RESULT = re.compile(r"(?:^|\.)(?:get|post|put|patch|request|send|fetch|delete)\(\)$")
TOKEN_EXCHANGE = re.compile(
    r"oauth\w*/\w*(?:token|access)|/token\b|access_token|token_(?:url|uri|endpoint)|TOKEN_(?:URL|URI|ENDPOINT)|tokenUrl"
)
TOKEN_CALL = re.compile(
    r"(?:^|_)(?:fetch|exchange|refresh|acquire|request|get|authorize)_(?:\w+_)?(?:access_)?tokens?(?:_|$)|^authorize_access_token$"
)
REQUEST_BODY = re.compile(
    r"(?:^|\.)(?:request|req|websocket)\.(?:json|body|form|get_json|get_data|data|headers|cookies|receive_json|receive_text)(?:\(\))?$"
)
TOOL_CALL = re.compile(
    r"(?:^|\.)(?:tool|tool_instance|tool_obj|selected_tool|tool_func|tool_fn|tools\[\])\.(?:run|arun|_run|execute|invoke|ainvoke|call|acall)\(\)$"
)
ROOTS = frozenset("settings config os constants environ e ex exc err error exception conf".split())
MASKED = re.compile(r"\bSecret(?:Str|Bytes|\[)")
SECRET_HEADER = re.compile(r"^(?:authorization|x-api-key|api-key|cookie|proxy-authorization)$", re.IGNORECASE)
STATIC = re.compile(
    r"template|load_prompt|get_prompt|prompt_manager|read_text|gettext|translate|i18n|^_$|^t$"
)


@dataclass(frozen=True, slots=True)
class Found:
    """One piece of content: what it is, its source text, and the line that it was assigned at (0: by name).

    `followed`: it is content by where it comes from; `exchanged`: it is the answer to a request for a token.
    """

    what: Content
    source: str
    line: int = 0
    followed: bool = False
    exchanged: bool = False


class Contents:
    """Follows values through the assignments of one function."""

    def __init__(self, flow: Flow, function: Function, known: Origins) -> None:
        self.flow = flow
        self.function = function
        self.known = known

    def contents(self, node: ast.expr, line: int, depth: int) -> Iterator[Found]:
        """The content that an expression writes out as it is."""
        if depth > DEEPEST:
            return
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue) and not _cut(part.format_spec):
                    yield from self.contents(part.value, line, depth + 1)
        elif isinstance(node, ast.BinOp):
            for side in (node.left, node.right):
                yield from self.contents(side, line, depth + 1)
        elif isinstance(node, (ast.Tuple, ast.List)):
            for item in node.elts:
                yield from self.contents(item, line, depth + 1)
        elif isinstance(node, ast.Dict):
            yield from self._dict(node, line, depth)
        elif isinstance(node, (ast.Await, ast.Starred, ast.NamedExpr)):
            yield from self.contents(node.value, line, depth + 1)
        elif isinstance(node, ast.IfExp):
            for branch in (node.body, node.orelse):
                yield from self.contents(branch, line, depth + 1)
        elif isinstance(node, ast.BoolOp):
            for part in node.values:
                yield from self.contents(part, line, depth + 1)
        elif isinstance(node, ast.Call):
            yield from self._call(node, line, depth)
        elif isinstance(node, ast.Name):
            yield from self._name(node, line, depth)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node, line, depth)
        elif isinstance(node, ast.Subscript):
            yield from self._subscript(node, line, depth)

    def _dict(self, node: ast.Dict, line: int, depth: int) -> Iterator[Found]:
        for key, item in zip(node.keys, node.values, strict=True):
            if (
                isinstance(key, ast.Constant)
                and isinstance(key.value, str)
                and SECRET_HEADER.match(key.value)
            ):
                if not isinstance(item, ast.Constant):
                    yield Found("credential", f'"{key.value}"', node.lineno, followed=True)
            else:
                yield from self.contents(item, line, depth + 1)

    def _call(self, node: ast.Call, line: int, depth: int) -> Iterator[Found]:
        path = path_of(node.func)
        name = path.rpartition(".")[2]
        if CLEAN.search(name.lower()):
            return
        made = self.made(node, line)
        if made is not None:
            yield made
        elif name == "get_secret_value" and isinstance(node.func, ast.Attribute):
            if (what := strong(path_of(node.func.value).rpartition(".")[2])) is not None:
                yield Found(what, _source(node), node.lineno, followed=True)
        elif name in WRAPPERS:
            receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
            if receiver is not None and not isinstance(receiver, ast.Constant):
                yield from self.contents(receiver, line, depth + 1)
            for argument in (*node.args, *(row.value for row in node.keywords)):
                if name not in ("encode", "decode", "strip", "replace"):
                    yield from self.contents(argument, line, depth + 1)
        elif name == "get" and node.args and isinstance(node.args[0], ast.Constant):
            yield from self._labelled(str(node.args[0].value), node)

    def made(self, node: ast.Call, line: int) -> Found | None:
        """What the result of a call is by the call itself: a model's answer, a token response, a request's body."""
        path = path_of(node.func) + "()"
        source = _source(node)
        if REQUEST_BODY.search(path) and not self._is_sent(path, line):
            return Found("request", source, node.lineno, followed=True)
        if TOOL_CALL.search(path):
            return Found("tool result", source, node.lineno, followed=True)
        callee = self.flow.receivers.callee(self.function, path[:-2])
        if TOKEN_CALL.search(path[:-2].rpartition(".")[2]) and callee.function is None:
            return Found("credential", source, node.lineno, followed=True)
        operation = callee.operation
        if operation is not None and operation.kind == "llm" and operation.effect != "none":
            return Found("answer", source, node.lineno, followed=True)
        stored = operation is not None and operation.kind in ("retrieval", "memory", "checkpoint")
        if stored and operation is not None and operation.effect == "read" and not _is_keyed(operation):
            return Found("document", source, node.lineno, followed=True)
        name = path[:-2].rpartition(".")[2]
        if name in ("json", "dict") and isinstance(node.func, ast.Attribute):
            exchanged = self._exchange(node.func.value, line)
            if exchanged is not None:
                return Found("credential", source, exchanged, followed=True, exchanged=True)
        return None

    def _is_sent(self, path: str, line: int) -> bool:
        """Whether a `request` is none that came in: what the program sent, or the answer to it under that name."""
        holder, _, name = path.removesuffix("()").rpartition(".")[0].rpartition(".")
        if holder:
            return bool(RESPONSE_NAME.match(holder.rpartition(".")[2]))  # `response.request.headers`
        origin = self.known.of(name, line)
        while isinstance(origin, ast.Await):
            origin = origin.value
        return isinstance(origin, ast.Call) and bool(HTTP_RESULT.search(path_of(origin.func) + "()"))

    def _masks_itself(self, name: str) -> bool:
        """Whether a variable is a `SecretStr`, which is written as asterisks: its value is asked for elsewhere."""
        facts = self.function.facts
        return f"{name}.get_secret_value" in facts.calls or any(
            param.name == name and MASKED.search(param.annotation) for param in facts.params
        )

    def _exchange(self, node: ast.expr, line: int) -> int | None:
        """The line of the request whose response a value is, where that request exchanges a token."""
        if isinstance(node, ast.Await):
            node = node.value
        if isinstance(node, ast.Name):
            origin = self.known.of(node.id, line)
            return (
                self._exchange(origin, line)
                if origin is not None and not _mentions(origin, node.id)
                else None
            )
        if not isinstance(node, ast.Call) or not HTTP_RESULT.search(path_of(node.func) + "()"):
            return None
        target = next(iter(node.args), None) or next((k.value for k in node.keywords if k.arg == "url"), None)
        if target is None:
            return None
        text = _source(target)
        if isinstance(target, ast.Name) and (origin := self.known.of(target.id, line)) is not None:
            text += " " + ast.unparse(origin)
        return node.lineno if TOKEN_EXCHANGE.search(text) else None

    def _name(self, node: ast.Name, line: int, depth: int) -> Iterator[Found]:
        name = node.id
        what = strong(name)
        if not self.known.binds(name) or self._masks_itself(name):
            return  # a module's constant, an import
        origin = self.known.of(name, line)
        if origin is None:
            if what is not None and (self.known.is_param(name) or self.known.elements_of(name) is not None):
                yield Found(what, name)
            return
        if what is None and not AMBIGUOUS.match(name.lower()):
            return
        if _mentions(origin, name):
            if what is not None and not _is_clean(origin):
                yield Found(what, name)
            return
        followed = list(self.contents(origin, getattr(origin, "lineno", line), depth + 1))
        if followed:
            best = min(followed, key=rank)
            if best.followed or what is not None:
                yield Found(
                    what if what is not None and best.what != "credential" else best.what,
                    name,
                    getattr(origin, "lineno", 0),
                    best.followed,
                    best.exchanged,
                )
        elif what is not None and not _is_clean(origin) and not _is_static(origin):
            yield Found(what, name, getattr(origin, "lineno", 0))

    def _attribute(self, node: ast.Attribute, line: int, depth: int) -> Iterator[Found]:
        path = path_of(node)
        base = node.value
        root = path.partition(".")[0].partition("[")[0].partition("(")[0]
        if root[:1].isupper() or root in ROOTS:
            return
        if REQUEST_BODY.search(path):
            if self._is_sent(path, line):
                return
            kind: Content = "credential" if node.attr in ("headers", "cookies") else "request"
            yield Found(kind, _source(node), node.lineno, followed=True)
            return
        what = strong(node.attr)
        own = path.startswith(("self.", "cls."))
        if what is not None and (not own or (what != "prompt" and path.count(".") == 1)):
            yield Found(what, _source(node))
            return
        if isinstance(base, ast.Name) and self.known.binds(base.id) and not RESPONSE_NAME.match(base.id):
            if OF_REQUEST.match(node.attr) and self.known.is_param(base.id) and REQUEST_NAME.match(base.id):
                yield Found("message", _source(node))
                return
            if OF_RECORD.match(node.attr):
                yield Found("document", _source(node))
                return
        if node.attr in ("text", "content", "output_text", "choices", "message", "body", "data", "parsed"):
            for row in self.contents(base, line, depth + 1):
                if row.followed:
                    yield Found(row.what, _source(node), row.line, followed=True)

    def _subscript(self, node: ast.Subscript, line: int, depth: int) -> Iterator[Found]:
        if isinstance(node.slice, ast.Slice):
            return  # cut
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            yield from self._labelled(node.slice.value, node)
            if AMBIGUOUS.match(node.slice.value):
                for row in self.contents(node.value, line, depth + 1):
                    if row.followed:
                        yield Found(row.what, _source(node), row.line, followed=True)
            return
        yield from self.contents(node.value, line, depth + 1)

    def _labelled(self, label: str, node: ast.expr) -> Iterator[Found]:
        what = strong(label)
        root = path_of(node).partition(".")[0].partition("[")[0]
        if what is not None and root not in ROOTS:
            yield Found(what, _source(node))


def _is_keyed(operation: Operation) -> bool:
    """Whether it reads from a general key-value store, where customer data is but one use."""
    return any(row.role in ("key", "key_list", "key_pattern", "key_mapping") for row in operation.args)


def _cut(spec: ast.expr | None) -> bool:
    """Whether a format specification cuts: `{text:.80}`."""
    return spec is not None and bool(re.search(r"\.\d+", ast.unparse(spec)))


def _is_clean(node: ast.expr) -> bool:
    """Whether an expression counts, cuts or hides what it is given."""
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Slice)
    if isinstance(node, ast.Await):
        return _is_clean(node.value)
    if isinstance(node, ast.IfExp):
        return _is_clean(node.body) or _is_clean(node.orelse)
    if isinstance(node, ast.BinOp):
        return _is_clean(node.left)
    return isinstance(node, ast.Call) and bool(CLEAN.search(path_of(node.func).rpartition(".")[2].lower()))


def _is_static(node: ast.expr) -> bool:
    """Whether an expression is text of the program itself: constants, templates."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.JoinedStr):
        return all(isinstance(part, ast.Constant) for part in node.values)
    if isinstance(node, ast.Name):
        return node.id.isupper()
    if isinstance(node, (ast.List, ast.Tuple)):
        return all(_is_static(item) for item in node.elts)
    if isinstance(node, ast.Call):
        return bool(STATIC.search(path_of(node.func).lower())) and not node.keywords
    return isinstance(node, (ast.Compare, ast.UnaryOp, ast.Dict)) or (
        isinstance(node, ast.Attribute) and node.attr.isupper()
    )


def _mentions(node: ast.expr, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _source(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= LONGEST_SOURCE else text[:LONGEST_SOURCE] + "…"


def rank(row: Found) -> tuple[bool, bool, bool]:
    """Credentials before content, what was followed before what its name says."""
    return row.what != "credential", row.what == "query", not row.followed
