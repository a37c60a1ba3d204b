"""The project's own key builders: small functions that make keys, and what the keys they make begin with."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import HOLE
from boundlint.index.project import Function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from boundlint.flow.analysis import Flow

NAME = re.compile(
    r"(?:^|_)(?:key|keys|prefix|namespace|channel|index_name|collection_name)(?:_for(?:_\w+)?)?$"
)
LONGEST_BUILDER = 16  # lines: 628 builders of 26 applications have at most six statements
SHORTEST_HEAD = 3  # characters in front of the first variable part that tell one kind of key from another


class KeyBuilders:
    """The key builders of a project by the constant text in front of what they make."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def maker_of(self, function: Function, template: str) -> Function | None:
        """The builder, other than the function itself, whose keys begin as a template does."""
        rows = self._by_head.get(head_of(template), ())
        return next((row for row in rows if row != function), None)

    @cached_property
    def _by_head(self) -> Mapping[str, list[Function]]:
        found: dict[str, list[Function]] = defaultdict(list)
        for function in self.flow.project.all_functions():
            if is_builder(function) and not SUPPORT_PATH.search(function.path):
                summary = self.flow.summary(function)
                head = head_of(summary.returned.text or "") if summary is not None else ""
                if head:
                    found[head].append(function)
        return found


def is_builder(function: Function) -> bool:
    """Whether a function is a small one whose name says that it makes keys."""
    facts = function.facts
    return bool(NAME.search(facts.name) and facts.returned) and facts.end - facts.line <= LONGEST_BUILDER


def head_of(template: str) -> str:
    """The constant text in front of the first variable part; "" where it tells too little."""
    head, hole, _ = template.partition(HOLE)
    return head if hole and len(re.sub(r"\W", "", head)) >= SHORTEST_HEAD else ""
