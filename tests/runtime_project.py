"""A project of its own for each test of the pytest plugin, run by the real pytest with the real clients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from textwrap import dedent

import pytest

import boundlint.registry
import pytest_boundary.seams

# Imported here, before pytester looks: what a run inside of this process imports is forgotten after it, and
# extension modules bear that badly.
for name in ("aiosqlite", "fakeredis", "sqlalchemy.ext.asyncio", "sqlalchemy.orm", "sqlglot"):
    import_module(name)
for name in ("fixtures", "report", "run", "workers"):
    import_module(f"pytest_boundary.{name}")
boundlint.registry.load_registry()
pytest_boundary.seams.load()

BOUNDARY = 'import pytest\npytestmark = pytest.mark.boundary(tenant="acme", user="kim")\n'
# Plugins that a test asks for by module where it needs them. hypothesis imports itself at the end of each run, which
# takes longer than the run; langsmith imports requests at its start; the others run tests again.
WITHOUT = [f"-pno:{name}" for name in ("hypothesispytest", "langsmith_plugin", "rerunfailures", "flaky")]
Project = Callable[..., pytest.RunResult]


def project_in(pytester: pytest.Pytester) -> Project:
    """`project(app, tests, *arguments)` writes app/code.py and test_app.py and runs pytest with the flag.

    `tests` begin in a boundary of tenant acme, unless `bare`. `files` are further ones by path; `flag` is the
    option itself; `subprocess` starts a fresh interpreter, where nothing is imported yet.
    """

    def run(
        app: str,
        tests: str,
        *arguments: str,
        flag: str = "--enforce-boundary",
        bare: bool = False,
        files: Mapping[str, str] | None = None,
        subprocess: bool = False,
    ) -> pytest.RunResult:
        ini = "[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = 'function'\n"
        written = {"pyproject.toml": ini, "app/__init__.py": "", "app/code.py": dedent(app), **(files or {})}
        written["test_app.py"] = ("" if bare else BOUNDARY) + "from app import code\n" + dedent(tests)
        for name, text in written.items():
            path = pytester.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        pytester.syspathinsert()
        options = [*WITHOUT, *(option for option in (flag, *arguments) if option)]
        run = pytester.runpytest_subprocess if subprocess else pytester.runpytest_inprocess
        return run(*options)

    return run


def blocks(result: pytest.RunResult) -> list[str]:
    """The headlines of the findings that a run shows."""
    return re.findall(r"^(BND\d{3} .* — .*)$", result.stdout.str(), re.MULTILINE)


def line_of(app: str, text: str) -> int:
    """The line of a piece of an `app`, as it is written."""
    return 1 + next(number for number, line in enumerate(dedent(app).splitlines()) if text in line)


def table(calls: Mapping[str, str], head: str = "") -> str:
    """A test module with one test for each call, named after what the call shows."""
    lines = [dedent(head)]
    for number, (name, call) in enumerate(calls.items()):
        lines += [f"def test_{number}_{name.replace(' ', '_')}():", f"    {call}"]
    return "\n".join(lines) + "\n"


def changed(owners: Mapping[type, Mapping[str, object]]) -> list[str]:
    """The attributes of classes that are no longer the objects that `dict(vars(owner))` held before."""
    return [
        f"{owner.__name__}.{name}"
        for owner, before in owners.items()
        for name, value in vars(owner).items()
        if before.get(name) is not value and not name.startswith(("__", "_abc"))
    ]


def surface_tests(uses: Mapping[str, str], *, whose: str = "second") -> str:
    """Tests that each let `value`, which was read from a store, surface in the first lookalike tenant's boundary."""
    lines: list[str] = []
    for number, (name, use) in enumerate(uses.items()):
        lines += [
            f"def test_{number}_{name.replace(' ', '_')}(lookalike_tenants, bleed, boundary_scope):",
            "    first, second = lookalike_tenants",
            f"    value = {whose}.text('may churn', store='notes', field='body')",
            "    bleed.read(value, 'memory')",
            "    with boundary_scope(first.boundary):",
            f"        {use}",
        ]
    return "\n".join(lines) + "\n"
