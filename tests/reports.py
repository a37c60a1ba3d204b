"""A report with one of everything, over sources that are awkward on purpose; the output tests share it."""

from __future__ import annotations

from pathlib import Path

from boundlint.findings import (
    AnalysisError,
    Edit,
    Finding,
    Fix,
    Location,
    Report,
    Summary,
    Suppressed,
    TraceStep,
)
from boundlint.output import Context
from boundlint.registry import load_registry

MEMORY = '''\
"""Memory of the agent."""
import redis

store = redis.Redis()


class Memory:
    def __init__(self, tenant_id: str, user_id: str) -> None:
        self.tenant_id = tenant_id
        self.user_id = user_id

    def remember_format(self, value: str) -> None:
        store.set("preferred_report_format", value)
'''
ODD = "def f(名前):\n\tx = '\x1b[31m日本'; store.get(\n\t\tx,\n\t)  # [bold]markup[/bold]\n"

FIRST = Finding(
    rule="BND201",
    name="unscoped-memory-key",
    severity="error",
    confidence="high",
    persona="regular",
    message="redis.Redis.set writes under 'preferred_report_format', which carries no boundary",
    help='store.set(scoped_key(self.tenant_id, self.user_id, "preferred_report_format"), value)',
    location=Location("app/memory.py", 13, 9, 13, 52),
    function="Memory.remember_format",
    operation="redis.client.Redis.set",
    facts=(
        "in reach: self.tenant_id, self.user_id",
        "peers: 3 of 4 calls on this client carry tenant_id (app/memory.py:16, app/chat.py:40)",
    ),
    url="https://example.invalid/rules/unscoped-memory-key/",
    fingerprint="0123456789abcdef",
)
SECOND = Finding(
    rule="BND301",
    name="unfiltered-retrieval",
    severity="warning",
    confidence="medium",
    persona="pedantic",
    message="a [red]message[/red] with \x1b]0;title\x07, 100%, \u202e and\na second line <&>",
    help="",
    location=Location("app/odd, name:1.py", 2, 17, 4, 3),
    trace=(
        TraceStep("app/memory.py", 12, "value: comes from the caller"),
        TraceStep("app/odd, name:1.py", 1, "名前 is handed on"),
    ),
    fix=Fix("scope it", (Edit("app/memory.py", 13, 9, 13, 12, "put"),), safe=True),
    fingerprint="fedcba9876543210",
)
NOTE = Finding(
    rule="BND001",
    name="unused-suppression",
    severity="note",
    confidence="low",
    persona="auditor",
    message="nothing here",
    help="remove it",
    location=Location("gone.py", 7),
)
REPORT = Report(
    findings=(FIRST, SECOND, NOTE),
    suppressed=(
        Suppressed(FIRST, "shared feature flags"),
        Suppressed(NOTE, "per-file-ignores: gone.py"),
        Suppressed(NOTE, ""),
    ),
    errors=(AnalysisError("broken.py", 3, "invalid syntax"), AnalysisError("gone/", 0, "no such folder")),
    summary=Summary(files=3, lines=40, hidden=2, notes=("a note",)),
)
CLEAN = Report(summary=Summary(files=3))


def project(folder: Path) -> Context:
    """Write the sources and give the context of a run in that folder."""
    (folder / "app").mkdir()
    (folder / "app/memory.py").write_text(MEMORY, encoding="utf-8")
    (folder / "app/odd, name:1.py").write_text(ODD, encoding="utf-8")
    return Context(root=folder, cwd=folder, rules=load_registry().rules)
