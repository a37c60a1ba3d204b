"""The LangGraph seam: in-memory and sqlite stores and checkpointers, called directly and by graphs."""

from __future__ import annotations

import inspect
from importlib import import_module
from textwrap import dedent

import pytest

from runtime_project import Project, blocks, changed, line_of, table

for name in ("pregel", "graph", "store.sqlite.aio", "checkpoint.sqlite.aio", "store.memory"):
    import_module(f"langgraph.{name}")  # before pytester looks: see runtime_project
base = import_module("langgraph.store.base")
savers = import_module("langgraph.checkpoint.base")
memory = import_module("langgraph.checkpoint.memory")
sqlite = import_module("langgraph.checkpoint.sqlite")
aio = import_module("langgraph.checkpoint.sqlite.aio")

APP = """
    import asyncio
    import sqlite3
    from concurrent.futures import ThreadPoolExecutor
    from typing import TypedDict
    from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph import END, START, StateGraph
    from langgraph.store.base import GetOp, PutOp, SearchOp
    from langgraph.store.memory import InMemoryStore
    from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore
    from boundlint.boundary import carry_context

    store, saver = InMemoryStore(), InMemorySaver()

    class SubStore(InMemoryStore):
        def batch(self, ops):
            return super().batch(ops)

    class SubSaver(InMemorySaver):
        def get_tuple(self, config):
            return super().get_tuple(config)

    class State(TypedDict, total=False):
        text: str
        record: dict

    def seed():
        store.put(("acme", "notes"), "1", {"text": "a"})
        store.put(("notes",), "1", {"tenant_id": "globex"})

    def recall(namespace, key="1", store=store):
        return store.get(namespace, key)

    def swallow(namespace):
        try:
            recall(namespace)
        except Exception:
            return None

    def in_thread(namespace):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(recall), namespace).result()

    def sqlite_store(namespace):
        with SqliteStore.from_conn_string(":memory:") as store:
            store.setup()
            store.put(namespace, "1", {"text": "x"})
            return store.search(namespace)

    async def async_store(namespace):
        async with AsyncSqliteStore.from_conn_string(":memory:") as store:
            await store.setup()
            await store.aput(namespace, "1", {"text": "x"})
            return await store.asearch(namespace)

    def thread(thread_id, **more):
        return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}

    def save(config, saver=saver, **metadata):
        return saver.put(config, empty_checkpoint(), metadata, {})

    def resume(thread_id, saver=saver):
        return saver.get_tuple(thread(thread_id))

    def history(thread_id, saver=saver):
        return list(saver.list(thread(thread_id)))

    async def async_history(config, saver=saver):
        return [found async for found in saver.alist(config)]

    def sqlite_saver(thread_id):
        with SqliteSaver.from_conn_string(":memory:") as saver:
            save(thread(thread_id), saver)
            return history(thread_id, saver)

    async def async_saver(thread_id):
        async with AsyncSqliteSaver.from_conn_string(":memory:") as saver:
            await saver.aput(thread(thread_id), empty_checkpoint(), {}, {})
            found = await async_history(thread(thread_id), saver)
            return found, await asyncio.to_thread(saver.get_tuple, thread(thread_id))

    def build(saver=None, store=None):
        graph = StateGraph(State)
        graph.add_node("answer", lambda state: {"text": "hello"})
        graph.add_edge(START, "answer")
        graph.add_edge("answer", END)
        return graph.compile(checkpointer=saver, store=store)

    graph = build(saver)

    def run_graph(thread_id):
        return graph.invoke({"text": "hi"}, thread(thread_id))

    async def arun_graph(thread_id):
        return await graph.ainvoke({"text": "hi"}, thread(thread_id))
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
"""
UNSCOPED = {
    "get": 'recall(("notes",))',
    "a longer id": 'recall(("acme-2", "notes"))',
    "put": 'store.put(("notes",), "x", {"tenant_id": "acme"})',
    "put by keyword": 'store.put(namespace=("notes",), key="x", value={})',
    "delete": 'store.delete(("notes",), "1")',
    "search": 'store.search(("notes",))',
    "search of everything": "store.search(())",
    "search by another field": 'store.search(("notes",), filter={"kind": "x"})',
    "search for another": 'store.search(("notes",), filter={"tenant_id": "globex"})',
    "namespaces": "store.list_namespaces()",
    "batch": 'store.batch([GetOp(("acme", "x"), "1"), PutOp(("notes",), "1", {})])',
    "search in a batch": 'store.batch([SearchOp(("notes",))])',
    "batch of an iterator": 'store.batch(iter([GetOp(("acme",), "1")]))',
    "async get": 'asyncio.run(store.aget(("notes",), "1"))',
    "async batch": 'asyncio.run(store.abatch([GetOp(("notes",), "1")]))',
    "subclass": 'recall(("notes",), store=SubStore())',
    "sqlite": 'sqlite_store(("notes",))',
    "async sqlite": 'asyncio.run(async_store(("notes",)))',
    "thread": 'in_thread(("notes",))',
}
SCOPED = {
    "get": 'assert recall(("acme", "notes")).value == {"text": "a"}',
    "get by keyword": 'store.get(namespace=("acme",), key="1")',
    "within a component": 'recall(("tenant:acme", "notes"))',
    "by the key": 'recall(("notes",), "acme:1")',
    "put": 'store.put(("notes", "acme"), "x", {"a": 1})',
    "delete": 'store.delete(("acme",), "1")',
    "search": 'assert len(store.search(("acme",))) == 1',
    "search by filter": 'store.search(("notes",), filter={"tenant_id": "acme"})',
    "namespaces": 'assert store.list_namespaces(prefix=("acme",), suffix=("notes",)) == [("acme", "notes")]',
    "batch": 'store.batch([GetOp(("acme", "x"), "1"), PutOp(("acme",), "1", None)])',
    "async": 'assert asyncio.run(store.asearch(("acme",)))',
    "subclass": 'recall(("acme",), store=SubStore())',
    "sqlite": 'assert sqlite_store(("acme",))',
    "async sqlite": 'assert asyncio.run(async_store(("acme",)))',
    "thread": 'in_thread(("acme",))',
}
UNSCOPED_THREADS = {
    "put": 'save(thread("main"))',
    "put writes": 'saver.put_writes(thread("main", checkpoint_id="1"), [("a", 1)], "task")',
    "get tuple": 'resume("main")',
    "get": 'saver.get(thread("main"))',
    "no thread": "saver.get_tuple({'configurable': {}})",
    "list": 'history("main")',
    "list of everybody": "list(saver.list(None))",
    "list with a filter": "list(saver.list(None, filter={'source': 'loop'}))",
    "delete": 'saver.delete_thread("main")',
    "async get": 'asyncio.run(saver.aget_tuple(thread("main")))',
    "async list": 'asyncio.run(async_history(thread("main")))',
    "subclass": 'resume("main", SubSaver())',
    "sqlite": 'sqlite_saver("main")',
    "async sqlite": 'asyncio.run(async_saver("main"))',
    "graph": 'run_graph("main")',
    "async graph": 'asyncio.run(arun_graph("main"))',
    "state": 'graph.get_state(thread("main"))',
    "history": 'list(graph.get_state_history(thread("main")))',
    "update": 'graph.update_state(thread("main"), {"text": "x"})',
}
SCOPED_THREADS = {
    "put": 'save(thread("acme:1"))',
    "get tuple": 'save(thread("acme:1")); assert resume("acme:1")',
    "by the namespace": 'save(thread("main", checkpoint_ns="acme"))',
    "list": 'save(thread("acme:1")); assert history("acme:1")',
    "delete": 'saver.delete_thread("acme:1")',
    "async list": 'save(thread("acme:1")); assert asyncio.run(async_history(thread("acme:1")))',
    "subclass": 'resume("acme:1", SubSaver())',
    "sqlite": 'assert sqlite_saver("acme:1")',
    "async sqlite": 'assert asyncio.run(async_saver("acme:1"))[1]',
    "graph": 'assert run_graph("acme:2")["text"] == "hello"',
    "async graph": 'assert asyncio.run(arun_graph("acme:3"))["text"] == "hello"',
    "state": 'assert run_graph("acme:4") and graph.get_state(thread("acme:4")).values["text"] == "hello"',
    "graph without a checkpointer": 'build().invoke({"text": "x"})',
}


