"""The OpenAI and Anthropic SDKs: one method of each sends every request, above any transport that a test may mock.

What goes to a model is no access to a store, so that nothing is asked of it but that it holds no other tenant's
value: messages, tools, input of embeddings, uploads, and the answer, streamed or whole. What the provider keeps (files,
conversations, vector stores) is read as from a store.
"""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.bleed.matching import Chunks
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

MESSAGES, TOOLS, EMBEDDINGS, REQUEST, ANSWER = (
    "LLM messages",
    "LLM tools",
    "embeddings input",
    "LLM request",
    "LLM answer",
)
SURFACES = {
    **dict.fromkeys(("messages", "system", "input", "instructions", "prompt"), MESSAGES),
    **dict.fromkeys(("tools", "functions", "tool_choice"), TOOLS),
}
# How a path ends, and the catalog's target for it.
TARGETS = {
    "openai": (
        (r"/chat/completions", "openai.resources.chat.completions.Completions.create"),
        (r"/responses", "openai.resources.responses.Responses.create"),
        (r"/embeddings", "openai.resources.embeddings.Embeddings.create"),
        (r"/images/generations", "openai.resources.images.Images.generate"),
        (r"/conversations", "openai.resources.conversations.Conversations.create"),
        (r"/conversations/[^/]+", "openai.resources.conversations.Conversations.retrieve"),
        (r"/files", "openai.resources.files.Files.create"),
        (r"/files/[^/]+/content", "openai.resources.files.Files.content"),
    ),
    "anthropic": (
        (r"/v1/messages", "anthropic.resources.messages.Messages.create"),
        (r"/v1/messages\?beta=true", "anthropic.resources.beta.messages.Messages.create"),
        (r"/v1/messages/count_tokens.*", "anthropic.resources.messages.Messages.count_tokens"),
    ),
}
SEARCH = re.compile(r"/vector_stores/[^/]+/search")  # a read that is sent as a POST


def operation_of(client: str, method: str, url: str) -> Operation:
    """The catalog's operation for a request, or one that names its HTTP method."""
    if SEARCH.fullmatch(url):
        return Operation(client, f"{client}.resources.vector_stores.VectorStores.search", "retrieval", "read")
    effect = "read" if method == "get" else "write"
    for pattern, target in TARGETS[client]:
        if re.fullmatch(pattern, url):
            found = catalog.operation(client, target)
            if (found.effect == "read") is (effect == "read"):
                return found
    return Operation(client, f"{client}.{method}", "llm", effect)


def _installer(client: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def before(monitor: Monitor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Operation:
        __tracebackhide__ = True
        options = args[1] if len(args) > 1 else kwargs["options"]
        body = options.json_data
        operation = operation_of(client, options.method.lower(), options.url)

        def shown() -> str:
            model = body.get("model") if isinstance(body, dict) else None
            return f"model {model!r}" if model else f"path {options.url!r}"

        monitor.before(operation, lambda _: "free", shown)
        if not monitor.watcher.canaries:
            return operation
        for name, part in (body or {}).items() if isinstance(body, dict) else (("", body),):
            surface = EMBEDDINGS if options.url.endswith("/embeddings") else SURFACES.get(name, REQUEST)
            monitor.watcher.surface(part, surface, operation)
        content = getattr(options, "content", None)  # newer versions take bytes as they are
        if not isinstance(content, (bytes, bytearray)):  # it may be read only once
            content = None
        monitor.watcher.surface([options.extra_json, options.files, content], REQUEST, operation)
        return operation

    def after(monitor: Monitor, operation: Operation, result: Any) -> None:
        __tracebackhide__ = True
        if operation.kind == "retrieval" and (active := monitor.active()) is not None:
            found = [getattr(item, "attributes", None) for item in getattr(result, "data", ())]
            if owner := foreign_in_value(found, active, monitor.levels):
                monitor.foreign(operation, active, owner)
        if not monitor.watcher.canaries or hasattr(result, "__stream__"):  # each chunk is looked at
            return
        if operation.effect == "read":
            monitor.read(operation, _body(result))
        else:
            monitor.watcher.surface(_body(result), ANSWER, operation)

    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the request, sync and async."""
        for owner in (module.SyncAPIClient, module.AsyncAPIClient):
            patcher.wrap(
                owner,
                "request",
                lambda _, args, kwargs: before(monitor, args, kwargs),
                lambda operation, result: after(monitor, operation, result),
                claims=True,
            )

    return install


def _streams(client: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    operation = Operation(client, f"{client}.Stream", "llm", "read")

    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the chunks of an answer, where every way of reading a stream takes them from."""

        @patcher.guarded
        def look(chunk: Any, before: Chunks) -> None:
            __tracebackhide__ = True
            monitor.watcher.chunk(chunk, before, ANSWER, operation)

        def watching(original: Any) -> Any:
            @functools.wraps(original)
            def stream(self: Any) -> Iterator[Any]:
                __tracebackhide__ = True
                before = Chunks()
                with closing(original(self)) as chunks:
                    for chunk in chunks:
                        look(chunk, before)
                        yield chunk

            return stream

        def watching_async(original: Any) -> Any:
            @functools.wraps(original)
            async def stream(self: Any) -> AsyncIterator[Any]:
                __tracebackhide__ = True
                before = Chunks()
                async with aclosing(original(self)) as chunks:
                    async for chunk in chunks:
                        look(chunk, before)
                        yield chunk

            return stream

        patcher.replace(module.Stream, "__stream__", watching)
        patcher.replace(module.AsyncStream, "__stream__", watching_async)

    return install


def _body(result: Any) -> Any:
    """What an answer says: a record, or the body of a raw or binary response as far as it has been read."""
    response = getattr(result, "http_response", None) or getattr(result, "response", None)
    if response is None or not hasattr(response, "is_stream_consumed"):
        return result
    try:
        return response.content
    except RuntimeError:  # not read: the application takes it apart itself, or as a stream
        return None


SEAMS = tuple(
    Seam(
        client,
        client,
        {f"{client}._base_client": _installer(client), f"{client}._streaming": _streams(client)},
    )
    for client in ("openai", "anthropic")
)
