"""The chroma seam: an ephemeral client in this process, and chroma's own server on loopback for the async one."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_boundary.checks.documents import translate
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Other
from runtime_project import Project, blocks, changed, line_of, table

os.environ["ANONYMIZED_TELEMETRY"] = "False"
chromadb = import_module("chromadb")  # before pytester looks: see runtime_project
COLLECTIONS = {
    import_module(f"chromadb.api.models.{name}").__dict__[name]: name
    for name in ("Collection", "AsyncCollection")
}
METHODS = ("query", "get", "search", "peek", "add", "upsert", "update", "delete", "count")

APP = """
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor
    import chromadb
    from chromadb import Collection as Early
    from chromadb.api.models.Collection import Collection
    from boundlint.boundary import carry_context

    client = chromadb.EphemeralClient()
    AT = [[1.0, 0.0]]

    class Sub(Collection):
        pass

    def make(name):
        return client.get_or_create_collection(name, embedding_function=None)

    notes, own, longer = make("notes"), make("acme_notes"), make("acme-2_notes")
    sub = Sub(client=notes._client, model=notes._model, embedding_function=None)

    def seed():
        owners = [{"tenant_id": "acme"}, {"tenant_id": "globex"}]
        notes.upsert(["acme:1", "globex:1"], embeddings=AT * 2, metadatas=owners, documents=["a", "b"])
        own.upsert(["1"], embeddings=AT, metadatas=[{"tenant_id": "acme"}])

    def search(where=None, collection=notes, **options):
        return collection.query(query_embeddings=AT, where=where, **options)["ids"][0]

    def in_thread(where):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), where).result()

    def swallow(where=None):
        try:
            search(where)
        except Exception:
            return []

    def write(*metadatas, method="upsert"):
        ids = [f"new:{number}" for number, _ in enumerate(metadatas)]
        getattr(notes, method)(ids, embeddings=AT * len(ids), metadatas=list(metadatas))

    async def over_http(where, name="notes"):
        client = await chromadb.AsyncHttpClient(host="127.0.0.1", port=int(os.environ["CHROMA_PORT"]))
        collection = await client.get_or_create_collection(name, embedding_function=None)
        owners = [{"tenant_id": "acme"}]
        await collection.upsert(["1"], embeddings=AT, metadatas=owners)
        return (await collection.query(query_embeddings=AT, where=where))["ids"][0]

    async def async_delete(where):
        client = await chromadb.AsyncHttpClient(host="127.0.0.1", port=int(os.environ["CHROMA_PORT"]))
        collection = await client.get_or_create_collection("notes", embedding_function=None)
        await collection.delete(where=where)
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
"""
OWN = '{"tenant_id": "acme"}'
UNSCOPED = {
    "no filter": "search()",
    "another field": 'search({"kind": "note"})',
    "another tenant": 'search({"tenant_id": "globex"})',
    "or": f'search({{"$or": [{OWN}, {{"kind": "public"}}]}})',
    "not equal": 'search({"tenant_id": {"$ne": "globex"}})',
    "one of two": 'search({"tenant_id": {"$in": ["acme", "globex"]}})',
    "a longer collection": "search(collection=longer)",
    "only the text": 'search(where_document={"$contains": "x"})',
    "get": "notes.get()",
    "get by id": 'notes.get(["globex:1"])',
    "get by one of two ids": 'notes.get(["acme:1", "globex:1"])',
    "peek": "notes.peek()",
    "add without an owner": 'write({"kind": "x"}, method="add")',
    "upsert for another": 'write({"tenant_id": "globex"})',
    "one of a batch": f'write({OWN}, {{"tenant_id": "globex"}})',
    "no metadata": 'notes.upsert(["new:9"], embeddings=AT)',
    "update by id": 'notes.update(["globex:1"], documents=["x"])',
    "delete by id": 'notes.delete(["globex:1"])',
    "delete by a field": 'notes.delete(where={"kind": "x"})',
    "subclass": "search(collection=sub)",
    "imported early": "Early.query(notes, AT)",
    "positional": "notes.query(AT, None, None, None, None, 5, None)",
    "thread": "in_thread(None)",
    "async": "asyncio.run(over_http(None))",
    "async delete": 'asyncio.run(async_delete({"kind": "x"}))',
}
SCOPED = {
    "equal": f'assert search({OWN}) == ["acme:1"]',
    "positional": f"notes.query(AT, None, None, None, None, 5, {OWN})",
    "eq": 'search({"tenant_id": {"$eq": "acme"}})',
    "and": f'search({{"$and": [{OWN}, {{"kind": {{"$ne": "x"}}}}]}})',
    "every branch": f'search({{"$or": [{OWN}, {{"$and": [{OWN}, {{"kind": "x"}}]}}]}})',
    "in one": 'search({"tenant_id": {"$in": ["acme"]}})',
    "collection": 'assert search(collection=own) == ["1"]',
    "get": f"notes.get(where={OWN})",
    "get by own ids": 'notes.get(["acme:1", "acme:2"])',
    "peek at an own collection": "own.peek()",
    "count": "notes.count()",
    "upsert": f"write({OWN}, {OWN})",
    "delete": f"notes.delete(where={OWN})",
    "update": 'notes.update(["acme:1"], metadatas=[{"kind": "x"}])',
    "collections": "client.list_collections()",
    "thread": f"in_thread({OWN})",
    "async": f'assert asyncio.run(over_http({OWN})) == ["1"]',
    "async collection": 'asyncio.run(over_http(None, "acme_notes"))',
    "async delete": f"asyncio.run(async_delete({OWN}))",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of a server of chroma's own, which its package holds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = tmp_path_factory.mktemp("chroma")
    program = Path(sys.executable).with_name("chroma")
    command = [str(program), "run", "--host", "127.0.0.1", "--port", port, "--path", str(folder)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def port(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_PORT", server)


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED, HEAD))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert all(block.startswith("BND301 unscoped retrieval") for block in found)
    line = line_of(APP, "collection.query(query_embeddings=AT")
    result.stdout.fnmatch_lines(
        [
            f"BND301 unscoped retrieval read — app/code.py:{line} in search()",
            "*operation  chromadb.api.models.Collection.Collection.query  collection 'notes'*",
            "*missing    there is no filter, so that nothing binds the result to tenant 'acme'",
        ]
    )
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")


def test_scoped_calls_pass(project: Project) -> None:
    result = project(APP, table(SCOPED, HEAD))
    result.assert_outcomes(passed=len(SCOPED))
    result.stdout.fnmatch_lines(["chroma *"])


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"none": "swallow()", "own": f"swallow({OWN})"}
    project(APP, table(calls, HEAD), "-n2").assert_outcomes(failed=1, passed=1)


def test_a_tenant_of_the_store_scopes(project: Project) -> None:
    body = """
        import chromadb
        @pytest.fixture
        def of_tenant():
            admin = code.client._admin_client
            for tenant in ("acme", "globex"):
                try:
                    admin.get_tenant(tenant)
                except Exception:
                    admin.create_tenant(tenant)
                    admin.create_database("default_database", tenant)
            def make(tenant):
                client = chromadb.EphemeralClient(tenant=tenant)
                return client.get_or_create_collection("plain", embedding_function=None)
            return make
        def test_own(of_tenant):
            of_tenant("acme").get()
        def test_foreign(of_tenant):
            of_tenant("globex").get()
    """
    result = project(APP, body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*Collection.get  collection 'plain' in globex*"])


def test_a_foreign_record_is_found_however_right_the_filter_looks(project: Project) -> None:
    body = """
        from boundlint.boundary import cross_boundary
        def test_query():
            with cross_boundary("seed the wrong collection"):
                own.upsert(["9"], embeddings=AT, metadatas=[{"tenant_id": "globex"}])
            search(collection=own)
        def test_get():
            own.get()
        def test_without_metadata():
            own.get(include=["documents"])
    """
    result = project(APP, dedent(HEAD) + dedent(body))
    result.assert_outcomes(failed=2, passed=1)
    found = blocks(result)
    assert all(block.startswith("BND302 another tenant's data from a retrieval read") for block in found[:2])
    result.stdout.fnmatch_lines(["*the result names the tenant 'globex', not tenant 'acme'*"])


def test_marks_that_are_written_and_embedded_are_bleeds(project: Project) -> None:
    body = """
        def marked(lookalike_tenants, bleed):
            text = lookalike_tenants[1].text("Renews in March.")
            bleed.read(text)
            return text
        def test_written(lookalike_tenants, bleed, boundary_scope):
            text = marked(lookalike_tenants, bleed)
            first = lookalike_tenants[0]
            with boundary_scope(first.boundary):
                notes.upsert(["x"], embeddings=AT, documents=[text], metadatas=[{"tenant_id": first.id}])
        def test_embedded(lookalike_tenants, bleed, boundary_scope):
            text = marked(lookalike_tenants, bleed)
            first = lookalike_tenants[0]
            with boundary_scope(first.boundary):
                try:
                    notes.query(query_texts=[text], where={"tenant_id": first.id})
                except ValueError:
                    pass
        def test_read(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in June.")
            notes.upsert(["y"], embeddings=AT, documents=[text], metadatas=[{"tenant_id": first.id}])
            with boundary_scope(first.boundary):
                notes.get(where={"tenant_id": first.id})
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*another tenant's data in the vector write*",
            "*another tenant's data in the embeddings input*",
            "BND302 another tenant's data from a retrieval read*",
        ]
    )


