"""Boundaries for tests: what marks and fixtures make, with the flag and without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from boundlint.boundary import AgentBoundary, BoundaryError, Issuer, boundary_scope, cross_boundary
from pytest_boundary.bleed.canaries import Canaries
from pytest_boundary.bleed.prompts import BleedPrompt
from pytest_boundary.bleed.tenants import TWINS, Lookalikes
from pytest_boundary.bleed.watcher import Watcher
from pytest_boundary.ledger import Ledger

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pytest_boundary.run import Run

TESTS = Issuer("pytest")
DEFAULT_TENANT = TWINS["prefix"][0][0]


def make(**ids: Any) -> AgentBoundary:
    """A boundary for a test. Raises pytest's usage error where the ids cannot be used."""
    try:
        return AgentBoundary(issued_by=TESTS, **ids)
    except (BoundaryError, TypeError) as error:
        raise pytest.UsageError(f"boundary: {error}") from None


def enter(boundary: AgentBoundary | None = None, **ids: Any) -> AbstractContextManager[Any]:
    """Enter a boundary, given or made of ids."""
    return boundary_scope(boundary if boundary is not None else make(**ids))


def boundary_of(item: pytest.Item) -> AgentBoundary:
    """The boundary that a test's mark names, or that of the first lookalike tenant."""
    mark = item.get_closest_marker("boundary")
    if mark is None:
        return make(tenant=DEFAULT_TENANT)
    if len(mark.args) == 1 and not mark.kwargs and isinstance(mark.args[0], AgentBoundary):
        return mark.args[0]
    if mark.args:
        raise pytest.UsageError('boundary: name the levels: @pytest.mark.boundary(tenant="acme")')
    return make(**mark.kwargs)


def reason_of(item: pytest.Item) -> str:
    """The reason of a test's cross_boundary mark, "" without one."""
    mark = item.get_closest_marker("cross_boundary")
    if mark is None:
        return ""
    reason = mark.kwargs.get("reason") or (mark.args[0] if mark.args else "")
    if not isinstance(reason, str) or not reason.strip():
        raise pytest.UsageError('cross_boundary: a reason is required: cross_boundary(reason="invoice run")')
    return reason


def own_boundary(item: pytest.Item) -> AgentBoundary | None:
    """The boundary that a test runs in: by its mark, or because it asks for the fixture `boundary`."""
    made = getattr(item, "funcargs", {}).get("boundary")
    if isinstance(made, AgentBoundary):
        return made
    return boundary_of(item) if item.get_closest_marker("boundary") is not None else None


@contextmanager
def activated(item: pytest.Item) -> Iterator[None]:
    """The test's boundary while it runs, entered at the test's own line."""
    boundary, reason = own_boundary(item), reason_of(item)
    line = item.location[1]
    with ExitStack() as stack:
        for scope in (
            boundary_scope(boundary) if boundary is not None else None,
            cross_boundary(reason) if reason else None,
        ):
            if scope is not None:
                scope.entered_at = (str(item.path), (line or 0) + 1)
                stack.enter_context(scope)
        yield


def lookalikes(run: Run | None) -> Lookalikes:
    """Tenants to be confused; their marks are watched with the flag."""
    return Lookalikes(run.monitor.watcher.canaries if run is not None else Canaries())


def watcher_of(run: Run | None) -> Watcher:
    """The watcher of the run, after its leaky self-check; one that finds nothing without the flag."""
    if run is None:
        return Watcher(Canaries(), None)
    watcher = run.monitor.watcher
    blind = watcher.self_check()
    run.blind += [text for text in blind if text not in run.blind]
    if blind:
        pytest.fail(
            f"inconclusive: the leaky self-check was not noticed by {', '.join(blind)}", pytrace=False
        )
    return watcher


def prompt_for(prompt: BleedPrompt, tenants: Lookalikes) -> str:
    """What the user of the first lookalike tenant says."""
    own, other = tenants
    return prompt.text(own.name, other.name, other.id)


def ledger_of(run: Run | None) -> Ledger:
    """The ledger of the running test; an empty one without the flag."""
    return run.monitor.ledger if run is not None else Ledger()
