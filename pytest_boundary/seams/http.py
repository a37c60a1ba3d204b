"""httpx and requests: what the application sends out is looked at for another tenant's values.

A request to an application in this process (the test clients of web frameworks) goes nowhere: there, what the
application answers is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

REQUEST, ANSWER = "HTTP request", "HTTP answer"
IN_PROCESS = frozenset({"ASGITransport", "WSGITransport", "_TestClientTransport"})


class _Watch:
    def __init__(self, client: str, method: str, monitor: Monitor) -> None:
        self.monitor = monitor
        self.operation = Operation(client, f"{client}.{method}", "http", "write")

    def before(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Look at a request; gives whether the answer is to be looked at as well."""
        __tracebackhide__ = True
        if _in_process(client):
            return True
        request = args[0] if args else kwargs["request"]
        self.monitor.before(
            self.operation, lambda _: "free", lambda: f"{request.method} {_without_query(request.url)}"
        )
        if self.monitor.watcher.canaries:
            # httpx adds what authenticates while it sends
            sent = [*_sent(request), kwargs.get("auth"), getattr(client, "auth", None)]
            self.monitor.watcher.surface(sent, REQUEST, self.operation)
        return False

    def after(self, in_process: bool, response: Any) -> None:
        """Look at what the application in this process has answered."""
        __tracebackhide__ = True
        if in_process and self.monitor.watcher.canaries:
            try:
                body = response.content
            except RuntimeError:  # a stream that nobody has read yet
                return
            self.monitor.watcher.surface([body, dict(response.headers)], ANSWER, self.operation)


def _in_process(client: Any) -> bool:
    transport = getattr(client, "_transport", None)
    return any(base.__name__ in IN_PROCESS for base in type(transport).__mro__)


def _without_query(url: object) -> str:
    return str(url).partition("?")[0]


def _sent(request: Any) -> Iterator[Any]:
    """Address, headers and body of a request of either client. A body that can be read only once is left alone."""
    yield str(request.url)
    yield dict(request.headers)
    if hasattr(request, "body"):
        yield _read(request.body)
        return
    try:
        yield request.content
    except RuntimeError:  # a stream: the fields of a form, or the application's own generator
        for field in getattr(request.stream, "fields", ()):
            yield getattr(field, "value", None)
            yield getattr(field, "filename", None)
            yield _read(getattr(field, "file", None))


def _read(body: Any) -> Any:
    if body is None or isinstance(body, (str, bytes, bytearray)):
        return body
    if not (hasattr(body, "seekable") and body.seekable()):
        return None
    position = body.tell()
    try:
        return body.read()
    finally:
        body.seek(position)


def _httpx(name: str) -> Seam:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch both clients; redirects are followed below."""
        for owner in (module.Client, module.AsyncClient):
            watch = _Watch(name, f"{owner.__name__}.send", monitor)
            patcher.wrap(owner, "send", watch.before, watch.after)

    return Seam(name, name, {name: install})


def install_requests(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the session, which the module's functions make one of for each call."""
    watch = _Watch("requests", "Session.send", monitor)
    patcher.wrap(module.Session, "send", watch.before, watch.after)


# httpx2 is what the SDKs of models moved to; an application may use it by itself
SEAMS = (
    _httpx("httpx"),
    _httpx("httpx2"),
    Seam("requests", "requests", {"requests.sessions": install_requests}),
)
