"""What finds the right rows without the owner's id: a secret that only its owner has, the tenant by its own name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from boundlint.sql.tree import Both, Compare, Part, Predicate, Use

# The id of the tenant whose row holds a value in a column; None where there is none, or more than one.
Named = Callable[[str, str, str], object]
SECRET = re.compile(
    r"(?:^|_)(?:token|secret|api_?key|access_?key|session_key|invite_?code|verification_code|nonce|jti|otp)"
    r"(?:_(?:hash|hashed|digest|sha256))?$|^(?:hashed?_(?:token|key|secret)|(?:key|secret)_(?:hash|digest))$",
    re.IGNORECASE,
)


def equalities(part: Part, use: Use) -> Iterator[Compare]:
    """The columns of a table that equal one value in every row that is found."""
    for predicate in part.predicates_for(use):
        for compare in _conjuncts(predicate):
            own = compare.alias == use.alias or (not compare.alias and len(part.all_uses) == 1)
            if own and len(compare.values) == 1:
                yield compare


def _conjuncts(predicate: Predicate) -> Iterator[Compare]:
    if isinstance(predicate, Compare):
        yield predicate
    elif isinstance(predicate, Both):
        for part in predicate.parts:
            yield from _conjuncts(part)


def by_secret(part: Part, use: Use) -> bool:
    """Whether rows are found by a secret: an API key, a session, an invitation. Whoever has it, it is meant for."""
    return use.effect != "insert" and any(
        SECRET.search(compare.column) and compare.values[0].kind in ("parameter", "literal")
        for compare in equalities(part, use)
    )
