"""The progress bar on a terminal. It appears only when a run takes long enough to make one wonder."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_DELAY = 0.7  # seconds
_REFRESH = 0.1


class ProgressBar:
    """A context manager; its `update` is the progress callback of the engine."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._shown = 0.0
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` files have passed the stage."""
        if self._bar is None:
            if time.monotonic() - self._start < _DELAY:
                return
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (TextColumn("{task.description:>6}"), BarColumn(), MofNCompleteColumn())
            # No thread refreshes it: the engine forks its workers, and a fork may not meet running threads.
            console = Console(stderr=True)
            self._bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
            self._bar.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage, total=total)
        now = time.monotonic()
        if done == total or now - self._shown >= _REFRESH:
            self._shown = now
            self._bar.update(self._tasks[stage], completed=done, total=total, refresh=True)
