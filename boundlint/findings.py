"""What boundlint says: findings, where they are, and the report that collects them. Plain data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
Confidence = Literal["high", "medium", "low"]
Persona = Literal["regular", "pedantic", "auditor"]

CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")
PERSONAS: tuple[Persona, ...] = ("regular", "pedantic", "auditor")
DOCS_URL = "https://boundlint.readthedocs.io/rules/"


@dataclass(frozen=True)
class Location:
    """A place in a file. Paths are relative to the project root with `/`; lines and columns count from 1."""

    path: str
    line: int
    column: int = 1
    end_line: int = 0
    end_column: int = 0


@dataclass(frozen=True)
class TraceStep:
    """One step of the story behind a finding, in reading order."""

    path: str
    line: int
    note: str


@dataclass(frozen=True)
class Edit:
    """Replace the source between two positions (lines and columns from 1, end exclusive)."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    text: str


@dataclass(frozen=True)
class Fix:
    """A repair that boundlint can apply; unsafe unless it is proven to keep the program's meaning."""

    message: str
    edits: tuple[Edit, ...]
    safe: bool = False


@dataclass(frozen=True)
class Finding:
    """One thing a person should look at.

    `function` is the qualified name of the enclosing function ("" at module level), `operation` the id of
    the catalog operation ("" where none is involved).  `facts` are the lines that make it convincing
    (what is in reach, what the peers do).  `fingerprint` survives line moves.
    """

    rule: str
    name: str
    severity: Severity
    confidence: Confidence
    persona: Persona
    message: str
    help: str
    location: Location
    function: str = ""
    operation: str = ""
    facts: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    fix: Fix | None = None
    url: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Suppressed:
    """A finding that a comment in the source, or the configuration, silences."""

    finding: Finding
    reason: str


@dataclass(frozen=True)
class AnalysisError:
    """Something that could not be analyzed; it turns the exit status to 2 and is never a pass."""

    path: str
    line: int
    message: str


@dataclass(frozen=True)
class Summary:
    """Counts of one run. `hidden` are the findings of a more thorough persona that were not asked for."""

    files: int = 0
    lines: int = 0
    hidden: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that one run has to say."""

    findings: tuple[Finding, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    errors: tuple[AnalysisError, ...] = ()
    summary: Summary = field(default_factory=Summary)


def fingerprint(rule: str, path: str, function: str, operation: str, statement: str, occurrence: int) -> str:
    """Identity of a finding that survives line moves: 16 hex digits.

    `statement` is the normalized source of the statement, `occurrence` counts equal statements in the
    function from 0.
    """
    text = "\0".join((rule, path, function, operation, " ".join(statement.split()), str(occurrence)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
