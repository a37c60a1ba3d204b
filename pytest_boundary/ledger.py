"""What a run has seen: accesses by site, and findings. Plain data that merges and travels as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Verdict = Literal[
    "scoped",  # the scope argument carries the boundary
    "free",  # no customer data: a table without an owner, a counter, a lock
    "unscoped",  # it does not
    "no-boundary",  # nothing says for whom
    "lost-boundary",  # … although a boundary is active in another thread
    "foreign-row",  # the client returned another tenant's data
    "bleed",  # another tenant's seeded value surfaced
    "crossed",  # inside of cross_boundary
    "shared",  # declared as shared by the configuration
    "test",  # the test's own call: no boundary was active, or it sets up and asserts by the ORM
    "setup",  # a fixture's call: no boundary was active
]
BAD: frozenset[Verdict] = frozenset({"unscoped", "no-boundary", "lost-boundary", "foreign-row", "bleed"})
JUDGED: frozenset[Verdict] = BAD | {"scoped", "crossed", "shared", "free"}


@dataclass(frozen=True)
class Site:
    """A line of user code; `path` is relative to the root where it lies below it."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, eq=False)
class Access:
    """One kind of access at one site, as it counts in summary and report. Compared by identity: it is counted."""

    client: str
    kind: str
    effect: str
    operation: str
    site: Site
    verdict: Verdict
    shown: str = ""  # the first scope argument seen there

    @property
    def key(self) -> tuple[object, ...]:
        """Two accesses with this in common are counted as one."""
        return (self.client, self.operation, self.site, self.verdict)


@dataclass(frozen=True)
class Finding:
    """An access outside of the boundary, with all that the message says."""

    rule: str
    title: str
    verdict: Verdict
    client: str
    kind: str
    operation: str
    site: Site
    source: str  # the user's line
    shown: str
    context: str  # "async, via app/agent.py:17 answer"
    boundary: str
    missing: str
    fix: str
    notes: tuple[str, ...] = ()
    nodeid: str = ""

    @property
    def identity(self) -> tuple[object, ...]:
        """Two findings of one test with this in common are one."""
        return (self.rule, self.verdict, self.operation, self.site, self.missing)


@dataclass
class Ledger:
    """The accesses and findings of one test, or of a whole run."""

    counts: Counter[Access] = field(default_factory=Counter)
    found: dict[tuple[object, ...], Finding] = field(default_factory=dict)
    necessary: bool = False  # an access needed the test's cross_boundary mark
    reported: set[Hashable] = field(
        default_factory=set
    )  # what needs no second finding, as the monitor tells it

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the order in which they happened."""
        return tuple(self.found.values())

    @property
    def operations(self) -> tuple[tuple[Access, int], ...]:
        """Each kind of access with the number of times it happened."""
        first: dict[tuple[object, ...], Access] = {}
        times: Counter[tuple[object, ...]] = Counter()
        for access, count in list(self.counts.items()):
            first.setdefault(access.key, access)
            times[access.key] += count
        return tuple((access, times[key]) for key, access in first.items())

    def saw(self, access: Access, times: int = 1) -> None:
        """Count an access."""
        self.counts[access] += times

    def add(self, finding: Finding) -> None:
        """Keep a finding; the first of its kind in a test stands for all."""
        self.found.setdefault((*finding.identity, finding.nodeid), finding)

    def accept(self, rule: str = "", *, count: int | None = None) -> tuple[Finding, ...]:
        """Take the findings of a rule (all without one) out of the ledger: this test expects them.

        Raises AssertionError where there are none, or not `count`: an expectation that is not met fails.
        """
        taken = {key: finding for key, finding in self.found.items() if finding.rule.startswith(rule)}
        if not taken or (count is not None and len(taken) != count):
            what = f"of {rule}" if rule else "at all"
            raise AssertionError(f"expected {count or 'some'} findings {what}, the ledger has {len(taken)}")
        for key in taken:
            del self.found[key]
        self.reported.clear()
        return tuple(taken.values())

    def merge(self, other: Ledger) -> None:
        """Add what another ledger has seen."""
        for access, times in other.counts.items():
            self.saw(access, times)
        for finding in other.findings:
            self.add(finding)

    def to_data(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "operations": [{**asdict(access), "count": count} for access, count in self.operations],
            "findings": [asdict(finding) for finding in self.findings],
        }


def from_data(data: Mapping[str, Any]) -> Ledger:
    """The ledger that `to_data` was made of."""
    ledger = Ledger()
    for row in data["operations"]:
        values = {**row, "site": Site(**row["site"])}
        ledger.saw(Access(**{k: v for k, v in values.items() if k != "count"}), row["count"])
    for row in data["findings"]:
        ledger.add(Finding(**{**row, "site": Site(**row["site"]), "notes": tuple(row["notes"])}))
    return ledger


def noted(findings: Iterable[Finding], note: str) -> tuple[Finding, ...]:
    """The findings with one more note."""
    return tuple(replace(finding, notes=(*finding.notes, note)) for finding in findings)
