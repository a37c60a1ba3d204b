"""The weaviate seam: the real clients against a small store of ours on loopback, HTTP and gRPC, for want of an engine."""

from __future__ import annotations

import inspect
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from textwrap import dedent
from typing import Any

import pytest

from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Other
from pytest_boundary.seams.weaviate import translate
from runtime_project import Project, changed, table
from vector_stores import all_are_foreign, all_are_told, all_pass, swallowed_is_told

for name in ("weaviate", "weaviate.classes.query", "weaviate.collections.batch.base"):
    import_module(name)  # before pytester looks: see runtime_project
proto = import_module("weaviate.proto.v1")
grpc = import_module("grpc")  # has no type hints
query = import_module("weaviate.collections.query")
data = import_module("weaviate.collections.data.executor")
Condition = import_module("weaviate.classes.query").Filter

APP = """
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor
    import weaviate
    from weaviate.classes.query import Filter, Metrics
    from weaviate.classes.data import DataObject
    from boundlint.boundary import carry_context

    HERE = {
        "http_host": "127.0.0.1", "http_port": int(os.environ["WEAVIATE_HTTP"]), "http_secure": False,
        "grpc_host": "127.0.0.1", "grpc_port": int(os.environ["WEAVIATE_GRPC"]), "grpc_secure": False,
        "skip_init_checks": True,
    }
    client = weaviate.connect_to_custom(**HERE)
    notes = client.collections.get("Notes")
    own, longer, named = notes.with_tenant("acme"), notes.with_tenant("acme-2"), client.collections.get("Notes_acme")
    AT = [1.0]
    ID = "00000000-0000-0000-0000-000000000001"

    def seed():
        notes.data.insert_many([{"tenant_id": "acme"}, {"tenant_id": "globex"}])
        own.data.insert({"tenant_id": "acme"}, uuid=ID)

    def equal(field, value):
        return Filter.by_property(field).equal(value)

    OWN = equal("tenant_id", "acme")

    def search(filters=None, notes=notes, **options):
        return [item.properties["tenant_id"] for item in notes.query.near_vector(AT, filters=filters).objects]

    def batched(properties, tenant=None):
        with client.batch.fixed_size(2) as batch:
            batch.add_object("Notes", properties, tenant=tenant)

    def swallow(filters=None):
        try:
            search(filters)
        except Exception:
            return []

    def in_thread(filters):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), filters).result()

    async def async_search(filters=None, tenant=None):
        async with weaviate.use_async_with_custom(**HERE) as client:
            notes = client.collections.get("Notes")
            notes = notes.with_tenant(tenant) if tenant else notes
            return (await notes.query.fetch_objects(filters=filters)).objects

    async def async_groups(tenant):
        async with weaviate.use_async_with_custom(**HERE) as client:
            notes = client.collections.get("Notes").with_tenant(tenant)
            return (await notes.aggregate.over_all(group_by="tenant_id")).groups

    async def async_insert(properties):
        async with weaviate.use_async_with_custom(**HERE) as client:
            await client.collections.get("Notes").data.insert(properties)
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
    @pytest.fixture(autouse=True, scope="module")
    def closed():
        yield
        client.close()
"""
UNSCOPED = {
    "no filter": "search()",
    "another field": 'search(equal("kind", "x"))',
    "another tenant": 'search(equal("tenant_id", "globex"))',
    "or": 'search(OWN | equal("kind", "x"))',
    "not": 'search(~equal("tenant_id", "globex"))',
    "not equal": 'search(Filter.by_property("tenant_id").not_equal("globex"))',
    "one of two": 'search(Filter.by_property("tenant_id").contains_any(["acme", "globex"]))',
    "a longer tenant": "search(notes=longer)",
    "bm25": 'notes.query.bm25("question")',
    "hybrid": 'notes.query.hybrid("question", vector=AT)',
    "near text": 'notes.query.near_text("question")',
    "near object": "notes.query.near_object(ID)",
    "objects": "notes.query.fetch_objects()",
    "by id": "notes.query.fetch_object_by_id(ID)",
    "by ids": "notes.query.fetch_objects_by_ids([ID])",
    "all of them": "next(notes.iterator())",
    "generate": 'notes.generate.near_vector(AT, single_prompt="say {text}")',
    "aggregate": "notes.aggregate.over_all(total_count=True)",
    "insert": 'notes.data.insert({"text": "x"})',
    "insert for another": 'notes.data.insert({"tenant_id": "globex"})',
    "insert many": 'notes.data.insert_many([{"tenant_id": "acme"}, DataObject({"tenant_id": "globex"})])',
    "insert of an iterator": 'notes.data.insert_many(iter([{"tenant_id": "acme"}]))',
    "replace": 'notes.data.replace(ID, {"tenant_id": "globex"})',
    "update": 'notes.data.update(ID, {"text": "x"})',
    "delete": "notes.data.delete_by_id(ID)",
    "delete many": 'notes.data.delete_many(equal("kind", "x"))',
    "batch": 'batched({"text": "x"})',
    "thread": "in_thread(None)",
    "async": "asyncio.run(async_search())",
    "async insert": 'asyncio.run(async_insert({"text": "x"}))',
}
SCOPED = {
    "filter": 'assert search(OWN) == ["acme"]',
    "and": 'search(OWN & Filter.by_property("kind").not_equal("x"))',
    "every branch": 'search((OWN & equal("kind", "x")) | OWN)',
    "one of one": 'search(Filter.by_property("tenant_id").contains_any(["acme"]))',
    "tenant": 'assert search(notes=own) == ["acme"]',
    "collection": "search(notes=named)",
    "bm25": 'notes.query.bm25("question", filters=OWN)',
    "hybrid": 'notes.query.hybrid("question", vector=AT, filters=OWN)',
    "by id": "assert own.query.fetch_object_by_id(ID).properties",
    "all of a tenant": "assert [item.properties for item in own.iterator()]",
    "generate": 'notes.generate.near_vector(AT, filters=OWN, single_prompt="say {text}")',
    "aggregate": "notes.aggregate.over_all(total_count=True, filters=OWN)",
    "groups": 'assert len(notes.aggregate.over_all(filters=OWN, group_by="tenant_id").groups) == 1',
    "frequent values": 'notes.aggregate.over_all(filters=OWN, return_metrics=[Metrics("tenant_id").text()])',
    "insert": 'notes.data.insert({"tenant_id": "acme"})',
    "insert many": 'notes.data.insert_many([{"tenant_id": "acme"}, DataObject({"tenant_id": "acme"})])',
    "insert for a tenant": 'own.data.insert({"text": "x"})',
    "update": 'own.data.update(ID, {"text": "x"})',
    "delete": "own.data.delete_by_id(ID)",
    "delete many": "notes.data.delete_many(OWN)",
    "batch": 'batched({"tenant_id": "acme"})',
    "batch for a tenant": 'batched({"text": "x"}, "acme")',
    "thread": "in_thread(OWN)",
    "async": "assert asyncio.run(async_search(OWN))",
    "async tenant": 'assert asyncio.run(async_search(tenant="acme"))',
    "async insert": 'asyncio.run(async_insert({"tenant_id": "acme"}))',
}


