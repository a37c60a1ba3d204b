"""The seam of OpenAI Agents' sessions, on SQLite, called directly and by a run of an agent."""

from __future__ import annotations

import inspect
from importlib import import_module
from textwrap import dedent

import pytest

from runtime_project import Project, blocks, changed, line_of, table

for name in ("agents", "agents.extensions.memory", "agents.extensions.memory.async_sqlite_session"):
    import_module(name)  # before pytester looks: see runtime_project
session = import_module("agents.memory.session")
plain = import_module("agents.memory.sqlite_session").SQLiteSession
advanced = import_module("agents.extensions.memory.advanced_sqlite_session").AdvancedSQLiteSession

APP = """
    import asyncio
    import tempfile
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from agents import Agent, Model, ModelResponse, Runner, SQLiteSession as Early, Usage, set_tracing_disabled
    from agents.extensions.memory import AdvancedSQLiteSession, AsyncSQLiteSession
    from agents.memory import SessionABC
    from openai.types.responses import ResponseOutputMessage, ResponseOutputText
    from boundlint.boundary import carry_context

    set_tracing_disabled(True)
    folder = Path(tempfile.mkdtemp())

    class Sub(Early):
        async def get_items(self, limit=None):
            return await super().get_items(limit)

    class Own(SessionABC):
        "A store of the application itself."
        def __init__(self, session_id):
            self.session_id, self.items = session_id, []
        async def get_items(self, limit=None):
            return self.items
        async def add_items(self, items):
            self.items += items
        async def pop_item(self):
            return self.items.pop()
        async def clear_session(self):
            self.items = []

    class Echo(Model):
        async def get_response(self, system_instructions, input, *args, **kwargs):
            text = ResponseOutputText(text="hello", type="output_text", annotations=[])
            said = ResponseOutputMessage(
                id="1", content=[text], role="assistant", status="completed", type="message"
            )
            return ModelResponse(output=[said], usage=Usage(), response_id=None)
        def stream_response(self, *args, **kwargs):
            raise NotImplementedError

    def items(text="hi", **more):
        return [{"role": "user", "content": text, **more}]

    def make(session_id, cls=Early, path=None):
        more = {"create_tables": True} if cls is AdvancedSQLiteSession else {}
        name = "advanced.db" if more else "chats.db"
        return cls(session_id=session_id, db_path=str(path or folder / name), **more)

    async def remember(session_id, *args, **kwargs):
        session = make(session_id, *args, **kwargs)
        await session.add_items(items())
        found = await session.get_items()
        if isinstance(session, AsyncSQLiteSession):  # its thread keeps the process alive
            await session.close()
        return found

    async def recall(session_id, *args, **kwargs):
        return await make(session_id, *args, **kwargs).get_items()

    async def call(session_id, method, *args):
        return await getattr(make(session_id), method)(*args)

    async def of(session, method, *args):
        return await getattr(session, method)(*args)

    async def swallow(session_id):
        try:
            await recall(session_id)
        except Exception:
            return []

    def in_thread(session_id):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(asyncio.run), recall(session_id)).result()

    async def answer(session_id, text="hi"):
        agent = Agent("helper", model=Echo())
        return (await Runner.run(agent, text, session=make(session_id))).final_output

    def answer_sync(session_id):
        return Runner.run_sync(Agent("helper", model=Echo()), "hi", session=make(session_id)).final_output
"""
HEAD = """
    from asyncio import run
    from app.code import *
"""
UNSCOPED = {
    "get": 'run(recall("chat"))',
    "a longer id": 'run(recall("acme-2:chat"))',
    "add": 'run(call("chat", "add_items", items()))',
    "pop": 'run(call("chat", "pop_item"))',
    "clear": 'run(call("chat", "clear_session"))',
    "subclass": 'run(recall("chat", Sub))',
    "advanced": 'run(recall("chat", AdvancedSQLiteSession))',
    "turns": 'run(of(make("chat", AdvancedSQLiteSession), "find_turns_by_content", "x"))',
    "async sqlite": 'run(recall("chat", AsyncSQLiteSession))',
    "a store of the application": 'run(of(Own("chat"), "get_items"))',
    "thread": 'in_thread("chat")',
    "agent": 'run(answer("chat"))',
    "agent that waits": 'answer_sync("chat")',
}
SCOPED = {
    "get": 'assert run(remember("acme:chat"))',
    "file": 'assert run(remember("chat", path=folder / "acme.db"))',
    "pop": 'run(call("acme:chat", "pop_item"))',
    "clear": 'run(call("acme:chat", "clear_session"))',
    "subclass": 'assert run(remember("acme:sub", Sub))',
    "advanced": 'assert run(remember("acme:advanced", AdvancedSQLiteSession))',
    "async sqlite": 'assert run(remember("acme:async", AsyncSQLiteSession))',
    "a store of the application": 'run(of(Own("acme:chat"), "add_items", items()))',
    "thread": 'in_thread("acme:chat")',
    "agent": 'assert run(answer("acme:agent")) == "hello"',
    "agent that waits": 'assert answer_sync("acme:agent") == "hello"',
}


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED, HEAD))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) >= len(UNSCOPED)
    assert [block for block in found if not block.startswith("BND201 unscoped memory")] == []
    assert all(" app/code.py:" in block for block in found)
    line = line_of(APP, "return await make(session_id, *args, **kwargs).get_items()")
    result.stdout.fnmatch_lines(
        [
            f"BND201 unscoped memory read — app/code.py:{line} in recall()",
            "*operation  agents.memory.session.Session.get_items  session 'chat'   (async)",
        ]
    )
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")


