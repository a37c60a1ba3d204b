"""The qdrant and diskcache seams, on qdrant's local mode and a cache in a folder."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
import qdrant_client
from qdrant_client import models

from pytest_boundary.checks.filters import All, AnyOf, Equals, Other
from pytest_boundary.seams.qdrant import translate
from runtime_project import Project, blocks

APP = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from qdrant_client import AsyncQdrantClient, QdrantClient, models
    from qdrant_client.models import FieldCondition, Filter, MatchAny, MatchExcept, MatchValue, PointStruct, Prefetch
    from boundlint.boundary import carry_context

    class Sub(QdrantClient):
        pass

    def point(number, tenant, **payload):
        return PointStruct(id=number, vector=[1.0, 0.0], payload={"tenant_id": tenant, **payload} if tenant else payload)

    def make(cls=QdrantClient):
        client = cls(":memory:")
        space = models.VectorParams(size=2, distance=models.Distance.COSINE)
        client.create_collection("notes", vectors_config=space)
        client.create_collection("acme_notes", vectors_config=space)
        client.create_collection("acme-2_notes", vectors_config=space)
        return client

    client = make()
    sub = make(Sub)

    def seed():
        client.upsert("notes", points=[point(1, "acme"), point(2, "globex")])

    def own(*more, value="acme"):
        return Filter(must=[FieldCondition(key="tenant_id", match=MatchValue(value=value)), *more])

    def search(condition=None, collection="notes", client=client, **options):
        return client.query_points(collection, query=[1.0, 0.0], query_filter=condition, **options).points

    def in_thread(condition):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), condition).result()

    async def async_search(condition):
        client = AsyncQdrantClient(":memory:")
        space = models.VectorParams(size=2, distance=models.Distance.COSINE)
        await client.create_collection("notes", vectors_config=space)
        return await client.query_points("notes", query=[1.0, 0.0], query_filter=condition)

    OWN = FieldCondition(key="tenant_id", match=MatchValue(value="acme"))
    OTHER = FieldCondition(key="kind", match=MatchValue(value="x"))
"""
UNSCOPED = {
    "none": "search()",
    "a longer collection": 'search(collection="acme-2_notes")',
    "another field": "search(Filter(must=[OTHER]))",
    "another tenant": 'search(own(value="globex"))',
    "should": "search(Filter(should=[OWN, OTHER]))",
    "must not": "search(Filter(must_not=[OWN]))",
    "any of two": 'search(Filter(must=[FieldCondition(key="tenant_id", match=MatchAny(any=["acme", "globex"]))]))',
    "except": 'search(Filter(must=[FieldCondition(key="tenant_id", match=MatchExcept(**{"except": ["globex"]}))]))',
    "one of two prefetches": (
        "search(prefetch=[Prefetch(query=[1.0, 0.0], filter=own()), Prefetch(query=[1.0, 0.0])])"
    ),
    "nested prefetches": (
        "search(prefetch=[Prefetch(prefetch=[Prefetch(query=[1.0, 0.0], filter=own()), Prefetch(query=[1.0, 0.0])],"
        " query=[1.0, 0.0])])"
    ),
    "one of a batch": (
        'client.query_batch_points("notes", [models.QueryRequest(query=[1.0, 0.0], filter=own()),'
        " models.QueryRequest(query=[1.0, 0.0])])"
    ),
    "scroll": 'client.scroll("notes")',
    "count": 'client.count("notes")',
    "by id": 'client.retrieve("notes", [1])',
    "upsert": 'client.upsert("notes", points=[point(3, "acme"), point(4, None)])',
    "upsert for another": 'client.upsert("notes", points=[point(3, "globex")])',
    "upload of an iterator": 'client.upload_points("notes", points=iter([point(3, "acme")]))',
    "delete by id": 'client.delete("notes", [1])',
    "delete by filter": 'client.delete("notes", Filter(must=[OTHER]))',
    "subclass": "search(client=sub)",
    "thread": "in_thread(None)",
    "async": "asyncio.run(async_search(None))",
}
SCOPED = {
    "must": "assert [point.id for point in search(own())] == [1]",
    "must and more": "search(own(OTHER))",
    "nested": "search(Filter(must=[own()]))",
    "every should": "search(Filter(should=[OWN, Filter(must=[OWN, OTHER])]))",
    "any of one": 'search(Filter(must=[FieldCondition(key="tenant_id", match=MatchAny(any=["acme"]))]))',
    "dotted": 'search(Filter(must=[FieldCondition(key="metadata.tenant_id", match=MatchValue(value="acme"))]))',
    "collection": 'search(collection="acme_notes")',
    "prefetches": "search(prefetch=[Prefetch(query=[1.0, 0.0], filter=own())])",
    "nested prefetches": (
        "search(prefetch=[Prefetch(prefetch=[Prefetch(query=[1.0, 0.0], filter=own())], query=[1.0, 0.0])])"
    ),
    "prefetch in a batch": (
        'client.query_batch_points("notes", [models.QueryRequest(query=[1.0, 0.0],'
        " prefetch=[Prefetch(query=[1.0, 0.0], filter=own())])])"
    ),
    "prefetch in groups": (
        'client.query_points_groups("notes", group_by="tenant_id", query=[1.0, 0.0],'
        " prefetch=[Prefetch(query=[1.0, 0.0], filter=own())])"
    ),
    "outer filter": "search(own(), prefetch=[Prefetch(query=[1.0, 0.0])])",
    "scroll": 'client.scroll("notes", own())',
    "count": 'client.count("notes", count_filter=own())',
    "upsert": 'client.upsert("notes", points=[point(3, "acme")])',
    "delete": 'client.delete("notes", points_selector=models.FilterSelector(filter=own()))',
    "collections": "client.get_collections()",
    "thread": "in_thread(own())",
    "async": "asyncio.run(async_search(own()))",
}
import_module("diskcache")  # before pytester looks: see runtime_project
HEAD = """
from app.code import *
@pytest.fixture(autouse=True)
def seeded():
    seed()
"""