def test_original_objects_are_back(project: Project) -> None:
    before = {owner: dict(vars(owner)) for owner in COLLECTIONS}
    project(APP, table({"own": f"search({OWN})"}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(next(iter(COLLECTIONS)), "query")
    result = project("import chromadb", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*chromadb *: Collection.query not found; enforcement would be incomplete*"])


@pytest.mark.parametrize("method", METHODS)
def test_contract(method: str) -> None:
    plain, asynchronous = COLLECTIONS
    assert inspect.isfunction(vars(plain)[method])
    assert inspect.iscoroutinefunction(vars(asynchronous)[method])


def test_filters_as_documents() -> None:
    own = Equals("tenant_id", ("a",))
    assert translate(None) == NOTHING
    assert translate({"tenant_id": "a", "kind": {"$gt": 3}}) == All((own, All((Other(),))))
    assert translate({"$and": [{"tenant_id": {"$eq": "a"}}]}) == All((All((All((All((own,)),)),)),))
    assert translate({"$or": [{"tenant_id": "a"}, {"x": {"$exists": True}}]}) == All(
        (AnyOf((All((own,)), All((All((Other(),)),)))),)
    )
    assert translate({"$nor": [{"tenant_id": "a"}]}) == All((Other(),))
    assert translate(lambda record: True) == Other()


def test_conditions_of_a_search_are_read() -> None:
    from chromadb import K, Search

    from pytest_boundary.seams.chroma import _describe

    class Named:
        name, tenant, database = "notes", "default_tenant", "default_database"

    search = Search().where((K("tenant_id") == "a") & (K("kind") != "x"))
    filters = _describe("search")(Named(), ([search, Search()],), {}).filters
    assert filters == [translate({"$and": [{"tenant_id": {"$eq": "a"}}, {"kind": {"$ne": "x"}}]}), NOTHING]
