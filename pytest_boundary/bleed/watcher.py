"""Decides whether a mark on a surface is a bleed, and checks that the watching itself works."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_boundary.bleed.canaries import Canaries, Canary
from pytest_boundary.bleed.matching import Chunks, tokens_in
from pytest_boundary.message import RULES

if TYPE_CHECKING:
    from pytest_boundary.active import Active
    from pytest_boundary.monitor import Monitor
    from pytest_boundary.operations import Operation

T = TypeVar("T")
SELF_CHECK = "boundlint self-check"


class Watcher:
    """What the surfaces of one run report to; the fixture `bleed`."""

    def __init__(self, canaries: Canaries, monitor: Monitor | None) -> None:
        self.canaries = canaries
        self._monitor = monitor
        self._kept_out: set[str] = set()
        self._probe: str | None = None  # the mark of the self-check that is under way
        self._probed: list[str] = []

    def reset(self) -> None:
        """A new test: nothing was read from any store yet."""
        self.canaries.read.clear()
        self._kept_out.clear()

    def keep_out(self, kind: str) -> None:
        """From now on in this test no seeded data may get there, the tenant's own neither: `keep_out("log")`.

        `kind` is that of the clients which write there, or a surface that `check` is given. Raises ValueError.
        """
        if kind not in RULES:
            raise ValueError(f"keep_out: unknown kind {kind!r} (known: {', '.join(sorted(RULES))})")
        self._kept_out.add(kind)

    def read(self, value: Any, kind: str = "database", active: Active | None = None) -> Canary | None:
        """A store gave this value. Gives a mark of another tenant in it; the marks count from now on."""
        if not self.canaries:
            return None
        foreign = None
        for canary in self.canaries.in_tokens(tokens_in(value)):
            self.canaries.read[canary.token] = kind
            if active is not None and active.ids.get("tenant") not in (None, canary.tenant):
                foreign = foreign or canary
        return foreign

    def check(self, value: T, surface: str = "answer") -> T:
        """Look at what the agent says or sends; gives the value back. A bleed fails the test."""
        __tracebackhide__ = True
        self.surface(value, surface)
        return value

    def chunks(self, stream: Iterable[T], surface: str = "answer") -> Iterator[T]:
        """The chunks of a stream, texts or records, each looked at together with the ones before it."""
        __tracebackhide__ = True
        before = Chunks()
        for chunk in stream:
            self.chunk(chunk, before, surface)
            yield chunk

    async def achunks(self, stream: AsyncIterable[T], surface: str = "answer") -> AsyncIterator[T]:
        """The same for an asynchronous stream."""
        __tracebackhide__ = True
        before = Chunks()
        async for chunk in stream:
            self.chunk(chunk, before, surface)
            yield chunk

    def chunk(self, chunk: Any, before: Chunks, surface: str, operation: Operation | None = None) -> None:
        """A seam reports the next chunk of a stream; `before` holds what came before it."""
        __tracebackhide__ = True
        if self.canaries:
            self._found(before.feed(chunk), surface, operation)

    def surface(self, value: Any, surface: str, operation: Operation | None = None) -> None:
        """A seam reports what leaves on a surface: a prompt, a log record, a payload, a request."""
        __tracebackhide__ = True
        if self.canaries:
            self._found(tokens_in(value), surface, operation)

    def _found(self, tokens: set[str], surface: str, operation: Operation | None = None) -> None:
        __tracebackhide__ = True
        if self._probe is not None:
            if self._probe in tokens:
                self._probed.append(surface)
            return
        monitor = self._monitor
        active = monitor.active() if monitor is not None else None
        if monitor is None or active is None or "tenant" not in active.ids:
            return
        for canary in self.canaries.in_tokens(tokens):
            kind = self.canaries.read.get(canary.token)
            if kind is None:
                continue  # the test typed it
            if canary.tenant != active.ids["tenant"]:
                monitor.bled(canary, kind, surface, active, operation)
            elif (operation.kind if operation is not None else surface) in self._kept_out:
                monitor.bled(canary, kind, surface, active, operation, own=True)

    def self_check(self) -> tuple[str, ...]:
        """Leak on purpose; gives what did not notice. A run in which this is not empty proves nothing."""
        canary = self.canaries.make("self-check", SELF_CHECK)
        self._probe, self._probed = canary.token, []
        blind: list[str] = []
        try:
            for name, encoded in encodings(canary.token):
                self._probed.clear()
                self.surface(encoded, SELF_CHECK)
                if SELF_CHECK not in self._probed:
                    blind.append(f"marks in {name}")
            half = len(canary.token) // 2
            self._probed.clear()
            list(self.chunks([canary.token[:half], canary.token[half:]], SELF_CHECK))
            if SELF_CHECK not in self._probed:
                blind.append("marks across chunks")
            if self._monitor is not None:
                self._probed.clear()
                logging.getLogRecordFactory()(
                    "boundlint", logging.DEBUG, __file__, 1, "%s", (canary.token,), None
                )
                if "log" not in self._probed:
                    blind.append("log records (another log record factory has replaced the watching one)")
        finally:
            self._probe = None
            self.canaries.known.pop(canary.token, None)
        return tuple(blind)


def encodings(token: str) -> Iterator[tuple[str, Any]]:
    """A mark in each way in which it must be found."""
    import base64
    import gzip

    data = f"x{token} and more".encode()
    yield "plain text", f"a {token} b"
    yield "upper case", token.upper()
    yield "nested data", [{"a": ({"b": token.encode()},)}]
    yield "hex", data.hex()
    for shift in range(3):
        yield f"base64 (alignment {shift})", "id " + base64.b64encode(b"." * shift + data).decode()
    yield "URL escapes", "".join(f"%{ord(letter):02x}" for letter in token)
    yield "HTML escapes", "".join(f"&#{ord(letter)};" for letter in token)
    yield "JSON escapes", "".join(f"\\u{ord(letter):04x}" for letter in token)
    yield "gzip", gzip.compress(data)
    yield "gzip in base64", base64.b64encode(gzip.compress(data)).decode()


def rule_of(surface: str, kind: str) -> str:
    """The rule that a bleed breaks: that of the log or file, else that of the store which gave the data."""
    return RULES[surface if surface in ("log", "file") else kind] if kind in RULES else "BND501"


def rule_of_own(surface: str, kind: str) -> str:
    """The rule that a tenant's own data breaks where it is kept out: durable memory has one for what a run has read."""
    return "BND203" if surface.startswith("memory") else rule_of(surface, kind)


def fix_of(surface: str, own: bool) -> str:
    """What to do about a bleed."""
    if own:
        return "hand over ids and lengths instead of content"
    if surface == "file":
        return "give each boundary a file of its own"
    return "find where that value was read in this boundary: the read is the leak"
