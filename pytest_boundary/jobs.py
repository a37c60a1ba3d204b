"""What the seams of job queues share: judging a payload, and running a job as a worker would.

A job that a test executes in its own process gets nothing of its caller's context. Without this, an eager queue hides a
lost boundary, since the job then inherits what no worker has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.checks.jobs import judge_job
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Operation

PAYLOAD = "job payload"
MAX_PUBLISHED = 10_000


class Published:
    """Whose boundary each job was enqueued in, for workers in this process."""

    def __init__(self) -> None:
        self._by_id: dict[str, Active] = {}

    def keep(self, job_id: str, caller: Active) -> None:
        """Remember a job; the oldest are forgotten."""
        if len(self._by_id) >= MAX_PUBLISHED:
            self._by_id.pop(next(iter(self._by_id)))
        self._by_id[job_id] = caller

    def get(self, job_id: str) -> Active | None:
        """Who enqueued it; None where that was another process, or nobody's boundary was active."""
        return self._by_id.get(job_id)


def enqueued(
    monitor: Monitor,
    operation: Operation,
    name: str,
    payload: Any,
    also: Any = (),
    *,
    free: Callable[[], bool] = bool,
) -> None:
    """Judge and look at a job on its way into a queue; `payload` are its arguments, by name where those are known.

    `also` are headers or the like, `free` says that nobody of the project sends it.
    """
    __tracebackhide__ = True

    def judge(active: Active) -> Judgement:
        if free():
            return "free"
        return judge_job(payload, active, monitor.levels, monitor.settings.delimiters, name=name, also=also)

    monitor.before(operation, judge, lambda: f"job {name!r}")
    monitor.watcher.surface([payload, also], PAYLOAD, operation)


def by_name(function: Any, args: Any, kwargs: Any) -> Any:
    """The arguments by the names of a function's parameters, where they fit."""
    try:
        return dict(inspect.signature(function).bind_partial(*(args or ()), **(kwargs or {})).arguments)
    except (TypeError, ValueError):
        return [args, kwargs]


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
