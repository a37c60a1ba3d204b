"""BND205: a key or match in which two boundaries collide."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.evidence import shown_key
from boundlint.flow.joins import Joins
from boundlint.flow.values import HOLE
from boundlint.index.facts import FunctionFacts
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

TOUCHING = re.compile(r"\}\{|\w\)? \+ \w")  # f"{a}{b}", a + b
FIXED_PART = re.compile(r"(?i)(?:prefix|sep|separator|delimiter|root|base|namespace|suffix)\b")
HELP = {
    "prefix-match": "compare the whole component, or end the prefix with the delimiter",
    "unescaped-pairs": "escape the delimiters in the values (urllib.parse.quote), or encode the pairs as JSON",
    "truncated-digest": "keep at least 16 hex digits of the digest, or use the boundary itself",
}
PERSONAS: dict[str, Persona] = {
    "prefix-match": "pedantic",
    "truncated-digest": "auditor",
    "unescaped-pairs": "regular",
}
SAYS = {
    "prefix-match": "matches every boundary that begins with this one: {}",
    "unescaped-pairs": "a value that holds the delimiter names another scope: {}",
    "truncated-digest": "a shortened digest lets two boundaries share one key: {}",
}


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report keys joined without a delimiter, patterns open beside a boundary, and prefix matches."""
    yield from check_oddity(node, view)
    for access in view.accesses(node):
        key = access.value_of("key", "namespace")
        if not key.carriers or key.text is None or access.via:
            continue
        if key.text.endswith(HOLE + "*") or key.text.startswith("*" + HOLE):
            persona: Persona = "regular"
            says = "matches every boundary that begins or ends with this one"
            repair = "put the delimiter between the boundary and the `*`, and begin with the boundary"
        elif HOLE + HOLE in key.text and (shown := beside(access.source_of("key", "namespace"))) is not None:
            persona = shown
            says = "joins its parts with nothing between them, so two boundaries can share a key"
            repair = "put a delimiter between the parts that neither may contain, or use scoped_key(…)"
        else:
            continue
        yield Problem(f"{shown_key(access)} {says}", repair, "medium", persona, access.operation.target)


def beside(source: str) -> Persona | None:
    """How sure the text of a key makes it that two free parts touch; None where one of them is a prefix or a suffix."""
    if FIXED_PART.search(source):
        return None
    return "regular" if TOUCHING.search(source) else "pedantic"


def check_oddity(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report what the flow noticed at this node."""
    for oddity in view.oddities(node):
        if oddity.kind in SAYS:
            persona = PERSONAS[oddity.kind]
            if oddity.kind == "unescaped-pairs" and not names_boundary(view):
                persona = "pedantic"
            yield Problem(SAYS[oddity.kind].format(oddity.source), HELP[oddity.kind], "medium", persona)


def names_boundary(view: View) -> bool:
    """Whether the function's text names a part of a boundary."""
    facts = view.function.facts
    words = re.findall(r"\w+", "\n".join(view.lines[facts.line - 1 : facts.end]))
    return any(view.analysis.vocabulary.is_strict(word) for word in words)


def wants(facts: FunctionFacts) -> bool:
    """Whether a function makes a key by joining parts."""
    return "join" in facts.names.split() and Joins(facts).makes_key


RULE = Rule(
    code="BND205",
    name="ambiguous-scope-key",
    severity="warning",
    summary="parts joined so that two boundaries collide",
    visit={"Call": check_call, "Subscript": check_oddity},
    wants=wants,
)
