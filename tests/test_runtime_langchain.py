"""The LangChain seam: vector stores in memory and over chroma and qdrant, prompts and tools of the framework's own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from textwrap import dedent
from typing import Any

import pytest

from boundlint.config import BoundarySettings
from pytest_boundary.active import Active
from pytest_boundary.checks import expressions
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Other
from pytest_boundary.checks.predicates import judge_function
from pytest_boundary.levels import Levels
from pytest_boundary.operations import Missing
from runtime_project import Project, blocks, changed, line_of, table

os.environ["ANONYMIZED_TELEMETRY"] = "False"
for name in ("langchain_chroma", "qdrant_client", "langgraph.prebuilt", "langchain_core.vectorstores"):
    import_module(name)  # before pytester looks: see runtime_project
base = import_module("langchain_core.vectorstores.base")
context = import_module("langchain_core.tracers.context")

APP = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from langchain_chroma import Chroma
    from langchain_core.documents import Document
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tools import tool
    from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
    from boundlint.boundary import carry_context

    embedding = DeterministicFakeEmbedding(size=4)
    memory = InMemoryVectorStore(embedding)
    chroma = Chroma("lc_notes", embedding)
    own = Chroma("acme_lc_notes", embedding)
    model = FakeListChatModel(responses=["hello", "hello again"])

    class Sub(InMemoryVectorStore):
        def similarity_search(self, query, k=4, **kwargs):
            return super().similarity_search(query, k, **kwargs)

    sub = Sub(embedding)

    def doc(tenant, text="a", **more):
        return Document(page_content=text, metadata={"tenant_id": tenant, **more} if tenant else more)

    def seed():
        for store in (memory, chroma):
            store.add_documents([doc("acme"), doc("globex", "b")], ids=["acme:1", "globex:1"])

    def search(store=chroma, **options):
        return store.similarity_search("question", **options)

    def retrieve(store=chroma, **search_kwargs):
        return store.as_retriever(search_kwargs=search_kwargs).invoke("question")

    async def aretrieve(store=chroma, **search_kwargs):
        return await store.as_retriever(search_kwargs=search_kwargs).ainvoke("question")

    def swallow(**options):
        try:
            search(**options)
        except Exception:
            return []

    def in_thread(**options):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), **options).result()

    def mine(document):
        return document.metadata["tenant_id"] == "acme"

    @tool
    def lookup(query: str) -> str:
        "Look something up."
        return "found " + query

    def ask(text):
        return model.invoke([("human", text)])

    async def aask(text):
        return await model.ainvoke([("human", text)])

    def stream(text):
        return list(model.stream(text))

    def chain(text):
        return RunnableLambda(lambda given: ask(given)).batch([text, text])
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
    "another field": 'search(filter={"kind": "x"})',
    "or": f'search(filter={{"$or": [{OWN}, {{"kind": "x"}}]}})',
    "positional": 'chroma.similarity_search("q", 4, {"tenant_id": "globex"})',
    "with scores": 'chroma.similarity_search_with_score("q")',
    "with relevance": 'chroma.similarity_search_with_relevance_scores("q")',
    "by vector": "chroma.similarity_search_by_vector([0.0] * 4)",
    "mmr": 'chroma.max_marginal_relevance_search("q")',
    "of a chosen kind": 'chroma.search("q", "similarity")',
    "by ids": 'chroma.get_by_ids(["globex:1"])',
    "retriever": "retrieve()",
    "add without an owner": "chroma.add_documents([doc(None)])",
    "add for another": 'chroma.add_documents([doc("acme"), doc("globex")])',
    "texts": 'chroma.add_texts(["a", "b"], [{"tenant_id": "acme"}])',
    "documents in an iterator": "chroma.add_documents(iter([doc('acme')]))",
    "metadata in an iterator": "chroma.add_texts(['a'], iter([{'tenant_id': 'acme'}]))",
    "from texts": 'Chroma.from_texts(["a"], embedding, collection_name="lc_notes")',
    "delete": 'chroma.delete(["globex:1"])',
    "delete all": "memory.delete(None)",
    "a misspelled keyword": f"search(memory, filters={OWN})",
    "memory": "search(memory)",
    "a function that looks at nothing": "search(memory, filter=lambda document: True)",
    "a function with an or": (
        "search(memory, filter=lambda d: d.metadata.get('public') or d.metadata.get('tenant_id') == 'acme')"
    ),
    "a function for another": "search(memory, filter=lambda d: d.metadata['tenant_id'] == 'globex')",
    "a function that fails": "search(memory, filter=lambda d: d.metadata['tenant_id'].value == 1)",
    "subclass": "search(sub)",
    "thread": "in_thread()",
    "async": 'asyncio.run(chroma.asimilarity_search("q"))',
    "async retriever": "asyncio.run(aretrieve())",
    "async add": "asyncio.run(memory.aadd_documents([doc(None)]))",
}
SCOPED = {
    "filter": f"assert [d.metadata['tenant_id'] for d in search(filter={OWN})] == ['acme']",
    "positional": f'chroma.similarity_search("q", 4, {OWN})',
    "with scores": f'chroma.similarity_search_with_score("q", filter={OWN})',
    "with relevance": f'chroma.similarity_search_with_relevance_scores("q", filter={OWN})',
    "mmr": f'chroma.max_marginal_relevance_search("q", filter={OWN})',
    "of a chosen kind": f'chroma.search("q", "mmr", filter={OWN})',
    "by ids": 'assert chroma.get_by_ids(["acme:1"])',
    "collection": "search(own)",
    "retriever": f"assert retrieve(filter={OWN})",
    "add": 'chroma.add_documents([doc("acme")])',
    "texts": f'chroma.add_texts(["a"], [{OWN}])',
    "from texts": f'Chroma.from_texts(["a"], embedding, [{OWN}], collection_name="lc_notes")',
    "delete": 'chroma.delete(["acme:1"])',
    "a function": "assert len(search(memory, filter=mine)) == 1",
    "a function with more": (
        "search(memory, filter=lambda d: mine(d) and not d.metadata.get('deleted') and d.metadata.get('n') != 3)"
    ),
    "subclass": "search(sub, filter=mine)",
    "thread": f"in_thread(filter={OWN})",
    "async": f'asyncio.run(chroma.asimilarity_search("q", filter={OWN}))',
    "async retriever": f"assert asyncio.run(aretrieve(filter={OWN}))",
    "async add": 'asyncio.run(memory.aadd_documents([doc("acme")]))',
    "prompts": 'assert ask("hi").content',
    "tools": 'assert lookup.invoke({"query": "x"}) == "found x"',
}


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED, HEAD))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert all(block.startswith("BND301 unscoped retrieval") for block in found)
    line = line_of(APP, 'return store.similarity_search("question"')
    result.stdout.fnmatch_lines(
        [
            f"BND301 unscoped retrieval read — app/code.py:{line} in search()",
            "*operation  langchain_core.vectorstores.VectorStore.similarity_search  collection 'lc_notes'*",
            "*the filter's function lets records of others than tenant 'acme' through*",
        ]
    )
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")


def test_scoped_calls_pass_and_the_client_below_is_the_same_access(project: Project) -> None:
    result = project(APP, table(SCOPED, HEAD))
    result.assert_outcomes(passed=len(SCOPED))
    result.stdout.fnmatch_lines(["langchain *"])
    result.stdout.no_fnmatch_line("chroma *")


def test_one_access_is_one_event(project: Project) -> None:
    result = project(
        APP, table({"one": "search()"}, HEAD), "--boundary-report=seen.json", flag="--enforce-boundary=report"
    )
    result.stdout.fnmatch_lines(["langchain  1 checked, 1 unscoped*"])
    result.stdout.no_fnmatch_line("chroma *checked*")


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"none": "swallow()", "own": f"swallow(filter={OWN})"}
    project(APP, table(calls, HEAD), "-n2").assert_outcomes(failed=1, passed=1)


def test_foreign_documents_are_found_however_right_the_filter_looks(project: Project) -> None:
    body = """
        from boundlint.boundary import cross_boundary
        def test_it():
            with cross_boundary("seed the wrong collection"):
                own.add_documents([doc("globex")], ids=["9"])
            search(own)
        def test_retriever():
            retrieve(own)
        def test_scores():
            own.similarity_search_with_score("q")
        def test_async():
            asyncio.run(aretrieve(own))
    """
    result = project(APP, dedent(HEAD) + dedent(body))
    result.assert_outcomes(failed=4)
    found = blocks(result)[:4]
    assert all(block.startswith("BND302 another tenant's data from a retrieval read") for block in found)


def test_prompts_tools_and_documents_are_watched_for_bleed(project: Project) -> None:
    calls = {
        "messages": "ask(text)",
        "async messages": "asyncio.run(aask(text))",
        "stream": "stream(text)",
        "chain in threads": "chain(text)",
        "tool": 'lookup.invoke({"query": text})',
        "async tool": 'asyncio.run(lookup.ainvoke({"query": text}))',
        "document": "memory.add_texts([text], [{'tenant_id': first.id}])",
        "question": "memory.similarity_search(text, filter=lambda d: d.metadata['tenant_id'] == first.id)",
    }
    head = f"""
        import pytest
        {dedent(HEAD).strip().replace(chr(10), chr(10) + " " * 8)}
        @pytest.fixture
        def text(lookalike_tenants, bleed, boundary_scope):
            global first
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                yield text
    """
    body = table(calls, head).replace("():\n    ", "(text):\n    ").replace("seeded(text)", "seeded()")
    result = project(APP, body, bare=True)
    result.assert_outcomes(failed=len(calls))
    lines = [block.split(" —")[0] for block in blocks(result)]
    for surface in ("LLM messages", "tool arguments", "vector write", "embeddings input"):
        assert any(line.endswith(f"another tenant's data in the {surface}") for line in lines), surface


def test_answers_and_results_of_tools_are_watched(project: Project) -> None:
    body = """
        import pytest
        from app.code import *
        @pytest.mark.parametrize("what", ["model", "tool"])
        def test_it(lookalike_tenants, bleed, boundary_scope, what):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            @tool
            def leaky(query: str) -> str:
                "Look something up."
                return text
            with boundary_scope(first.boundary):
                if what == "tool":
                    leaky.invoke({"query": "x"})
                else:
                    FakeListChatModel(responses=[text]).invoke("x")
    """
    result = project(APP, body, bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*in the LLM answer — *", "*in the tool results — *"])


def test_original_objects_are_back(project: Project) -> None:
    owners = [base.VectorStore, import_module("langchain_core.vectorstores").InMemoryVectorStore]
    owners.append(import_module("langchain_chroma").Chroma)
    before = {owner: dict(vars(owner)) for owner in owners}
    hooks = list(context._configure_hooks)
    project(APP, table({"own": "search(own)"}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert "__init_subclass__" not in vars(base.VectorStore)
    assert context._configure_hooks == hooks


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(base.VectorStore, "search")
    result = project("import langchain_core.vectorstores.base", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*langchain-core *: VectorStore.search not found; enforcement*"])


def test_contract() -> None:
    assert isinstance(context._configure_hooks, list)
    assert list(inspect.signature(context.register_configure_hook).parameters)[:2] == [
        "context_var",
        "inheritable",
    ]
    for name in ("similarity_search_with_score", "max_marginal_relevance_search", "search", "get_by_ids"):
        assert inspect.isfunction(vars(base.VectorStore)[name])
        assert inspect.iscoroutinefunction(vars(base.VectorStore)[f"a{name}"])


def test_expressions_as_filters() -> None:
    own = Equals("tenant_id", ("a",))
    assert expressions.translate(None) == expressions.translate(" ") == NOTHING
    assert expressions.translate('tenant_id == "a"') == own
    assert expressions.translate("tenant_id = 'a' AND year > 2000") == All((own, Other()))
    assert expressions.translate('"a" == tenant_id && kind in ["x", "=="]') == All(
        (own, Equals("kind", ("x", "==")))
    )
    assert expressions.translate('tenant_id == "a" or public == true') == AnyOf((own, Other()))
    assert expressions.translate('meta["tenant_id"] == "a"') == Equals("meta.tenant_id", ("a",))
    assert expressions.translate('not (tenant_id == "b")') == Other()
    assert expressions.translate('tenant_id != "b"') == Other()
    assert expressions.translate('tenant_id like "a%"') == Other()
    assert expressions.translate("tenant_id == {tenant}") == Other()


def test_functions_as_filters() -> None:
    levels = Levels(("tenant",), BoundarySettings())

    def judge(function: Callable[[Any], Any], **ids: str) -> str:
        found = judge_function(function, Active(ids or {"tenant": "acme"}), levels)
        return found.text if isinstance(found, Missing) else found

    assert judge(lambda record: record["org_id"] == "acme") == "scoped"
    assert (
        judge(lambda record: record.metadata.get("tenant_id", "") in {"acme"} and record.year > 3) == "scoped"
    )
    assert (
        judge(lambda record: any(t == "a" for t in record["tags"]) and record["tenant"] == "acme") == "scoped"
    )
    assert "lets records of others" in judge(lambda record: record["tenant_id"] != "globex")
    assert "lets records of others" in judge(lambda record: record["tenant_id"] == "acme" or record["public"])
    assert "looks at no field" in judge(lambda record: record["kind"] == "x")
    assert "is not about tenant 'acme'" in judge(lambda record: record["tenant_id"] == "globex")
    assert "cannot be tried (TypeError" in judge(lambda record: record["tenant_id"] + 1)
    nobody = judge_function(lambda record: True, Active({}), levels)
    assert isinstance(nobody, Missing)