@pytest.mark.parametrize(
    ("calls", "title"),
    [(UNSCOPED, "BND201 unscoped memory "), (UNSCOPED_THREADS, "BND201 unscoped checkpoint ")],
    ids=["stores", "checkpointers"],
)
def test_unscoped_calls_fail(project: Project, calls: dict[str, str], title: str) -> None:
    result = project(APP, table(calls, HEAD))
    result.assert_outcomes(failed=len(calls))
    found = blocks(result)
    assert len(found) >= len(calls)
    assert [block for block in found if not block.startswith(title)] == []
    assert all(" app/code.py:" in block or " test_app.py:" in block for block in found)
    result.stdout.no_fnmatch_line("*no line of yours*")
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")


@pytest.mark.parametrize("calls", [SCOPED, SCOPED_THREADS], ids=["stores", "checkpointers"])
def test_scoped_calls_pass(project: Project, calls: dict[str, str]) -> None:
    result = project(APP, table(calls, HEAD))
    result.assert_outcomes(passed=len(calls))
    result.stdout.fnmatch_lines(["langgraph *"])
    result.stdout.no_fnmatch_line("*sqlite*")


def test_what_a_graph_saves_in_its_own_thread_names_the_line_that_ran_it(project: Project) -> None:
    body = """
        def test_report():
            run_graph("main")
    """
    result = project(APP, dedent(HEAD) + dedent(body), flag="--enforce-boundary=report")
    result.assert_outcomes(passed=1)
    line = line_of(APP, "return graph.invoke(")
    result.stdout.fnmatch_lines(
        [f"BND201 unscoped checkpoint {what} — app/code.py:{line} *" for what in ("read", "write")]
    )


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"unscoped": 'swallow(("notes",))', "own": 'swallow(("acme",))'}
    project(APP, table(calls, HEAD), "-n2").assert_outcomes(failed=1, passed=1)


