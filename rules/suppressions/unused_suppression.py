"""BND001 unused-suppression, see unused_suppression.md."""

from __future__ import annotations

from collections.abc import Iterable

from boundlint.rule import Problem, Rule
from boundlint.suppressions import SuppressionUse


def check(use: SuppressionUse) -> Iterable[Problem]:
    """One problem a comment: it is not understood, or some of its codes silence nothing."""
    if use.suppression.problem:
        yield _problem(use.suppression.problem, "correct the comment; as it is written it silences nothing")
        return
    if use.unknown:
        yield _problem(
            f"no rule has the code {_listed(use.unknown)}",
            "correct the code, `boundlint rules` lists them all, or remove it from the comment",
        )
    if use.unused:
        rest = [code for code in use.suppression.codes if code not in (*use.unused, *use.unknown)]
        repair = f"remove {_listed(use.unused)} from the comment" if rest else "remove the comment"
        yield _problem(
            f"the suppression of {_listed(use.unused)} silences nothing here",
            f"{repair}, or move it to the line of the finding or of its `def` or `class`",
        )


def _problem(message: str, repair: str) -> Problem:
    return Problem(message=message, help=repair, confidence="high", persona="regular")


def _listed(codes: Iterable[str]) -> str:
    return ", ".join(codes)


RULE = Rule(
    code="BND001",
    name="unused-suppression",
    severity="warning",
    summary="a suppression that matches nothing",
    on_suppression=check,
    certain=True,
)
