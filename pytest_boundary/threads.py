"""Executors that a client makes for its own work: what they run is judged as if it were called where it was handed over."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from pytest_boundary.monitor import Monitor


def carrying(original: type[ThreadPoolExecutor], monitor: Monitor) -> type[ThreadPoolExecutor]:
    """A class of executors that takes the boundary, and who asked, into its threads."""

    class Executor(original):  # type: ignore[valid-type, misc]
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(monitor.carried(function), *args, **kwargs)  # type: ignore[no-any-return]

    return Executor
