"""Version specifiers of catalog entries (`redis>=5,<8`), compared without a third-party package."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from itertools import zip_longest

_REQUIREMENT = re.compile(
    r"\s*([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[\w\s,.-]*\])?\s*((?:(?:~=|==|!=|<=|>=|<|>)\s*[\w.*!+]+\s*,?\s*)*)"
)
_CLAUSE = re.compile(r"(~=|==|!=|<=|>=|<|>)\s*([\w.*!+]+)")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def split_requirement(requirement: str) -> tuple[str, str]:
    """Distribution and specifier of `redis>=5,<8`; extras are dropped. Raises ValueError on anything else."""
    match = _REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} is not a requirement such as 'redis>=5,<8'")
    return match[1], match[2].strip().rstrip(",")


def satisfies(version: str, specifier: str) -> bool:
    """Whether the release number meets every clause; pre-release and local parts are not compared."""
    return all(_meets(version, *clause) for clause in _CLAUSE.findall(specifier))


def installed_version(distribution: str) -> str | None:
    """The version that is installed here; `python` is the interpreter."""
    from importlib import metadata  # slow to import, and only verification asks

    if distribution.lower() == "python":
        import platform

        return platform.python_version()
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _meets(version: str, sign: str, wanted: str) -> bool:
    prefix = wanted.endswith(".*")
    have, want = _release(version), _release(wanted.removesuffix(".*"))
    if sign == "~=":
        return _compare(have, want) >= 0 and have[: len(want) - 1] == want[:-1]
    if prefix:
        have = have[: len(want)]
    return _COMPARE[sign](_compare(have, want), 0)


def _release(version: str) -> tuple[int, ...]:
    match = re.match(r"[vV]?(?:\d+!)?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in match[1].split(".")) if match else (0,)


def _compare(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    for a, b in zip_longest(left, right, fillvalue=0):
        if a != b:
            return 1 if a > b else -1
    return 0
