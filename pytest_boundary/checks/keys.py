"""Keys, namespaces and names of collections: an id counts as a whole component, never as a substring."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from urllib.parse import unquote

from pytest_boundary.active import Active
from pytest_boundary.levels import Levels, same_id
from pytest_boundary.operations import Judgement, Missing

LOCK = re.compile(r"(?:^|[^a-z])(?:lock|locks|mutex|semaphore)(?:[^a-z]|$)")  # in a key in lower case
WILDCARDS = re.compile(r"[*?\[\]]")


@lru_cache(maxsize=64)
def _splitter(delimiters: str) -> re.Pattern[str]:
    return re.compile(f"[{re.escape(delimiters)}]+")


@lru_cache(maxsize=256)
def _ambiguous(wanted: str, delimiters: str) -> bool:
    return any(character in delimiters for character in wanted)


def text_of(key: object) -> str:
    """A key as text; clients take bytes and numbers too."""
    if isinstance(key, str):
        return key
    return (
        bytes(key).decode("utf-8", "replace") if isinstance(key, (bytes, bytearray, memoryview)) else str(key)
    )


Search = Callable[[str], object]


def _search(active: Active, levels: Levels, delimiters: str) -> Search:
    """Looks for every id as a whole component."""
    border = f"[{re.escape(delimiters)}]"
    wanted = [active.ids[level] for level in levels.required_for(active.ids)]
    if not wanted or any(_ambiguous(text, delimiters) for text in wanted):
        return lambda _key: None
    found = [re.compile(f"(?:^|{border}){re.escape(text)}(?:{border}|\\Z)").search for text in wanted]
    return found[0] if len(found) == 1 else lambda key: all(search(key) for search in found) or None


def search_of(active: Active, levels: Levels, delimiters: str) -> Search:
    """What finds all ids in a key that holds them just as they are, and gives None for any other text."""
    search: Search | None = active.memo.get(delimiters)
    if search is None:
        search = active.memo[delimiters] = _search(active, levels, delimiters)
    return search


def plainly_scoped(keys: Sequence[object], active: Active, levels: Levels, delimiters: str) -> bool:
    """Whether every key holds every id just as it is; what this denies may be scoped all the same.

    It is on the way of every access, and answers for nearly all.
    """
    search = search_of(active, levels, delimiters)
    for key in keys:
        if search(key if key.__class__ is str else text_of(key)) is None:
            return False
    return bool(keys)


def has_component(key: str, wanted: str, delimiters: str) -> bool:
    """Whether one whole component of the key is this id, as it is or percent-encoded."""
    if (
        key.startswith(wanted)
        and (len(key) == len(wanted) or key[len(wanted)] in delimiters)
        and not _ambiguous(wanted, delimiters)
    ):
        return True
    if wanted not in key and "%" not in key and len(wanted) not in (32, 36):
        return False
    return any(
        part == wanted or ("%" in part and unquote(part) == wanted) or same_id(part, wanted)
        for part in _splitter(delimiters).split(key)
    )


def carries(name: object, active: Active, levels: Levels) -> bool:
    """Whether the name of a collection, index or partition carries each required id: `acme_notes`, `notes.acme`.

    Stores allow few characters in such names, so that `_` and `.` separate here as well.
    """
    text = text_of(name)
    for level in levels.required_for(active.ids):
        wanted = active.ids[level]
        if wanted not in text:
            return False
        if not re.search(rf"(?:^|[^A-Za-z0-9-]){re.escape(wanted)}(?:[^A-Za-z0-9-]|$)", text):
            return False
    return bool(active.ids)


def judge_keys(
    keys: Iterable[object],
    active: Active,
    levels: Levels,
    delimiters: str,
    *,
    what: str = "key",
    fix: str = "scoped_key(boundary, {argument})",
) -> Judgement:
    """Each key must carry each required level of the boundary. No key at all is unscoped."""
    texts = [text_of(key) for key in keys]
    if plainly_scoped(texts, active, levels, delimiters):
        return "scoped"
    if not texts:
        return Missing(f"no {what} is given, so that this touches everybody's data", fix=fix)
    if not active.ids:
        return Missing("no boundary is active", tuple(texts), fix)
    bad = [
        (key, level)
        for level in levels.required_for(active.ids)
        for key in texts
        if not has_component(key, active.ids[level], delimiters)
    ]
    if not bad:
        return "scoped"
    key, level = bad[0]
    names = tuple(name for name, _ in bad)
    wanted = active.ids[level]
    subject = f"the {what}" if len(texts) == 1 else f"the {what} {key!r}"
    if wanted in key and _ambiguous(wanted, delimiters):
        text = f"{subject} holds {level} {wanted!r} unescaped: its delimiter makes two boundaries one"
        return Missing(text, names, fix, rule="BND205", title="ambiguous key")
    if WILDCARDS.search(key) and any(
        part.startswith(wanted) for part in _splitter(delimiters).split(key) if WILDCARDS.search(part)
    ):
        text = f"{subject} also matches every {level} that begins with {wanted!r}: put a delimiter before the wildcard"
        return Missing(text, names, fix, rule="BND205", title="ambiguous pattern")
    return Missing(f"{subject} has no component for {level} {wanted!r}", names, fix)
