"""Which of Django's queries a test itself builds and runs, with nothing in between but the ORM: set-up and assertions."""

from __future__ import annotations

import contextlib
import os
import sys
from types import FrameType, ModuleType
from typing import Any

from pytest_boundary.frames import OWN
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher

OF_TEST = "_boundlint_of_test"  # on a query, and on all that are made of it
CONTEXTS = contextlib.__file__  # `transaction.atomic` as a decorator


def called_by_test(monitor: Monitor, frame: FrameType | None) -> bool:
    """Whether a test calls the ORM itself: no view, no framework and no code of the application stands in between."""
    frames = monitor.frames
    folder = os.path.dirname(str(sys.modules["django"].__file__)) + os.sep
    orm = (folder + "db" + os.sep, folder + "shortcuts.py", folder + "utils" + os.sep, *OWN)
    manager = sys.modules["django.db.models.manager"].BaseManager
    while frame is not None:
        code = frame.f_code
        if frames.is_user(code.co_filename):
            # `get_queryset` of a manager of the application's own is a part of each query
            if code.co_name != "get_queryset" or not isinstance(frame.f_locals.get("self"), manager):
                return frames.is_test(code.co_filename)
        elif not code.co_filename.startswith((*orm, CONTEXTS)):
            return False
        frame = frame.f_back
    return False


def built_by_test(queryset: Any) -> bool:
    """Whether a test has asked a manager for a query, which is nobody's where there is none (`save()`)."""
    return queryset is None or bool(vars(queryset.query).get(OF_TEST, False))


def install_managers(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Remember of a query whether a test has asked for it: it may run far from there."""

    def mark(query: Any, frame: FrameType) -> None:
        if called_by_test(monitor, frame):
            setattr(query, OF_TEST, True)

    def make(original: Any) -> Any:
        def get_queryset(manager: Any) -> Any:
            found = original(manager)
            if monitor.boundaries.item is not None:
                patcher.attempt(mark, found.query, sys._getframe(1))
            return found

        return get_queryset

    patcher.replace(module.BaseManager, "get_queryset", make)
