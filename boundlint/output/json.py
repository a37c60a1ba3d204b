"""JSON, version 1. A key may be added within a version; one that goes or changes makes a new version."""

from __future__ import annotations

import json
from typing import Any

from boundlint.findings import Finding, Fix, Report
from boundlint.output import Context

VERSION = 1


def render(report: Report, context: Context) -> str:
    """One JSON document. It is pure ASCII, so that any file name survives."""
    summary = report.summary
    document = {
        "version": VERSION,
        "findings": [_finding(item, context) for item in report.findings],
        "suppressed": [
            {**_finding(item.finding, context), "reason": item.reason} for item in report.suppressed
        ],
        "errors": [
            {"path": context.shown(item.path), "line": item.line, "message": item.message}
            for item in report.errors
        ],
        "summary": {
            "files": summary.files,
            "lines": summary.lines,
            "findings": len(report.findings),
            "suppressed": len(report.suppressed),
            "errors": len(report.errors),
            "hidden": summary.hidden,
            "notes": list(summary.notes),
        },
    }
    return json.dumps(document, indent=2) + "\n"


def _finding(item: Finding, context: Context) -> dict[str, Any]:
    place = item.location
    return {
        "rule": item.rule,
        "name": item.name,
        "severity": item.severity,
        "confidence": item.confidence,
        "message": item.message,
        "help": item.help,
        "path": context.shown(place.path),
        "line": place.line,
        "column": place.column,
        "end_line": place.end_line or place.line,
        "end_column": place.end_column or place.column,
        "function": item.function,
        "operation": item.operation,
        "trace": [
            {"path": context.shown(step.path), "line": step.line, "note": step.note} for step in item.trace
        ],
        "fix": _fix(item.fix, context),
        "url": item.url,
        "fingerprint": item.fingerprint,
    }


def _fix(fix: Fix | None, context: Context) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {
        "message": fix.message,
        "safe": fix.safe,
        "edits": [
            {
                "path": context.shown(edit.path),
                "line": edit.line,
                "column": edit.column,
                "end_line": edit.end_line,
                "end_column": edit.end_column,
                "text": edit.text,
            }
            for edit in fix.edits
        ],
    }