def test_foreign_values_are_found_however_right_the_key_looks(project: Project) -> None:
    body = """
        from boundlint.boundary import cross_boundary
        def test_store():
            with cross_boundary("seed"):
                store.put(("acme",), "bad", {"tenant_id": "globex"})
            store.search(("acme",))
        def test_batch():
            store.batch([GetOp(("acme",), "none"), GetOp(("acme",), "bad")])
        def test_metadata():
            with cross_boundary("seed"):
                save(thread("acme:9"), tenant_id="globex")
            resume("acme:9")
        def test_listed():
            history("acme:9")
        def test_listed_async():
            asyncio.run(async_history(thread("acme:9")))
        def test_state():
            graph.invoke({"record": {"tenant_id": "globex"}}, thread("acme:10"))
            graph.get_state(thread("acme:10"))
    """
    result = project(APP, dedent(HEAD) + dedent(body))
    result.assert_outcomes(failed=6)
    kinds = [block.split(" —")[0] for block in blocks(result)[:6]]
    data = "BND201 another tenant's data from a {} read"
    assert kinds == [data.format("memory")] * 2 + [data.format("checkpoint")] * 4


def test_marks_that_are_remembered_are_bleeds(project: Project) -> None:
    body = """
        @pytest.fixture
        def text(lookalike_tenants, bleed):
            text = lookalike_tenants[1].text("Renews in March.")
            bleed.read(text)
            return text
        def test_memory(text, lookalike_tenants, boundary_scope):
            with boundary_scope(lookalike_tenants[0].boundary):
                store.put((lookalike_tenants[0].id,), "x", {"text": text})
        def test_checkpoint(text, lookalike_tenants, boundary_scope):
            with boundary_scope(lookalike_tenants[0].boundary):
                graph.invoke({"text": text}, thread(lookalike_tenants[0].id + ":1"))
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*another tenant's data in the memory write*", "*another tenant's data in the checkpoint write*"]
    )


def test_original_objects_are_back(project: Project) -> None:
    owners = [base.BaseStore, savers.BaseCheckpointSaver, memory.InMemorySaver]
    owners += [
        sqlite.SqliteSaver,
        aio.AsyncSqliteSaver,
        import_module("langgraph.store.memory").InMemoryStore,
    ]
    owners.append(import_module("langgraph.pregel._executor").BackgroundExecutor)
    before = {owner: dict(vars(owner)) for owner in owners}
    project(APP, table({"own": 'run_graph("acme:1")'}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert all("__init_subclass__" not in vars(owner) for owner in owners[:2])


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(base.BaseStore, "aput")
    result = project("import langgraph.store.base", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*langgraph *: BaseStore.aput not found; enforcement would be incomplete*"])


@pytest.mark.parametrize("saver", [memory.InMemorySaver, sqlite.SqliteSaver, aio.AsyncSqliteSaver])
def test_contract_of_checkpointers(saver: type) -> None:
    """The classes override what the base class says, so that each is watched by itself."""
    for method in ("get_tuple", "list", "put"):
        assert inspect.isfunction(vars(saver)[method])
    assert inspect.isgeneratorfunction(vars(saver)["list"])
    assert inspect.isasyncgenfunction(vars(saver)["alist"])
    assert inspect.iscoroutinefunction(vars(saver)["aget_tuple"])


def test_contract_of_stores() -> None:
    for method in ("get", "search", "put", "delete", "list_namespaces"):
        assert inspect.isfunction(vars(base.BaseStore)[method])
        assert inspect.iscoroutinefunction(vars(base.BaseStore)[f"a{method}"])
    batched = import_module("langgraph.store.base.batch")
    assert inspect.iscoroutinefunction(batched._run)
    assert "s.abatch(" in inspect.getsource(batched._run)
