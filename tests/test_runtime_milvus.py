"""The milvus seam, on Milvus Lite in a folder: both clients and the ORM's collection."""

from __future__ import annotations

import inspect
import warnings
from importlib import import_module
from textwrap import dedent

import pytest

from pytest_boundary.seams.milvus import _filled
from runtime_project import Project, changed, table
from vector_stores import all_are_foreign, all_are_told, all_pass, swallowed_is_told

for name in ("pymilvus", "milvus_lite", "pandas"):
    import_module(name)  # before pytester looks: see runtime_project
sync = import_module("pymilvus.milvus_client.milvus_client").MilvusClient
asynchronous = import_module("pymilvus.milvus_client.async_milvus_client").AsyncMilvusClient
METHODS = ("search", "hybrid_search", "query", "get", "insert", "upsert", "delete")

APP = """
    import asyncio
    import tempfile
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from pymilvus import AnnSearchRequest, AsyncMilvusClient, Collection, MilvusClient as Early, RRFRanker, connections
    from boundlint.boundary import carry_context

    class Sub(Early):
        pass

    place = str(Path(tempfile.mkdtemp()) / "milvus.db")
    client = Early(place)
    sub = Sub(place)
    AT = [1.0, 0.0]
    for name in ("notes", "acme_notes"):
        client.create_collection(name, dimension=2, id_type="string", max_length=64, auto_id=False)
    client.create_partition("notes", "acme")

    def row(number, tenant, **more):
        return {"id": number, "vector": AT, **({"tenant_id": tenant} if tenant else {}), **more}

    def seed():
        client.upsert("notes", [row("acme:1", "acme"), row("globex:1", "globex")])
        client.upsert("acme_notes", [row("1", "acme")])

    def search(filter="", collection="notes", client=client, **options):
        return client.search(collection, [AT], filter=filter, output_fields=["tenant_id"], **options)[0]

    def hybrid(*filters):
        requests = [AnnSearchRequest([AT], "vector", {}, 3, expr=filter) for filter in filters]
        return client.hybrid_search("notes", requests, RRFRanker(), limit=3, output_fields=["tenant_id"])[0]

    def swallow(filter=""):
        try:
            search(filter)
        except Exception:
            return []

    def in_thread(filter):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), filter).result()

    async def async_call(method, *args, **kwargs):
        later = AsyncMilvusClient(place)
        try:
            return await getattr(later, method)(*args, **kwargs)
        finally:
            await later.close()

    def orm(expr):
        connections.connect(place, uri=place)
        return Collection("notes", using=place).query(expr, output_fields=["tenant_id"])
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
"""
OWN = "'tenant_id == \"acme\"'"
UNSCOPED = {
    "no filter": "search()",
    "another field": "search('kind == \"x\"')",
    "another tenant": "search('tenant_id == \"globex\"')",
    "or": 'search(\'tenant_id == "acme" or kind == "public"\')',
    "not": "search('not (tenant_id == \"globex\")')",
    "one of two": 'search(\'tenant_id in ["acme", "globex"]\')',
    "like": "search('tenant_id like \"acme%\"')",
    "positional": "client.search('notes', [AT], 'kind == \"x\"')",
    "another partition": "search(partition_names=['acme', 'globex'])",
    "query": "client.query('notes', filter='kind == \"x\"')",
    "by id": "client.get('notes', ids=['globex:1'])",
    "by one of two ids": "client.get('notes', ['acme:1', 'globex:1'])",
    "pages": "client.query_iterator('notes', filter='kind == \"x\"')",
    "insert without an owner": "client.insert('notes', [row('acme:2', None)])",
    "upsert for another": "client.upsert('notes', [row('acme:1', 'acme'), row('acme:2', 'globex')])",
    "delete by id": "client.delete('notes', ids=['globex:1'])",
    "delete by filter": "client.delete('notes', filter='kind == \"x\"')",
    "one of two legs": f"hybrid({OWN}, 'kind == \"x\"')",
    "subclass": "search(client=sub)",
    "imported early": "Early.search(client, 'notes', [AT])",
    "orm": "orm('kind == \"x\"')",
    "thread": "in_thread('')",
    "async search": "asyncio.run(async_call('search', 'notes', [AT]))",
    "async query": "asyncio.run(async_call('query', 'notes', filter='kind == \"x\"'))",
    "async insert": "asyncio.run(async_call('insert', 'notes', [row('acme:3', 'globex')]))",
}
SCOPED = {
    "filter": f"assert [hit['entity']['tenant_id'] for hit in search({OWN})] == ['acme']",
    "positional": f"client.search('notes', [AT], {OWN})",
    "and": 'search(\'tenant_id == "acme" and not (kind == "x") && id != "9"\')',
    "every branch": 'search(\'tenant_id == "acme" and kind == "x" or (tenant_id == "acme")\')',
    "in one": "search('tenant_id in [\"acme\"]')",
    "collection": "assert search(collection='acme_notes')",
    "partition": "search(partition_names=['acme'])",
    "query": f"assert len(client.query('notes', filter={OWN})) == 1",
    "by own id": "assert client.get('notes', ids=['acme:1'])",
    "pages": f"assert len(client.query_iterator('notes', filter={OWN}, output_fields=['tenant_id']).next()) == 1",
    "upsert": "client.upsert('notes', [row('acme:1', 'acme')])",
    "insert one": "client.insert('notes', row('acme:7', 'acme'))",
    "insert into a partition": "client.insert('notes', row('8', None), partition_name='acme')",
    "delete": f"client.delete('notes', filter={OWN})",
    "delete by own id": "client.delete('notes', ids=['acme:1'])",
    "both legs": f"assert hybrid({OWN}, {OWN})",
    "orm": f"assert orm({OWN})",
    "collections": "client.list_collections(); client.get_collection_stats('notes')",
    "thread": f"in_thread({OWN})",
    "async search": f"assert asyncio.run(async_call('search', 'notes', [AT], {OWN}))",
    "async insert": "asyncio.run(async_call('insert', 'notes', [row('acme:3', 'acme')]))",
}


