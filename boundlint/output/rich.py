"""For people on a terminal: the source line, a marker below it, and the facts that convince."""

from __future__ import annotations

import io
from functools import lru_cache

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from boundlint.files import read_source
from boundlint.findings import Finding, Location, Report
from boundlint.output import Context, printable

_STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_MAX_LINES = 6
_MAX_CELLS = 160
_TAB = "    "


def render(report: Report, context: Context) -> str:
    """The findings with an empty line between them, as the terminal shows them."""
    stream = io.StringIO()
    console = Console(
        file=stream,
        force_terminal=context.color,
        color_system="standard" if context.color else None,
        no_color=not context.color,
        highlight=False,
        emoji=False,
        markup=False,
        width=10_000,
        legacy_windows=False,
    )

    @lru_cache(maxsize=32)
    def lines_of(path: str) -> tuple[str, ...]:
        given = context.sources.get(path)
        text = given if given is not None else read_source(context.root / path, path)
        return tuple(text.split("\n")) if isinstance(text, str) else ()

    for number, item in enumerate(report.findings):
        text = Text("\n" if number else "")
        _finding(text, item, lines_of(item.location.path), context)
        console.print(text, soft_wrap=True)
    return stream.getvalue()


def _finding(text: Text, item: Finding, lines: tuple[str, ...], context: Context) -> None:
    place = item.location
    excerpt = _excerpt(place, lines)
    gutter = max((len(str(number)) for number, _ in excerpt), default=1)
    margin = " " * (gutter + 1)
    text.append(printable(context.shown(place.path)), "bold")
    text.append(f":{place.line}:{place.column} ")
    text.append(item.rule, _STYLES[item.severity])
    text.append(f" {item.name}\n{margin}{printable(item.message)}")
    if excerpt:
        text.append(f"\n{margin}|", "blue")
    for number, line in excerpt:
        offset = _clip(place, line) if number == place.line else 0
        shown = _visible(line[offset:])
        text.append(f"\n{number:>{gutter}} |", "blue")
        text.append(f" {'…' if offset else ''}{shown}".rstrip())
        if number == place.line:
            before, marker = _marker(place, line, offset)
            text.append(f"\n{margin}|", "blue")
            text.append(f" {' ' * (before + bool(offset))}")
            text.append("^" * marker, _STYLES[item.severity])
    for fact in item.facts:
        _note(text, margin, printable(fact))
    for index, step in enumerate(item.trace):
        where = f"{printable(context.shown(step.path))}:{step.line}: {printable(step.note)}"
        if index == 0:
            _note(text, margin, f"trace: {where}")
        else:
            text.append(f"\n{margin}         {where}")
    if item.help:
        _note(text, margin, f"help: {printable(item.help)}")


def _note(text: Text, margin: str, note: str) -> None:
    text.append(f"\n{margin}=", "blue")
    label, colon, rest = note.partition(": ")
    if colon:
        text.append(f" {label}:", "bold")
        text.append(f" {rest}")
    else:
        text.append(f" {note}")


def _excerpt(place: Location, lines: tuple[str, ...]) -> list[tuple[int, str]]:
    """The line before the finding, unless it is blank, and the first lines of the finding."""
    if not 1 <= place.line <= len(lines):
        return []
    first = place.line - 1 if place.line > 1 and lines[place.line - 2].strip() else place.line
    last = min(max(place.end_line, place.line), place.line + _MAX_LINES - 1, len(lines))
    return [(number, lines[number - 1]) for number in range(first, last + 1)]


def _clip(place: Location, line: str) -> int:
    """How many characters to leave out at the start of a very long line, so that the marker is in view."""
    return max(0, place.column - 1 - _MAX_CELLS // 2) if len(line) > _MAX_CELLS else 0


def _visible(line: str) -> str:
    text = printable(line.replace("\t", _TAB))
    return text if len(text) <= _MAX_CELLS else text[:_MAX_CELLS] + "…"


def _marker(place: Location, line: str, offset: int) -> tuple[int, int]:
    """Where the marker begins and how long it is, in terminal cells."""
    start = place.column - 1
    end = place.end_column - 1 if place.end_line in (0, place.line) else len(line.rstrip())
    before = cell_len(printable(line[offset:start].replace("\t", _TAB)))
    width = cell_len(printable(line[start : max(end, start + 1)].replace("\t", _TAB)))
    return before, max(1, min(width, _MAX_CELLS - before))
