"""arq: payloads as they are enqueued, and jobs that a worker of this process runs.

What arq itself keeps in redis is its own affair.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, jobs
from pytest_boundary.active import Active
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what is enqueued; a job begins with nothing of the context that its worker was started in."""
    published = jobs.Published()
    operation = catalog.operation("arq", "arq.ArqRedis.enqueue_job", "queue", "enqueue")

    def before(_redis: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        __tracebackhide__ = True
        name, *rest = args or (kwargs.get("function"),)
        payload = {
            key: value for key, value in kwargs.items() if not key.startswith("_") and key != "function"
        }
        jobs.enqueued(monitor, operation, str(name), [rest, payload])
        return monitor.boundaries.caller()

    def after(caller: Active, job: Any) -> None:
        if job is not None:  # None: a job of this id exists
            published.keep(job.job_id, caller)

    def running(original: Any) -> Any:
        @functools.wraps(original)
        async def run_job(self: Any, job_id: str, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            caller = published.get(job_id) or monitor.boundaries.caller()
            if caller is not None:  # in a task of its own, whose context ends with it
                monitor.boundaries.begin_job(caller)
            return await original(self, job_id, *args, **kwargs)

        return run_job

    patcher.wrap(module.ArqRedis, "enqueue_job", before, after, claims=True)
    patcher.replace(module.Worker, "run_job", running)


SEAM = Seam("arq", "arq", {"arq.worker": install})
