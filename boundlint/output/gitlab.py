"""GitLab's code quality report: a JSON list in the Code Climate form."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from boundlint.findings import Report
from boundlint.output import Context

_SEVERITIES = {"error": "major", "warning": "minor", "note": "info"}


def render(report: Report, context: Context) -> str:
    """One JSON list of findings, and of files that could not be analyzed as blockers."""
    issues: list[dict[str, Any]] = []
    seen: dict[str, int] = {}

    def add(check: str, text: str, severity: str, key: str, path: str, line: int, end: int) -> None:
        # GitLab drops all but one issue of a fingerprint.
        count = seen[key] = seen.get(key, -1) + 1
        issues.append(
            {
                "description": text,
                "check_name": check,
                "fingerprint": hashlib.sha256(f"{key}:{count}".encode("utf-8", "replace")).hexdigest(),
                "severity": severity,
                "location": {"path": context.shown(path), "lines": {"begin": line, "end": max(line, end)}},
            }
        )

    for item in report.findings:
        place = item.location
        text = f"{item.rule} {item.name}: {item.message}"
        key = item.fingerprint or f"{item.rule}:{place.path}:{item.message}"
        severity = _SEVERITIES[item.severity]
        add(item.rule, text, severity, key, place.path, place.line, place.end_line)
    for error in report.errors:
        key = f"error:{error.path}:{error.message}"
        add("boundlint", error.message, "blocker", key, error.path, max(error.line, 1), 0)
    return json.dumps(issues, indent=2) + "\n"
