"""JUnit XML: one failed test case a finding, one broken test case a file that could not be analyzed."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from boundlint.findings import Report
from boundlint.output import Context, printable


def render(report: Report, context: Context) -> str:
    """One XML document; without findings it holds one test case that passed."""
    cases = []
    for item in report.findings:
        place = item.location
        path = printable(context.shown(place.path))
        text = "\n".join(
            [f"{path}:{place.line}:{place.column}: {printable(item.message)}"]
            + [f"= {printable(fact)}" for fact in item.facts]
            + [f"{printable(context.shown(s.path))}:{s.line}: {printable(s.note)}" for s in item.trace]
            + ([f"help: {printable(item.help)}"] if item.help else [])
        )
        name = f"{item.rule} {item.name} {place.line}:{place.column}"
        kind = f"{item.severity}, {item.confidence} confidence"
        cases.append(
            f"    <testcase classname={quoteattr(path)} name={quoteattr(name)}"
            f' file={quoteattr(path)} line="{place.line}">\n'
            f"      <failure message={quoteattr(printable(item.message))} type={quoteattr(kind)}>"
            f"{escape(text)}</failure>\n    </testcase>\n"
        )
    for error in report.errors:
        path, message = printable(context.shown(error.path)), printable(error.message)
        cases.append(
            f'    <testcase classname={quoteattr(path)} name="analysis" file={quoteattr(path)}>\n'
            f"      <error message={quoteattr(message)}>"
            f"{escape(f'{path}:{error.line}: {message}')}</error>\n    </testcase>\n"
        )
    counts = f'failures="{len(report.findings)}" errors="{len(report.errors)}"'
    if not cases:
        cases.append('    <testcase classname="boundlint" name="check"/>\n')
    counts = f'tests="{len(cases)}" {counts}'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuites name="boundlint" {counts}>\n  <testsuite name="boundlint" {counts}>\n'
        f"{''.join(cases)}  </testsuite>\n</testsuites>\n"
    )
