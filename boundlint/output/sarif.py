"""SARIF 2.1.0, for code scanning. Holds the rules that spoke, and suppressed results marked as such."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from boundlint import __version__
from boundlint.findings import Finding, Report, TraceStep
from boundlint.output import Context

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASE = "SRCROOT"


def render(report: Report, context: Context) -> str:
    """One SARIF log with one run."""
    reported = [*report.findings, *(item.finding for item in report.suppressed)]
    codes = sorted({item.rule for item in reported})
    results = [_result(item, codes, context) for item in report.findings]
    for item in report.suppressed:
        external = item.reason.startswith("per-file-ignores:")
        suppression = {"kind": "external" if external else "inSource"}
        if item.reason:
            suppression["justification"] = item.reason
        results.append({**_result(item.finding, codes, context), "suppressions": [suppression]})
    run = {
        "tool": {
            "driver": {
                "name": "boundlint",
                "semanticVersion": __version__,
                "informationUri": "https://boundlint.readthedocs.io/",
                "rules": [_rule(code, reported, context) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {_BASE: {"uri": context.cwd.as_uri().rstrip("/") + "/"}},
        "invocations": [
            {
                "executionSuccessful": not report.errors,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": error.message},
                        "locations": [_location(error.path, error.line, context)],
                    }
                    for error in report.errors
                ],
            }
        ],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rule(code: str, reported: list[Finding], context: Context) -> dict[str, Any]:
    example = next(item for item in reported if item.rule == code)
    known = next((rule for rule in context.rules if rule.code == code), None)
    summary = known.summary if known else example.name.replace("-", " ")
    descriptor: dict[str, Any] = {
        "id": code,
        "name": example.name,
        "shortDescription": {"text": summary},
        "fullDescription": {"text": f"Reports {summary}."},
        "help": {"text": f"Run `boundlint explain {code}` for the rule's page."},
        "defaultConfiguration": {"level": known.severity if known else example.severity},
        "properties": {"tags": ["security", "multi-tenancy"]},
    }
    if example.url:
        descriptor["helpUri"] = example.url
    return descriptor


def _result(item: Finding, codes: list[str], context: Context) -> dict[str, Any]:
    place = item.location
    text = item.message + "".join(f"\n{fact}" for fact in item.facts)
    result: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": codes.index(item.rule),
        "level": item.severity,
        "message": {"text": f"{text}\nhelp: {item.help}" if item.help else text},
        "locations": [_primary(item, context)],
        "properties": {
            "confidence": item.confidence,
            "persona": item.persona,
            "operation": item.operation,
            "function": item.function,
        },
    }
    if item.fingerprint:
        result["partialFingerprints"] = {"boundlint/v1": item.fingerprint}
    if item.trace:
        steps = [*item.trace, TraceStep(place.path, place.line, item.message)]
        flow = [{"location": _location(step.path, step.line, context, step.note)} for step in steps]
        result["codeFlows"] = [{"threadFlows": [{"locations": flow}]}]
        result["relatedLocations"] = [
            {"id": number, **_location(step.path, step.line, context, step.note)}
            for number, step in enumerate(item.trace, 1)
        ]
    return result


def _primary(item: Finding, context: Context) -> dict[str, Any]:
    place = item.location
    location = _location(place.path, place.line, context)
    region = location["physicalLocation"].setdefault("region", {"startLine": 1})
    region["startColumn"] = max(place.column, 1)
    if place.end_line:
        region |= {"endLine": max(place.end_line, place.line), "endColumn": max(place.end_column, 1)}
    if item.function:
        location["logicalLocations"] = [{"fullyQualifiedName": item.function, "kind": "function"}]
    return location


def _location(path: str, line: int, context: Context, note: str = "") -> dict[str, Any]:
    shown = context.shown(path)
    if os.path.isabs(shown) or shown.startswith("../"):
        artifact = {"uri": Path(os.path.normpath(context.root / path)).as_uri()}
    else:
        artifact = {"uri": quote(os.fsencode(shown)), "uriBaseId": _BASE}
    physical: dict[str, Any] = {"artifactLocation": artifact}
    if line:
        physical["region"] = {"startLine": line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if note:
        location["message"] = {"text": note}
    return location
