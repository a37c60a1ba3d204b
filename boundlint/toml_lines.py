"""On which line of a TOML text a key stands; the standard parser does not say. Changes with that need only.

This reads TOML that is known to be valid and only has to be right about lines that people write; where it
cannot tell, it answers with the line of the nearest table or key around the one that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_STRING = re.compile(r'\"\"\"|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|[\[\]{}]|#.*')

Keys = tuple["str | int", ...]


def line_of(lines: Sequence[str], keys: Keys) -> int:
    """The line, from 1, of the deepest part of `keys` that can be found; numbers index into arrays."""
    best, depth = 1, 0
    found = _positions(lines)
    for path, line in found:
        common = _common(path, keys)
        if common == len(path) and common > depth:
            best, depth = line, common
    if depth == len(keys) - 1 and isinstance(keys[-1], int):
        return _element_line(lines, best, keys[-1])
    return best


def _positions(lines: Sequence[str]) -> list[tuple[Keys, int]]:
    """Each table header and key with its full path, in file order."""
    positions: list[tuple[Keys, int]] = []
    table: Keys = ()
    counts: dict[Keys, int] = {}
    nesting, closing = 0, ""
    for number, line in enumerate(lines, 1):
        start = 0
        if closing:
            end = line.find(closing)
            if end == -1:
                continue
            start, closing = end + 3, ""
        elif nesting == 0:
            header = _HEADER.match(line)
            if header:
                table = _parts(header.group(2))
                if header.group(1) == "[[":
                    index = counts[table] = counts.get(table, -1) + 1
                    positions.append((table, number))
                    table = (*table, index)
                elif len(table) > 1 and table[:-1] in counts:
                    table = (*table[:-1], counts[table[:-1]], table[-1])
                positions.append((table, number))
                continue
            key = _KEY.match(line)
            if key:
                positions.append(((*table, *_parts(key.group(1))), number))
                start = key.end()
        nesting, closing = _state(line, start, nesting)
    return positions


def _state(line: str, start: int, nesting: int) -> tuple[int, str]:
    """The depth of open brackets after the line, and the quotes of a multi-line string that stays open."""
    position = start
    while match := _STRING.search(line, position):
        token, position = match.group(), match.end()
        if token in ('"""', "'''"):
            end = line.find(token, position)
            if end == -1:
                return nesting, token
            position = end + 3
        elif token in "[{":
            nesting += 1
        elif token in "]}":
            nesting = max(0, nesting - 1)
    return nesting, ""


def _element_line(lines: Sequence[str], start: int, index: int) -> int:
    """The line of the string at `index` in the array that begins on line `start`."""
    seen = -1
    for number in range(start, len(lines) + 1):
        line = lines[number - 1]
        key = _KEY.match(line) if number == start else None
        for match in _STRING.finditer(line, key.end() if key else 0):
            seen += match.group()[0] in "\"'"
            if seen == index:
                return number
            if match.group() == "]":
                return start
    return start


def _parts(text: str) -> Keys:
    return tuple(part.strip("\"'") for part in _PART.findall(text))


def _common(path: Keys, keys: Keys) -> int:
    count = 0
    for left, right in zip(path, keys, strict=False):
        if left != right:
            break
        count += 1
    return count