def test_scoped_calls_pass_and_sqlite_below_is_the_same_access(project: Project) -> None:
    result = project(APP, table(SCOPED, HEAD))
    result.assert_outcomes(passed=len(SCOPED))
    result.stdout.fnmatch_lines(["openai-agents *"])
    result.stdout.no_fnmatch_line("*sqlite3 *unscoped*")


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"unscoped": 'run(swallow("chat"))', "own": 'run(swallow("acme:chat"))'}
    project(APP, table(calls, HEAD), "-n2").assert_outcomes(failed=1, passed=1)


def test_foreign_items_are_found_however_right_the_id_looks(project: Project) -> None:
    body = """
        import pytest
        @pytest.fixture
        def chat():
            run(call("acme:foreign", "add_items", items(tenant_id="globex")))
        @pytest.mark.boundary(tenant="acme")
        def test_get(chat):
            run(recall("acme:foreign"))
        @pytest.mark.boundary(tenant="acme")
        def test_pop(chat):
            run(call("acme:foreign", "pop_item"))
    """
    result = project(APP, dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    assert [block.split(" —")[0] for block in blocks(result)[:2]] == [
        "BND201 another tenant's data from a memory read",
        "BND201 another tenant's data from a memory delete",
    ]


def test_what_a_conversation_keeps_is_watched_for_bleed(project: Project) -> None:
    body = """
        import pytest
        @pytest.mark.parametrize("way", ["session", "agent"])
        def test_it(way, lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                chat = f"{first.id}:chat"
                run(answer(chat, text) if way == "agent" else call(chat, "add_items", items(text)))
    """
    result = project(APP, dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*another tenant's data in the memory write*"] * 2)


def test_original_objects_are_back(project: Project) -> None:
    before = {owner: dict(vars(owner)) for owner in (session.SessionABC, plain, advanced)}
    project(APP, table({"own": 'run(recall("acme:chat"))'}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert "__init_subclass__" not in vars(session.SessionABC)


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(session.SessionABC, "pop_item")
    result = project("import agents", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*openai-agents *: SessionABC.pop_item not found; enforcement would be*"])


def test_contract() -> None:
    assert issubclass(plain, session.SessionABC)
    for method in ("get_items", "add_items", "pop_item", "clear_session"):
        assert inspect.iscoroutinefunction(vars(session.SessionABC)[method])
        assert inspect.iscoroutinefunction(vars(plain)[method])
    assert plain("a").session_id == "a"