def body_of(calls: dict[str, str]) -> str:
    lines = [HEAD]
    for number, (name, call) in enumerate(calls.items()):
        lines += [f"def test_{number}_{name.replace(' ', '_')}():", f"    {call}"]
    return "\n".join(lines) + "\n"


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, body_of(UNSCOPED))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert all(block.startswith("BND301 unscoped retrieval") for block in found)


def test_scoped_calls_pass(project: Project) -> None:
    project(APP, body_of(SCOPED)).assert_outcomes(passed=len(SCOPED))


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"none": "exec('try: search()\\nexcept Exception: pass')"}
    project(APP, body_of(calls), "-n2").assert_outcomes(failed=1)


def test_candidates_of_another_tenant_are_foreign_however_right_the_filter_looks(project: Project) -> None:
    body = """
        def test_it():
            with cross_boundary("seed the wrong collection"):
                client.upsert("acme_notes", points=[point(9, "globex")])
            search(collection="acme_notes")
    """
    from textwrap import dedent

    result = project(APP, HEAD + "from boundlint.boundary import cross_boundary\n" + dedent(body))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND302 another tenant's data from a retrieval read*"])


def test_translation() -> None:
    own = models.FieldCondition(key="tenant_id", match=models.MatchValue(value="a"))
    assert translate(models.Filter(must=own)) == All((Equals("tenant_id", ("a",)),))
    assert translate({"must": [{"key": "tenant_id", "match": {"any": ["a"]}}]}) == All(
        (Equals("tenant_id", ("a",)),)
    )
    assert translate(models.Filter(should=[own, models.HasIdCondition(has_id=[1])])) == All(
        (AnyOf((Equals("tenant_id", ("a",)), Other())),)
    )


DISK = """
    import diskcache
    cache = diskcache.Cache()
    def fetch(key):
        return cache.get(key)
"""


def test_diskcache(project: Project) -> None:
    body = """
        @pytest.fixture(autouse=True)
        def seeded():
            code.cache.set("acme:old", {"tenant_id": "globex"})
        def test_scoped():
            code.cache.set("acme:x", 1, expire=5)
            assert code.cache["acme:x"] == 1
            assert code.cache.get(("acme", "y")) is None
        def test_read():
            code.fetch("rag:question")
        def test_write():
            code.cache["rag:question"] = "x"
        def test_delete():
            code.cache.delete("rag:question")
        def test_foreign():
            code.fetch("acme:old")
    """
    result = project(DISK, body)
    result.assert_outcomes(passed=1, failed=4)
    assert [block.split(" —")[0] for block in blocks(result)][:4] == [
        "BND401 unscoped cache read",
        "BND401 unscoped cache write",
        "BND401 unscoped cache delete",
        "BND401 another tenant's data from a cache read",
    ]
    result.stdout.fnmatch_lines(["diskcache *"])
    result.stdout.no_fnmatch_line("sqlite3 *")


def test_original_objects_are_back(project: Project) -> None:
    cache = import_module("diskcache.core").Cache
    owners = (qdrant_client.QdrantClient, qdrant_client.AsyncQdrantClient, cache)
    before = [dict(vars(owner)) for owner in owners]
    project(APP, body_of({"must": "search(own())"})).assert_outcomes(passed=1)
    for owner, known in zip(owners, before, strict=True):
        changed = [name for name, value in vars(owner).items() if known.get(name) is not value]
        assert [name for name in changed if not name.startswith(("__", "_abc"))] == []


@pytest.mark.parametrize("method", ["query_points", "scroll", "upsert", "delete", "count", "retrieve"])
def test_contract(method: str) -> None:
    assert inspect.isfunction(vars(qdrant_client.QdrantClient)[method])
    assert inspect.iscoroutinefunction(vars(qdrant_client.AsyncQdrantClient)[method])
