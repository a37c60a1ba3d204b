"""The OpenAI and Anthropic seams: the real SDKs, sync and async, against a stub of the providers on loopback."""

from __future__ import annotations

import inspect
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic._base_client
import anthropic._streaming
import openai._base_client
import openai._streaming
import pytest

from runtime_project import Project, blocks, line_of, surface_tests

# The stub says what the prompt says, backwards, so that a value can be in the answer and not in the prompt.
APP = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI as Early
    from boundlint.boundary import carry_context

    class Sub(Early):
        pass

    HERE = "http://127.0.0.1:PORT"
    gpt = Sub(api_key="none", base_url=f"{HERE}/v1", max_retries=0)
    claude = Anthropic(api_key="none", base_url=HERE, max_retries=0)

    def told(text):
        return [{"role": "user", "content": [{"type": "text", "text": text}]}]

    def chat(text, **more):
        return gpt.chat.completions.create(model="stub", messages=told(text), **more)

    def message(text, **more):
        return claude.messages.create(model="stub", max_tokens=9, messages=told(text), **more)

    def stream_message(text):
        with claude.messages.stream(model="stub", max_tokens=9, messages=told(text)) as stream:
            return "".join(stream.text_stream)

    def raw(text):
        return gpt.chat.completions.with_raw_response.create(model="stub", messages=told(text)).parse()

    def swallowed(text):
        try:
            chat(text)
        except Exception:
            pass

    def in_thread(text):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(chat), text).result()

    async def achat(text, **more):
        async with AsyncOpenAI(api_key="none", base_url=f"{HERE}/v1") as client:
            answer = await client.chat.completions.create(model="stub", messages=told(text), **more)
            return [chunk async for chunk in answer] if more else answer

    async def amessage(text, **more):
        async with AsyncAnthropic(api_key="none", base_url=HERE) as client:
            answer = await client.messages.create(model="stub", max_tokens=9, messages=told(text), **more)
            return [event async for event in answer] if more else answer
