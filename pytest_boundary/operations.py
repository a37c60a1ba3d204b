"""What a seam tells the monitor: which operation a client is asked for, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pytest_boundary.ledger import Access, Site, Verdict

NOWHERE = Site("", 0, "")


@dataclass(frozen=True, eq=False)
class Operation:
    """What a seam knows of a call beforehand, made once and kept: the catalog's target is its id.

    `exactly` finds the operation that the user called, from inside of a hook, where many of them end in one hook
    and only a finding or a report asks which it was.
    """

    client: str
    operation: str
    kind: str
    effect: str
    exactly: Callable[[], Operation] | None = None
    of_test: bool = (
        False  # what a test itself built and runs: in the boundary of its mark it is set-up, or asserts
    )

    @property
    def method(self) -> str:
        """What the call site writes."""
        return self.operation.rpartition(".")[2]

    @cached_property
    def scoped(self) -> Access:
        """As it counts where it is scoped and no line is asked for."""
        return self.counted("scoped")

    @cached_property
    def free(self) -> Access:
        """As it counts where it touches nobody's data and no line is asked for."""
        return self.counted("free")

    def counted(self, verdict: Verdict, site: Site = NOWHERE, shown: str = "") -> Access:
        """As it counts."""
        return Access(self.client, self.kind, self.effect, self.operation, site, verdict, shown[:200])


@dataclass(frozen=True)
class Missing:
    """Why an access is not scoped.

    `names` are the keys, tables or collections at fault, which a project may have declared as shared. `fix` may hold
    `{argument}`, which becomes the source of the argument at `position`. `rule` and `title` replace those of the
    operation's kind.
    """

    text: str
    names: tuple[str, ...] = ()
    fix: str = ""
    position: int = 0
    rule: str = ""
    title: str = ""
    verdict: Verdict = "unscoped"


Judgement = Missing | Literal["scoped", "free"]
Judge = Callable[..., Judgement]  # takes the boundary, then what the seam has given
