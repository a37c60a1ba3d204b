"""Log calls that give content away, and audit events that do not say whose they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from boundlint.flow.content import Contents, Found, rank
from boundlint.flow.origins import Body
from boundlint.index.extract import path_of
from boundlint.index.logged import LEVELS, mentioned
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.catalog.model import Operation
    from boundlint.findings import Confidence
    from boundlint.flow.analysis import Flow

Level = Literal["shown", "debug", "print"]
# A logger for events that somebody will be asked about.
AUDIT = re.compile(r"audit|security_log|(?:^|_)sec_log", re.IGNORECASE)
TRACE_ID = re.compile(r"trace|span_id|correlation|request_id|run_id|^actor|^subject|session_id|^user")
ROW = re.compile(r"\b(?:event|record|entry|payload|context|ctx|extra|fields|data|asdict|model_dump\w*)\b")
FAILED = re.compile(r"status_code|status\b|\bok\b|is_success|is_error|error|code")
VERBOSE = re.compile(
    r"debug|verbose|trace|isEnabledFor|dev_mode|DEBUG|VERBOSE|(?i:\blog_(?:\w+_)?(?:contents?|prompts?|payloads?|body|bodies|headers?|requests?|responses?|messages?))\b"
)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A log call that writes content.  Lines and columns are the call's, as in `Access`.

    `level` says whether a production log shows it, `gated` whether a test for verbosity stands around it.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    function: Function
    operation: Operation
    confidence: Confidence
    level: Level
    gated: bool
    found: Found


@dataclass(frozen=True, slots=True)
class Anonymous:
    """An audit event that names neither a tenant nor a trace.  Lines and columns are the call's."""

    line: int
    column: int
    end_line: int
    end_column: int
    function: Function
    operation: Operation
    receiver: str


def disclosures(flow: Flow, body: Body, gated: bool = False) -> Iterator[Disclosure]:
    """The log calls in a function and in those nested in it that write content."""
    contents = Contents(flow, body.function, body.known)
    found = [row for node in body.nodes if isinstance(node, ast.Call) if (row := _log_call(contents, node))]
    tests = [node for node in body.nodes if isinstance(node, ast.If)] if found else []
    quiet, failed, empty = _verbose_spans(tests), _failed_spans(tests), _empty_spans(tests)
    for row in found:
        if any(first <= row.line <= last and row.found.source in sources for first, last, sources in empty):
            continue
        if row.found.exchanged and any(first <= row.line <= last for first, last in failed):
            continue  # the answer to a request that was refused holds no token
        if row.found.exchanged and _lacks_part(body.nodes, row):
            continue  # nor does one whose token was looked for and not found
        yield replace(row, gated=gated or any(first <= row.line <= last for first, last in quiet))
    for inner in body.inner:
        yield from disclosures(flow, inner, gated)


def _verbose_spans(tests: Sequence[ast.If]) -> list[tuple[int, int]]:
    """The lines under a test for verbosity."""
    return [
        (node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno)
        for node in tests
        if VERBOSE.search(ast.unparse(node.test))
    ]


def _failed_spans(tests: Sequence[ast.If]) -> list[tuple[int, int]]:
    """The lines where a request is known to have failed: under `if response.status_code != 200`."""
    found = []
    for node in tests:
        test = node.test
        negative = isinstance(test, ast.UnaryOp) or (
            isinstance(test, ast.Compare)
            and isinstance(test.ops[0], (ast.NotEq, ast.GtE, ast.Gt, ast.NotIn, ast.In))
        )
        if negative and FAILED.search(ast.unparse(test)):
            found.append((node.body[0].lineno, node.body[-1].end_lineno or node.body[-1].lineno))
    return found


def _lacks_part(nodes: Sequence[ast.AST], row: Disclosure) -> bool:
    """Whether a log call is reached only where a part that was read from the logged answer is missing.

    Under `if not token`, in the `else` of `if token`, or after an `if token` that leaves the function.
    """
    source = row.found.source
    parts = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _reads_from(node.value, source)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        if not isinstance(node, ast.If):
            continue
        test = node.test.values[0] if isinstance(node.test, ast.BoolOp) else node.test
        absent = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if absent and isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.Or):
            continue  # `if not token or expired`: it may be there
        named = test.operand if isinstance(test, ast.UnaryOp) else test
        if not isinstance(named, ast.Name) or named.id not in parts:
            continue
        if absent:
            missing = _within(node.body, row.line)
        else:
            last = node.body[-1]
            leaves = isinstance(last, (ast.Return, ast.Raise)) and row.line > (last.end_lineno or last.lineno)
            missing = leaves or _within(node.orelse, row.line)
        if missing:
            return True
    return False


