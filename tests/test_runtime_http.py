"""The httpx and requests seams: real requests to a server on loopback, and applications in the test's own process."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastapi.testclient
import httpx
import httpx2
import pytest
import requests

from runtime_project import Project, blocks, line_of, surface_tests

APP = """
    import asyncio
    import io
    from concurrent.futures import ThreadPoolExecutor
    import httpx
    import httpx2
    import requests
    from httpx import Client as Early
    from requests import Session as EarlySession
    from boundlint.boundary import carry_context

    HERE = "http://127.0.0.1:PORT"

    class Sub(Early):
        pass

    class SubSession(EarlySession):
        pass

    def post(client, path="/", **what):
        return client.post(HERE + path, **what)

    def httpx_(path="/", **what):
        with Sub() as client:
            return post(client, path, **what)

    def requests_(path="/", **what):
        with SubSession() as session:
            return post(session, path, **what)

    def swallowed(value):
        try:
            httpx_(json={"note": value})
        except Exception:
            pass

    def in_thread(value):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(httpx_), json=value).result()

    async def async_(value, package=httpx):
        async with package.AsyncClient() as client:
            return await client.post(HERE, json={"note": value})

    def generated(value):
        yield value.encode()
"""
SENT = {
    "json": "code.httpx_(json={'note': [value]})",
    "path": "code.httpx_('/' + value)",
    "query": "code.httpx_(params={'q': value.upper()})",
    "header": "code.httpx_(headers={'x-note': value})",
    "cookie": "code.httpx.post(code.HERE, cookies={'note': value.split()[0]})",
    "credentials": "code.httpx_(auth=('kim', value))",
    "form": "code.httpx_(data={'note': value})",
    "bytes": "code.httpx_(content=value.encode())",
    "file": "code.httpx_(files={'a': ('a.txt', code.io.BytesIO(value.encode()))}, data={'b': 'c'})",
    "field beside a file": "code.httpx_(files={'a': b'a'}, data={'note': value})",
    "function": "code.httpx.get(code.HERE, params={'q': value})",
    "swallowed": "code.swallowed(value)",
    "in a thread": "code.in_thread(value)",
    "async": "code.asyncio.run(code.async_(value))",
    "async httpx2": "code.asyncio.run(code.async_(value, code.httpx2))",
    "requests json": "code.requests_(json={'note': value})",
    "requests query": "code.requests_(params={'q': value})",
    "requests header": "code.requests_(headers={'x-note': value})",
    "requests credentials": "code.requests_(auth=('kim', value))",
    "requests file": "code.requests_(files={'a': ('a.txt', code.io.BytesIO(value.encode()))})",
    "requests upload": "code.requests_(data=code.io.BytesIO(value.encode()))",
    "requests function": "code.requests.post(code.HERE, data=value)",
}


class Server(BaseHTTPRequestHandler):
    """Answers with the body that it was sent, and sends `/moved` on."""

    def log_message(self, *args: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        """Echo."""
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("transfer-encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            data = self.rfile.read(size)
            self.rfile.read(7)
        self.send_response(307 if self.path == "/moved" else 200)
        self.send_header("location", "/")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """The application, with the port of a running server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield APP.replace("PORT", str(server.server_port))
        server.shutdown()
        thread.join()


def test_what_is_sent(project: Project, app: str) -> None:
    result = project(app, surface_tests(SENT), bare=True)
    result.assert_outcomes(failed=len(SENT))
    found = [block.split(" —")[0] for block in blocks(result)]
    assert found == ["BND201 another tenant's data in the HTTP request"] * len(SENT)
    result.stdout.fnmatch_lines(
        [
            f"BND201 * — app/code.py:{line_of(app, 'client.post(HERE + path')} in post()",
            "  operation  httpx.Client.send  value 'qzcny???…'*",
            "*it holds a value of notes record-1 body of tenant 'northstar-dental-2'*",
            "*caught this exception; the test would have passed",
            "  operation  httpx2.AsyncClient.send*",
            "  operation  requests.Session.send*",
        ]
    )
    result.stdout.no_fnmatch_line("*may churn*")


def test_the_tenants_own_values_arrive_whole(project: Project, app: str) -> None:
    """Reading a body to look at it takes nothing away from what is sent."""
    own = {
        **SENT,
        "file arrives": "assert value in code.httpx_(files={'a': ('a', code.io.BytesIO(value.encode()))}).text",
        "upload arrives": "assert code.requests_(data=code.io.BytesIO(value.encode())).text == value",
        "upload from here on": (
            "file = code.io.BytesIO(b'xx' + value.encode()); file.read(2);"
            " assert code.requests_(data=file).text == value"
        ),
        "generator arrives": "assert code.httpx_(content=code.generated(value)).text == value",
        "redirect": "assert code.requests_('/moved', data=value).text == value",
    }
    arguments = ("--boundary-require=httpx,httpx2,requests", "-n2")
    result = project(app, surface_tests(own, whose="first"), *arguments, bare=True)
    result.assert_outcomes(passed=len(own))
    result.stdout.fnmatch_lines(["httpx     16 checked", "httpx2    1 checked", "requests  11 checked"])


IN_PROCESS = """
    import asyncio
    import httpx
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    app = FastAPI()

    @app.get("/echo")
    def echo(reversed: str):
        return reversed[::-1]

    def ask(text):
        return TestClient(app).get("/echo", params={"reversed": text}).json()

    async def aask(text):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return (await client.get("/echo", params={"reversed": text})).json()
"""


def test_an_application_in_this_process_is_asked_and_answers(project: Project) -> None:
    uses = {
        "asked": "code.ask(value)",
        "asked async": "code.asyncio.run(code.aask(value))",
        "answered": "code.ask(value[::-1])",
        "answered async": "code.asyncio.run(code.aask(value[::-1]))",
    }
    result = project(IN_PROCESS, surface_tests(uses), bare=True)
    result.assert_outcomes(passed=2, failed=2)
    found = [block.split(" —")[0] for block in blocks(result)]
    assert found == ["BND201 another tenant's data in the HTTP answer"] * 2
    result.stdout.fnmatch_lines(["httpx   0 checked, 1 bled", "httpx2  0 checked, 1 bled"])


def test_contract(project: Project) -> None:
    """What the seam replaces exists, is what it was written for, and is back after a run."""
    owners = (httpx.Client, httpx.AsyncClient, httpx2.Client, httpx2.AsyncClient, requests.Session)
    for owner in owners:
        method = vars(owner)["send"]
        assert inspect.iscoroutinefunction(method) is ("Async" in owner.__name__)
        assert list(inspect.signature(method).parameters)[:2] == ["self", "request"]
    assert "send" not in vars(fastapi.testclient.TestClient)
    with fastapi.testclient.TestClient(fastapi.FastAPI()) as client:
        assert type(client._transport).__name__ == "_TestClientTransport"
    before = [vars(owner)["send"] for owner in owners]
    project("import httpx, httpx2, requests", "def test_it():\n    assert code\n").assert_outcomes(passed=1)
    assert [vars(owner)["send"] for owner in owners] == before


def test_changed_internals_end_the_run(project: Project) -> None:
    files = {"requests/__init__.py": "", "requests/sessions.py": "class Session: ...\n"}
    result = project("import requests.sessions", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*requests *Session.send not found; enforcement would be incomplete*"])
