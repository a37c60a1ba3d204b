"""Makes findings of what is wrong with an access: the user's line, the way to it, the boundary, the repair."""

from __future__ import annotations

import fnmatch
import threading
from types import FrameType

from boundlint.boundary import LEVELS
from pytest_boundary.active import Active
from pytest_boundary.config import PluginSettings
from pytest_boundary.frames import Frames
from pytest_boundary.ledger import Finding, Site
from pytest_boundary.message import RULES, argument_source, title
from pytest_boundary.operations import Missing, Operation


def is_shared(
    settings: PluginSettings, operation: Operation, missing: Missing, frame: FrameType | None
) -> bool:
    """Whether the project has declared what is at fault as shared, or the code that asks as unscoped."""
    patterns = settings.shared
    if missing.names and all(any(fnmatch.fnmatchcase(n, p) for p in patterns) for n in missing.names):
        return True
    dotted = [operation.operation]
    if frame is not None:
        function = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
        dotted.append(f"{frame.f_globals.get('__name__', '')}.{function}")
    return any(fnmatch.fnmatchcase(name, p) for name in dotted for p in settings.unscoped)


def finding(
    operation: Operation,
    missing: Missing,
    shown: str,
    frame: FrameType | None,
    active: Active,
    frames: Frames,
    *,
    nodeid: str,
    elsewhere: bool,
) -> Finding:
    """All that is to be said of an access; `elsewhere` is a thread that is not the test's."""
    notes: list[str] = []
    source = ""
    if frame is not None:
        site, source = frames.site(frame), frames.source(frame)
    else:
        site = Site(frames.shown(active.path), active.line, "")
        notes.append("no line of yours is on the stack; this is where the boundary was entered")
    fix = missing.fix
    if "{argument}" in fix:
        written = argument_source(source, operation.method, missing.position)
        fix = fix.replace("{argument}", written or "…")
    return Finding(
        rule=missing.rule or RULES[operation.kind],
        title=missing.title or title(operation.kind, operation.effect, missing.verdict),
        verdict=missing.verdict,
        client=operation.client,
        kind=operation.kind,
        operation=operation.operation,
        site=site,
        source=source,
        shown=shown,
        context=_context(frame, frames, elsewhere=elsewhere),
        boundary=_entered(active, frames),
        missing=missing.text,
        fix=fix,
        notes=tuple(notes),
        nodeid=nodeid,
    )


def _entered(active: Active, frames: Frames) -> str:
    if not active.ids:
        return "none is active"
    where = f"{frames.shown(active.path)}:{active.line}" if active.line else active.path
    return f"{active.described(LEVELS)}, " + (f"entered at {where}" if active.line else f"from {where}")


def _context(frame: FrameType | None, frames: Frames, *, elsewhere: bool) -> str:
    parts: list[str] = []
    if elsewhere:
        parts.append(f"thread {threading.current_thread().name!r}")
    if frame is None:
        return ", ".join(parts)
    # the way through a greenlet may meet the frame itself again
    outer = [other for other in frames.user_frames(frame.f_back) if other is not frame]
    if frame.f_code.co_flags & 0x80:  # CO_COROUTINE
        parts.append("async")
    caller = next((f for f in outer if not frames.is_test(f.f_code.co_filename)), None)
    if caller is not None:
        site = frames.site(caller)
        parts.append(f"via {site} {site.function}")
    return ", ".join(parts)
