"""One pytest run with the flag: seams on and off, a ledger for each test, and what a finding does to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest._code.code import ExceptionChainRepr, ReprEntry, ReprFileLocation, ReprTraceback

from pytest_boundary import BoundaryFailure, UnscopedAccess, config, fixtures, summary
from pytest_boundary.active import Active
from pytest_boundary.frames import Frames
from pytest_boundary.ledger import Finding, Ledger, noted
from pytest_boundary.levels import Levels
from pytest_boundary.message import RULES, block, headline
from pytest_boundary.monitor import Monitor, Phase
from pytest_boundary.seams import Seams

SWALLOWED = "the application caught this exception; the test would have passed"


class Run:
    """The hooks of pytest that judge; registered with the flag alone."""

    def __init__(self, pytest_config: pytest.Config, mode: str) -> None:
        self.settings = config.load(pytest_config, mode)
        levels = Levels(self.settings.levels, self.settings.boundary)
        frames = Frames(Path(pytest_config.rootpath), self.settings.test_files)
        self.monitor = Monitor(self.settings, frames, levels)
        self.seams = Seams(self.monitor)
        self.unnecessary: list[str] = []  # tests whose cross_boundary mark nothing needed
        self.incomplete: list[str] = []  # workers that did not report
        self.blind: list[str] = []  # what the leaky self-check did not notice
        self._known_kinds = {*RULES, *(seam.name for seam in self.seams.seams)}
        for name in self.settings.require:
            if name not in self._known_kinds:
                known = ", ".join(sorted(self._known_kinds))
                raise pytest.UsageError(
                    f"--boundary-require: unknown client or kind {name!r} (known: {known})"
                )

    @property
    def ledger(self) -> Ledger:
        """Everything that the run has seen."""
        return self.monitor.session

    def start(self) -> None:
        """Arm the seams."""
        self.seams.arm()

    def stop(self) -> None:
        """Put every client back as it was."""
        self.seams.restore()

    def pytest_collection_finish(self) -> None:
        """The test modules are imported, and with them the clients: a seam that does not fit ends the run."""
        if self.monitor.broken:
            raise pytest.UsageError("\n".join(["boundlint: " + text for text in self.monitor.broken]))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        """A new ledger for each attempt at a test."""
        self.monitor.ledger = Ledger()
        self.monitor.nodeid = item.nodeid
        self.monitor.boundaries.item = None
        self.monitor.watcher.reset()
        fixtures.reason_of(item)  # a mark without a reason is an error even where the test is skipped
        return (yield from self._phase(item, "setup"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        """Watch the test itself."""
        boundary, reason = fixtures.own_boundary(item), fixtures.reason_of(item)
        if boundary is not None or reason:
            ids = {str(level): value for level, value in boundary.ids.items()} if boundary else {}
            line = (item.location[1] or 0) + 1
            self.monitor.boundaries.item = Active(ids, reason, str(item.path), line)
        try:
            return (yield from self._phase(item, "call"))
        finally:
            if reason and not self.monitor.ledger.necessary:
                self.unnecessary.append(item.nodeid)
            self.monitor.boundaries.item = None
            for finding in self.monitor.ledger.findings:
                text = f"{finding.site} {finding.operation}"
                item.user_properties.append((f"boundary.{finding.rule}", text))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """The last of a test: its ledger goes into that of the run."""
        try:
            return (yield from self._phase(item, "teardown"))
        finally:
            self.ledger.merge(self.monitor.ledger)
            self.monitor.ledger = self.monitor.session
            self.monitor.nodeid = ""

    def _phase(self, item: pytest.Item, phase: Phase) -> Iterator[None]:
        self.monitor.phase = phase
        self.monitor.boundaries.thread = threading.get_ident()
        known = set(self.monitor.ledger.found)
        try:
            result = yield
        except (pytest.skip.Exception, UnscopedAccess) as error:
            if isinstance(error, pytest.skip.Exception) and self._new(known):
                self._fail(known)
            raise
        else:
            if self.settings.mode == "strict" and self._new(known):
                self._fail(known)
            return result
        finally:
            self.monitor.phase = ""

    def _new(self, known: set[tuple[object, ...]]) -> list[Finding]:
        return [finding for key, finding in self.monitor.ledger.found.items() if key not in known]

    def _fail(self, known: set[tuple[object, ...]]) -> None:
        __tracebackhide__ = True
        if self.settings.mode != "strict":
            return
        raise BoundaryFailure("\n\n".join(block(finding) for finding in noted(self._new(known), SWALLOWED)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Iterator[None]:  # gives pytest's report
        """A finding is shown as its block; another failure keeps its own text and the block beside it."""
        report = yield
        findings = self.monitor.ledger.findings
        if call.excinfo is not None and report.failed and findings:  # type: ignore[attr-defined]
            error = call.excinfo.value
            if isinstance(error, (UnscopedAccess, BoundaryFailure)):
                report.longrepr = _shown(str(error), findings, error)  # type: ignore[attr-defined]
            else:
                text = "\n\n".join(block(finding) for finding in findings)
                report.sections.append(("boundlint", text))  # type: ignore[attr-defined]
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run for what belongs to no single test; write the report."""
        worker = getattr(session.config, "workeroutput", None)
        if worker is not None:
            from pytest_boundary.workers import give

            give(self, worker)
            return
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) and self.problems():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.settings.report is not None:
            from pytest_boundary import report

            report.write(self.settings.report, self.ledger, self.problems())

    def unobserved(self) -> tuple[str, ...]:
        """The required clients and kinds that were never judged."""
        from pytest_boundary.ledger import JUDGED

        seen = {
            name
            for access, _ in self.ledger.operations
            if access.verdict in JUDGED
            for name in (access.client, access.kind)
        }
        return tuple(name for name in self.settings.require if name not in seen)

    def problems(self) -> tuple[str, ...]:
        """Why the run fails although its tests may have passed."""
        found = [f"enforcement is incomplete: {text}" for text in self.monitor.broken]
        found += [f"error of pytest_boundary itself {text}" for text in self.monitor.faults]
        found += [
            f"the leaky self-check was not noticed, the run is inconclusive: {text}" for text in self.blind
        ]
        found += [f"{worker} did not report what it saw" for worker in self.incomplete]
        found += [
            f"--boundary-require: {name} was never observed (mocked away, or not imported)"
            for name in self.unobserved()
        ]
        if self.settings.mode == "strict":
            found += [f"outside of any test:\n{block(f)}" for f in self.ledger.findings if not f.nodeid]
        return tuple(found)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """One block at the end."""
        if hasattr(terminalreporter.config, "workerinput"):
            return
        terminalreporter.section("boundary")
        for line in summary.lines(self.ledger, self.settings, self.problems(), self.unnecessary):
            terminalreporter.write_line(line)


def _shown(text: str, findings: tuple[Finding, ...], error: BaseException) -> ExceptionChainRepr:
    """The representation that pytest (and xdist) shows: the blocks, and one line for the short summary."""
    shown = text.split("\n")[0]
    first = next((finding for finding in findings if headline(finding) == shown), findings[0])
    others = [
        block(finding) for finding in findings if block(finding) not in text and headline(finding) not in text
    ]
    body = "\n\n".join([text, *others])
    entry = ReprEntry(body.split("\n"), None, None, None, "value")
    crash = ReprFileLocation(first.site.path, first.site.line, headline(first))
    return ExceptionChainRepr([(ReprTraceback([entry], None, "value"), crash, None)])
