"""Free-form data of a caller merged over the keys that say whose a record is.

Read from the syntax of one function: a dictionary that holds an identity's key, and a caller's dictionary
that is laid over it afterwards (`stored.update(metadata)`, `{"user_id": u, **metadata}`), or that it starts
from while the identity's keys are set only where they were given.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from boundlint.index.extract import path_of
from boundlint.index.facts import FunctionFacts
from boundlint.index.nodes import span_of

# A caller's dictionary whose keys are its own business, and none of which should be an identity.
FREE = re.compile(
    r"(?:^|_)(?:metadata|meta|payload|extra|extras|attributes|attrs|properties|custom|tags|body|data|updates?|changes|patch)(?:_|$)"
)
META = frozenset("metadata meta payload extra_metadata custom_metadata user_metadata".split())
STORED = re.compile(
    r"(?:^|\.)(?:payload|metadata|meta|attributes|properties)$|(?:to_dict|model_dump|dict|asdict|as_dict)\(\)$"
)
COPIES = frozenset("deepcopy copy dict".split())
HANDS_ON = re.compile(
    r"^_?a?(?:add|create|save|insert|update|write|store|upsert|put|set|index|append|persist|bulk_write)"
)
IDENTITY = re.compile(
    r"(?:^|_)(?:user|tenant|owner|org|organi[sz]ation|workspace|account|customer|actor)_(?:id|uuid)$"
)


@dataclass(frozen=True)
class Overwrite:
    """A merge that can replace identity keys: its place (columns in UTF-8 bytes), what is merged, over what."""

    span: tuple[int, int, int, int]
    given: str
    over: str
    keys: tuple[str, ...]
    starts: bool  # the dictionary begins as the caller's, instead of being laid over


def may_overwrite(facts: FunctionFacts) -> bool:
    """Whether a function is worth a look, by its facts."""
    if any(IDENTITY.search(param.name) for param in facts.params) and not META.isdisjoint(
        facts.names.split()
    ):
        return True
    return any(FREE.search(param.name) for param in facts.params) and (
        any(IDENTITY.search(key) for key in facts.keys.split())
        or any(IDENTITY.search(param.name) for param in facts.params)
    )


def overwrites(facts: FunctionFacts, body: Sequence[ast.stmt]) -> tuple[Overwrite, ...]:
    """The merges of one function."""
    free = {param.name for param in facts.params if FREE.search(param.name) and param.kind in ("pos", "kw")}
    nodes = [node for statement in body for node in ast.walk(statement)]
    handed = _handed_on(nodes)
    params = {param.name for param in facts.params}
    found = [
        *_updates(nodes, free, handed),
        *_started(body, nodes, free, handed, params),
        *_spread(nodes, handed),
    ]
    return tuple(found)


def _updates(nodes: Sequence[ast.AST], free: set[str], handed: set[str]) -> Iterator[Overwrite]:
    """`record.update(metadata)` over a stored record, where the function reads identities from the record."""
    stored = {
        target.id
        for node in nodes
        if isinstance(node, ast.Assign) and _is_stored(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in nodes:
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "update"
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in stored & handed
            and len(node.args) == 1
            and isinstance(node.args[0], ast.Name)
            and node.args[0].id in free
        ):
            continue
        name = node.func.value.id
        reset = {key for key, at in _set(nodes, name) if at.lineno > node.lineno}
        held = {key for key in _read(nodes, name) if key not in reset}
        if held:
            yield Overwrite(span_of(node), node.args[0].id, name, tuple(sorted(held)), False)


def _started(
    body: Sequence[ast.stmt], nodes: Sequence[ast.AST], free: set[str], handed: set[str], params: set[str]
) -> Iterator[Overwrite]:
    """`record = dict(metadata)`, and then `if user_id: record["user_id"] = user_id`."""
    for node in nodes:
        if not (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            continue
        given = _copied(node.value)
        name = node.targets[0].id
        if given not in free or name not in handed:
            continue
        optional: dict[str, None] = {}
        for test in nodes:
            if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and not test.orelse:
                for key, at in _set(list(ast.walk(test)), name):
                    if isinstance(at.value, ast.Name) and at.value.id == test.test.id in params:
                        optional[key] = None
        sure = {key for statement in body for key, at in _set([statement], name) if at is statement}
        dropped = set(_popped(nodes, name))
        left = tuple(key for key in optional if key not in sure | dropped)
        if left:
            yield Overwrite(span_of(node.value), given, name, left, True)


def _spread(nodes: Sequence[ast.AST], handed: set[str]) -> Iterator[Overwrite]:
    """`{"user_id": user_id, **metadata}`, stored: what is spread last wins."""
    for dictionary, given in _stored_dictionaries(nodes, handed):
        spreads = [index for index, key in enumerate(dictionary.keys) if key is None]
        names = [_spread_name(dictionary.values[index]) for index in spreads]
        if not names or names[-1].rpartition(".")[2] not in META:
            continue
        own = [
            (index, key.value)
            for index, key in enumerate(dictionary.keys)
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and IDENTITY.search(key.value)
        ]
        after = {key for index, key in own if index > spreads[-1]}
        left = tuple(key for index, key in own if index < spreads[-1] and key not in after)
        if left:
            yield Overwrite(span_of(dictionary), names[-1], given, left, False)


def _stored_dictionaries(nodes: Sequence[ast.AST], handed: set[str]) -> Iterator[tuple[ast.Dict, str]]:
    """The dictionaries that become a record's metadata or that a call stores, and what they become."""
    for node in nodes:
        if isinstance(node, ast.Call):
            stores = HANDS_ON.match(path_of(node.func).rpartition(".")[2])
            for row in node.keywords:
                if isinstance(row.value, ast.Dict) and (row.arg in META or (stores and row.arg)):
                    yield row.value, str(row.arg)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id in handed & META:
                yield node.value, target.id


