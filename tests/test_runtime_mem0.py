"""The mem0 seam: qdrant in memory and SQLite below, a stub of the model and the embeddings on loopback."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from textwrap import dedent

import pytest

from runtime_project import Project, blocks, changed, line_of, table

os.environ["MEM0_TELEMETRY"] = "False"
os.environ.setdefault("MEM0_DIR", tempfile.mkdtemp())
for name in ("mem0", "mem0.vector_stores.qdrant", "mem0.llms.openai", "mem0.embeddings.openai"):
    import_module(name)  # before pytester looks: see runtime_project
main, hosted = import_module("mem0.memory.main"), import_module("mem0.client.main")

APP = """
    import asyncio
    import os
    from concurrent.futures import ThreadPoolExecutor
    from mem0 import AsyncMemory, Memory as Early, MemoryClient
    from qdrant_client import QdrantClient
    from boundlint.boundary import carry_context

    class Sub(Early):
        pass

    HERE = {"api_key": "none", "openai_base_url": os.environ["STUB"] + "/v1"}

    def make(cls=Early, collection="memories"):
        return cls.from_config({
            "vector_store": {"provider": "qdrant", "config": {
                "client": QdrantClient(":memory:"), "collection_name": collection, "embedding_model_dims": 4,
            }},
            "embedder": {"provider": "openai", "config": {"model": "stub", "embedding_dims": 4, **HERE}},
            "llm": {"provider": "openai", "config": {"model": "stub", **HERE}},
            "history_db_path": ":memory:",
        })

    memory, sub, own, later = make(), make(Sub), make(collection="acme_memories"), make(AsyncMemory)
    hosted = MemoryClient(api_key="none", host=os.environ["STUB"])

    def put(user, store=memory, **more):
        return store.add("likes tea", user_id=user, infer=False, **more)["results"][0]["id"]

    def seed():
        global mine, theirs, shared
        mine, theirs, shared = put("acme:kim"), put("globex:kim"), put("lee", metadata={"tenant_id": "acme"})

    def ids():
        return {"mine": mine, "theirs": theirs, "shared": shared}

    def search(filters, store=memory):
        return store.search("What of Kyoto?", filters=filters)["results"]

    def swallow(filters):
        try:
            search(filters)
        except Exception:
            return []

    def in_thread(filters):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), filters).result()

    async def asearch(filters):
        return await later.search("tea", filters=filters)

    async def aremember(user):
        found = await later.add("likes tea", user_id=user, infer=False)
        return await later.get(found["results"][0]["id"])
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
"""
UNSCOPED = {
    "search": 'search({"user_id": "lee"})',
    "a longer id": 'search({"user_id": "acme-2:kim"})',
    "another tenant": 'search({"user_id": "kim", "tenant_id": "globex"})',
    "or": 'search({"OR": [{"user_id": "acme:kim"}, {"user_id": "lee"}], "agent_id": "helper"})',
    "only the agent": 'search({"agent_id": "helper"})',
    "everybody": 'search({"user_id": "*"})',
    "get all": 'memory.get_all(filters={"run_id": "1"})',
    "add": 'memory.add("likes tea", user_id="lee", infer=False)',
    "add that the model reads": 'memory.add("likes tea", agent_id="helper")',
    "add for another": 'memory.add("likes tea", user_id="kim", metadata={"tenant_id": "globex"}, infer=False)',
    "delete all": 'memory.delete_all(user_id="lee")',
    "delete all by position": 'memory.delete_all("lee")',
    "reset": "memory.reset()",
    "get": 'memory.get(ids()["theirs"])',
    "history": 'memory.history(memory_id=ids()["theirs"])',
    "update": 'memory.update(ids()["theirs"], "x")',
    "delete": 'memory.delete(ids()["theirs"])',
    "subclass": 'search({"user_id": "lee"}, sub)',
    "thread": 'in_thread({"user_id": "lee"})',
    "async": 'asyncio.run(asearch({"user_id": "lee"}))',
    "async add": 'asyncio.run(aremember("lee"))',
    "hosted": 'hosted.search("tea", filters={"user_id": "lee"})',
    "hosted add": 'hosted.add("likes tea", user_id="lee")',
}
SCOPED = {
    "user of the tenant": 'assert [m["user_id"] for m in search({"user_id": "acme:kim"})] == ["acme:kim"]',
    "user of the boundary": 'search({"user_id": "kim"})',
    "tenant as metadata": 'assert search({"user_id": "lee", "tenant_id": "acme"})',
    "run of the tenant": 'search({"run_id": "acme/1", "user_id": "lee"})',
    "and": 'search({"AND": [{"user_id": "acme:kim"}], "agent_id": "helper"})',
    "collection": 'search({"user_id": "lee"}, own)',
    "get all": 'assert memory.get_all(filters={"user_id": "acme:kim"})["results"]',
    "add": 'memory.add("likes tea", user_id="acme:kim", infer=False)',
    "add that the model reads": 'assert memory.add("likes tea", user_id="acme:new")["results"]',
    "add with metadata": 'put("lee", metadata={"tenant_id": "acme"})',
    "delete all": 'memory.delete_all("acme:kim")',
    "get": 'assert memory.get(ids()["mine"]) and memory.get(ids()["shared"])',
    "get nothing": 'assert memory.get("00000000-0000-0000-0000-000000000000") is None',
    "history": 'assert memory.history(ids()["mine"])',
    "update": 'memory.update(ids()["mine"], "x")',
    "delete": 'memory.delete(ids()["mine"])',
    "thread": 'in_thread({"user_id": "acme:kim"})',
    "async": 'asyncio.run(asearch({"user_id": "acme:kim"}))',
    "async add": 'assert asyncio.run(aremember("acme:kim"))',
    "hosted": 'hosted.search("tea", filters={"user_id": "acme:kim"})',
}


class Stub(BaseHTTPRequestHandler):
    """Answers as the providers and the hosted store do, as far as mem0 looks."""

    def do_GET(self) -> None:
        self._say({"status": "ok", "org_id": "o", "project_id": "p", "user_email": "x@example.com"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/embeddings"):
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            data = [
                {"object": "embedding", "index": number, "embedding": [1.0, 0.0, 0.0, 0.0]}
                for number, _ in enumerate(texts)
            ]
            self._say({"object": "list", "data": data, "model": "stub", "usage": {}})
        elif self.path.endswith("/chat/completions"):
            told = json.dumps({"memory": [{"id": "0", "text": "likes tea"}]})
            message = {"role": "assistant", "content": told}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            self._say(
                {"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": choices}
            )
        else:
            self._say({"results": []})

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
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("STUB", f"http://127.0.0.1:{server.server_port}")
    # in place of spaCy's models; each entity is searched for in a thread
    monkeypatch.setattr(
        main, "extract_entities", lambda text: [("PROPER", "Kyoto")] if "Kyoto" in text else []
    )
    yield
    server.shutdown()
    server.server_close()


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED, HEAD))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert [block for block in found if not block.startswith("BND201 unscoped memory")] == []
    line = line_of(APP, "return store.search(")
    result.stdout.fnmatch_lines(
        [
            f"BND201 unscoped memory read — app/code.py:{line} in search()",
            "*missing    user_id 'lee' has no component for tenant 'acme'",
            "*missing    the memory belongs to user_id 'globex:kim', not to tenant 'acme'",
        ]
    )
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")


def test_scoped_calls_pass_and_what_is_below_is_the_same_access(project: Project) -> None:
    result = project(APP, table(SCOPED, HEAD))
    result.assert_outcomes(passed=len(SCOPED))
    result.stdout.fnmatch_lines(["mem0 *"])
    result.stdout.no_fnmatch_line("qdrant *")
    result.stdout.no_fnmatch_line("openai *")


def test_swallowed_in_two_workers(project: Project) -> None:
    calls = {"unscoped": 'swallow({"user_id": "lee"})', "own": 'swallow({"user_id": "acme:kim"})'}
    project(APP, table(calls, HEAD), "-n2").assert_outcomes(failed=1, passed=1)


def test_foreign_memories_are_found_however_right_the_filter_looks(project: Project) -> None:
    body = """
        from boundlint.boundary import cross_boundary
        @pytest.fixture(autouse=True)
        def wrong():
            with cross_boundary("seed"):
                put("acme:max", metadata={"tenant_id": "globex"})
        def test_search():
            search({"user_id": "acme:max"})
        def test_all():
            memory.get_all(filters={"user_id": "acme:max"})
    """
    result = project(APP, dedent(HEAD) + dedent(body))
    result.assert_outcomes(failed=2)
    found = blocks(result)[:2]
    assert all(block.startswith("BND201 another tenant's data from a memory read") for block in found)


def test_what_is_remembered_is_watched_for_bleed(project: Project) -> None:
    body = """
        import pytest
        @pytest.mark.parametrize("call", ["add", "search"])
        def test_it(call, lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                if call == "add":
                    memory.add(text, user_id=f"{first.id}:kim", infer=False)
                else:
                    memory.search(text, filters={"user_id": f"{first.id}:kim"})
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["*another tenant's data in the memory write*", "*another tenant's data in the embeddings input*"]
    )


def test_original_objects_are_back(project: Project) -> None:
    owners = (main.Memory, main.AsyncMemory, hosted.MemoryClient, hosted.AsyncMemoryClient)
    before = {owner: dict(vars(owner)) for owner in owners}
    package = main.concurrent
    project(APP, table({"own": 'search({"user_id": "acme:kim"})'}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert main.concurrent is package


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(main.Memory, "get_all")
    result = project("import mem0", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*mem0ai *: Memory.get_all not found; enforcement would be incomplete*"])


@pytest.mark.parametrize("method", ["add", "search", "get_all", "get", "update", "delete", "delete_all"])
def test_contract(method: str) -> None:
    assert inspect.isfunction(vars(main.Memory)[method])
    assert inspect.iscoroutinefunction(vars(main.AsyncMemory)[method])
    assert "concurrent.futures.ThreadPoolExecutor(" in inspect.getsource(main)
