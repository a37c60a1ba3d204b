"""What the seams of psycopg2 and asyncpg change, without a server; tests/test_services.py runs them on a real one."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any

import pytest

from runtime_project import Project

asyncpg: Any = import_module("asyncpg")
psycopg2: Any = import_module("psycopg2")
extensions: Any = import_module("psycopg2.extensions")
extras: Any = import_module("psycopg2.extras")


class _Recorder:
    """What a seam needs of a monitor, to see the classes that it makes."""

    def __init__(self) -> None:
        self.faults: list[BaseException] = []

    def fault(self, seam: str, error: BaseException) -> None:
        self.faults.append(error)


def test_watched_classes_stand_below_those_of_the_project() -> None:
    """`DictCursor.execute` reaches the watched `execute` by `super()`, whatever stands above it."""
    from pytest_boundary.seams.psycopg2 import _classes

    class Mine(extras.DictConnection):  # type: ignore[misc]
        pass

    connections = _classes(extensions, _Recorder(), _Recorder())  # type: ignore[arg-type]
    plain, mine = connections(extensions.connection), connections(Mine)
    assert issubclass(mine, Mine)
    assert mine.__name__ == "Mine"
    names = [owner.__name__ for owner in mine.__mro__]
    assert names == ["Mine", "Mine", "DictConnection", "Connection", "connection", "object"]
    assert connections(mine) is mine
    assert connections(extensions.connection) is plain
    assert mine.__mro__[3] is plain


def test_psycopg2_contract() -> None:
    """The C classes refuse replacement, and what a project makes of them calls them by `super()`."""
    for owner, method in ((extensions.connection, "cursor"), (extensions.cursor, "execute")):
        with pytest.raises(TypeError):
            setattr(owner, method, None)
    for name in ("execute", "executemany", "copy_expert", "copy_to", "fetchone", "fetchmany", "fetchall"):
        assert name in vars(extensions.cursor)
    for owner in (extras.DictCursor, extras.RealDictCursor, extras.NamedTupleCursor):
        assert issubclass(owner, extensions.cursor)
    assert psycopg2.connect.__code__.co_varnames[:3] == ("dsn", "connection_factory", "cursor_factory")


def test_asyncpg_contract() -> None:
    """What the seam replaces, and that a pool calls a connection by its class."""
    connection, prepared = asyncpg.connection.Connection, asyncpg.prepared_stmt.PreparedStatement
    for method in ("fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_from_query", "reset"):
        assert inspect.iscoroutinefunction(vars(connection)[method])
    for method in ("fetch", "fetchrow", "fetchval", "executemany"):
        assert inspect.iscoroutinefunction(inspect.unwrap(vars(prepared)[method]))
    for method in ("_bind_exec", "_bind", "_exec"):
        assert inspect.iscoroutinefunction(vars(asyncpg.cursor.BaseCursor)[method])
        for owner in (asyncpg.cursor.Cursor, asyncpg.cursor.CursorIterator):
            assert method not in vars(owner)
    proxy = vars(asyncpg.pool.PoolConnectionProxy)["fetch"]
    assert "_con" in proxy.__code__.co_names
    assert "__class__" in proxy.__code__.co_names


ASYNCPG = """
    import asyncio
    from asyncpg import Connection, connect

    class Mine(Connection):
        pass

    def reach():
        assert hasattr(Mine.fetch, "__boundlint_patch__")
        asyncio.run(connect("postgresql://127.0.0.1:1/none", timeout=5))
"""


def test_asyncpg_is_watched_and_put_back(project: Project) -> None:
    def state() -> list[Any]:
        owners = (
            asyncpg.connection.Connection,
            asyncpg.prepared_stmt.PreparedStatement,
            asyncpg.cursor.BaseCursor,
        )
        return [dict(vars(owner)) for owner in owners]

    before = state()
    tests = "def test_it():\n    with pytest.raises(OSError, match='127.0.0.1'):\n        code.reach()\n"
    result = project(ASYNCPG, tests)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("error of pytest_boundary*")
    assert state() == before


PSYCOPG2 = """
    import psycopg2
    from psycopg2 import connect

    def reach():
        assert hasattr(connect, "__boundlint_patch__") and psycopg2.connect is connect
        connect("host=127.0.0.1 port=1 connect_timeout=1")
"""


def test_an_early_connect_is_watched_and_its_errors_are_its_own(project: Project) -> None:
    original = psycopg2.connect
    tests = """
        def test_it():
            with pytest.raises(code.psycopg2.OperationalError):
                code.reach()
    """
    result = project(PSYCOPG2, tests)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("error of pytest_boundary*")
    assert psycopg2.connect is original


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("psycopg2", "connect"),
        ("asyncpg.connection", "Connection.fetchrow"),
        ("asyncpg.prepared_stmt", "PreparedStatement.fetch"),
        ("asyncpg.cursor", "BaseCursor._bind_exec"),
    ],
)
def test_an_internal_that_moved_is_said_at_the_start(
    project: Project, monkeypatch: pytest.MonkeyPatch, module: str, attribute: str
) -> None:
    owner: Any = sys.modules[module]
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    monkeypatch.delattr(owner, name)
    result = project("", "def test_it():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{name} not found; enforcement would be incomplete*"])
