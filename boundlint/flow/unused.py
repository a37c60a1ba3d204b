"""Boundaries that a function takes or its object holds, and that its body never mentions."""

from __future__ import annotations

from boundlint.flow.view import View
from boundlint.index.dependencies import dependencies

PEER_SHARE = 0.6  # of the other methods that query: so many use what this one leaves


def taken_and_unused(view: View) -> tuple[str, str] | None:
    """A boundary parameter that the body never mentions, with what speaks for it.

    One that a framework injects may be there to authenticate alone, and a route must take what is in its path.
    """
    vocabulary = view.analysis.vocabulary
    if view.analysis.entry(view.function) is not None:
        return None
    for param in view.function.facts.params:
        if param.name not in view.flow.unused or dependencies(f"{param.annotation} {param.default or ''}"):
            continue
        if vocabulary.is_strict(param.name) or vocabulary.is_identity(param.annotation):
            return param.name, f"`{param.name}` is a parameter that the body never mentions"
    return None


def held_and_unused(view: View) -> tuple[str, str] | None:
    """A boundary that `self` holds, that most other methods scope their queries by, and this one does not."""
    used = set(view.function.facts.names.split())
    held = [name for name in view.reach if name.startswith("self.")]
    if not held or any(name.removeprefix("self.") in used for name in held):
        return None
    analysis, mine = view.analysis, view.function
    others = [
        row.facts
        for row in analysis.project.functions(view.path).values()
        if row.facts.owner == mine.facts.owner and row != mine and analysis.queries(row)
    ]
    using = [facts for facts in others if set(facts.names.split()) & {name[5:] for name in held}]
    if not using or len(using) < PEER_SHARE * len(others):
        return None
    return held[0], f"peers: {len(using)} of {len(others)} other methods that touch customers' models use it"
