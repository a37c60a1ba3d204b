"""What the path of a file is made of: its constant text, and what varies in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow import names
from boundlint.flow.origins import Origins
from boundlint.flow.values import HOLE
from boundlint.index.extract import path_of
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

DEEPEST = 8  # assignments and joins that a path is followed through
FILE_NAME = re.compile(
    r"^(?:original_?)?(?:file_?name|name|basename|base_name|upload_name|safe_name|safe_filename|fn)$"
)
UPLOAD = re.compile(r"^(?:\w+_)?(?:file|upload|document|attachment|pdf|image)$")
COUNT = re.compile(r"^(?:[ij]|idx|index|page|\w+_(?:num|number|no|index|idx))$")


@dataclass(frozen=True, slots=True)
class FilePath:
    """What a path is made of: its text with `{}` for what varies, and the kinds of these parts.

    Kinds: `time`, `name` (a file name from outside), `count` (a page, an index), `config`, `temporary` (the system's folder), `unknown`.
    """

    text: str
    parts: frozenset[str] = frozenset()


UNKNOWN = FilePath(HOLE, frozenset({"unknown"}))


class Paths:
    """Reads the paths that one function builds."""

    def __init__(self, flow: Flow, function: Function, known: Origins) -> None:
        self.flow = flow
        self.function = function
        self.known = known

    def path(self, node: ast.expr, line: int, depth: int) -> FilePath:
        """The text of a path expression, and what its variable parts are."""
        if depth > DEEPEST:
            return UNKNOWN
        if isinstance(node, ast.Constant):
            return (
                FilePath(node.value)
                if isinstance(node.value, str)
                else FilePath("" if node.value is None else "0")
            )
        if isinstance(node, ast.JoinedStr):
            rows = [self.path(part, line, depth + 1) for part in node.values]
            return _joined("", rows)
        if isinstance(node, ast.FormattedValue):
            return self.path(node.value, line, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div)):
            rows = [self.path(part, line, depth + 1) for part in (node.left, node.right)]
            return _joined("/" if isinstance(node.op, ast.Div) else "", rows)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return _joined(
                "", [self.path(node.left, line, depth + 1), self.path(node.right, line, depth + 1)]
            )
        if isinstance(node, ast.Name):
            return self._named(node, line, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, line, depth)
        if isinstance(node, ast.Call):
            return self._called(node, line, depth)
        return UNKNOWN

    def _named(self, node: ast.Name, line: int, depth: int) -> FilePath:
        origin = self.known.of(node.id, line)
        if origin is not None:
            return UNKNOWN if mentions(origin, node.id) else self.path(origin, line, depth + 1)
        if self.known.binds(node.id):
            return FilePath(HOLE, _by_name(node.id))
        value = self.flow.module_variable(self.function.path, node.id)
        if value.text is not None and HOLE not in value.text:
            return FilePath(value.text)
        if node.id.isupper() or value.marks & {"config"}:
            return FilePath(HOLE, frozenset({"config"}))
        return UNKNOWN

    def _attribute(self, node: ast.Attribute, line: int, depth: int) -> FilePath:
        path = path_of(node)
        origin = self.known.of(path, line)
        if origin is not None:
            return self.path(origin, line, depth + 1)
        if node.attr in ("parent", "name") and isinstance(node.value, ast.Call):
            return UNKNOWN
        if names.root_marks(path) or node.attr.isupper():
            return FilePath(HOLE, frozenset({"config"}))
        uploaded = node.attr == "name" and isinstance(node.value, ast.Name) and UPLOAD.search(node.value.id)
        if (node.attr in ("filename", "file_name") or uploaded) and not path.startswith("self."):
            return FilePath(HOLE, frozenset({"name"}))
        return UNKNOWN

    def _called(self, node: ast.Call, line: int, depth: int) -> FilePath:
        called = path_of(node.func)
        name = called.rpartition(".")[2]
        rows = [self.path(part, line, depth + 1) for part in node.args]
        if name in ("join", "Path", "PurePath", "joinpath") and node.args:
            if name == "joinpath" and isinstance(node.func, ast.Attribute):
                rows.insert(0, self.path(node.func.value, line, depth + 1))
            return _joined("/", rows)
        if name in ("gettempdir", "gettempprefix"):
            return FilePath("/tmp", frozenset({"temporary"}))
        if name in ("getcwd", "cwd") and not node.args:
            return FilePath(".")
        if name in (
            "str",
            "abspath",
            "realpath",
            "normpath",
            "expanduser",
            "fspath",
            "basename",
            "secure_filename",
            "resolve",
            "strip",
            "lower",
            "int",
            "round",
            "quote",
            "absolute",
        ):
            if rows:
                return _joined("", rows)
            if isinstance(node.func, ast.Attribute):
                return self.path(node.func.value, line, depth + 1)
        if name in (
            "time",
            "now",
            "utcnow",
            "timestamp",
            "strftime",
            "isoformat",
            "time_ns",
            "today",
            "monotonic",
            "perf_counter",
            "get_local_time",
        ):
            return FilePath(HOLE, frozenset({"time"}))
        return UNKNOWN


def _by_name(name: str) -> frozenset[str]:
    """What a parameter in a path is, by its name."""
    if FILE_NAME.match(name.lower()):
        return frozenset({"name"})
    if COUNT.match(name.lower()):
        return frozenset({"count"})
    return frozenset({"time"}) if names.marks(name) == {"time"} else frozenset({"unknown"})


def _joined(separator: str, rows: Sequence[FilePath]) -> FilePath:
    return FilePath(
        separator.join(row.text for row in rows),
        frozenset().union(*(row.parts for row in rows)) if rows else frozenset(),
    )


def mentions(node: ast.expr, name: str) -> bool:
    """Whether an expression names a variable."""
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))
