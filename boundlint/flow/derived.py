"""What a function's variables were made of: the record that one is a part of, the ids that another was found by.

`owner = session.owner_id` compared with the caller says whose `session` is; `ids = subtree(folder_id)` is as good
as the check of `folder_id`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from boundlint.flow.guards import Check
from boundlint.flow.queries import IDENTIFIER, INPUT
from boundlint.index.extract import path_of

COLLECTS = frozenset({"append", "add", "extend", "update"})


class Derivations:
    """The assignments of one function, collected while its body is followed."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}  # a variable -> the variable that holds the record it was read from
        self._ids: dict[str, tuple[str, ...]] = {}  # an id -> the sources of what a call found it by
        self._collected: dict[str, set[str]] = {}  # a list -> the ids that it was filled with, or from

    def on_assign(self, target: ast.expr, value: ast.expr) -> None:
        """Remember what a variable is made of; one that is given two things is made of neither."""
        if not isinstance(target, ast.Name):
            return
        while isinstance(value, ast.Await):
            value = value.value
        again = target.id in self._parts or target.id in self._ids
        self._parts[target.id] = "" if again else _record_read(value)
        sources = _given(value) if isinstance(value, ast.Call) and IDENTIFIER.match(target.id) else ()
        self._ids[target.id] = () if again else sources

    def on_collect(self, node: ast.Call, loops: Mapping[str, str]) -> None:
        """`found.append(file_id)`, `found.extend(files_in(file_id))`: who checks each of `found` checks the id.

        An id that stands for each of a list stands for that list.
        """
        if not isinstance(node.func, ast.Attribute) or node.func.attr not in COLLECTS or len(node.args) != 1:
            return
        value = node.args[0]
        given = _given(value) if isinstance(value, ast.Call) else (ast.unparse(value),)
        ids = {source for source in given if IDENTIFIER.match(source)}
        self._collected.setdefault(path_of(node.func.value), set()).update(
            {loops.get(source, source) for source in ids}
        )

    def collected(self, name: str) -> set[str]:
        """The ids that a list was filled with, or from."""
        return self._collected.get(name, set())

    def record_of(self, name: str) -> str:
        """The variable that holds the record of which a variable is a part; "" without one."""
        return self._parts.get(name, "")

    def check_of(self, name: str, checked: Mapping[str, Check]) -> Check | None:
        """The check of the id that an id was found by, where it was found by no unchecked one."""
        sources = self._ids.get(name, ())
        held = [checked[source] for source in sources if source in checked]
        return held[0] if held and not any(row not in checked and _names_id(row) for row in sources) else None


def _record_read(value: ast.expr) -> str:
    """`session` of `session.owner_id`, `getattr(session, "owner_id", None)` and `(session.data or {}).get("owner")`."""
    node, deep = value, False
    while True:
        if isinstance(node, ast.Attribute):
            node, deep = node.value, True
        elif isinstance(node, ast.Subscript):
            node = node.value
        elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            node = node.values[0]
        elif isinstance(node, ast.Call) and path_of(node.func) == "getattr" and node.args:
            node, deep = node.args[0], True
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            node = node.func.value
        else:
            break
    if not deep or not isinstance(node, ast.Name) or INPUT.search(node.id):
        return ""
    return "" if node.id in ("self", "cls", "request") else node.id


def _given(call: ast.Call) -> tuple[str, ...]:
    """The sources of what a call is given, constants aside."""
    rows = (*call.args, *(keyword.value for keyword in call.keywords))
    return tuple(ast.unparse(row) for row in rows if not isinstance(row, ast.Constant))


def _names_id(source: str) -> bool:
    """Whether a source may hold an id: by its name, or as it is what a client sent or a call made."""
    root, last = source.partition(".")[0], source.rpartition(".")[2]
    return not source.replace(".", "").isidentifier() or bool(IDENTIFIER.match(last) or INPUT.search(root))
