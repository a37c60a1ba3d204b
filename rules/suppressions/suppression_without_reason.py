"""BND002 suppression-without-reason, see suppression_without_reason.md."""

from __future__ import annotations

from collections.abc import Iterable

from boundlint.rule import Problem, Rule
from boundlint.suppressions import SuppressionUse

# What people write to have written something.
_EMPTY = frozenset(
    {"todo", "fixme", "xxx", "tbd", "none", "n/a", "na", "reason", "why this is fine", "ignore"}
)


def check(use: SuppressionUse) -> Iterable[Problem]:
    """One problem for a comment that silences findings and does not say why."""
    suppression = use.suppression
    if suppression.problem or suppression.reason.strip(" .…-").lower() not in {"", *_EMPTY}:
        return
    if set(suppression.codes) <= {*use.unused, *use.unknown}:
        return  # it silences nothing and has to go: a reason would not help
    codes = ", ".join(suppression.codes)
    if suppression.form == "noqa":
        repair = f"say why: # noqa: {codes} -- the reason"
    else:
        repair = f"say why: # boundlint: ignore[{codes}] reason: the reason"
    yield Problem(
        message=f"the suppression of {codes} gives no reason",
        help=repair,
        confidence="high",
        persona="regular",
    )


RULE = Rule(
    code="BND002",
    name="suppression-without-reason",
    severity="warning",
    summary="a suppression, `noqa: BND…` included, that gives no reason",
    on_suppression=check,
    certain=True,
)
