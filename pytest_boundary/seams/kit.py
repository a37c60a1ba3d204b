"""boundlint's own boundary scopes: knows which are open, so that one lost in a thread is told from none."""

from __future__ import annotations

from sys import _getframe
from types import ModuleType
from typing import Any

from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch scopes being entered and left."""
    opened = monitor.boundaries.open

    def entering(original: Any) -> Any:
        def enter(scope: Any) -> Any:
            if scope.entered_at is None:  # the place of the caller, not that of this function
                caller = _getframe(1)
                scope.entered_at = (caller.f_code.co_filename, caller.f_lineno)
            boundary = original(scope)
            opened.append(module.current_scope())
            return boundary

        return enter

    def leaving(original: Any) -> Any:
        def leave(scope: Any, *error: Any) -> Any:
            left = module.current_scope()
            if left in opened:
                opened.remove(left)
            return original(scope, *error)

        return leave

    patcher.replace(module._Entering, "__enter__", entering)
    patcher.replace(module._Entering, "__exit__", leaving)


SEAM = Seam("boundary kit", "boundlint", {"boundlint.boundary": install})
