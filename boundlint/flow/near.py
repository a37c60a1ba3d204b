"""Which functions the flow follows: those that hold a data operation, or call one up to four calls away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from boundlint.flow.calls import DEEPEST_OBLIGATION, QUIET_EFFECTS
from boundlint.flow.overwrites import may_overwrite
from boundlint.flow.shared import may_share
from boundlint.flow.sources import lists_owners, may_serve
from boundlint.flow.values import DATA_KINDS
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow


class Near:
    """The answers for one project; each is worked out once.

    A run over the project marks all functions in one sweep, from the data operations to their callers.  A run
    for a few files asks for single functions, which looks from these to what they call: the same answers for
    the price of the files.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._data_methods = frozenset(
            name
            for table in flow.receivers.lookup.methods.values()
            for name, operation in table.items()
            if operation.kind in DATA_KINDS and operation.effect not in QUIET_EFFECTS
        )
        self._operating: dict[Function, bool] = {}
        self._holding: dict[Function, bool] = {}
        self._near: dict[tuple[Function, int], bool] = {}
        self._followed: dict[Function, bool] = {}
        self._marked: frozenset[Function] | None = None
        self._for_tools: frozenset[Function] | None = None

    def mark_all(self) -> None:
        """Work out all functions of the project at once."""
        functions = list(self._flow.project.all_functions())
        for function in functions:  # before anything else asks for a receiver, for these may be inferred
            self._operates(function)
        found = {function for function in functions if self.holds_data(function)}
        level = list(found)
        for _ in range(DEEPEST_OBLIGATION):
            callers = dict.fromkeys(caller for target in level for caller in self._flow.callers(target))
            level = [caller for caller in callers if caller not in found]
            found.update(level)
        self._marked = frozenset(found)

    def follows(self, function: Function) -> bool:
        """Whether the values in a function matter: it is near data, a model calls it, or it writes to shared objects."""
        known = self._followed.get(function)
        if known is None:
            near = (
                function in self._marked
                if self._marked is not None
                else self._reaches(function, DEEPEST_OBLIGATION)
            )
            known = near or function in self._serving_tools() or may_share(self._flow, function)
            self._followed[function] = known
        return known

    def holds_data(self, function: Function) -> bool:
        """Whether a function performs a data operation itself, queries a customers' model, or reads an identity."""
        known = self._holding.get(function)
        if known is None:
            known = self._holding[function] = (
                self._operates(function)
                or bool(self._flow.queries(function))
                or self._may_claim(function)
                or (not function.facts.qualname and self._flow.views.are_in(function.path))
            )
        return known

    def _operates(self, function: Function) -> bool:
        known = self._operating.get(function)
        if known is None:
            known = self._operating[function] = self._calls_operation(function)
        return known

    def _calls_operation(self, function: Function) -> bool:
        flow, facts = self._flow, function.facts
        if facts.decorators and flow.memoizer(function) is not None:
            return True
        for path in dict.fromkeys(facts.calls):
            if path.rpartition(".")[2] in self._data_methods and "." in path:
                operation = flow.receivers.callee(function, path, infer=True).operation
                if operation and operation.kind in DATA_KINDS and operation.effect not in QUIET_EFFECTS:
                    return True
        return False

    def _may_claim(self, function: Function) -> bool:
        """Whether a function is for a request or a model, and reads a tenant or user from it by its facts."""
        facts, vocabulary = function.facts, self._flow.vocabulary
        if may_overwrite(facts) or lists_owners(facts):
            return True
        reads = (*facts.keys.split(), *(row.name for row in facts.params)) if facts.qualname else ()
        if not any(vocabulary.level(name) or name == "state" for name in reads):
            bodies = facts.decorators and any(vocabulary.level(name) for name in facts.names.split())
            if not bodies:
                return False
        return may_serve(facts) or self._flow.entry(function) in ("route", "tool")

    def _reaches(self, function: Function, calls: int) -> bool:
        """Whether a function holds data or calls one that does, so many calls away."""
        if self.holds_data(function):
            return True
        if not calls:
            return False
        known = self._near.get((function, calls))
        if known is None:
            called = self._called(function)
            known = self._near[function, calls] = any(self._reaches(row, calls - 1) for row in called)
        return known

    def _called(self, function: Function) -> Iterator[Function]:
        """The functions of which this one is a caller."""
        flow = self._flow
        for path in dict.fromkeys(function.facts.calls):
            called = flow.receivers.callee(function, path).function
            if called is None or called.facts.name != path.rpartition(".")[2]:
                continue
            for row in (called, *flow.dispatch.implementations(called)):
                if row is not function:
                    yield row

    def _serving_tools(self) -> frozenset[Function]:
        """The functions that a model may call, and those that they call."""
        if self._for_tools is None:
            tools = self._flow.tools
            self._for_tools = frozenset(row for tool in tools for row in (tool, *self._flow.called_by(tool)))
        return self._for_tools
