"""Judges each access that a seam reports, and does what the mode says. One object a run; seams know only this."""

from __future__ import annotations

import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import CodeType, FrameType
from typing import Any, Literal

from boundlint.boundary import Scope
from pytest_boundary import BoundaryWarning, UnscopedAccess
from pytest_boundary.active import Active, Boundaries, innermost
from pytest_boundary.bleed.canaries import Canaries, Canary
from pytest_boundary.bleed.watcher import Watcher, fix_of, rule_of, rule_of_own
from pytest_boundary.config import PluginSettings
from pytest_boundary.findings import finding, is_shared
from pytest_boundary.frames import Frames
from pytest_boundary.ledger import Access, Finding, Ledger, Verdict
from pytest_boundary.levels import Levels
from pytest_boundary.message import block, described
from pytest_boundary.operations import NOWHERE, Judge, Missing, Operation

NOBODY = Active({})
Phase = Literal["", "setup", "call", "teardown"]


class Monitor:
    """What the seams of one run report to."""

    def __init__(self, settings: PluginSettings, frames: Frames, levels: Levels) -> None:
        self.settings = settings
        self.frames = frames
        self.levels = levels
        self.boundaries = Boundaries(levels, settings.current)
        self.session = Ledger()
        self.ledger = self.session
        self.nodeid = ""
        self.phase: Phase = ""
        self.faults: list[str] = []
        self.broken: list[str] = []
        self.watcher = Watcher(Canaries(), self)
        # set while an outer client's call is under way: the clients below it are the same access
        self.claimed: ContextVar[bool] = ContextVar("boundlint_claimed", default=False)
        # SQL that a client above has judged: the driver below takes it out and does not judge it again
        self.handed: ContextVar[list[str] | None] = ContextVar("boundlint_judged", default=None)
        self.hands_down = False  # whether any client did that in this run
        # who asked, where a client hands its work to a thread of its own
        self.asked: ContextVar[tuple[Active | None, FrameType | None] | None] = ContextVar(
            "boundlint_asked", default=None
        )
        # Where nobody asks for a report, an access that is no finding counts without its line.
        self.by_site = settings.report is not None
        self._scope: Scope | None = None  # the latest scope that `active` met, and what it gave
        self._active: Active | None = None
        self._known: dict[tuple[Operation, int, int, Verdict], tuple[Access, CodeType | None]] = {}

    def before(
        self, operation: Operation, judge: Judge, shown: Callable[..., str] = str, *given: Any
    ) -> Active | None:
        """Judge an access before it happens, by `judge(boundary, *given)`. Raises `UnscopedAccess` in strict mode.

        `shown(*given)` is the scope argument for people; both are called where they are needed. Gives the active
        boundary, for `foreign`, or None where nothing is to be checked afterwards.
        """
        __tracebackhide__ = True
        if self.claimed.get():
            return None
        asked = self.asked.get()
        active = self.boundaries.active() if asked is None else asked[0]
        if active is None:
            return self._without_boundary(operation, judge, shown, given)
        judgement = judge(active, *given)
        if active.reason:
            if isinstance(judgement, Missing):
                self.ledger.necessary = True
            self._count(operation, "crossed", shown, given)
            return None
        if isinstance(judgement, Missing):
            self._report(operation, judgement, shown, given, active)
        else:
            self.passed(operation, judgement, shown, *given)
        return active

    def passed(
        self, operation: Operation, verdict: Literal["scoped", "free"], shown: Callable[..., str], *given: Any
    ) -> None:
        """Count an access that is in the active boundary, or touches nobody's data. `before` does this itself."""
        if self.by_site:
            self._count(operation, verdict, shown, given)
            return
        self.ledger.counts[operation.scoped if verdict == "scoped" else operation.free] += 1

    def foreign(
        self, operation: Operation, active: Active, owner: str, shown: Callable[..., str] = str, *given: Any
    ) -> None:
        """Report that the client returned data that names another owner. Raises in strict mode."""
        __tracebackhide__ = True
        if active.reason or self.claimed.get():
            return
        missing = Missing(
            f"the result names the {owner}, not {active.described()}",
            rule="BND302" if operation.kind == "retrieval" else "",
            fix="let the store filter by the boundary, so that no other tenant's data is read",
            verdict="foreign-row",
        )
        self._report(operation, missing, shown, given, active)

    def read(self, operation: Operation, value: object, shown: Callable[..., str] = str, *given: Any) -> None:
        """A store gave this value: its marks count from now on, and another tenant's are a finding."""
        __tracebackhide__ = True
        if not self.watcher.canaries:
            return
        active = self.active()
        canary = self.watcher.read(value, operation.kind, active)
        if canary is not None and active is not None:
            self.foreign(operation, active, f"data of {canary}", shown, *given)

    def bled(
        self,
        canary: Canary,
        kind: str,
        surface: str,
        active: Active,
        operation: Operation | None,
        *,
        own: bool = False,
    ) -> None:
        """A mark that was read from a store in this test left on a surface. Raises in strict mode.

        It is another tenant's, or the tenant's `own` where the test keeps such out.
        """
        __tracebackhide__ = True
        called = operation or Operation("bleed", f"surface {surface!r}", kind, "write")
        if self.settings.mode != "strict" and self._told_above(canary, surface, called):
            return
        missing = Missing(
            f"it holds a value of {canary}, which this test has read from a store"
            + (" and keeps out of here" if own else ""),
            fix=fix_of(surface, own),
            rule=rule_of_own(surface, kind) if own else rule_of(surface, kind),
            title=f"{'the tenant' if own else 'another tenant'}'s data in the {surface}",
            verdict="bleed",
        )
        # a short window: enough to find the value, never what stands around it
        self._report(called, missing, "value '{}…'".format, (canary.token[:8],), active)

    def _told_above(self, canary: Canary, surface: str, called: Operation) -> bool:
        """Whether another client has told the same of the same line: a framework, and the SDK below it.

        In strict mode the first one raises, so that there is no second.
        """
        frame = self._frame()
        if frame is None:
            return False
        place = (canary.token, surface, id(frame.f_code), frame.f_lineno)
        own, told = (*place, called.client), self.ledger.reported
        if place in told and own not in told:
            return True
        told.update((place, own))
        return False

    def _frame(self) -> FrameType | None:
        """The user's frame that asked; our own frames are never the user's."""
        asked = self.asked.get()
        return self.frames.nearest(sys._getframe(1)) if asked is None else asked[1]

    def active(self) -> Active | None:
        """The boundary that an access is to be compared with, None where it is not to be.

        On the way of every access: as little as can be.
        """
        if self.claimed.get():
            return None
        asked = self.asked.get()
        if asked is not None:
            active = asked[0]
            return None if active is None or active.reason else active
        scope = innermost.get()
        if scope is not None and scope is self._scope:
            return self._active
        active = self.boundaries.caller()
        self._scope, self._active = scope, None if active is None or active.reason else active
        return self._active

    @contextmanager
    def claiming(self) -> Iterator[None]:
        """What is called in here belongs to an access that was judged, or is the plugin's own."""
        token = self.claimed.set(True)
        try:
            yield
        finally:
            self.claimed.reset(token)

    def carried(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function for a client's own worker thread, which is judged as if it were called here."""
        context = copy_context()
        context.run(self.asked.set, self.asked.get() or (self.boundaries.active(), self._frame()))
        return lambda *args, **kwargs: context.copy().run(function, *args, **kwargs)

    def judged(self, text: str) -> None:
        """Say that a client has judged this SQL, which it is about to hand to its driver."""
        self.hands_down = True
        self.handed.set([text])

    def take_judged(self, text: str) -> bool:
        """Whether a client above the driver has judged this SQL; true once."""
        judged = self.handed.get()
        if judged and judged[0] == text:
            judged.clear()
            return True
        return False

    def fault(self, seam: str, error: BaseException) -> None:
        """Keep an error of our own: the run fails, the test's result stays what it is."""
        trace = "".join(traceback.format_exception(error, limit=-3))
        self.faults.append(f"in the seam {seam!r}, during {self.nodeid or 'start-up'}:\n{trace}")

    def _without_boundary(
        self, operation: Operation, judge: Judge, shown: Callable[..., str], given: tuple[Any, ...]
    ) -> Active | None:
        __tracebackhide__ = True
        if self.phase != "call":
            self._count(operation, "setup", shown, given)
            return None
        lost = self.boundaries.elsewhere()
        if lost is not None and lost.reason:
            self._count(operation, "crossed", shown, given)
            return None
        frame = self._frame()
        if lost is None and (frame is None or self.frames.is_test(frame.f_code.co_filename)):
            self._count(operation, "test", shown, given)
            return None
        judgement = judge(lost or NOBODY, *given)
        in_job = self.boundaries.job.get() is not None
        if judgement == "free" or (judgement == "scoped" and (lost is None or in_job)):
            self._count(operation, judgement, shown, given)
            return lost if judgement == "scoped" else None  # a job whose payload says for whom
        names = judgement.names if isinstance(judgement, Missing) else ()
        if in_job:
            missing = Missing(
                f"this job has no boundary, and {judgement.text if isinstance(judgement, Missing) else 'needs one'}",
                names,
                "with boundary_scope(…):   in the job, for whom its payload says (take_snapshot, still_allowed)",
                rule="BND603",
                title=f"boundary lost on the way into a job, before a {described(operation.kind, operation.effect)}",
                verdict="lost-boundary",
            )
        elif lost is not None:
            missing = Missing(
                "this thread has no boundary: threads, executors and timers start with an empty context",
                names,
                "executor.submit(carry_context(function), …)   (from boundlint.boundary)",
                rule="BND603",
                verdict="lost-boundary",
            )
        else:
            missing = Missing(
                "nothing says for whom this code runs",
                names,
                "with boundary_scope(boundary):   or mark the test with @pytest.mark.boundary(tenant=…)",
                rule="BND101",
                verdict="no-boundary",
            )
        self._report(operation, missing, shown, given, lost or NOBODY)
        return None

    def _count(
        self, operation: Operation, verdict: Verdict, shown: Callable[..., str], given: tuple[Any, ...]
    ) -> None:
        frame = self._frame()
        operation = operation.exactly() if operation.exactly is not None else operation
        code, line = (frame.f_code, frame.f_lineno) if frame is not None else (None, 0)
        # a code object hashes all that it holds; its id serves as long as it is kept
        key = (operation, id(code), line, verdict)
        known = self._known.get(key)
        if known is None:
            site = self.frames.site(frame) if frame is not None else NOWHERE
            known = self._known[key] = (operation.counted(verdict, site, shown(*given)), code)
        self.ledger.saw(known[0])

    def _report(
        self,
        operation: Operation,
        missing: Missing,
        shown: Callable[..., str],
        given: tuple[Any, ...],
        active: Active,
    ) -> None:
        __tracebackhide__ = True
        frame = self._frame()
        operation = operation.exactly() if operation.exactly is not None else operation
        if operation.of_test and self.boundaries.of_item(active) and not self.settings.judge_tests:
            self._count(operation, "test", shown, given)
            return
        if is_shared(self.settings, operation, missing, frame):
            self._count(operation, "shared", shown, given)
            return
        self._count(operation, missing.verdict, shown, given)
        if self.settings.mode == "report" and frame is not None:
            # in a loop: the ledger has this finding, and nobody is to be told again
            again = (operation, id(frame.f_code), frame.f_lineno, missing)
            if again in self.ledger.reported:
                return
            self.ledger.reported.add(again)
        told = finding(
            operation,
            missing,
            shown(*given),
            frame,
            active,
            self.frames,
            nodeid=self.nodeid,
            elsewhere=self.asked.get() is None and threading.get_ident() != self.boundaries.thread,
        )
        self.record(told, frame)

    def record(self, finding: Finding, frame: FrameType | None) -> None:
        """Keep a finding, then raise or warn as the mode says."""
        __tracebackhide__ = True
        self.ledger.add(finding)
        if self.settings.mode == "strict":
            raise UnscopedAccess(block(finding))
        if self.settings.mode == "warn":
            filename = frame.f_code.co_filename if frame is not None else finding.site.path
            warnings.warn_explicit(block(finding), BoundaryWarning, filename, finding.site.line or 1)