"""
IN_REQUESTS = {
    "messages": "code.chat(value)",
    "swallowed": "code.swallowed(value)",
    "tools": "code.chat('x', tools=[{'type': 'function', 'function': {'name': 'a', 'description': value}}])",
    "metadata": "code.chat('x', metadata={'a': value})",
    "extra body": "code.chat('x', extra_body={'a': [value]})",
    "responses": "code.gpt.responses.create(model='stub', input=value)",
    "instructions": "code.gpt.responses.create(model='stub', input='x', instructions=value)",
    "embeddings": "code.gpt.embeddings.create(model='stub', input=['x', value])",
    "upload": "code.gpt.files.create(file=('a.txt', value.encode()), purpose='assistants')",
    "in a thread": "code.in_thread(value)",
    "async": "code.asyncio.run(code.achat(value))",
    "anthropic messages": "code.message(value)",
    "anthropic system": "code.message('x', system=value)",
    "anthropic tools": "code.message('x', tools=[{'name': 'a', 'input_schema': {}, 'description': value}])",
    "anthropic async": "code.asyncio.run(code.amessage(value))",
}
IN_ANSWERS = {
    "whole": "code.chat(value[::-1])",
    "raw": "code.raw(value[::-1])",
    "stream": "list(code.chat(value[::-1], stream=True))",
    "stream by hand": "next(iter([*code.chat(value[::-1], stream=True)]))",
    "async": "code.asyncio.run(code.achat(value[::-1]))",
    "async stream": "code.asyncio.run(code.achat(value[::-1], stream=True))",
    "anthropic whole": "code.message(value[::-1])",
    "anthropic stream": "list(code.message(value[::-1], stream=True))",
    "anthropic helper": "code.stream_message(value[::-1])",
    "anthropic async stream": "code.asyncio.run(code.amessage(value[::-1], stream=True))",
}
TITLES = {
    "tools": "LLM tools",
    "anthropic tools": "LLM tools",
    "embeddings": "embeddings input",
    **dict.fromkeys(("metadata", "extra body", "upload"), "LLM request"),
}


class Stub(BaseHTTPRequestHandler):
    """Answers as the two providers do."""

    def log_message(self, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        """The content of a file is its name backwards."""
        self._send(self.path.split("/")[3][::-1].encode(), "application/octet-stream")

    def do_POST(self) -> None:
        """Everything else."""
        data = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/files":
            return self._json({"id": "file-1", "object": "file"})
        body = json.loads(data)
        if self.path.startswith(
            "/v1/vector_stores"
        ):  # whose documents are those of the tenant that is asked for
            document = {"file_id": "f", "filename": "f", "score": 1, "content": []}
            found = {**document, "attributes": {"tenant_id": body["query"]}}
            return self._json({"object": "vector_store.search_results.page", "data": [found]})
        if self.path == "/v1/embeddings":
            return self._json({"object": "list", "data": [{"index": 0, "embedding": [0.5]}]})
        if self.path == "/v1/responses":
            return self._json({"id": "r", "object": "response", "output": []})
        text = "".join(part["text"] for part in body["messages"][0]["content"])[::-1]
        answer = _openai if self.path == "/v1/chat/completions" else _anthropic
        if body.get("stream"):
            return self._send("".join(answer(text, stream=True)).encode(), "text/event-stream")
        return self._json(next(answer(text, stream=False)))

    def _json(self, data: Any) -> None:
        self._send(json.dumps(data).encode(), "application/json")

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _openai(text: str, *, stream: bool) -> Iterator[Any]:
    if not stream:
        yield {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    for start in range(0, len(text), 4):
        choice = {"index": 0, "delta": {"content": text[start : start + 4]}}
        yield f"data: {json.dumps({'id': 'c', 'model': 'stub', 'choices': [choice]})}\n\n"
    yield "data: [DONE]\n\n"


def _anthropic(text: str, *, stream: bool) -> Iterator[Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "stub",
        "content": [],
        "usage": usage,
    }
    if not stream:
        yield {**message, "content": [{"type": "text", "text": text}]}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    ]
    for start in range(0, len(text), 4):
        delta = {"type": "text_delta", "text": text[start : start + 4]}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events += [{"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """The application, with the port of a running stub."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield APP.replace("PORT", str(server.server_port))
        server.shutdown()
        thread.join()


def test_what_is_sent(project: Project, app: str) -> None:
    result = project(app, surface_tests(IN_REQUESTS), bare=True)
    result.assert_outcomes(failed=len(IN_REQUESTS))
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == [
        f"BND201 another tenant's data in the {TITLES.get(name, 'LLM messages')}" for name in IN_REQUESTS
    ]
    result.stdout.fnmatch_lines(
        [
            f"BND201 * — app/code.py:{line_of(app, 'gpt.chat.completions.create(model')} in chat()",
            "*openai.resources.chat.completions.Completions.create  value 'qzcny???…'*",
            "*it holds a value of notes record-1 body of tenant 'northstar-dental-2'*",
            "*caught this exception; the test would have passed",
            "*anthropic.resources.messages.Messages.create*",
        ]
    )
    result.stdout.no_fnmatch_line("*may churn*")


def test_what_is_answered(project: Project, app: str) -> None:
    result = project(app, surface_tests(IN_ANSWERS), bare=True)
    result.assert_outcomes(failed=len(IN_ANSWERS))
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == ["BND201 another tenant's data in the LLM answer"] * len(IN_ANSWERS)


def test_the_tenants_own_values_pass_and_are_counted(project: Project, app: str) -> None:
    uses = {**IN_REQUESTS, **{f"{name} answer": use for name, use in IN_ANSWERS.items()}}
    arguments = ("--boundary-require=openai,anthropic,llm", "-n2")
    result = project(app, surface_tests(uses, whose="first"), *arguments, bare=True)
    result.assert_outcomes(passed=len(uses))
    result.stdout.fnmatch_lines(["anthropic  8 checked", "openai     17 checked"])


def test_what_the_provider_keeps_is_a_store(project: Project, app: str) -> None:
    body = """
        def test_it(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            name = second.marked_id()
            with boundary_scope(first.boundary):
                code.gpt.files.content(name[::-1])
    """
    result = project(app, body, bare=True)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND701 another tenant's data from a llm read*", "*files.Files.content*"])


