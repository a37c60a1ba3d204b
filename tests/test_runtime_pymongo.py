"""The pymongo seam: the real client against a server on loopback that speaks its protocol (tests/mongo_server.py)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from textwrap import dedent, indent
from typing import Any

import pytest
from mongo_server import Server

from runtime_project import Project, blocks, line_of

pymongo: Any = import_module("pymongo")
HALVES = ("synchronous", "asynchronous")

APP = """
    import asyncio
    import re
    import threading
    from bson import ObjectId
    from bson.raw_bson import RawBSONDocument
    from pymongo import AsyncMongoClient, DeleteMany, DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateMany, UpdateOne
    from pymongo.collection import Collection
    from concurrent.futures import ThreadPoolExecutor
    from boundlint.boundary import carry_context, cross_boundary

    URL = {url!r}
    client = MongoClient(URL)
    database = client.app
    notes, plans, users, empty = database.notes, database.plans, database.users, database.empty

    class Mine(Collection):
        pass

    mine = Mine(database, "notes")

    def iterate(**query):
        return [note["text"] for note in notes.find(query)]

    def in_thread(function, *args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(function, *args).result()

    def swallowed():
        try:
            return notes.find_one({{"_id": 1}})
        except Exception:
            return None

    async def on(method, *args, **options):
        async with AsyncMongoClient(URL) as client:
            return await getattr(client.app.notes, method)(*args, **options)

    async def each(query):
        async with AsyncMongoClient(URL) as client:
            return [note async for note in client.app.notes.find(query)]

    async def listed(query, collection="notes"):
        async with AsyncMongoClient(URL) as client:
            return await client.app[collection].find(query).to_list()

    async def aggregated(*pipeline):
        async with AsyncMongoClient(URL) as client:
            return [note async for note in await client.app.notes.aggregate(list(pipeline))]

    def moved():
        with cross_boundary("the data is broken"):
            notes.update_one({{"_id": 1}}, {{"$set": {{"owner_ref": "x"}}}})
"""
UNSCOPED = {
    "find": ("list(notes.find())", "BND501"),
    "by id": ('notes.find_one({"_id": 1})', "BND501"),
    "the id itself": ("notes.find_one(1)", "BND501"),
    "another tenant": ('list(notes.find({"tenant_id": "globex"}))', "BND501"),
    "or": ('list(notes.find({"$or": [{"tenant_id": "acme"}, {"_id": 2}]}))', "BND501"),
    "in": ('list(notes.find({"tenant_id": {"$in": ["acme", "globex"]}}))', "BND501"),
    "not": ('list(notes.find({"tenant_id": {"$ne": "globex"}}))', "BND501"),
    "pattern": ('notes.find({"tenant_id": re.compile("^acme")})', "BND501"),
    "expression": ('notes.find({"$expr": {"$ne": ["$tenant_id", "globex"]}})', "BND501"),
    "keyword": ('notes.find(filter={"_id": 1}, limit=1)', "BND501"),
    "count": ("notes.count_documents({})", "BND501"),
    "distinct": ('notes.distinct("text", {"_id": 1})', "BND501"),
    "aggregate": ('notes.aggregate([{"$match": {"_id": 1}}])', "BND501"),
    "match after the limit": (
        'notes.aggregate([{"$limit": 5}, {"$match": {"tenant_id": "acme"}}])',
        "BND501",
    ),
    "union": (
        'notes.aggregate([{"$match": {"tenant_id": "acme"}}, {"$unionWith": "notes"}])',
        "BND501",
    ),
    "lookup of everything": (
        'plans.aggregate([{"$lookup": {"from": "notes", "pipeline": [], "as": "notes"}}])',
        "BND501",
    ),
    "update": ('notes.update_one({"_id": 1}, {"$set": {"text": "x"}})', "BND501"),
    "update many": ('notes.update_many({"text": "b"}, {"$set": {"text": "x"}})', "BND506"),
    "given away": ('notes.update_one({"tenant_id": "acme"}, {"$set": {"tenant_id": "globex"}})', "BND501"),
    "replace": ('notes.replace_one({"tenant_id": "acme"}, {"text": "x"})', "BND501"),
    "delete": ('notes.delete_one({"_id": 2})', "BND501"),
    "delete many": ("notes.delete_many({})", "BND506"),
    "find and change": ('notes.find_one_and_update({"_id": 2}, {"$set": {"text": "x"}})', "BND501"),
    "find and delete": ('notes.find_one_and_delete({"_id": 2})', "BND501"),
    "insert": ('notes.insert_one({"tenant_id": "globex", "text": "x"})', "BND501"),
    "insert nobody's": ('notes.insert_one({"text": "x"})', "BND501"),
    "iterator of many": (
        'notes.insert_many({"tenant_id": tenant} for tenant in ("acme", "globex"))',
        "BND501",
    ),
    "first insert": ('empty.insert_one({"tenant_id": "globex"})', "BND501"),
    "first find": ('empty.find_one({"tenant_id": "globex"})', "BND501"),
    "bulk": (
        'notes.bulk_write([InsertOne({"tenant_id": "acme"}), DeleteMany({"text": "b"})])',
        "BND506",
    ),
    "bulk update": ('notes.bulk_write([UpdateOne({"_id": 2}, {"$set": {"text": "x"}})])', "BND501"),
    "bulk replacement": (
        'notes.bulk_write([ReplaceOne({"tenant_id": "acme"}, {"tenant_id": "b"})])',
        "BND501",
    ),
    "bulk of the client": (
        'client.bulk_write([InsertOne({"tenant_id": "globex"}, namespace="app.notes")])',
        "BND501",
    ),
    "command": ('database.command({"find": "notes", "filter": {"_id": 1}})', "BND501"),
    "command by name": ('database.command("count", "notes", query={})', "BND501"),
    "delete command": (
        'database.command({"delete": "notes", "deletes": [{"q": {"_id": 2}, "limit": 1}]})',
        "BND501",
    ),
    "watch": ("notes.watch()", "BND501"),
    "subclass": ('mine.find_one({"_id": 1})', "BND501"),
    "swallowed": ("swallowed()", "BND501"),
    "thread": ("in_thread(carry_context(iterate))", "BND501"),
    "lost": ("in_thread(iterate)", "BND603"),
    "async": ('asyncio.run(on("find_one", {"_id": 1}))', "BND501"),
    "async write": ('asyncio.run(on("delete_many", {}))', "BND506"),
    "async iteration": ('asyncio.run(each({"_id": 1}))', "BND501"),
    "async list": ("asyncio.run(listed({}))", "BND501"),
    "async aggregation": ("asyncio.run(aggregated())", "BND501"),
}
OWN = '{"tenant_id": "acme"}'
SCOPED = {
    "find": f"assert [note['text'] for note in notes.find({OWN})] == ['a', 'c', 'd']",
    "conjunction": f'notes.find_one({{"$and": [{OWN}, {{"_id": 1}}]}})',
    "each branch": f'list(notes.find({{"$or": [{OWN}, {{"tenant_id": "acme", "_id": 1}}]}}))',
    "in": 'list(notes.find({"tenant_id": {"$in": ["acme"]}, "_id": {"$in": [1]}}))',
    "expression": 'notes.find({"$expr": {"$and": [{"$eq": ["$tenant_id", "acme"]}]}})',
    "keyword": f"notes.find(filter={OWN})",
    "count": f"assert notes.count_documents({OWN}) == 3",
    "estimate": "notes.count_documents",
    "distinct": f'assert notes.distinct("text", {OWN}) == ["a", "c", "d"]',
    "aggregate": f'assert len(notes.aggregate([{{"$match": {OWN}}}, {{"$limit": 5}}]).to_list()) == 3',
    "list": f"assert len(notes.find({OWN}).to_list()) == 3",
    "index": f'assert notes.find({OWN})[1]["text"] == "c"',
    "update": f'notes.update_many({OWN}, {{"$set": {{"text": "x", "tenant_id": "acme"}}}})',
    "replace": f'notes.replace_one({OWN}, {{"tenant_id": "acme", "text": "x"}})',
    "delete": "notes.delete_many({'tenant_id': 'acme', 'text': 'c'})",
    "find and change": f'notes.find_one_and_update({OWN}, {{"$set": {{"text": "x"}}}})',
    "insert": 'assert notes.insert_one({"tenant_id": "acme"}).inserted_id',
    "iterator of many": f"assert len(notes.insert_many({OWN} for _ in range(3)).inserted_ids) == 3",
    "bulk": f"notes.bulk_write([InsertOne({OWN}), UpdateMany({OWN}, {{'$set': {{'text': 'x'}}}}), DeleteOne({OWN})])",
    "command": f'database.command({{"find": "notes", "filter": {OWN}}})',
    "no documents": 'database.command("ping")',
    "nobody's": "assert plans.find_one()['name'] == 'pro'",
    "update of nobody's": 'plans.update_many({}, {"$set": {"price": 1}})',
    "identity": 'users.find_one({"email": "kim@example.com"})',
    "empty": 'assert empty.find_one({"name": "x"}) is None',
    "subclass": f"mine.find_one({OWN})",
    "thread": "in_thread(carry_context(lambda: iterate(tenant_id='acme')))",
    "async": f'asyncio.run(on("find_one", {OWN}))',
    "async iteration": f"assert len(asyncio.run(each({OWN}))) == 3",
    "async list": f"assert len(asyncio.run(listed({OWN}))) == 3",
    "async list of nobody's": "assert len(asyncio.run(listed({}, 'plans'))) == 1",
    "async aggregation": f'assert len(asyncio.run(aggregated({{"$match": {OWN}}}))) == 3',
    "one access is one event": f"""
        ledger = request.getfixturevalue("boundary_ledger")
        notes.find_one({OWN})
        list(notes.find({OWN}))
        seen = [(access.operation.rpartition(".")[2], n) for access, n in ledger.operations]
        assert seen == [("find_one", 1), ("find", 1)]""",
}
# A condition on an embedded field of the same name looks right.
LYING = '{"source.tenant_id": "acme"}'
FOREIGN = {
    "find": f"list(database.mixed.find({LYING}))",
    "one": f"database.mixed.find_one({LYING}, skip=2)",
    "list": f"database.mixed.find({LYING}).to_list()",
    "aggregate": f"list(database.mixed.aggregate([{{'$match': {LYING}}}]))",
    "change": f"database.mixed.find_one_and_update({{**{LYING}, '_id': 2}}, {{'$set': {{'text': 'x'}}}})",
    "command": f"database.command({{'find': 'mixed', 'filter': {LYING}, 'skip': 2}})",
    "async": f"asyncio.run(listed({LYING}, 'mixed'))",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture
def app(server: Server) -> str:
    """The application, whose data no watched client has written."""
    documents = [("acme", "a"), ("globex", "b"), ("acme", "c"), ("acme", "d")]
    server.store.collections = {
        "app.notes": [
            {"_id": number, "tenant_id": tenant, "text": text}
            for number, (tenant, text) in enumerate(documents, 1)
        ],
        "app.plans": [{"_id": 1, "name": "pro"}],
        "app.users": [{"_id": 1, "tenant_id": "acme", "email": "kim@example.com"}],
    }
    return APP.format(url=server.url)


def body_of(calls: dict[str, str], head: str = "") -> str:
    lines = ["from app.code import *", head]
    for number, (name, call) in enumerate(calls.items()):
        name = "".join(letter if letter.isalnum() else "_" for letter in name)
        lines += [f"def test_{number}_{name}(request):", indent(dedent(call), "    ")]
    return "\n".join(lines) + "\n"


# Each test begins with the documents that were there: the application changes them.
RESTORED = """
import copy, mongo_server_of_the_test
@pytest.fixture(autouse=True)
def restored():
    store = mongo_server_of_the_test.store
    store.collections = copy.deepcopy(mongo_server_of_the_test.collections)
"""


@pytest.fixture(autouse=True)
def _reach_the_store(server: Server, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import copy
    import sys
    from types import SimpleNamespace

    held = SimpleNamespace(store=server.store, collections=copy.deepcopy(server.store.collections))
    monkeypatch.setitem(sys.modules, "mongo_server_of_the_test", held)


def test_unscoped_calls_fail(project: Project, app: str) -> None:
    result = project(app, body_of({name: call for name, (call, _) in UNSCOPED.items()}, RESTORED))
    result.assert_outcomes(failed=len(UNSCOPED))
    assert [block.split()[0] for block in blocks(result)] == [rule for _, rule in UNSCOPED.values()]
    line = line_of(app, 'return notes.find_one({"_id": 1})')
    result.stdout.fnmatch_lines(
        [
            f"BND501 unscoped database read — app/code.py:{line} in swallowed()",
            "  operation  pymongo.collection.Collection.find_one  collection 'notes', filter on _id",
            "  missing    no condition binds collection 'notes' to tenant 'acme'",
            "  note       the application caught this exception; the test would have passed",
            "  fix        put {'tenant_id': 'acme'} (from the boundary) into the filter",
        ]
    )
    line = line_of(app, "async for note in client.app.notes.find(query)")
    assert any(f"app/code.py:{line} in each()" in block for block in blocks(result))


def test_scoped_calls_pass(project: Project, app: str) -> None:
    result = project(app, body_of(SCOPED, RESTORED))
    result.assert_outcomes(passed=len(SCOPED))
    result.stdout.no_fnmatch_line("error of pytest_boundary*")


def test_foreign_documents(project: Project, app: str, server: Server) -> None:
    """The last of three documents, which the second reply of the server brings."""
    server.store.collections["app.mixed"] = [
        {"_id": number, "tenant_id": tenant, "source": {"tenant_id": "acme"}}
        for number, tenant in enumerate(("acme", "acme", "globex"))
    ]
    result = project(app, body_of(FOREIGN))
    result.assert_outcomes(failed=len(FOREIGN))
    kinds = ["read", "read", "read", "read", "write", "read", "read"]
    expected = [f"BND501 another tenant's data from a database {kind}" for kind in kinds]
    assert [block.split(" —")[0] for block in blocks(result)] == expected
    result.stdout.fnmatch_lines(["*result names the tenant 'globex', not tenant 'acme'*"])


def test_two_workers_and_no_boundary(project: Project, app: str) -> None:
    tests = """
        import pytest
        from app.code import *
        def test_one():
            swallowed()
        def test_two():
            swallowed()
        def test_own():
            assert notes.find_one({"_id": 2})["text"] == "b"
    """
    result = project(app, dedent(tests), "-n2", bare=True)
    result.assert_outcomes(failed=2, passed=1)
    assert all(block.startswith("BND101") for block in blocks(result))


def owners() -> list[Any]:
    found = []
    for half in HALVES:
        prefix = "Async" if half == "asynchronous" else ""
        for module, name in (
            ("collection", "Collection"),
            ("database", "Database"),
            ("mongo_client", "MongoClient"),
            ("cursor", "Cursor"),
            ("command_cursor", "CommandCursor"),
        ):
            found.append(getattr(import_module(f"pymongo.{half}.{module}"), prefix + name))
    return found


def test_original_objects_are_back(project: Project, app: str) -> None:
    before = [dict(vars(owner)) for owner in owners()]
    tests = "def test_it():\n    assert hasattr(code.Collection.find, '__boundlint_patch__')\n    code.iterate()\n"
    project(app, tests).assert_outcomes(failed=1)
    assert [dict(vars(owner)) for owner in owners()] == before


def test_contract() -> None:
    """What the seam replaces; that a list and an iteration each pass one method of the cursor."""
    from pytest_boundary.seams.pymongo_calls import LAZY, METHODS

    for half, is_async in zip(HALVES, (False, True), strict=True):
        collection, database, client, cursor, commands = owners()[5 * is_async :][:5]
        for method in METHODS:
            lazy = method in LAZY
            assert inspect.iscoroutinefunction(vars(collection)[method]) is (is_async and not lazy), (
                half,
                method,
            )
        for owner, methods in ((database, ("command", "cursor_command")), (client, ("bulk_write",))):
            for method in methods:
                assert inspect.iscoroutinefunction(vars(owner)[method]) is is_async
        for owner in (cursor, commands):
            for method in ("next", "_next_batch"):
                assert inspect.iscoroutinefunction(vars(owner)[method]) is is_async
            iterating = vars(owner)["__anext__" if is_async else "__next__"]
            assert "next" in iterating.__code__.co_names
            assert "_next_batch" in inspect.unwrap(owner.to_list).__code__.co_names


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("pymongo.synchronous.collection.Collection", "insert_many"),
        ("pymongo.asynchronous.cursor.AsyncCursor", "_next_batch"),
        ("pymongo.synchronous.mongo_client", "MongoClient"),
    ],
)
def test_an_internal_that_moved_is_said_at_the_start(
    project: Project, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    module, _, attribute = owner.rpartition(".")
    holder = import_module(owner) if attribute.islower() else getattr(import_module(module), attribute)
    monkeypatch.delattr(holder, name)
    result = project("", "def test_it():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*pymongo *{name} not found; enforcement would be incomplete*"])
