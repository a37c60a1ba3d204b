"""rq: payloads where a job is made, and jobs that run in this process: `SimpleWorker`, `is_async=False`.

What rq itself keeps in redis is its own affair; a worker that forks is not seen.
"""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, jobs
from pytest_boundary.active import Active
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

SCHEDULERS = ("rq.worker.", "rq.scheduler.", "rq.cron.")  # make jobs for which no line of the project asks


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch `Job.create`, which every way of enqueueing calls, and `Job.perform`, which every worker does."""
    published = jobs.Published()
    operation = catalog.operation("rq", "rq.Queue.enqueue", "queue", "enqueue")

    def creating(original: Any) -> Any:
        if not isinstance(original, classmethod):
            raise patcher.broken("Job.create is no class method any more")
        function = original.__func__
        signature = inspect.signature(function)

        @functools.wraps(function)
        def create(cls: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if monitor.claimed.get():
                return function(cls, *args, **kwargs)
            judge(
                signature.bind(cls, *args, **kwargs).arguments
            )  # what does not fit is the caller's own error
            job = function(cls, *args, **kwargs)
            if (caller := monitor.boundaries.caller()) is not None:
                published.keep(job.id, caller)
            return job

        return classmethod(create)

    @patcher.guarded
    def judge(given: dict[str, Any]) -> None:
        __tracebackhide__ = True
        called, args, kwargs = given["func"], given.get("args"), given.get("kwargs")
        name = called if isinstance(called, str) else f"{called.__module__}.{called.__qualname__}"
        payload = jobs.by_name(called, args, kwargs) if callable(called) else [args, kwargs]
        jobs.enqueued(
            monitor,
            operation,
            name,
            payload,
            given.get("meta") or (),
            free=lambda: monitor.frames.through(SCHEDULERS),
        )

    def performing(original: Any) -> Any:
        @functools.wraps(original)
        def perform(self: Any) -> Any:
            __tracebackhide__ = True
            caller: Active | None = published.get(self.id) or monitor.boundaries.caller()
            return original(self) if caller is None else jobs.run(monitor, caller, original, self)

        return perform

    patcher.replace(module.Job, "create", creating)
    patcher.replace(module.Job, "perform", performing)


SEAM = Seam("rq", "rq", {"rq.job": install})
