"""Judges each access that a seam reports, and does what the mode says. One object a run; seams know only this."""

from __future__ import annotations

import fnmatch
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FrameType
from typing import Any, Literal

from boundlint.boundary import LEVELS, Scope
from pytest_boundary import BoundaryWarning, UnscopedAccess
from pytest_boundary.active import Active, Boundaries, innermost
from pytest_boundary.bleed.canaries import Canaries, Canary
from pytest_boundary.bleed.watcher import Watcher, fix_of, rule_of, rule_of_own
from pytest_boundary.config import PluginSettings
from pytest_boundary.frames import Frames
from pytest_boundary.ledger import Access, Finding, Ledger, Site, Verdict
from pytest_boundary.levels import Levels
from pytest_boundary.message import RULES, argument_source, block, described, title

NOBODY = Active({})
NOWHERE = Site("", 0, "")
Phase = Literal["", "setup", "call", "teardown"]


@dataclass(frozen=True, eq=False)
class Operation:
    """What a seam knows of a call beforehand, made once and kept: the catalog's target is its id.

    `exactly` finds the operation that the user called, from inside of a hook, where many of them end in one hook
    and only a finding or a report asks which it was.
    """

    client: str
    operation: str
    kind: str
    effect: str
    exactly: Callable[[], Operation] | None = None
    of_test: bool = (
        False  # what a test itself built and runs: in the boundary of its mark it is set-up, or asserts
    )

    @property
    def method(self) -> str:
        """What the call site writes."""
        return self.operation.rpartition(".")[2]

    @cached_property
    def scoped(self) -> Access:
        """As it counts where it is scoped and no line is asked for."""
        return self.counted("scoped")

    @cached_property
    def free(self) -> Access:
        """As it counts where it touches nobody's data and no line is asked for."""
        return self.counted("free")

    def counted(self, verdict: Verdict, site: Site = NOWHERE, shown: str = "") -> Access:
        """As it counts."""
        return Access(self.client, self.kind, self.effect, self.operation, site, verdict, shown[:200])


@dataclass(frozen=True)
class Missing:
    """Why an access is not scoped.

    `names` are the keys, tables or collections at fault, which a project may have declared as shared. `fix` may hold
    `{argument}`, which becomes the source of the argument at `position`. `rule` and `title` replace those of the
    operation's kind.
    """

    text: str
    names: tuple[str, ...] = ()
    fix: str = ""
    position: int = 0
    rule: str = ""
    title: str = ""
    verdict: Verdict = "unscoped"


Judgement = Missing | Literal["scoped", "free"]
Judge = Callable[..., Judgement]  # takes the boundary, then what the seam has given


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
        if self._shared(operation, missing, frame):
            self._count(operation, "shared", shown, given)
            return
        self._count(operation, missing.verdict, shown, given)
        if self.settings.mode == "report" and frame is not None:
            # in a loop: the ledger has this finding, and nobody is to be told again
            again = (operation, id(frame.f_code), frame.f_lineno, missing)
            if again in self.ledger.reported:
                return
            self.ledger.reported.add(again)
        finding = self._finding(operation, missing, shown(*given), frame, active)
        self.record(finding, frame)

    def record(self, finding: Finding, frame: FrameType | None) -> None:
        """Keep a finding, then raise or warn as the mode says."""
        __tracebackhide__ = True
        self.ledger.add(finding)
        if self.settings.mode == "strict":
            raise UnscopedAccess(block(finding))
        if self.settings.mode == "warn":
            filename = frame.f_code.co_filename if frame is not None else finding.site.path
            warnings.warn_explicit(block(finding), BoundaryWarning, filename, finding.site.line or 1)

    def _shared(self, operation: Operation, missing: Missing, frame: FrameType | None) -> bool:
        patterns = self.settings.shared
        if missing.names and all(any(fnmatch.fnmatchcase(n, p) for p in patterns) for n in missing.names):
            return True
        dotted = [operation.operation]
        if frame is not None:
            function = getattr(frame.f_code, "co_qualname", frame.f_code.co_name)
            dotted.append(f"{frame.f_globals.get('__name__', '')}.{function}")
        return any(fnmatch.fnmatchcase(name, p) for name in dotted for p in self.settings.unscoped)

    def _finding(
        self, operation: Operation, missing: Missing, shown: str, frame: FrameType | None, active: Active
    ) -> Finding:
        notes: list[str] = []
        source = ""
        if frame is not None:
            site, source = self.frames.site(frame), self.frames.source(frame)
        else:
            site = Site(self.frames.shown(active.path), active.line, "")
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
            context=self._context(frame),
            boundary=self._entered(active),
            missing=missing.text,
            fix=fix,
            notes=tuple(notes),
            nodeid=self.nodeid,
        )

    def _entered(self, active: Active) -> str:
        if not active.ids:
            return "none is active"
        where = f"{self.frames.shown(active.path)}:{active.line}" if active.line else active.path
        return f"{active.described(LEVELS)}, " + (f"entered at {where}" if active.line else f"from {where}")

    def _context(self, frame: FrameType | None) -> str:
        parts: list[str] = []
        if self.asked.get() is None and threading.get_ident() != self.boundaries.thread:
            parts.append(f"thread {threading.current_thread().name!r}")
        if frame is None:
            return ", ".join(parts)
        # the way through a greenlet may meet the frame itself again
        outer = [other for other in self.frames.user_frames(frame.f_back) if other is not frame]
        if frame.f_code.co_flags & 0x80:  # CO_COROUTINE
            parts.append("async")
        caller = next((f for f in outer if not self.frames.is_test(f.f_code.co_filename)), None)
        if caller is not None:
            site = self.frames.site(caller)
            parts.append(f"via {site} {site.function}")
        return ", ".join(parts)
