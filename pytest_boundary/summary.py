"""The block at the end of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from pytest_boundary.config import PluginSettings
from pytest_boundary.ledger import JUDGED, Ledger

COUNTED = (
    ("unscoped", "unscoped"),
    ("no-boundary", "with no boundary"),
    ("lost-boundary", "with a lost boundary"),
    ("foreign-row", "foreign"),
    ("bleed", "bled"),
    ("crossed", "crossed on purpose"),
    ("shared", "declared as shared"),
)


def lines(
    ledger: Ledger, settings: PluginSettings, problems: Sequence[str], unnecessary: Sequence[str]
) -> Iterator[str]:
    """The lines, without the title."""
    clients: defaultdict[str, Counter[str]] = defaultdict(Counter)
    aside: Counter[str] = Counter()
    for access, count in ledger.operations:
        if access.verdict in JUDGED:
            clients[access.client][access.verdict] += count
        else:
            aside[access.verdict] += count
    width = max((len(name) for name in clients), default=0)
    for name, verdicts in sorted(clients.items()):
        total = sum(verdicts.values()) - verdicts["foreign-row"] - verdicts["bleed"]
        parts = [f"{total} checked", *(f"{verdicts[key]} {text}" for key, text in COUNTED if verdicts[key])]
        yield f"{name:<{width}}  {', '.join(parts)}"
    if not clients:
        yield "no operation of a known client was checked: there is nothing that this run could have found"
    if aside:
        yield (
            f"not judged: {aside['setup']} calls of fixtures and {aside['test']} of tests themselves, "
            "made while no boundary was active, or through an ORM to set up and to assert"
        )
    if settings.mode != "strict":
        for finding in ledger.findings:
            yield f"{finding.rule} {finding.title} — {finding.site} {finding.operation} {finding.shown}"
    for nodeid in unnecessary:
        yield f"cross_boundary was not needed: {nodeid}"
    yield from problems
