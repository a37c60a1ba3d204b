"""The smallest server that pymongo can talk to: the wire protocol's OP_MSG on loopback, documents in memory.

There is no mongod to be had from a package registry. What this does not know it refuses, as a server does.
"""

from __future__ import annotations

import socketserver
import struct
import threading
from typing import Any

import bson

OP_MSG, OP_QUERY, OP_REPLY = 2013, 2004, 1
HELLO = {"isWritablePrimary": True, "maxWireVersion": 21, "minWireVersion": 0, "maxBsonObjectSize": 16 << 20}
HELLO |= {"maxMessageSizeBytes": 48 << 20, "maxWriteBatchSize": 100_000, "ismaster": True}
FIND = frozenset("find filter skip limit singleBatch batchSize $db lsid $readPreference".split())
BATCH = 2  # documents of a reply: a cursor asks for more


class Store:
    """The collections by their full names, and the cursors that are open."""

    def __init__(self) -> None:
        self.collections: dict[str, list[dict[str, Any]]] = {}
        self.cursors: dict[int, tuple[str, list[Any]]] = {}
        self.commands: list[str] = []

    def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """Answer one command."""
        name, value = next(iter(command.items()))
        self.commands.append(name)
        handler = getattr(self, f"do_{name.lower()}", None)
        if handler is None:
            return {"ok": 0, "errmsg": f"no such command: {name}", "code": 59, "codeName": "CommandNotFound"}
        try:
            return {"ok": 1, **handler(f"{command.get('$db')}.{value}", command)}
        except NotImplementedError as error:
            return {"ok": 0, "errmsg": f"not known to this server: {error}", "code": 9}

    def do_hello(self, _name: str, _command: dict[str, Any]) -> dict[str, Any]:
        return dict(HELLO)

    do_ismaster = do_hello

    def do_ping(self, _name: str, _command: dict[str, Any]) -> dict[str, Any]:
        return {}

    do_endsessions = do_killcursors = do_ping

    def do_drop(self, name: str, _command: dict[str, Any]) -> dict[str, Any]:
        self.collections.pop(name, None)
        return {}

    def do_insert(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        self.collections.setdefault(name, []).extend(command["documents"])
        return {"n": len(command["documents"])}

    def do_find(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        if unknown := {*command} - FIND:
            raise NotImplementedError(", ".join(sorted(unknown)))
        found = self.matching(name, command.get("filter", {}))[command.get("skip", 0) :]
        limit = abs(command.get("limit", 0))
        return self.opened(name, found[:limit] if limit else found)

    def do_aggregate(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        found: list[Any] = list(self.collections.get(name, []))
        for stage in command["pipeline"]:
            (operator, body), *_ = stage.items()
            if operator == "$match":
                found = [document for document in found if matches(document, body)]
            elif operator == "$limit":
                found = found[:body]
            elif operator == "$group" and body == {"_id": 1, "n": {"$sum": 1}}:  # count_documents
                found = [{"_id": 1, "n": len(found)}] if found else []
            else:
                raise NotImplementedError(operator)
        return self.opened(name, found)

    def do_distinct(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        found = [document.get(command["key"]) for document in self.matching(name, command.get("query", {}))]
        return {"values": list(dict.fromkeys(found))}

    def do_update(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        changed = 0
        for update in command["updates"]:
            found = self.matching(name, update["q"])
            for document in found if update.get("multi") else found[:1]:
                if "$set" in update["u"]:
                    document.update(update["u"]["$set"])
                else:
                    kept = document["_id"]
                    document.clear()
                    document.update({"_id": kept, **update["u"]})
                changed += 1
        return {"n": changed, "nModified": changed}

    def do_delete(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        removed = 0
        for delete in command["deletes"]:
            found = self.matching(name, delete["q"])
            for document in found[: delete["limit"]] if delete["limit"] else found:
                self.collections[name].remove(document)
                removed += 1
        return {"n": removed}

    def do_findandmodify(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        found = self.matching(name, command["query"])
        value = dict(found[0]) if found else None
        if found and command.get("remove"):
            self.collections[name].remove(found[0])
        elif found:
            found[0].update(command["update"].get("$set", command["update"]))
        return {"value": value}

    def do_getmore(self, _name: str, command: dict[str, Any]) -> dict[str, Any]:
        name, rest = self.cursors.pop(command["getMore"])
        return self.opened(name, rest, "nextBatch")

    def opened(self, name: str, found: list[Any], batch: str = "firstBatch") -> dict[str, Any]:
        """The first documents, and a cursor for the others."""
        number = 0
        if len(found) > BATCH:
            number = 1000 + len(self.commands)
            self.cursors[number] = (name, found[BATCH:])
        return {"cursor": {"id": bson.Int64(number), "ns": name, batch: found[:BATCH]}}

    def matching(self, name: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        return [document for document in self.collections.get(name, []) if matches(document, query)]


def matches(document: dict[str, Any], query: dict[str, Any]) -> bool:
    """Whether a document passes a filter of equalities, `$in`, `$ne`, `$and` and `$or`."""
    for name, wanted in query.items():
        if name in ("$and", "$or"):
            parts = [matches(document, part) for part in wanted]
            if not (all(parts) if name == "$and" else any(parts)):
                return False
            continue
        value: Any = document
        for step in name.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        operators = wanted if isinstance(wanted, dict) else {"$eq": wanted}
        for operator, operand in operators.items():
            if operator not in ("$eq", "$ne", "$in"):
                raise NotImplementedError(operator)
            if not {"$eq": value == operand, "$ne": value != operand}.get(
                operator, operator == "$in" and value in operand
            ):
                return False
    return True


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        store: Store = self.server.store  # type: ignore[attr-defined]
        try:
            while header := self.read(16):
                length, request, _, code = struct.unpack("<iiii", header)
                body = self.read(length - 16)
                if code == OP_QUERY:  # the first hello of a client
                    start = body.index(b"\0", 4) + 9
                    reply = bson.encode(store.run(bson.decode(body[start:])))
                    message = struct.pack("<iqii", 8, 0, 0, 1) + reply
                    answer = OP_REPLY
                else:
                    message = struct.pack("<iB", 0, 0) + bson.encode(store.run(command_of(body)))
                    answer = OP_MSG
                self.request.sendall(struct.pack("<iiii", 16 + len(message), 0, request, answer) + message)
        except ConnectionError:
            return

    def read(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.request.recv(size - len(found))
            if not part:
                return b""
            found += part
        return found


def command_of(body: bytes) -> dict[str, Any]:
    """The command of an OP_MSG, with the documents of its further sections."""
    command: dict[str, Any] = {}
    position = 4
    while position < len(body):
        kind = body[position]
        position += 1
        size: int = struct.unpack_from("<i", body, position)[0]
        if kind == 0:
            command = {**bson.decode(body[position : position + size]), **command}
        else:
            end = body.index(b"\0", position + 4)
            command[body[position + 4 : end].decode()] = bson.decode_all(body[end + 1 : position + size])
        position += size
    return command


class Server(socketserver.ThreadingTCPServer):
    """Listens on a free loopback port from the start."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = Store()
        self.url = f"mongodb://127.0.0.1:{self.server_address[1]}/?directConnection=true"
        threading.Thread(target=self.serve_forever, daemon=True).start()
