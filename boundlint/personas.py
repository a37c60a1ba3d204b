"""Which findings a reader asked to see. Changes with the meaning of persona and confidence."""

from __future__ import annotations

from dataclasses import replace

from boundlint.findings import CONFIDENCES, PERSONAS, Confidence, Finding, Persona, Report


def narrow(report: Report, persona: Persona, min_confidence: Confidence = "low") -> Report:
    """The report with the findings for this persona, at this confidence or a higher one.

    What is left out is added to `summary.hidden`; suppressed findings are narrowed too, but not counted.
    """

    def wanted(finding: Finding) -> bool:
        return PERSONAS.index(finding.persona) <= PERSONAS.index(persona) and CONFIDENCES.index(
            finding.confidence
        ) >= CONFIDENCES.index(min_confidence)

    findings = tuple(filter(wanted, report.findings))
    hidden = report.summary.hidden + len(report.findings) - len(findings)
    return replace(
        report,
        findings=findings,
        suppressed=tuple(item for item in report.suppressed if wanted(item.finding)),
        summary=replace(report.summary, hidden=hidden),
    )
