"""Runs a job that a test executes in its own process as a worker would: with nothing of its caller's context.

Without this an eager queue hides a lost boundary, since the job then inherits what no worker has.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.monitor import Monitor


def run(monitor: Monitor, caller: Active, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function as a job that was enqueued in the boundary `caller`.

    In report mode, which changes no outcome, the application's own context variables stay.
    """
    __tracebackhide__ = True
    context = copy_context() if monitor.settings.mode == "report" else Context()

    def job() -> Any:
        __tracebackhide__ = True
        monitor.boundaries.begin_job(caller)
        return function(*args, **kwargs)

    return context.run(job)
