"""Objects of a store that all customers share, fetched under a name that the client sends."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.origins import Body
from boundlint.flow.paths import FilePath, Paths
from boundlint.index.extract import DEFERS, path_of

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

# A receiver that is a store of objects, by its name; no entry of the catalog is that general.
STORE = re.compile(
    r"(?:^|[._])(?:\w*storage(?:_\w+)?|bucket|minio|s3|blobs?|object_store|gcs|oss)\w*(?:\(\))?$", re.I
)
FETCH = re.compile(
    r"^(?:get|get_object|fget_object|download\w*|read|load|get_blob|get_file|delete|remove_object|delete_object|\w*presigned\w*)$"
)


@dataclass(frozen=True)
class Fetch:
    """A call that fetches (or deletes) an object: as it is written, the bucket, and the client's name for it."""

    call: str
    bucket: FilePath
    key: str


def fetched(flow: Flow, body: Body, node: ast.Call) -> Fetch | None:
    """What a route fetches from a shared bucket by the client's name alone; None for any other call."""
    called, arguments = _called(node)
    receiver, _, method = called.rpartition(".")
    if not FETCH.match(method) or not STORE.search(receiver) or len(arguments) != 2:
        return None
    paths = Paths(flow, body.function, body.known)
    bucket = paths.path(arguments[0], node.lineno, 0)
    key = paths.path(arguments[1], node.lineno, 0)
    if bucket.parts - {"config"} or key.parts != {"name"} or flow.entry(body.function) != "route":
        return None
    if _is_checked(flow, body, arguments[1]):
        return None
    return Fetch(called, bucket, ast.unparse(arguments[1]))


def _called(node: ast.Call) -> tuple[str, list[ast.expr]]:
    """The call's path and arguments; of `to_thread(store.get, bucket, name)` those of the call that is meant."""
    path = path_of(node.func)
    if DEFERS.search(path.rpartition(".")[2]):
        for index, argument in enumerate(node.args[:2]):
            if isinstance(argument, ast.Attribute):
                return path_of(argument), list(node.args[index + 1 :])
    return path, list(node.args)


def _is_checked(flow: Flow, body: Body, key: ast.expr) -> bool:
    """Whether a call takes the name together with a boundary: it tells whose the object is."""
    names = {part.id for part in ast.walk(key) if isinstance(part, ast.Name)}
    for name in list(names):
        origin = body.known.of(name, 1 << 30)
        if origin is not None:
            names |= {part.id for part in ast.walk(origin) if isinstance(part, ast.Name)}
    for node in body.nodes:
        if not isinstance(node, (ast.Call, ast.Compare)):
            continue
        words = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                words.add(part.id)
            elif isinstance(part, ast.Attribute):
                words.add(part.attr)
        if words & names and any(flow.vocabulary.level(word) for word in words):
            return True
    return False
