"""Gitignore-like patterns as regular expressions. Changes when the pattern language changes.

A pattern without a slash matches a name at any depth; with a slash (other than a last one) it is anchored to
the folder that the pattern list belongs to; a last slash restricts it to folders; `**` spans folders; `!`
takes back what an earlier pattern matched. The last pattern that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple


class Glob(NamedTuple):
    """One compiled pattern; `regex` is matched in full against a path relative to the list's folder."""

    regex: re.Pattern[str]
    negated: bool
    folders_only: bool


class GlobList(NamedTuple):
    """Patterns in order; the last one that matches decides."""

    globs: tuple[Glob, ...]

    def verdict(self, path: str, is_folder: bool) -> bool | None:
        """True: matched; False: taken back by a `!` pattern; None: no pattern speaks about the path.

        `path` is relative and `/` separated. Folders above it are not looked at.
        """
        for glob in reversed(self.globs):
            if (is_folder or not glob.folders_only) and glob.regex.fullmatch(path):
                return not glob.negated
        return None

    def covers(self, path: str) -> bool:
        """Whether the file at `path`, or one of the folders above it, is matched."""
        end = path.find("/")
        while end != -1:
            if self.verdict(path[:end], True):
                return True
            end = path.find("/", end + 1)
        return bool(self.verdict(path, False))


@lru_cache(maxsize=256)
def compile_globs(patterns: tuple[str, ...]) -> GlobList:
    """Compile patterns; blank ones and comments (`#`) are left out, and so is what git could not match."""
    return GlobList(tuple(glob for pattern in patterns if (glob := _compile(pattern)) is not None))


def parse_ignore_lines(lines: Iterable[str]) -> GlobList:
    """Compile the lines of a `.gitignore` file."""
    return compile_globs(tuple(line.rstrip("\r\n") for line in lines))


def _compile(pattern: str) -> Glob | None:
    if pattern.startswith("#"):
        return None
    while pattern.endswith(" ") and not pattern.endswith("\\ "):
        pattern = pattern[:-1]
    negated = pattern.startswith("!")
    if negated:
        pattern = pattern[1:]
    folders_only = pattern.endswith("/")
    pattern = pattern.rstrip("/") if folders_only else pattern
    anchored = "/" in pattern
    pattern = pattern.removeprefix("./").lstrip("/")
    if not pattern:
        return None
    body = _translate(pattern)
    try:
        regex = re.compile(body if anchored else f"(?:.*/)?{body}", re.DOTALL)
    except re.error:
        return None
    return Glob(regex, negated, folders_only)


def _translate(pattern: str) -> str:
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("**/", position) and (position == 0 or pattern[position - 1] == "/"):
            parts.append("(?:.*/)?")
            position += 3
            continue
        if pattern[position:] == "**" and (position == 0 or pattern[position - 1] == "/"):
            parts.append(".+")
            break
        if char == "*":
            # One quantifier for a run of stars: several would make a failing match take exponential time.
            if not (parts and parts[-1] == "[^/]*"):
                parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "\\" and position + 1 < len(pattern):
            position += 1
            parts.append(re.escape(pattern[position]))
        elif char == "[" and (end := _class_end(pattern, position)) != -1:
            parts.append(_character_class(pattern[position + 1 : end]))
            position = end
        else:
            parts.append(re.escape(char))
        position += 1
    return "".join(parts)


def _class_end(pattern: str, start: int) -> int:
    first = start + 1
    if first < len(pattern) and pattern[first] in "!^":
        first += 1
    return pattern.find("]", first + 1)


def _character_class(inside: str) -> str:
    negated = inside[:1] in ("!", "^")
    if negated:
        inside = inside[1:]
    escaped = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside)
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
