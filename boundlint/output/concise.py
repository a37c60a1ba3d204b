"""One line a finding: `path:line:col: CODE [severity] message`."""

from __future__ import annotations

from boundlint.findings import Report
from boundlint.output import Context, printable


def render(report: Report, context: Context) -> str:
    """The findings, in the order of the report."""
    lines = []
    for item in report.findings:
        place = item.location
        where = f"{printable(context.shown(place.path))}:{place.line}:{place.column}"
        lines.append(f"{where}: {item.rule} [{item.severity}] {printable(item.message)}\n")
    return "".join(lines)
