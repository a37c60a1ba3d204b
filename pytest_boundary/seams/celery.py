"""celery: payloads as they are published, and jobs that run in this process, eager or in a worker's thread.

A payload is judged where the message leaves (`kombu.Producer.publish`), after the project's own handlers of
`before_task_publish` have put their headers on it. Eager mode publishes nothing: there the handlers are called as with
a broker, and the job runs with nothing of its caller's context, as in a worker.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Token
from importlib import import_module
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, jobs
from pytest_boundary.active import Active
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

APPLY = "celery.Task.apply_async"
OWN = "celery."  # tasks of celery itself: unlocking a chord, cleaning up, ping
WORKER = ("celery.app.trace.",)  # publishes the next link of a chain, and unlocks chords
SHOWN = frozenset({"argsrepr", "kwargsrepr"})  # headers that repeat the payload
OURS = "boundlint"  # marks our handlers of signals


def judge(monitor: Monitor, name: str, payload: Any, headers: Any) -> None:
    """Judge and look at one job on its way into a queue."""
    __tracebackhide__ = True
    operation = catalog.operation("celery", APPLY, "queue", "enqueue")

    def free() -> bool:
        return name.startswith(OWN) or monitor.frames.through(WORKER)

    jobs.enqueued(monitor, operation, name, payload, headers, free=free)


def _message(body: Any, headers: Mapping[str, Any]) -> tuple[str, str, Any, Any] | None:
    """Name, id, payload and headers of a message of either protocol; None for one that is no task."""
    if "task" in headers and isinstance(body, (tuple, list)):
        rest = {name: value for name, value in headers.items() if name not in SHOWN}
        return headers["task"], headers.get("id", ""), body, rest
    if isinstance(body, Mapping) and "task" in body:
        return body["task"], body.get("id", ""), [body.get("args"), body.get("kwargs")], headers
    return None


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what is published, and the jobs that run in this process."""
    published = jobs.Published()
    _watch_publishing(import_module("kombu.messaging"), patcher, monitor, published)
    _watch_eager(module, patcher, monitor)
    _watch_workers(import_module("celery.signals"), patcher, monitor, published)


def _watch_publishing(
    module: ModuleType, patcher: Patcher, monitor: Monitor, published: jobs.Published
) -> None:
    def before(_producer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        __tracebackhide__ = True
        body = args[0] if args else kwargs.get("body")
        message = _message(body, kwargs.get("headers") or {})
        if message is None:
            return
        name, task_id, payload, headers = message
        caller = monitor.boundaries.caller()
        if caller is not None:
            published.keep(task_id, caller)
        judge(monitor, name, payload, headers)

    patcher.wrap(module.Producer, "publish", before, claims=True)


def _watch_eager(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """An eager application runs its jobs where others publish them."""
    eager = _Eager(monitor, patcher)

    def make(original: Any) -> Any:
        @functools.wraps(original)
        def apply(self: Any, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            links = _enqueued(monitor)
            if links is None:
                return original(self, args, kwargs, *more, **options)
            caller = monitor.boundaries.caller()
            headers = eager.enqueue(self, args, kwargs, options, links)
            if caller is None:
                return original(self, args, kwargs, *more, **options)
            if headers:
                options["headers"] = headers
            return jobs.run(monitor, caller, original, self, args, kwargs, *more, **options)

        return apply

    patcher.replace(module.Task, "apply", make)


def _watch_workers(module: ModuleType, patcher: Patcher, monitor: Monitor, published: jobs.Published) -> None:
    """Jobs begin before, and end after, the project's own handlers of the same signals."""
    begun: dict[str, Token[Active | None]] = {}

    def prerun(task: Any = None, task_id: str = "", **_: Any) -> None:
        request: Any = getattr(task, "request", None)
        if getattr(request, "is_eager", False):
            if request.headers:  # a worker has them as attributes too
                request.update(request.headers)
        elif (caller := published.get(task_id)) is not None:
            begun[task_id] = monitor.boundaries.begin_job(caller)

    def postrun(task_id: str = "", **_: Any) -> None:
        if (token := begun.pop(task_id, None)) is not None:
            monitor.boundaries.end_job(token)

    for signal, handler in ((module.task_prerun, prerun), (module.task_postrun, postrun)):
        signal.connect(handler, weak=False, dispatch_uid=OURS)
        patcher.undo(functools.partial(signal.disconnect, handler, dispatch_uid=OURS))


class _Eager:
    """Does for an eager job what publishing would do."""

    def __init__(self, monitor: Monitor, patcher: Patcher) -> None:
        self.monitor = monitor
        self.failed = patcher.failed

    def enqueue(self, task: Any, args: Any, kwargs: Any, options: Any, links: Any) -> dict[str, Any]:
        """Judge the payload; gives the headers that the job gets."""
        __tracebackhide__ = True
        try:
            headers = self._headers(task, args, kwargs, options)
            judge(self.monitor, task.name, [jobs.by_name(task.run, args, kwargs), links], headers)
        except Exception as error:
            self.failed(error)
            return {}
        return headers

    def _headers(self, task: Any, args: Any, kwargs: Any, options: Any) -> dict[str, Any]:
        headers = dict(options.get("headers") or {})
        if self.monitor.settings.mode == "report":  # which calls nothing that the application would not call
            return headers
        signal = sys.modules["celery.signals"].before_task_publish
        for receiver in signal._live_receivers(task.name):
            code = getattr(receiver, "__code__", None) or getattr(
                getattr(receiver, "__func__", None), "__code__", None
            )
            if code is None or not self.monitor.frames.is_user(code.co_filename):
                continue
            with suppress(Exception):  # celery logs it and goes on
                receiver(
                    signal=signal,
                    sender=task.name,
                    body=(args or (), kwargs or {}, {}),
                    headers=headers,
                    exchange=options.get("exchange"),
                    routing_key=options.get("routing_key"),
                    declare=[],
                    properties={},
                    retry_policy={},
                )
        return headers


def _enqueued(monitor: Monitor) -> Any:
    """What a chain carries besides, where celery runs a job in place of enqueueing it; None where the user runs it."""
    frame = sys._getframe(2)
    links: list[Any] = []
    enqueued = False
    while frame is not None and not monitor.frames.is_user(frame.f_code.co_filename):
        name = frame.f_code.co_name
        if name == "retry":
            return None
        if name == "apply" and type(frame.f_locals.get("self")).__name__ in ("_chain", "chain"):
            links += [(link.args, link.kwargs) for link in frame.f_locals["self"].tasks]
        enqueued = enqueued or name == "apply_async"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return links if enqueued else None


SEAM = Seam("celery", "celery", {"celery.app.task": install})
