"""The formats for people, rich and concise, and what all formats share."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import reports

from boundlint.findings import Finding, Location, Report
from boundlint.output import Context, concise, printable, rich

SAMPLE = """\
app/memory.py:13:9 BND201 unscoped-memory-key
   redis.Redis.set writes under 'preferred_report_format', which carries no boundary
   |
12 |     def remember_format(self, value: str) -> None:
13 |         store.set("preferred_report_format", value)
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = in reach: self.tenant_id, self.user_id
   = peers: 3 of 4 calls on this client carry tenant_id (app/memory.py:16, app/chat.py:40)
   = help: store.set(scoped_key(self.tenant_id, self.user_id, "preferred_report_format"), value)
"""
ODD = """\
app/odd, name:1.py:2:17 BND301 unfiltered-retrieval
  a [red]message[/red] with \\x1b]0;title\\x07, 100%, \\u202e and\\na second line <&>
  |
1 | def f(名前):
2 |     x = '\\x1b[31m日本'; store.get(
  |                         ^^^^^^^^^^
3 |         x,
4 |     )  # [bold]markup[/bold]
  = trace: app/memory.py:12: value: comes from the caller
           app/odd, name:1.py:1: 名前 is handed on
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return reports.project(tmp_path)


def at(place: Location) -> Report:
    return Report(findings=(replace(reports.FIRST, facts=(), help="", location=place),))


def test_a_finding_reads_as_the_design_says(context: Context) -> None:
    assert rich.render(Report(findings=(reports.FIRST,)), context) == SAMPLE


def test_source_text_is_never_trusted(context: Context) -> None:
    assert rich.render(Report(findings=(reports.SECOND,)), context) == ODD


def test_findings_are_apart_and_a_lost_source_is_no_problem(context: Context) -> None:
    text = rich.render(reports.REPORT, context)
    assert (
        text
        == f"{SAMPLE}\n{ODD}\ngone.py:7:1 BND001 unused-suppression\n  nothing here\n  = help: remove it\n"
    )


def test_colors_add_escapes_and_nothing_else(context: Context) -> None:
    plain = rich.render(reports.REPORT, context)
    colored = rich.render(reports.REPORT, replace(context, color=True))
    assert "\x1b[" in colored
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain
    assert "\x1b]" not in colored


def test_text_from_standard_input_is_shown(context: Context) -> None:
    given = replace(context, sources={"new.py": "first\nsecond\n"})
    text = rich.render(at(Location("new.py", 2, 1, 2, 7)), given)
    assert "1 | first\n2 | second\n  | ^^^^^^\n" in text


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        (Location("long.py", 1, 301, 1, 304), "…"),
        (Location("long.py", 1, 9_000, 1, 9_003), "^"),
        (Location("long.py", 2, 1, 40, 2), "7 | 7"),
        (Location("long.py", 400, 1), "BND201"),
        (Location("long.py", 2, 0, 0, 0), "2 | 2\n  | ^"),
    ],
)
def test_places_that_are_odd(context: Context, place: Location, shown: str) -> None:
    lines = ["x" * 295 + "abcd = 100" + "y" * 300, *map(str, range(2, 30))]
    text = rich.render(at(place), replace(context, sources={"long.py": "\n".join(lines)}))
    assert shown in text
    assert all(len(line) < 200 for line in text.split("\n"))
    assert text.count("\n") < 13


def test_the_marker_points_at_the_code_on_a_long_line(context: Context) -> None:
    source = "x" * 400 + "NEEDLE" + "y" * 400
    text = rich.render(at(Location("long.py", 1, 401, 1, 407)), replace(context, sources={"long.py": source}))
    line, marker = text.split("\n")[3:5]
    assert line[marker.index("^") : marker.rindex("^") + 1] == "NEEDLE"


def test_concise_is_one_line_a_finding(context: Context) -> None:
    odd = "a [red]message[/red] with \\x1b]0;title\\x07, 100%, \\u202e and\\na second line <&>"
    assert concise.render(reports.REPORT, context).split("\n") == [
        f"app/memory.py:13:9: BND201 [error] {reports.FIRST.message}",
        f"app/odd, name:1.py:2:17: BND301 [warning] {odd}",
        "gone.py:7:1: BND001 [note] nothing here",
        "",
    ]


def test_paths_are_relative_to_where_the_user_stands(context: Context) -> None:
    inside = replace(context, cwd=context.root / "app")
    assert concise.render(Report(findings=(reports.FIRST,)), inside).startswith("memory.py:13:9: ")
    elsewhere = replace(context, cwd=context.root.parent)
    assert elsewhere.shown("app/memory.py") == f"{context.root.name}/app/memory.py"
    beside = replace(context, cwd=context.root / "docs")
    assert beside.shown("app/memory.py") == "../app/memory.py"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("tab\there", "tab\\there"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x9b31m", "\\x9b31m"),
        ("\udcff.py", "\\udcff.py"),
        ("rtl \u202e", "rtl \\u202e"),
        ("naïve 日本 🎉", "naïve 日本 🎉"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_finding_without_anything_extra() -> None:
    bare = Finding("BND201", "x", "note", "low", "auditor", "m", "", Location("a.py", 1))
    context = Context(Path("/nowhere"), Path("/nowhere"))
    assert rich.render(Report(findings=(bare,)), context) == "a.py:1:1 BND201 x\n  m\n"