class Http(BaseHTTPRequestHandler):
    """What the client asks for over HTTP: who it talks to, and single objects."""

    store: Store

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        asked = json.loads(body) if body else {}
        if self.path == "/v1/objects":
            self.store.keep(asked["class"], asked.get("tenant", ""), asked["id"], asked["properties"])
        answer = {"version": "1.34.0", "hostname": "here", "modules": {}, "classes": []}
        data = b"" if self.command == "DELETE" else json.dumps(answer).encode()
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

    def log_message(self, *_: object) -> None:
        pass


class Store(proto.weaviate_pb2_grpc.WeaviateServicer):  # type: ignore[misc, name-defined]
    """Keeps text properties by collection, tenant and id, and knows equalities and conjunctions of such."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def keep(self, collection: str, tenant: str, number: str, properties: dict[str, str]) -> None:
        self.kept.setdefault((collection, tenant), {})[number] = properties

    def Search(self, request: Any, _context: Any) -> Any:
        found = self.kept.get((request.collection, request.tenant), {})
        if request.after and request.after != str(uuid.UUID(int=0)):
            found = {}
        results = []
        for number, properties in found.items():
            if request.HasField("filters") and not self._passes(request.filters, number, properties):
                continue
            held = proto.properties_pb2.Properties()
            for field, value in properties.items():
                held.fields[field].text_value = value
            results.append(
                proto.search_get_pb2.SearchResult(
                    metadata=proto.search_get_pb2.MetadataResult(
                        id=number,
                        id_as_bytes=uuid.UUID(number).bytes,
                        creation_time_unix=1,
                        creation_time_unix_present=True,
                        last_update_time_unix=1,
                        last_update_time_unix_present=True,
                    ),
                    properties=proto.search_get_pb2.PropertiesResult(
                        target_collection=request.collection, non_ref_props=held
                    ),
                )
            )
        return proto.search_get_pb2.SearchReply(results=results)

    def _passes(self, condition: Any, number: str, properties: dict[str, str]) -> bool:
        if condition.filters:
            passed = [self._passes(part, number, properties) for part in condition.filters]
            return any(passed) if condition.operator == condition.OPERATOR_OR else all(passed)
        field = condition.target.property
        if condition.operator == condition.OPERATOR_CONTAINS_ANY:
            return properties.get(field) in condition.value_text_array.values
        if condition.operator != condition.OPERATOR_EQUAL:
            return True
        return bool((number if field == "_id" else properties.get(field)) == condition.value_text)

    def BatchObjects(self, request: Any, _context: Any) -> Any:
        for item in request.objects:
            properties = dict(item.properties.non_ref_properties.items())
            self.keep(item.collection, item.tenant, item.uuid, properties)
        return proto.batch_pb2.BatchObjectsReply()

    def BatchDelete(self, _request: Any, _context: Any) -> Any:
        return proto.batch_delete_pb2.BatchDeleteReply()

    def Aggregate(self, request: Any, _context: Any) -> Any:
        """Counts the values of a property: one group for each, or the most frequent ones of all."""
        reply = proto.aggregate_pb2.AggregateReply()
        found = self.kept.get((request.collection, request.tenant), {})
        rows = [
            row
            for number, row in found.items()
            if not request.filters.operator or self._passes(request.filters, number, row)
        ]
        if request.HasField("group_by"):
            field = request.group_by.property
            for value in sorted({row[field] for row in rows}):
                group = reply.grouped_results.groups.add()
                group.grouped_by.path.append(field)
                group.grouped_by.text = value
            return reply
        reply.single_result.objects_count = len(rows)
        for asked in request.aggregations:
            one = reply.single_result.aggregations.aggregations.add()
            one.property = asked.property
            for row in rows:
                one.text.top_occurences.items.add(value=row[asked.property], occurs=1)
        return reply


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    store = Store()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Kept", (Http,), {"store": store}))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    server = grpc.server(ThreadPoolExecutor(4))
    proto.weaviate_pb2_grpc.add_WeaviateServicer_to_server(store, server)
    monkeypatch.setenv("WEAVIATE_HTTP", str(http.server_port))
    monkeypatch.setenv("WEAVIATE_GRPC", str(server.add_insecure_port("127.0.0.1:0")))
    server.start()
    yield
    server.stop(None)
    http.shutdown()
    http.server_close()


def test_unscoped_calls_fail(project: Project) -> None:
    all_are_told(
        project,
        APP,
        HEAD,
        UNSCOPED,
        line="in notes.query.near_vector(AT",
        operation="weaviate.collections.query._QueryCollection.near_vector  collection 'Notes'",
    )


def test_scoped_calls_pass(project: Project) -> None:
    all_pass(project, APP, HEAD, SCOPED, "weaviate")


def test_swallowed_in_two_workers(project: Project) -> None:
    swallowed_is_told(project, APP, HEAD, "OWN")


def test_foreign_objects_are_found_however_right_the_tenant_looks(project: Project) -> None:
    calls = {
        "search": "search(notes=own)",
        "by id": 'own.query.fetch_object_by_id("00000000-0000-0000-0000-000000000009")',
        "all": "list(own.iterator())",
        "async": 'asyncio.run(async_search(tenant="acme"))',
        "groups": 'own.aggregate.over_all(group_by="tenant_id")',
        "frequent values": 'own.aggregate.over_all(return_metrics=[Metrics("tenant_id").text()])',
        "async groups": 'asyncio.run(async_groups("acme"))',
    }
    wrong = 'own.data.insert({"tenant_id": "globex"}, uuid="00000000-0000-0000-0000-000000000009")'
    all_are_foreign(project, APP, dedent(HEAD).replace("    seed()", f"    seed()\n    {wrong}"), calls)


def test_marks_are_read_written_and_asked_for(project: Project) -> None:
    body = """
        def test_read(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            notes.data.insert({"tenant_id": first.id, "text": second.text("Renews in June.")})
            with boundary_scope(first.boundary):
                notes.query.fetch_objects(filters=equal("tenant_id", first.id))
        @pytest.mark.parametrize("call", ["written", "batched", "asked"])
        def test_out(call, lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                if call == "asked":
                    notes.query.bm25(text, filters=equal("tenant_id", first.id))
                elif call == "batched":
                    batched({"tenant_id": first.id, "text": text})
                else:
                    notes.data.insert({"tenant_id": first.id, "text": text})
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "BND302 another tenant's data from a retrieval read*",
            "*another tenant's data in the vector write*",
            "*another tenant's data in the vector write*",
            "*another tenant's data in the embeddings input*",
        ]
    )