def _spread_name(node: ast.expr) -> str:
    """`doc.metadata` of `(doc.metadata or {})`."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        node = node.values[0]
    return path_of(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""


def _handed_on(nodes: Sequence[ast.AST]) -> set[str]:
    """Variables that are returned, or given to a call that stores."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            items = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            found |= {item.id for item in items if isinstance(item, ast.Name)}
        elif isinstance(node, ast.Call) and HANDS_ON.match(path_of(node.func).rpartition(".")[2]):
            given = [*node.args, *(row.value for row in node.keywords)]
            found |= {part.id for item in given for part in ast.walk(item) if isinstance(part, ast.Name)}
    return found


def _is_stored(node: ast.expr) -> bool:
    """A stored record's content, or a copy of it."""
    while isinstance(node, ast.Call) and path_of(node.func).rpartition(".")[2] in COPIES and node.args:
        node = node.args[0]
    return isinstance(node, (ast.Attribute, ast.Call)) and bool(STORED.search(path_of(node)))


def _copied(node: ast.expr) -> str:
    """The name of the dictionary that an expression copies: `deepcopy(x) if x else {}`, `{**x}`, `x or {}`."""
    if isinstance(node, ast.IfExp):
        node = node.body
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        node = node.values[0]
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "copy"
        and not node.args
    ):
        node = node.func.value
    elif (
        isinstance(node, ast.Call) and path_of(node.func).rpartition(".")[2] in COPIES and len(node.args) == 1
    ):
        return _copied(node.args[0])
    elif isinstance(node, ast.Dict) and len(node.keys) == 1 and node.keys[0] is None:
        return _copied(node.values[0])
    return node.id if isinstance(node, ast.Name) else ""


def _set(nodes: Iterable[ast.AST], name: str) -> Iterator[tuple[str, ast.Assign]]:
    """The identity keys that are assigned on a dictionary, each with its statement."""
    for node in nodes:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if (
                    isinstance(target, ast.Subscript)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == name
                ):
                    key = target.slice.value if isinstance(target.slice, ast.Constant) else None
                    if isinstance(key, str) and IDENTITY.search(key):
                        yield key, node


def _read(nodes: Sequence[ast.AST], name: str) -> set[str]:
    """The identity keys that are read from a dictionary, also in a loop over constant keys."""
    found: set[str] = set()
    looped = {}
    for node in nodes:
        if (
            isinstance(node, (ast.comprehension, ast.For))
            and isinstance(node.target, ast.Name)
            and isinstance(node.iter, (ast.Tuple, ast.List))
        ):
            looped[node.target.id] = [item.value for item in node.iter.elts if isinstance(item, ast.Constant)]
    for node in nodes:
        key: ast.expr | None = None
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and path_of(node.value) == name:
            key = node.slice
        elif isinstance(node, ast.Call) and path_of(node.func) == f"{name}.get" and node.args:
            key = node.args[0]
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            found.add(key.value)
        elif isinstance(key, ast.Name):
            found |= {item for item in looped.get(key.id, ()) if isinstance(item, str)}
    return {key for key in found if IDENTITY.search(key)}


def _popped(nodes: Sequence[ast.AST], name: str) -> Iterator[str]:
    for node in nodes:
        if (
            isinstance(node, ast.Call)
            and path_of(node.func) == f"{name}.pop"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)
