"""The pinecone seam: the real clients against a small index of ours on loopback, since there is no embedded engine."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from textwrap import dedent
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime_project import Project, changed, table
from vector_stores import all_are_foreign, all_are_told, all_pass, swallowed_is_told

for name in ("pinecone", "pinecone.async_client.async_index", "pinecone.client.documents", "pandas"):
    import_module(name)  # before pytester looks: see runtime_project
index = import_module("pinecone.index").Index
asynchronous = import_module("pinecone.async_client.async_index").AsyncIndex
documents = import_module("pinecone.client.documents").Documents
pool = import_module("pinecone._legacy.async_req")._LegacyAsyncPool

APP = """
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor
    import pandas
    from pinecone import AsyncIndex, Index as Early
    from pinecone import Vector
    from boundlint.boundary import carry_context

    class Sub(Early):
        pass

    notes = Early(host=os.environ["PINECONE"], api_key="none")
    sub = Sub(host=os.environ["PINECONE"], api_key="none")
    AT = [1.0]

    def seed():
        notes.upsert(vectors=[("1", AT, {"tenant_id": "acme"}), ("2", AT, {"tenant_id": "globex"})])
        notes.upsert(vectors=[("1", AT, {"tenant_id": "acme"})], namespace="acme")

    def search(filter=None, index=notes, **options):
        found = index.query(vector=AT, top_k=9, filter=filter, include_metadata=True, **options)
        return [match.metadata["tenant_id"] for match in found.matches]

    def spread(*namespaces, **options):
        return notes.query_namespaces(
            vector=AT, namespaces=list(namespaces), metric="cosine", include_metadata=True, **options
        ).matches

    def records(namespace, **query):
        return notes.search(namespace=namespace, top_k=9, inputs={"text": "question"}, **query).result.hits

    def swallow(filter=None):
        try:
            search(filter)
        except Exception:
            return []

    def in_thread(filter):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), filter).result()

    def later(filter):
        asked = notes.query(vector=AT, top_k=9, filter=filter, include_metadata=True, async_req=True)
        return asked.get().matches

    async def async_call(method, **options):
        async with AsyncIndex(host=os.environ["PINECONE"], api_key="none") as notes:
            return await getattr(notes, method)(**options)
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
    "another field": 'search({"kind": "x"})',
    "another tenant": 'search({"tenant_id": {"$eq": "globex"}})',
    "or": f'search({{"$or": [{OWN}, {{"kind": "x"}}]}})',
    "not": 'search({"tenant_id": {"$ne": "globex"}})',
    "one of two": 'search({"tenant_id": {"$in": ["acme", "globex"]}})',
    "a longer namespace": 'search(namespace="acme-2")',
    "default namespace": 'search(namespace="__default__")',
    "like a record": "notes.query(id='1', top_k=3)",
    "several namespaces": 'spread("acme", "globex")',
    "records": 'records("notes")',
    "records by query": 'notes.search(namespace="notes", query={"inputs": {"text": "q"}, "top_k": 3})',
    "by id": 'notes.fetch(ids=["1"])',
    "by metadata": 'notes.fetch_by_metadata(filter={"kind": "x"})',
    "list": "list(notes.list())",
    "list of a wider prefix": 'list(notes.list(prefix="acme"))',
    "upsert without an owner": 'notes.upsert(vectors=[("3", AT)])',
    "upsert for another": f'notes.upsert(vectors=[("3", AT, {OWN}), ("4", AT, {{"tenant_id": "globex"}})])',
    "upsert of objects": 'notes.upsert(vectors=[Vector(id="3", values=AT, metadata={"kind": "x"})])',
    "upsert of a frame": 'notes.upsert_from_dataframe(pandas.DataFrame([{"id": "3", "values": AT}]))',
    "upsert of records": 'notes.upsert_records(namespace="notes", records=[{"_id": "3", "text": "x"}])',
    "upsert of an iterator": f'notes.upsert(vectors=iter([("3", AT, {OWN})]))',
    "update": 'notes.update(id="1", set_metadata={"kind": "x"})',
    "delete by id": 'notes.delete(ids=["1"])',
    "delete by filter": 'notes.delete(filter={"kind": "x"})',
    "delete all": "notes.delete(delete_all=True)",
    "documents": 'notes.documents.fetch(namespace="notes", ids=["1"])',
    "subclass": "search(index=sub)",
    "in the client's pool": "later(None)",
    "thread": "in_thread(None)",
    "async": 'asyncio.run(async_call("query", vector=AT, top_k=3))',
    "async upsert": 'asyncio.run(async_call("upsert", vectors=[("3", AT)]))',
}
UNSCOPED = {name.replace("'", ""): call for name, call in UNSCOPED.items()}
SCOPED = {
    "filter": f'assert search({OWN}) == ["acme"]',
    "and": f'search({{"$and": [{OWN}, {{"kind": {{"$exists": False}}}}]}})',
    "namespace": 'assert search(namespace="acme") == ["acme"]',
    "like a record": 'notes.query(id="1", top_k=3, namespace="acme")',
    "several namespaces": 'assert spread("acme", "acme.archive")',
    "filtered namespaces": f'assert spread("", "acme", filter={OWN})',
    "records": 'records("acme")',
    "records by filter": f'records("notes", filter={OWN})',
    "records by query": (
        f'notes.search(namespace="notes", query={{"inputs": {{"text": "q"}}, "top_k": 3, "filter": {OWN}}})'
    ),
    "by id": 'assert notes.fetch(ids=["1"], namespace="acme").vectors',
    "by own id": 'notes.fetch(ids=["acme#1", "acme#2"])',
    "by metadata": f"assert notes.fetch_by_metadata(filter={OWN}).vectors",
    "list": 'list(notes.list(prefix="acme#"))',
    "list of a namespace": 'assert list(notes.list(namespace="acme"))',
    "upsert": f'notes.upsert(vectors=[("3", AT, {OWN}), {{"id": "4", "values": AT, "metadata": {OWN}}}])',
    "upsert of objects": f'notes.upsert(vectors=[Vector(id="3", values=AT, metadata={OWN})])',
    "upsert in batches": f'notes.upsert(vectors=[("3", AT, {OWN})] * 5, batch_size=2, show_progress=False)',
    "upsert of a frame": (
        f'notes.upsert_from_dataframe(pandas.DataFrame([{{"id": "3", "values": AT, "metadata": {OWN}}}]),'
        " show_progress=False)"
    ),
    "upsert into a namespace": 'notes.upsert(vectors=[("3", AT)], namespace="acme")',
    "upsert of records": f'notes.upsert_records(namespace="notes", records=[{{"_id": "3", **{OWN}}}])',
    "update": f'notes.update(filter={OWN}, set_metadata={{"kind": "x"}})',
    "delete": 'notes.delete(ids=["1"], namespace="acme")',
    "documents": 'notes.documents.fetch(namespace="acme", ids=["1"])',
    "stats": "notes.describe_index_stats()",
    "pool of the client": f"assert later({OWN})",
    "thread": f"in_thread({OWN})",
    "async": f'asyncio.run(async_call("query", vector=AT, top_k=3, filter={OWN}))',
    "async upsert": f'asyncio.run(async_call("upsert", vectors=[("3", AT, {OWN})]))',
}


