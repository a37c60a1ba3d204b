"""What the seams of vector stores share: searches are judged by their filters, writes by their payloads.

A seam says in a `Call` what its client is asked for; each record that comes back is compared with the boundary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boundlint.boundary import Scope
from pytest_boundary.active import Active, innermost
from pytest_boundary.checks import payloads
from pytest_boundary.checks.filters import NOTHING, Filter, judge_filter, plainly_scoped
from pytest_boundary.checks.keys import carries, judge_keys
from pytest_boundary.checks.predicates import judge_function
from pytest_boundary.checks.rows import foreign_owner
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing, Operation


@dataclass(frozen=True)
class Call:
    """One call in the words of every vector store.

    `collection` is what is searched, `places` the namespaces, partitions or store tenants around it: any of them may
    be the boundary's own, each one of a list. `filters` are one for each search, `functions` those that the
    application wrote itself, beside them. `keys` are the ids of a call by id, which may carry the
    boundary as keys do. `payloads` are those of a write (an iterator stands for itself), None where it is none. `sent` is what the watcher looks
    into, on `surface`. A `free` call touches no content.
    """

    collection: str
    places: tuple[Any, ...] = ()
    filters: Sequence[Filter] = ()
    keys: Sequence[Any] = ()
    payloads: Sequence[Any] | None = None
    sent: Any = None
    surface: str = ""
    free: bool = False
    functions: Sequence[Callable[[Any], Any]] = ()  # filters of the application's own
    late: bool = False  # the filters are applied to what the ranking has left

    @property
    def shown(self) -> str:
        """For people."""
        places = [str(place) for place in self.places if place]
        return f"collection {self.collection!r}" + (f" in {', '.join(places)}" if places else "")


Describe = Callable[[Any, tuple[Any, ...], dict[str, Any]], Call]
Points = Callable[[Any], Iterable[Any]]
# The fields that equal a value in all that a call can find, as far as a quick look shows.
Equalities = Callable[[Any, tuple[Any, ...], dict[str, Any]], Iterable[tuple[str, Any]]]


def several(value: Any) -> list[Any]:
    """What clients take as one or as many, as many."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class Watch:
    """The hooks around one method. `describe` reads the call, `points` gives the records of its result.

    Where the `equalities` of a read scope it, which is nearly always, it is not described.
    """

    def __init__(
        self,
        monitor: Monitor,
        operation: Operation,
        describe: Describe,
        points: Points = lambda _result: (),
        *,
        fix: str = "",
        write_fix: str = payloads.FIX,
        equalities: Equalities | None = None,
    ) -> None:
        self.monitor = monitor
        self.operation = operation
        self._describe = describe
        self._points = points
        self._fix = fix
        self._write_fix = write_fix
        self._equalities = equalities if operation.effect == "read" else None
        # on the way of every search: looked up once
        self._entered, self._asked = innermost.get, monitor.asked.get
        self._marks = monitor.watcher.canaries.known
        # the scope of the latest search and its boundary: together, as threads take turns
        self._latest: tuple[Scope | None, Active | None] = (None, None)

    def before(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        """Judge a call, and look at what it sends. The caller has asked whether it is claimed."""
        __tracebackhide__ = True
        monitor = self.monitor
        # where marks are looked for, what is sent has to be read
        if self._equalities is not None and not self._marks:
            scope, active = self._latest
            if scope is None or scope is not self._entered() or self._asked() is not None:
                active = monitor.active()
                if self._asked() is None:
                    self._latest = (self._entered(), active)
            if active is not None and plainly_scoped(
                self._equalities(client, args, kwargs), active, monitor.levels
            ):
                if monitor.by_site:
                    monitor.passed(self.operation, "scoped", self._shown, client, args, kwargs)
                else:  # what `passed` does, without the call
                    monitor.ledger.counts[self.operation.scoped] += 1
                return active
        call = self._describe(client, args, kwargs)
        active = monitor.before(self.operation, self._judge, _shown, call)
        if active is not None and call.surface:
            monitor.watcher.surface(call.sent, call.surface, self.operation)
        return active

    def _shown(self, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        return self._describe(client, args, kwargs).shown

    def after(self, active: Active, result: Any) -> Any:
        """Look at a result; gives what is returned in place of a stream, whose records are looked at as they come.

        A record that names another owner is foreign: the filter comes after the ranking.
        """
        __tracebackhide__ = True
        if self.operation.effect != "read":
            return
        found = self._points(result)
        if self._marks:
            found = list(found)
            self.monitor.read(self.operation, [result, found])
        levels = self.monitor.levels
        for payload in found:
            if (payload.__class__ is dict or isinstance(payload, Mapping)) and (
                owner := foreign_owner(payload, active, levels)
            ):
                self.monitor.foreign(self.operation, active, owner)

    def _judge(self, active: Active, call: Call) -> Judgement:
        if call.free:
            return "free"
        levels = self.monitor.levels
        names = (call.collection,)
        for place in (call.collection, *call.places):
            names_of_place = place if isinstance(place, (list, tuple)) else [place]
            if names_of_place and all(name and carries(name, active, levels) for name in names_of_place):
                return "scoped"
        if call.keys:
            by_key = judge_keys(call.keys, active, levels, self.monitor.settings.delimiters, what="id")
            if by_key == "scoped":
                return "scoped"
        if call.payloads is not None:
            judged = payloads.judge_payloads(call.payloads, active, levels, names=names, fix=self._write_fix)
            if isinstance(judged, Missing) or not call.filters:
                return judged
        by_function: Judgement | None = None
        for function in call.functions:
            by_function = judge_function(function, active, levels, names=names, fix=self._fix)
            if by_function == "scoped":
                return "scoped"
        for condition in call.filters or (NOTHING,):
            judged = judge_filter(condition, active, levels, names=names, fix=self._fix)
            if isinstance(judged, Missing):
                return by_function or judged
        if call.late:
            text = "the filter comes after the ranking, which takes its candidates from everybody's data"
            return Missing(text, names, self._fix, rule="BND302", title="filter after the ranking")
        return "scoped"


def _shown(call: Call) -> str:
    return call.shown
