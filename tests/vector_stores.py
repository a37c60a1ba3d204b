"""What every vector store's seam must show, for the calls of one client."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from runtime_project import Project, blocks, line_of, table

FOREIGN = "BND302 another tenant's data from a retrieval read"


def all_are_told(
    project: Project, app: str, head: str, calls: Mapping[str, str], *, line: str, operation: str
) -> pytest.RunResult:
    """Each of the calls fails once, at a line of the user's, and none by an error of ours.

    `line` is a piece of the application's line of `search`, `operation` what is told of it.
    """
    result = project(app, table(calls, head))
    result.assert_outcomes(failed=len(calls))
    found = blocks(result)
    assert len(found) == len(calls)
    assert [block for block in found if not block.startswith("BND301 unscoped retrieval")] == []
    assert all(" app/code.py:" in block or " test_app.py:" in block for block in found)
    where = f"BND301 unscoped retrieval read — app/code.py:{line_of(app, line)} in search*"
    result.stdout.fnmatch_lines([where, f"*operation  {operation}*"])
    result.stdout.no_fnmatch_line("*error of pytest_boundary*")
    return result


def all_pass(project: Project, app: str, head: str, calls: Mapping[str, str], client: str) -> None:
    """None of the calls is told, and they are counted for the client."""
    result = project(app, table(calls, head))
    result.assert_outcomes(passed=len(calls))
    result.stdout.fnmatch_lines([f"{client} *"])


def swallowed_is_told(project: Project, app: str, head: str, own: str) -> None:
    """In two workers, what the application's `swallow` has caught fails, and a scoped call passes."""
    calls = {"none": "swallow()", "own": f"swallow({own})"}
    project(app, table(calls, head), "-n2").assert_outcomes(failed=1, passed=1)


def all_are_foreign(project: Project, app: str, head: str, calls: Mapping[str, str]) -> None:
    """Each of the calls is scoped and gives another tenant's record."""
    result = project(app, table(calls, head))
    result.assert_outcomes(failed=len(calls))
    found = blocks(result)[: len(calls)]
    assert [block for block in found if not block.startswith(FOREIGN)] == []
