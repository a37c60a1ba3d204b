"""The pytest plugin: options, marks and fixtures. Thin on purpose: everything else loads with the flag alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from boundlint.boundary import AgentBoundary
    from pytest_boundary.bleed.tenants import Lookalikes
    from pytest_boundary.bleed.watcher import Watcher
    from pytest_boundary.ledger import Ledger
    from pytest_boundary.run import Run

RUN: pytest.StashKey[Run] = pytest.StashKey()
MARK_NAMES = frozenset({"boundary", "cross_boundary"})
MARKS = (
    "boundary(tenant, workspace=None, user=None, …): the boundary that the test runs in",
    "cross_boundary(reason): the test touches every customer's data on purpose",
)
SETTINGS = (
    ("boundary_enforce", "string", "strict, warn or report: what --enforce-boundary says"),
    ("boundary_levels", "args", "levels that every access must carry (default: tenant)"),
    ("boundary_require", "args", "clients or kinds that the run must have observed"),
    ("boundary_report", "string", "where to write every operation seen, .json or .html"),
    ("boundary_delimiters", "string", "characters that separate the components of a key"),
    ("boundary_judge_tests", "bool", "judge what tests themselves do through an ORM as well"),
    ("boundary_shared", "linelist", "keys and tables that all customers share: 'flags:* # why'"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini settings."""
    group = parser.getgroup("boundary", "tenant isolation (boundlint)")
    # One literal name a mode: an optional argument would swallow the path after it.
    group.addoption(
        "--enforce-boundary",
        "--enforce-boundary=strict",
        dest="boundary_mode",
        action="store_const",
        const="strict",
        default=None,
        help="fail tests that touch customer data outside of the active boundary",
    )
    for mode, text in (("warn", "warn instead"), ("report", "only report"), ("off", "watch nothing")):
        group.addoption(
            f"--enforce-boundary={mode}", dest="boundary_mode", action="store_const", const=mode, help=text
        )
    group.addoption(
        "--boundary-report",
        metavar="PATH",
        default=None,
        help="write every operation seen, with its verdict (.json, .html)",
    )
    group.addoption(
        "--boundary-require",
        metavar="NAMES",
        default=None,
        help="fail unless these clients or kinds were observed (redis,database)",
    )
    for name, kind, text in SETTINGS:
        parser.addini(name, text, type=kind, default=None if kind == "string" else [])  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Arm before the first conftest: `from sqlite3 import connect` in it must get the watched function.

    Before other plugins too: pytest-django imports the whole application here.
    """
    mode = early_config.known_args_namespace.boundary_mode or early_config.getini("boundary_enforce")
    if mode and mode != "off":
        from pytest_boundary.run import Run

        run = Run(early_config, mode)
        early_config.stash[RUN] = run
        early_config.add_cleanup(run.stop)
        run.start()
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Marks; and with the flag, the hooks that judge."""
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    run = config.stash.get(RUN, None)
    if run is not None:
        config.pluginmanager.register(run, "boundary-run")
        if config.pluginmanager.hasplugin("xdist"):
            from pytest_boundary.workers import Workers

            config.pluginmanager.register(Workers(run), "boundary-workers")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Enter the test's boundary, with the flag and without: the application reads it in both cases."""
    names = getattr(item, "fixturenames", ())
    if "boundary" in names or any(mark.name in MARK_NAMES for mark in item.iter_markers()):
        from pytest_boundary import fixtures

        with fixtures.activated(item):
            return (yield)
    return (yield)


@pytest.fixture
def boundary(request: pytest.FixtureRequest) -> AgentBoundary:
    """The boundary of this test: that of its mark, or the first of two lookalike tenants."""
    from pytest_boundary import fixtures

    return fixtures.boundary_of(request.node)


@pytest.fixture
def boundary_scope() -> Callable[..., Any]:
    """`with boundary_scope(tenant="acme", user="kim"):` enters a boundary made of these ids."""
    from pytest_boundary import fixtures

    return fixtures.enter


@pytest.fixture
def lookalike_tenants(request: pytest.FixtureRequest) -> Lookalikes:
    """Two tenants made to be confused; seed data with `tenant.record(store, id, **fields)`."""
    from pytest_boundary import fixtures

    return fixtures.lookalikes(request.config.stash.get(RUN, None))


@pytest.fixture
def bleed(request: pytest.FixtureRequest) -> Watcher:
    """Looks for one tenant's seeded data in what the other one gets: `bleed.check(answer)`."""
    from pytest_boundary import fixtures

    return fixtures.watcher_of(request.config.stash.get(RUN, None))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `bleed_prompts` runs once for each attack."""
    if "bleed_prompts" in metafunc.fixturenames:
        from pytest_boundary.bleed.prompts import PROMPTS

        metafunc.parametrize("bleed_prompts", PROMPTS, ids=[p.kind for p in PROMPTS], indirect=True)


@pytest.fixture
def bleed_prompts(request: pytest.FixtureRequest, lookalike_tenants: Lookalikes) -> str:
    """What the user of the first lookalike tenant says, one attack after another."""
    from pytest_boundary import fixtures

    return fixtures.prompt_for(request.param, lookalike_tenants)


@pytest.fixture
def boundary_ledger(request: pytest.FixtureRequest) -> Ledger:
    """What this test has done so far; `accept("BND201")` says that a finding is expected."""
    from pytest_boundary import fixtures

    return fixtures.ledger_of(request.config.stash.get(RUN, None))