@pytest.fixture(autouse=True)
def quiet() -> None:
    warnings.simplefilter("ignore")


def test_unscoped_calls_fail(project: Project) -> None:
    all_are_told(
        project,
        APP,
        HEAD,
        UNSCOPED,
        line="return client.search(collection, [AT], filter=filter",
        operation="pymilvus.MilvusClient.search  collection 'notes'",
    )


def test_scoped_calls_pass(project: Project) -> None:
    all_pass(project, APP, HEAD, SCOPED, "milvus")


def test_swallowed_in_two_workers(project: Project) -> None:
    swallowed_is_told(project, APP, HEAD, OWN)


def test_foreign_rows_are_found_however_right_the_filter_looks(project: Project) -> None:
    calls = {
        "search": "search(collection='acme_notes')",
        "query": "client.query('acme_notes', filter='id == \"9\"', output_fields=['tenant_id'])",
        "get": "client.get('acme_notes', ['9'])",
        "page of a query": "client.query_iterator('acme_notes', output_fields=['tenant_id']).next()",
        "page of a search": "client.search_iterator('acme_notes', [AT], 2, output_fields=['tenant_id']).next()",
    }
    head = dedent(HEAD).replace(
        "    seed()", "    seed()\n    client.upsert('acme_notes', [row('9', 'globex')])"
    )
    all_are_foreign(project, APP, head, calls)


def test_marks_in_rows_are_read_and_written(project: Project) -> None:
    body = """
        def test_read(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            client.upsert("notes", [row("m", first.id, text=second.text("Renews in June."))])
            with boundary_scope(first.boundary):
                client.query("notes", filter=f'tenant_id == "{first.id}"', output_fields=["*"])
        def test_written(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                client.upsert("notes", [row("n", first.id, text=text)])
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["BND302 another tenant's data from a retrieval read*", "*another tenant's data in the vector write*"]
    )


def test_original_objects_are_back(project: Project) -> None:
    before = {owner: dict(vars(owner)) for owner in (sync, asynchronous)}
    project(APP, table({"own": f"search({OWN})"}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sync, "hybrid_search")
    result = project("import pymilvus", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*pymilvus *: MilvusClient.hybrid_search not found; enforcement would be*"])


@pytest.mark.parametrize("method", METHODS)
def test_contract(method: str) -> None:
    assert inspect.isfunction(vars(sync)[method])
    assert inspect.iscoroutinefunction(vars(asynchronous)[method])


def test_parameters_of_a_filter_take_their_places() -> None:
    given = {"filter_params": {"tenant": "a", "kinds": ["x"]}}
    assert _filled("tenant_id == {tenant} and kind in {kinds}", given) == "tenant_id == 'a' and kind in ['x']"
    assert _filled("tenant_id == {other}", given) == "tenant_id == {other}"
    assert _filled(None, {}) is None
