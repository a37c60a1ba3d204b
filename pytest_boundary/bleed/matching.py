"""Finds marks in whatever a surface carries: text, bytes, nested data, and the usual encodings of them.

One search for a fixed prefix, however many marks there are: an alternation of 2,000 takes thousands of times longer.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import html
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any
from urllib.parse import unquote

from pytest_boundary.bleed.canaries import LENGTH, PREFIX

MARK = re.compile(rf"{PREFIX}[0-9a-z]{{{LENGTH}}}")
UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
HEX = re.compile(rf"{PREFIX.encode().hex()}(?:[0-9a-f]{{2}}){{{LENGTH}}}")
ESCAPED = re.compile(r"\\u00([0-7][0-9a-f])")
BASE64 = re.compile(r"[0-9A-Za-z+/_-]{22,}")
GZIP = b"\x1f\x8b"
MAX_NODES = 100_000  # values of one nested structure
MAX_BYTES = 20_000_000  # of one decompressed value
MAX_DEPTH = 8  # of one chunk of a stream
TAIL = 512  # characters of a stream that are kept for the next chunk: a mark in any encoding fits


def base64_prefixes() -> tuple[str, ...]:
    """How the prefix looks in base 64 at each of its three alignments, without the characters that vary."""
    found = []
    for padding in range(3):
        encoded = base64.b64encode(b"\0" * padding + PREFIX.encode()).decode()
        first = (padding * 8 + 5) // 6  # the first character made of the prefix alone
        last = (padding + len(PREFIX)) * 8 // 6
        found.append(encoded[first:last])
    return tuple(found)


ALIGNED = re.compile("|".join(re.escape(prefix) for prefix in base64_prefixes()))


def tokens_in(value: Any) -> set[str]:
    """All marks (and all UUIDs) in a value, in lower case."""
    found: set[str] = set()
    for piece in pieces(value):
        found |= _in_bytes(piece) if isinstance(piece, (bytes, bytearray)) else _in_text(piece)
    return found


def pieces(value: Any) -> Iterator[str | bytes]:
    """The texts and bytes inside of nested data, keys included."""
    stack = [value]
    seen: set[int] = set()
    for _ in range(MAX_NODES):
        if not stack:
            return
        item = stack.pop()
        if isinstance(item, (str, bytes)):
            yield item
            continue
        if isinstance(item, (bytearray, memoryview)):
            yield bytes(item)
            continue
        if item is None or isinstance(item, (int, float, complex)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            stack += item.keys()
            stack += item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            stack += item
        elif is_dataclass(item) and not isinstance(item, type):
            stack.append(_fields(item))
        elif isinstance(item, BaseException):
            yield str(item)
            stack += item.args
        elif hasattr(item, "model_dump"):  # pydantic; dumping warns of values that a client took as they came
            stack += (vars(item), getattr(item, "__pydantic_extra__", None))
        elif hasattr(item, "__dict__") and not callable(item):
            stack.append(vars(item))
        else:
            yield str(item)


def _fields(item: Any) -> Any:
    try:
        return asdict(item)
    except Exception:  # a field that cannot be copied
        return vars(item) if hasattr(item, "__dict__") else str(item)


def _in_text(text: str, depth: int = 2) -> set[str]:
    folded = text.lower()
    found = set(MARK.findall(folded))
    if "-" in folded or len(folded) >= 32:
        found |= {match.replace("-", "") for match in UUID.findall(folded)}
    if depth <= 0:
        return found
    for match in HEX.findall(folded):
        found |= _in_text(bytes.fromhex(match).decode("ascii", "replace"), 0)
    if "\\u00" in folded:
        found |= set(MARK.findall(ESCAPED.sub(lambda match: chr(int(match[1], 16)), folded)))
    if "%" in folded:
        found |= set(MARK.findall(unquote(folded)))
    if "&#" in folded:
        found |= set(MARK.findall(html.unescape(folded).lower()))
    for match in BASE64.finditer(text):
        run = match[0]
        if ALIGNED.search(run) or run.startswith("H4sI"):  # a mark, or gzip
            for start in range(4):
                found |= _in_bytes(_decoded(run[start:]), depth - 1)
    return found


def _decoded(run: str) -> bytes:
    plain = run.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain[: len(plain) // 4 * 4] + _rest(plain))
    except (binascii.Error, ValueError):
        return b""


def _rest(plain: str) -> str:
    rest = plain[len(plain) // 4 * 4 :]
    return rest + "=" * (4 - len(rest)) if len(rest) > 1 else ""


def _in_bytes(data: bytes | bytearray, depth: int = 2) -> set[str]:
    if not data:
        return set()
    found = _in_text(bytes(data).decode("utf-8", "replace"), depth)
    if depth > 0 and data[:2] == GZIP:
        try:
            inner = zlib.decompressobj(wbits=31).decompress(bytes(data), MAX_BYTES)
        except (zlib.error, gzip.BadGzipFile):
            return found
        found |= _in_bytes(inner, depth - 1)
    return found


class Stream:
    """Looks through text that comes in chunks: a mark that is cut in two is found with the second one."""

    def __init__(self) -> None:
        self._tail = ""

    def feed(self, chunk: str | bytes) -> set[str]:
        """The marks that are complete with this chunk."""
        text = chunk.decode("utf-8", "replace") if isinstance(chunk, bytes) else chunk
        whole = self._tail + text
        self._tail = whole[-TAIL:]
        return _in_text(whole)


class Chunks:
    """The same for a stream of records, such as events of a model: what stands at one place of each is one text."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, ...], Stream] = {}

    def feed(self, chunk: Any) -> set[str]:
        """The marks that are complete with this chunk."""
        found: set[str] = set()
        for place, text in _places(chunk, (), MAX_DEPTH):
            found |= self._streams.setdefault(place, Stream()).feed(text)
        return found


def _places(value: Any, place: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], str | bytes]]:
    """The texts inside of a chunk, each with its place; an `index` in the data says more than a position."""
    if isinstance(value, (str, bytes)):
        yield place, value
        return
    if depth <= 0 or value is None or isinstance(value, (int, float)):
        return
    if not isinstance(value, (Mapping, list, tuple)):
        value = {**getattr(value, "__dict__", {}), **(getattr(value, "__pydantic_extra__", None) or {})}
    if isinstance(value, Mapping):
        index = value.get("index")
        here = (*place, str(index)) if isinstance(index, int) else place
        for name, part in value.items():
            yield from _places(part, (*here, str(name)), depth - 1)
    else:
        for part in value:
            yield from _places(part, place, depth - 1)
