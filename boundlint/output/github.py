"""GitHub workflow commands: findings show up as annotations of a pull request."""

from __future__ import annotations

from boundlint.findings import Finding, Report
from boundlint.output import Context, printable

_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def render(report: Report, context: Context) -> str:
    """One workflow command a finding and a problem of the analysis."""
    lines = [_finding(item, context) for item in report.findings]
    for error in report.errors:
        properties = {"title": "boundlint", "file": context.shown(error.path)}
        if error.line:
            properties["line"] = str(error.line)
        lines.append(_command("error", properties, f"{context.shown(error.path)}: {error.message}"))
    return "".join(lines)


def _finding(item: Finding, context: Context) -> str:
    place = item.location
    path = context.shown(place.path)
    properties = {"title": f"{item.rule} {item.name}", "file": path, "line": str(place.line)}
    if place.end_line > place.line:
        properties["endLine"] = str(place.end_line)
    else:  # columns are only allowed where the finding stands on one line
        properties["col"] = str(place.column)
        if place.end_column > place.column:
            properties["endColumn"] = str(place.end_column)
    message = f"{path}:{place.line}:{place.column}: {item.rule} {item.message}"
    if item.help:
        message += f"\nhelp: {item.help}"
    return _command(_COMMANDS[item.severity], properties, message)


def _command(name: str, properties: dict[str, str], message: str) -> str:
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {listed}::{_data(message)}\n"


def _data(text: str) -> str:
    return "%0A".join(printable(line).replace("%", "%25") for line in text.split("\n"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