def test_original_objects_are_back(project: Project) -> None:
    owners = [owner for owner in query._QueryCollection.__mro__ if owner.__name__.endswith("QueryExecutor")]
    owners.append(data._DataCollectionExecutor)
    before = {owner: dict(vars(owner)) for owner in owners}
    project(APP, table({"own": "search(OWN)"}, HEAD)).assert_outcomes(passed=1)
    assert len(owners) > 5
    assert changed(before) == []


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(data._DataCollectionExecutor, "insert")
    result = project("import weaviate", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*weaviate-client *: _DataCollection.insert not found; enforcement*"])


def test_contract() -> None:
    """Both clients have the watched functions from the same classes."""
    for method in ("near_text", "near_vector", "bm25", "hybrid", "fetch_objects", "fetch_object_by_id"):
        plain = getattr(query._QueryCollection, method)
        assert inspect.isfunction(plain)
        assert not inspect.iscoroutinefunction(plain)
        assert getattr(query._QueryCollectionAsync, method) is plain
    batch = import_module("weaviate.collections.batch.base")._BatchBase
    assert list(inspect.signature(batch._add_object).parameters)[1:3] == ["collection", "properties"]


def test_translation() -> None:
    own = Condition.by_property("tenant_id").equal("a")
    more = Condition.by_property("year").greater_than(2000)
    equals = Equals("tenant_id", ("a",))
    assert translate(None) == NOTHING
    assert translate(own & more) == All((equals, Other()))
    assert translate(own | more) == AnyOf((equals, Other()))
    assert translate(~own) == Other()
    assert translate(Condition.by_property("tenant_id").contains_any(["a"])) == equals
    assert translate(Condition.by_ref("owner").by_property("tenant_id").equal("a")) == Other()