def test_documents_of_another_tenant_are_foreign(project: Project, app: str) -> None:
    body = """
        def test_foreign():
            code.gpt.vector_stores.search("vs_1", query="globex")
        def test_own():
            code.gpt.vector_stores.search("vs_1", query="acme")
    """
    result = project(app, body)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "BND302 another tenant's data from a retrieval read — test_app.py:*",
            "*VectorStores.search*",
            "*the result names the tenant 'globex', not tenant 'acme'*",
        ]
    )


def test_several_findings_are_one_where_nothing_is_raised(project: Project, app: str) -> None:
    """The HTTP client below the SDK is the same access."""
    body = surface_tests({"messages": "code.chat(value)", "anthropic": "code.message(value)"})
    result = project(app, body, flag="--enforce-boundary=report", bare=True)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["anthropic  1 checked, 2 bled", "openai     1 checked, 2 bled", "BND201 *LLM messages*"]
    )


FRAMEWORK = """
from typing import Any
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

class Model(BaseChatModel):
    client: Any
    _llm_type = "stub"

    def _generate(self, messages, stop=None, run_manager=None, **more):
        told = [{"role": "user", "content": [{"type": "text", "text": messages[-1].content}]}]
        answer = self.client.chat.completions.create(model="stub", messages=told)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer.choices[0].message.content))])
"""


@pytest.mark.parametrize("flag", ["report", "warn", "strict"])
def test_a_framework_above_the_sdk_tells_it_once(project: Project, app: str, flag: str) -> None:
    """LangChain's hook and the SDK's see the same prompt and the same answer, from the same line of the user."""
    uses = {"prompt": "framework.Model(client=code.gpt).invoke(value)"}
    head = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent / "site-packages"))
import framework
"""
    files = {"site-packages/framework.py": FRAMEWORK}
    body = head + surface_tests(uses)
    result = project(app, body, flag=f"--enforce-boundary={flag}", files=files, bare=True)
    result.assert_outcomes(**{"failed" if flag == "strict" else "passed": 1}, warnings=2 * (flag == "warn"))
    found = {block.split(" —")[0] for block in blocks(result)}
    assert found == {"BND201 another tenant's data in the LLM messages"}
    marks = 1 if flag == "strict" else 2  # one at the start of the text, one at its end
    result.stdout.fnmatch_lines([f"langchain *, {marks} bled"])
    result.stdout.no_fnmatch_line("openai *bled*")


def test_contract(project: Project) -> None:
    """What the seam replaces exists, is what it was written for, and is back after a run."""
    owners = []
    for package in (openai, anthropic):
        base, streaming = package._base_client, package._streaming
        owners += [base.SyncAPIClient, base.AsyncAPIClient]
        assert not inspect.iscoroutinefunction(vars(base.SyncAPIClient)["request"])
        assert inspect.iscoroutinefunction(vars(base.AsyncAPIClient)["request"])
        assert list(inspect.signature(base.SyncAPIClient.request).parameters)[1:3] == ["cast_to", "options"]
        assert inspect.isgeneratorfunction(vars(streaming.Stream)["__stream__"])
        assert inspect.isasyncgenfunction(vars(streaming.AsyncStream)["__stream__"])
        assert {"method", "url", "json_data", "extra_json", "files"} <= set(
            base.FinalRequestOptions.model_fields
        )
    assert "request" not in vars(openai.OpenAI)
    before = [vars(owner)["request"] for owner in owners]
    project("import openai, anthropic", "def test_it():\n    assert code\n").assert_outcomes(passed=1)
    assert [vars(owner)["request"] for owner in owners] == before


@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_changed_internals_end_the_run(project: Project, client: str) -> None:
    base = "class SyncAPIClient:\n    def request(self, cast_to, options): ...\nclass AsyncAPIClient: ...\n"
    files = {f"{client}/__init__.py": "", f"{client}/_base_client.py": base}
    result = project(f"import {client}._base_client", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"*{client} *AsyncAPIClient.request not found; enforcement would be incomplete*"]
    )