class Service(BaseHTTPRequestHandler):
    """An index that keeps metadata by namespace and id, and knows an equality as a filter."""

    kept: Mapping[str, dict[str, dict[str, Any]]]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        space = self.kept.setdefault(query.get("namespace", [""])[0], {})  # type: ignore[attr-defined]
        if url.path == "/vectors/list":
            self._say({"vectors": [{"id": number} for number in space]})
        else:
            self._say({"vectors": self._vectors(space, query.get("ids", []))})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        lines = [json.loads(line) for line in data.splitlines() if line.strip()]
        asked = lines[0] if lines else {}
        path = self.path.strip("/").split("/")
        named = path[path.index("namespaces") + 1] if "namespaces" in path else asked.get("namespace", "")
        space = self.kept.setdefault(named, {})  # type: ignore[attr-defined]
        action = path[-1]
        if action == "upsert":
            for vector in asked.get("vectors") or lines:
                space[vector.get("id") or vector["_id"]] = vector.get("metadata") or vector
            self._say({"upsertedCount": 1})
        elif action == "query":
            found = [
                {"id": number, "score": 1.0, "metadata": metadata}
                for number, metadata in self._passing(space, asked)
            ]
            self._say({"matches": found, "namespace": named})
        elif action == "fetch_by_metadata":
            ids = [number for number, _ in self._passing(space, asked)]
            self._say({"vectors": self._vectors(space, ids)})
        elif action == "search":
            hits = [
                {"_id": number, "_score": 1.0, "fields": metadata}
                for number, metadata in self._passing(space, asked["query"])
            ]
            self._say({"result": {"hits": hits}, "usage": {"read_units": 1}})
        elif path[-2:] == ["documents", "fetch"]:
            self._say({"documents": {}, "namespace": named, "usage": {"read_units": 1}})
        else:
            self._say({})

    def _passing(self, space: Mapping[str, Any], asked: Mapping[str, Any]) -> list[tuple[str, Any]]:
        condition = asked.get("filter") or {}
        parts = [condition, *condition.get("$and", ())]
        wanted = {k: v for part in parts for k, v in part.items() if not isinstance(v, (dict, list))}
        return [
            (number, metadata)
            for number, metadata in space.items()
            if all(metadata.get(field) == value for field, value in wanted.items())
        ]

    def _vectors(self, space: Mapping[str, Any], ids: list[str]) -> dict[str, Any]:
        return {
            number: {"id": number, "values": [1.0], "metadata": space[number]}
            for number in ids
            if number in space
        }

    def _say(self, answer: object) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    handler = type("Kept", (Service,), {"kept": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PINECONE", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_unscoped_calls_fail(project: Project) -> None:
    all_are_told(
        project,
        APP,
        HEAD,
        UNSCOPED,
        line="found = index.query(vector=AT",
        operation="pinecone.Index.query  collection '127.0.0.1:*'",
    )


def test_scoped_calls_pass_and_http_below_is_the_same_access(project: Project) -> None:
    all_pass(project, APP, HEAD, SCOPED, "pinecone")


def test_swallowed_in_two_workers(project: Project) -> None:
    swallowed_is_told(project, APP, HEAD, OWN)


def test_foreign_records_are_found_however_right_the_namespace_looks(project: Project) -> None:
    calls = {
        "query": 'search(namespace="acme")',
        "several": 'spread("acme", "acme.archive")',
        "fetch": 'notes.fetch(ids=["9"], namespace="acme")',
        "records": 'records("acme")',
        "pool": 'notes.query(vector=AT, top_k=9, namespace="acme", include_metadata=True, async_req=True).get()',
        "async": 'asyncio.run(async_call("fetch", ids=["9"], namespace="acme"))',
    }
    wrong = '    notes.upsert(vectors=[("9", AT, {"tenant_id": "globex"})], namespace="acme")'
    all_are_foreign(project, APP, dedent(HEAD) + wrong, calls)


def test_marks_are_read_written_and_asked_for(project: Project) -> None:
    body = """
        def test_read(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            metadata = {"tenant_id": first.id, "text": second.text("Renews in June.")}
            notes.upsert(vectors=[("m", AT, metadata)], namespace="n")
            with boundary_scope(first.boundary):
                notes.query(vector=AT, top_k=3, namespace="n", filter={"tenant_id": first.id})
        @pytest.mark.parametrize("call", ["written", "asked"])
        def test_out(call, lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                if call == "asked":
                    notes.search(namespace=first.id, top_k=3, inputs={"text": text})
                else:
                    notes.upsert(vectors=[("n", AT, {"tenant_id": first.id, "text": text})])
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "BND302 another tenant's data from a retrieval read*",
            "*another tenant's data in the vector write*",
            "*another tenant's data in the embeddings input*",
        ]
    )


def test_original_objects_are_back(project: Project) -> None:
    before = {owner: dict(vars(owner)) for owner in (index, asynchronous, documents, pool)}
    executor = import_module("pinecone.index").ThreadPoolExecutor
    project(APP, table({"own": f"search({OWN})"}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert import_module("pinecone.index").ThreadPoolExecutor is executor


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(index, "fetch")
    result = project("import pinecone.index", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*pinecone *: Index.fetch not found; enforcement would be incomplete*"])


METHODS = ("query", "query_namespaces", "search", "fetch", "fetch_by_metadata", "upsert", "update", "delete")


@pytest.mark.parametrize("method", METHODS)
def test_contract(method: str) -> None:
    assert inspect.isfunction(vars(index)[method])
    assert inspect.iscoroutinefunction(vars(asynchronous)[method])
    assert list(inspect.signature(vars(pool)["submit"]).parameters) == ["self", "func", "kwargs"]
