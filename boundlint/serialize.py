"""Reports as JSON text and back, for the cache; what users read is written by `boundlint.output`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

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


def dump_report(report: Report) -> str:
    """A report as JSON text."""
    return json.dumps(asdict(report), separators=(",", ":"))


def load_report(text: str) -> Report:
    """A report back from `dump_report`'s text; raises ValueError, TypeError or KeyError on anything else."""
    data = json.loads(text)
    summary = data["summary"]
    return Report(
        tuple(_finding(row) for row in data["findings"]),
        tuple(Suppressed(_finding(row["finding"]), row["reason"]) for row in data["suppressed"]),
        tuple(AnalysisError(**row) for row in data["errors"]),
        Summary(**{**summary, "notes": tuple(summary["notes"])}),
    )


def _finding(row: dict[str, Any]) -> Finding:
    fix = row["fix"]
    return Finding(
        **{
            **row,
            "location": Location(**row["location"]),
            "facts": tuple(row["facts"]),
            "trace": tuple(TraceStep(**step) for step in row["trace"]),
            "fix": None
            if fix is None
            else Fix(fix["message"], tuple(Edit(**edit) for edit in fix["edits"]), fix["safe"]),
        }
    )
