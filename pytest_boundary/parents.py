"""Objects that the application's callers hold: what hangs on the boundary's own object is the boundary's, too.

`Comment.objects.filter(ticket=ticket)` names no tenant and needs none where `ticket` is an object that was loaded and
that says itself whose it is. An id alone (of a URL, of a test) proves nothing. Looked for where a finding would be made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.checks.rows import belongs
from pytest_boundary.checks.sql import Parents
from pytest_boundary.monitor import Monitor

MAX_CALLERS = 30  # frames of the application that are looked into
# Foreign keys of others to an object: the child's table and column, the value. None where it is no loaded object.
Children = Callable[[Any], "Mapping[tuple[str, str], object] | None"]


def held_parents(
    monitor: Monitor, active: Active, children: Children, fields: Callable[[Any], Mapping[str, Any]]
) -> Parents:
    """The foreign keys to all objects of the boundary that the callers hold: in a variable, or in one of `self`."""
    found: dict[tuple[str, str], list[object]] = {}
    for value in _held(monitor):
        keys = children(value)
        if keys and belongs(fields(value), active, monitor.levels):
            for place, key in keys.items():
                if key is not None:
                    found.setdefault(place, []).append(key)
    return found


def _held(monitor: Monitor) -> Iterator[object]:
    frames = monitor.frames
    for frame in islice(frames.user_frames(frames.nearest(sys._getframe(1))), MAX_CALLERS):
        if frames.is_test(frame.f_code.co_filename):
            continue  # what a test has loaded proves nothing of the application
        for name, value in list(frame.f_locals.items()):
            yield value
            if name == "self":
                yield from list(getattr(value, "__dict__", {}).values())