def _reads_from(value: ast.expr, source: str) -> bool:
    """Whether an expression reads a key of a mapping: `answer.get("token")`, `answer["token"] or …`."""
    return any(
        (isinstance(part, ast.Call) and ast.unparse(part.func) == f"{source}.get")
        or (isinstance(part, ast.Subscript) and ast.unparse(part.value) == source)
        for part in ast.walk(value)
    )


def _within(body: Sequence[ast.stmt], line: int) -> bool:
    return bool(body) and body[0].lineno <= line <= (body[-1].end_lineno or body[-1].lineno)


def _empty_spans(tests: Sequence[ast.If]) -> list[tuple[int, int, frozenset[str]]]:
    """The lines where a value is known to be empty: under `if not prompt` or `if prompt is None`."""
    found = []
    for node in tests:
        parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
        sources = set()
        for test in parts:
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                sources.add(ast.unparse(test.operand))
            elif isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is):
                sources.add(ast.unparse(test.left))
        if node.orelse and isinstance(node.test, (ast.Name, ast.Attribute)):
            last = node.orelse[-1]
            source = frozenset({ast.unparse(node.test)})
            found.append((node.orelse[0].lineno, last.end_lineno or last.lineno, source))
        if sources:
            last = node.body[-1]
            found.append((node.body[0].lineno, last.end_lineno or last.lineno, frozenset(sources)))
    return found


def _log_call(contents: Contents, node: ast.Call) -> Disclosure | None:
    """The first piece of content that a log call is given, the surest before others."""
    path = path_of(node.func)
    if path.rpartition(".")[2] not in contents.flow.log_methods:
        return None
    callee = contents.flow.receivers.callee(contents.function, path)
    operation = callee.operation or _wrapped(contents.flow, callee.function)
    if operation is None or operation.kind != "log" or operation.form == "decorator":
        return None
    rows = [row for part in _given(node) for row in contents.contents(part, node.lineno, 0)]
    if not rows:
        return None
    best = min(rows, key=rank)
    return Disclosure(
        node.lineno,
        node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or node.col_offset,
        contents.function,
        operation,
        callee.confidence,
        _level(operation.method, node),
        False,
        best,
    )


def _wrapped(flow: Flow, function: Function | None) -> Operation | None:
    """What a method of the project's own logger is: `info` of a class `Logger` logs like any other."""
    if function is None or function.facts.name not in LEVELS or "Log" not in function.facts.owner:
        return None
    lookup = flow.receivers.lookup
    rows = (lookup.operation(guess, function.facts.name) for guess in lookup.guesses("logger"))
    return next((row for row in rows if row is not None), None)


def anonymous_events(flow: Flow, body: Body) -> Iterator[Anonymous]:
    """The audit events of a function, nested ones included, that carry no boundary and no trace id."""
    for node in body.nodes:
        if not isinstance(node, ast.Call):
            continue
        path = path_of(node.func)
        receiver, _, method = path.rpartition(".")
        if method not in LEVELS or not AUDIT.search(receiver) or "bind" in receiver:
            continue
        operation = flow.receivers.callee(body.function, path).operation
        if operation is None or operation.kind != "log" or _level(method, node) != "shown":
            continue
        words = mentioned(node)
        if any(flow.vocabulary.level(word) or TRACE_ID.search(word) for word in words):
            continue
        if any(row.arg is None for row in node.keywords) or ROW.search(" ".join(sorted(words))):
            continue  # `**context`, or a record that holds the ids
        yield Anonymous(
            node.lineno,
            node.col_offset,
            node.end_lineno or node.lineno,
            node.end_col_offset or node.col_offset,
            body.function,
            operation,
            receiver,
        )
    for inner in body.inner:
        yield from anonymous_events(flow, inner)


def may_audit(calls: Sequence[str]) -> bool:
    """Whether a function's facts show a call on a logger for audit events."""
    return any(AUDIT.search(call) and call.rpartition(".")[2] in LEVELS for call in calls)


def _given(node: ast.Call) -> Iterator[ast.expr]:
    """What a log call writes: its arguments without the format, `exc_info` and their kin."""
    yield from node.args
    for keyword in node.keywords:
        if keyword.arg not in ("exc_info", "stack_info", "stacklevel", "file", "end", "sep", "flush"):
            yield keyword.value


def _level(method: str, node: ast.Call) -> Level:
    if method == "print":
        return "print"
    if method in ("debug", "trace"):
        return "debug"
    if method == "log" and node.args and re.search(r"DEBUG|TRACE", ast.unparse(node.args[0])):
        return "debug"
    return "shown"
