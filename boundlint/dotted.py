"""Patterns of the configuration over dotted names: `app.flags.*`, `app.auth.require_owner`."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable


class DottedPatterns:
    """Dotted patterns (`*` allowed) compiled once."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rows = [
            (
                re.compile(r"(?:.*\.)?" + fnmatch.translate(pattern)),
                re.compile(fnmatch.translate(pattern.rpartition(".")[2])),
                pattern,
            )
            for pattern in patterns
        ]

    def __bool__(self) -> bool:
        return bool(self._rows)

    def match(self, dotted: str) -> str | None:
        """The first pattern that a dotted name ends with; None without one."""
        return next((pattern for regex, _, pattern in self._rows if regex.fullmatch(dotted)), None)

    def covers(self, dotted: str) -> str | None:
        """Like `match`, also for what is inside of a module or class that a pattern names."""
        while dotted:
            if (found := self.match(dotted)) is not None:
                return found
            dotted = dotted.rpartition(".")[0]
        return None

    def fits_last(self, name: str) -> bool:
        """Whether a telling name (`require_owner`, not `get`) is the last part of a pattern."""
        return "_" in name.strip("_") and any(last.fullmatch(name) for _, last, _ in self._rows)
