"""What a rule sees of one function: its LibCST tree, where each node stands, and the flow's answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from boundlint.findings import Location, TraceStep
from boundlint.flow.claims import Claim
from boundlint.flow.credentials import CredentialUse
from boundlint.flow.overwrites import Overwrite
from boundlint.flow.queries import Lookup
from boundlint.flow.shared import SharedWrite
from boundlint.flow.usage import Usage, usage_of
from boundlint.flow.values import Access, FunctionFlow, Oddity, PostFilter
from boundlint.index.project import Function

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.analysis import Flow
    from boundlint.flow.artifacts import Artifact
    from boundlint.flow.logs import Anonymous, Disclosure
    from boundlint.flow.places import Positions
    from boundlint.flow.spots import Spots
    from boundlint.flow.views import OpenView

Left = TypeVar("Left", "Disclosure", "Anonymous", "Artifact")


@dataclass(frozen=True)
class Peers:
    """The other accesses through the same client in the same class or module, and those that are scoped."""

    total: int
    scoped: int
    examples: tuple[TraceStep, ...]

    @property
    def agree(self) -> bool:
        """At least 80 % of five or more, or all of two or more others, carry a boundary."""
        others = self.total - 1
        return (self.total >= 5 and self.scoped / max(others, 1) >= 0.8) or (
            others >= 2 and self.scoped == others
        )


@dataclass(frozen=True)
class View:
    """One outermost function and the questions a rule may ask about it.

    `siblings` are the flows of the same class (or of the same module, for a function outside of classes).
    """

    flow: FunctionFlow
    analysis: Flow
    siblings: Sequence[FunctionFlow]
    lines: Sequence[str]
    positions: Positions | Spots

    @property
    def function(self) -> Function:
        """The function that is looked at."""
        return self.flow.function

    @property
    def path(self) -> str:
        """Root-relative path of its file."""
        return self.flow.function.path

    @property
    def reach(self) -> tuple[str, ...]:
        """Boundary parts at hand in the function."""
        return self.flow.reach

    @property
    def tenancy(self) -> bool:
        """Whether the project shows any boundary at all."""
        return self.analysis.vocabulary.shown

    def function_at(self, line: int) -> str:
        """Qualified name of the innermost function around a line, "" at module level."""
        inner = self.function.facts
        for function in self.analysis.project.functions(self.path).values():
            facts = function.facts
            if facts.qualname and inner.start <= facts.start <= line <= facts.end <= inner.end:
                inner = facts
        return inner.qualname

    def location(self, node: cst.CSTNode) -> Location:
        """Where a node of the tree stands in the file."""
        return self.positions[node]

    @cached_property
    def _accesses(self) -> Mapping[tuple[int, int, int, int], list[Access]]:
        found: dict[tuple[int, int, int, int], list[Access]] = defaultdict(list)
        for access in self.flow.accesses:
            found[access.line, access.column, access.end_line, access.end_column].append(access)
        return found

    def _span(self, node: cst.CSTNode) -> tuple[int, int, int, int]:
        """A node's place as the flow counts: columns in UTF-8 bytes from 0, as CPython's parser does."""
        return self.positions.in_bytes(node)

    def accesses(self, node: cst.CSTNode) -> Sequence[Access]:
        """The data operations that a call node performs, itself or through the functions it calls."""
        if not self.flow.accesses:
            return ()
        return self._accesses.get(self._span(node), ())

    def lookups(self, node: cst.CSTNode) -> Iterator[Lookup]:
        """The queries on customers' models that begin at a call node."""
        return iter(self._lookups.get(self._span(node), ()) if self.flow.lookups else ())

    @cached_property
    def _lookups(self) -> Mapping[tuple[int, int, int, int], list[Lookup]]:
        found: dict[tuple[int, int, int, int], list[Lookup]] = defaultdict(list)
        for row in self.flow.lookups:
            found[row.span].append(row)
        return found

    def shared(self, node: cst.CSTNode) -> Iterator[SharedWrite]:
        """What a statement or call puts into an object that all requests share."""
        if not self.flow.shared:
            return iter(())
        span = self._span(node)
        return (row for row in self.flow.shared if row.span == span)

    def claims(self, node: cst.CSTNode) -> Iterator[Claim]:
        """The identities chosen by a client or a model that a node reads, or that a parameter is."""
        if not self.flow.claims:
            return
        name = getattr(getattr(node, "name", None), "value", None)
        span = self._span(node)
        for row in self.flow.claims:
            if not row.is_parameter:
                if row.span == span:
                    yield row
            elif name == row.label and self.function_at(span[0]) == row.function.facts.qualname:
                yield row

    def overwrites(self, node: cst.CSTNode) -> Iterator[Overwrite]:
        """The merges over identity keys that a node makes."""
        if not self.flow.overwrites:
            return iter(())
        span = self._span(node)
        return (row for row in self.flow.overwrites if row.span == span)

    def credentials(self, node: cst.CSTNode) -> Iterator[CredentialUse]:
        """The process-wide credentials that a call uses, where it is the first to do so."""
        if not self.flow.credentials:
            return iter(())
        span = self._span(node)
        return (row for row in self.flow.credentials if row.span == span)

    def open_views(self, node: cst.CSTNode) -> Iterator[OpenView]:
        """The generic views that answer from the rows that a node stands for."""
        if not self.flow.views:
            return iter(())
        span = self._span(node)
        return (row for row in self.flow.views if row.span == span)

    def disclosures(self, node: cst.CSTNode) -> Iterator[Disclosure]:
        """What a log call node writes of customers' content."""
        return self._left(node, self.flow.effects.disclosures if self.flow.effects else ())

    def anonymous_events(self, node: cst.CSTNode) -> Iterator[Anonymous]:
        """The audit event without a tenant or trace id that a call node writes."""
        return self._left(node, self.flow.effects.anonymous if self.flow.effects else ())

    def artifacts(self, node: cst.CSTNode) -> Iterator[Artifact]:
        """The files that a call node writes where customers meet."""
        return self._left(node, self.flow.effects.artifacts if self.flow.effects else ())

    def _left(self, node: cst.CSTNode, rows: Iterable[Left]) -> Iterator[Left]:
        span = self._span(node) if rows else None
        return (row for row in rows if (row.line, row.column, row.end_line, row.end_column) == span)

    def post_filters(self, node: cst.CSTNode) -> Iterator[PostFilter]:
        """The comparisons after the ranking that a comparison node makes."""
        if not self.flow.post_filters:
            return iter(())
        start = self._span(node)[:2]
        return (row for row in self.flow.post_filters if (row.line, row.column) == start)

    def oddities(self, node: cst.CSTNode) -> Iterator[Oddity]:
        """What the flow found without effect, or ambiguous, at a node."""
        if not self.flow.oddities:
            return iter(())
        span = self._span(node)
        return (
            row for row in self.flow.oddities if (row.line, row.column, row.end_line, row.end_column) == span
        )

    def usage(self, access: Access) -> Usage:
        """What the access is for, as far as its key, value and surroundings tell."""
        return usage_of(access)

    def reach_of(self, access: Access) -> tuple[str, ...]:
        """The boundary parts at hand in the (nested) function that makes the access."""
        if access.function == self.function:
            return self.reach
        return self.analysis.reach_of(access.function)

    def callers(self) -> Sequence[Function]:
        """The project functions that call this one."""
        return self.analysis.callers(self.function)

    def callers_with_reach(self) -> list[tuple[Function, tuple[str, ...]]]:
        """Callers, up to two calls away, that have a boundary at hand, with its parts."""
        found = []
        level = list(self.callers())
        seen = {self.function, *level}
        for _ in range(2):
            further = []
            for caller in level:
                if names := self.analysis.reach_of(caller):
                    found.append((caller, names))
                else:
                    further += [row for row in self.analysis.callers(caller) if row not in seen]
                    seen.update(further)
            level = further
        return found

    def peers(self, access: Access) -> Peers:
        """How the other accesses through the same client here are scoped."""
        client = access.operation.target.rpartition(".")[0]
        same = [
            row
            for flow in self.siblings
            for row in flow.accesses
            if row.operation.target.rpartition(".")[0] == client
            and row.operation.kind == access.operation.kind
        ]
        scoped = [row for row in same if row.verdict == "scoped"]
        examples = tuple(
            TraceStep(row.function.path, row.line, "a peer that carries it") for row in scoped[:2]
        )
        return Peers(len(same), len(scoped), examples)
