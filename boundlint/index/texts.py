"""What a constant text of the code is: a graph query, SQL, or a prompt that tells a model whose data it may touch."""

from __future__ import annotations

import re
from typing import Literal

from boundlint.index.statements import is_sql, secures_rows

TextKind = Literal["graph-query", "access-rule", "sql", "row-security"]
SHORTEST = 24  # characters: shorter texts are no sentence and no query

GRAPH_QUERY = re.compile(r"\bMATCH\s*\([^)]*\).*\b(?:RETURN|DELETE|SET|REMOVE)\b", re.DOTALL)
WHOSE = (
    r"\b(?:current|other|another|this|their|your|own|different|same|any)\b[^.\n]{0,24}"
    r"\b(?:user|customer|tenant|client|account|organi[sz]ation|workspace|company|compan(?:y|ies)|patient|employee|member)s?(?:'s?)?\b"
)
ACCESS_RULE = re.compile(
    r"(?i)\b(?:only|never|do not|don't|must not|may not|cannot|can't|not allowed)\b[^.\n]{0,60}"
    r"\b(?:access|show|reveal|return|share|disclose|read|query|retrieve|answer|discuss|look up|use|modify|update|delete)\b[^.\n]{0,60}"
    rf"{WHOSE}"
    r"|\b(?:access|show|reveal|return|share|disclose|read|query|retrieve|modify|update|delete)\b[^.\n]{0,40}\bonly\b[^.\n]{0,40}"
    rf"{WHOSE}"
)


def kind_of(text: str) -> TextKind | None:
    """The kind of a constant text, None for the rest."""
    if len(text) < SHORTEST:
        return None
    if "MATCH" in text and GRAPH_QUERY.search(text):
        return "graph-query"
    if is_sql(text):
        return "row-security" if secures_rows(text) else "sql"
    if secures_rows(text):
        return "row-security"
    lowered = text.lower()
    if ("only" in lowered or "not" in lowered or "never" in lowered) and ACCESS_RULE.search(text):
        return "access-rule"
    return None
