"""The text of a finding: one block with everything that a person needs."""

from __future__ import annotations

import ast

from pytest_boundary.ledger import Finding

RULES = {
    "memory": "BND201",
    "checkpoint": "BND201",
    "retrieval": "BND301",
    "cache": "BND401",
    "database": "BND501",
    "queue": "BND601",
    "log": "BND701",
    "llm": "BND701",
    "file": "BND801",
    "tool": "BND103",
}
EFFECTS = {"read": "read", "write": "write", "delete": "delete", "enqueue": "job"}
NO_CUSTOMER_DATA = 'or, if this is no customer data: with cross_boundary("…reason…"):'


def title(kind: str, effect: str, verdict: str) -> str:
    """What happened, in a few words: "unscoped memory read"."""
    what = described(kind, effect)
    if verdict == "foreign-row":
        return f"another tenant's data from a {what}"
    if verdict == "lost-boundary":
        return f"boundary lost in a thread before a {what}"
    if verdict == "no-boundary":
        return f"{what} with no boundary"
    return f"unscoped {what}"


def described(kind: str, effect: str) -> str:
    """An access in two words: "memory read"."""
    return f"{kind} {EFFECTS.get(effect, 'access')}"


def headline(finding: Finding) -> str:
    """The first line, which also stands in pytest's short summary."""
    where = f"{finding.site}" + (f" in {finding.site.function}()" if finding.site.function else "")
    return f"{finding.rule} {finding.title} — {where}"


def block(finding: Finding) -> str:
    """All lines of a finding."""
    lines = [headline(finding)]
    if finding.source:
        lines.append(f"   {finding.site.line} |   {finding.source}")
    operation = "  ".join(part for part in (finding.operation, finding.shown) if part)
    rows = [
        ("operation", operation + (f"   ({finding.context})" if finding.context else "")),
        ("boundary", finding.boundary),
        ("missing", finding.missing),
        *(("note", note) for note in finding.notes),
    ]
    if finding.fix:
        rows.append(("fix", finding.fix))
        rows.append(("", NO_CUSTOMER_DATA))
    lines += [f"  {name:<10} {text}" for name, text in rows if text]
    return "\n".join(lines)


def argument_source(source: str, method: str, position: int = 0) -> str:
    """How the user wrote an argument of a call on this line; "" where the line does not show it."""
    text = source.removesuffix(":") if source.startswith(("if ", "while ", "for ", "with ")) else source
    for candidate in (text, text.partition(" ")[2], text.rstrip(",")):
        try:
            tree = ast.parse(candidate)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == method
                and len(node.args) > position
            ):
                return ast.unparse(node.args[position])
    return ""
