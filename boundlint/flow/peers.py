"""How the functions of a project that query a model compare its boundary, by the facts of the index alone."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.project import Function
from boundlint.index.tables import statements_of
from boundlint.index.vocabulary import normal

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

# Names read from a model or service that tell a query from a mere mention.
QUERY_WORDS = frozenset(
    "() objects query select get filter get_by_id find_one find get_or_none get_or_404 where update delete".split()
)
USER_COLUMN = re.compile(r"^(?:user|owner)(?:_id|_uuid|_email)?$")


@dataclass(frozen=True)
class ModelPeers:
    """The functions that query one model: all, those that compare a boundary, and where two of these are."""

    total: int = 0
    scoped: int = 0
    examples: tuple[tuple[str, int], ...] = ()

    @property
    def agree(self) -> bool:
        """At least 80 % of five or more compare a boundary."""
        return self.total >= 5 and self.scoped >= 0.8 * (self.total - 1)

    def counting(self, scoped: bool, place: tuple[str, int]) -> ModelPeers:
        """These and one function more."""
        examples = (*self.examples, place)[:2] if scoped else self.examples
        return ModelPeers(self.total + 1, self.scoped + scoped, examples)


class Peers:
    """The counts of one project, taken when the first is asked for."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._by_boundary: dict[str, ModelPeers] = {}
        self._by_user: dict[str, ModelPeers] = {}

    def comparing_boundary(self, type_name: str) -> ModelPeers:
        """How the functions of the project that query a model compare any boundary."""
        self._count()
        return self._by_boundary.get(type_name, ModelPeers())

    def comparing_user(self, type_name: str) -> ModelPeers:
        """How they compare the user whose row it is."""
        self._count()
        return self._by_user.get(type_name, ModelPeers())

    def _count(self) -> None:
        if not self._by_boundary:
            for function in self._flow.project.all_functions():
                if not SUPPORT_PATH.search(function.path):
                    self._note(function)

    def _note(self, function: Function) -> None:
        flow = self._flow
        for name, columns in function.facts.columns.items():
            symbol = flow.project.resolve(function.path, name)
            if symbol is None or symbol.cls is None:
                continue
            model = flow.models.get(symbol.cls.name) or flow.services.get(symbol.cls.name)
            words = columns.split()
            if model is None or not QUERY_WORDS.intersection(words):
                continue
            first = [word.partition("__")[0] for word in words]
            place, type_name = (function.path, function.facts.line), model.cls.name
            for counts, scoped in (
                (self._by_boundary, any(map(flow.vocabulary.level, first))),
                (self._by_user, any(USER_COLUMN.match(normal(word)) for word in first)),
            ):
                counts[type_name] = counts.get(type_name, ModelPeers()).counting(scoped, place)
        if flow.tables and function.facts.statements:
            self._note_statements(function)

    def _note_statements(self, function: Function) -> None:
        """Count a function once for each table that its SQL texts ask for."""
        flow, place = self._flow, (function.path, function.facts.line)
        compared: dict[str, set[str]] = defaultdict(set)
        for row in statements_of(function):
            for name in row.tables if row.verb in ("select", "update", "delete", "with") else ():
                if name in flow.tables:
                    compared[flow.tables[name].type_name].update(row.columns)
        for type_name, columns in compared.items():
            for counts, scoped in (
                (self._by_boundary, any(map(flow.vocabulary.column, columns))),
                (self._by_user, any(USER_COLUMN.match(normal(column)) for column in columns)),
            ):
                counts[type_name] = counts.get(type_name, ModelPeers()).counting(scoped, place)
