"""A route whose caller is known, which takes a record's id and never asks whose it is.

A principal may be there to authenticate alone.  What speaks against it is what the routes beside do: nearly all
that take such an id use their principal, and this one leaves it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow.guards import ANY_ID, NO_AUTHORITY, is_authority
from boundlint.flow.queries import IDENTIFIER
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.dependencies import injected
from boundlint.index.entries import dependencies_of, entry_of, filler, is_privileged
from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

FEWEST_PEERS = 3  # other routes that take the same id
FEWEST_BESIDE = 4  # other routes of the file that take any id
DEPTH = 2  # calls below a route that may read who calls
AGREE = 0.8  # of them use their principal
TENANT = re.compile(r"tenant|org|workspace|project|team")  # of a getter: it says nothing of which user calls
LOGGED_IN = re.compile(r"login|auth|jwt|token|protected|secured")  # decorators that know who calls


@dataclass(frozen=True)
class Bystander:
    """A route that leaves its principal: the parameter, the id it takes, and the routes that do better."""

    principal: str
    identifier: str
    total: int
    using: int
    examples: tuple[TraceStep, ...]
    same_id: bool  # the others take an id of the same name; else they stand in the same file

    @property
    def fact(self) -> str:
        """What the peers do, in one line."""
        what = f"take {self.identifier}" if self.same_id else "stand in this file and take an id"
        return f"peers: {self.using} of {self.total} other routes that {what} use their principal"


@dataclass(frozen=True)
class _Route:
    function: Function
    principal: str
    injected: bool
    used: bool
    ids: tuple[str, ...]


def may_stand_by(facts: FunctionFacts) -> bool:
    """Whether a function could be such a route, by its facts alone."""
    if not facts.decorators or entry_of(facts) != "route":
        return False
    used = set(facts.names.split())
    return any(IDENTIFIER.match(row.name) and row.name in used for row in facts.params)


class Bystanders:
    """The routes of one project that are given an id and a principal, read when the first is asked for."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._by_file: dict[str, list[_Route]] | None = None
        self._by_id: dict[str, list[_Route]] = {}

    def of(self, function: Function) -> Bystander | None:
        """What speaks against a route that leaves its principal; None where nothing does."""
        if self._flow.entry(function) != "route" or SUPPORT_PATH.search(function.path):
            return None
        mine = self._route(function)
        if mine is None or mine.used or is_privileged(function):
            return None
        if any(is_authority(call.rpartition(".")[2]) for call in function.facts.calls):
            return None  # it checks something, in a way of its own
        if self._asks_below(function, DEPTH, mine.injected):
            return None
        by_file = self._collect()
        for name in mine.ids:
            if name in ANY_ID:
                continue  # it says nothing of what it is the id of
            found = self._agreeing(mine, name, self._by_id.get(name, ()), FEWEST_PEERS, same_id=True)
            if found is not None:
                return found
        for name in mine.ids:
            if name in ANY_ID or self._names_model(name):
                return self._agreeing(mine, name, by_file[function.path], FEWEST_BESIDE, same_id=False)
        return None

    def _asks_below(self, function: Function, depth: int, of_user: bool) -> bool:
        """Whether a called function reads who calls by itself, is a route, or is one whose body nobody shows."""
        if any(self._is_hidden(function, path) for path in function.facts.calls):
            return True
        for called in self._flow.called_by(function) if depth else ():
            ambient = [
                row for row in self._flow.reach_of(called) if row.endswith("()") or row.startswith("current_")
            ]
            if any(not (of_user and TENANT.search(row)) for row in ambient):
                return True
            if self._flow.entry(called) == "route" or self._asks_below(called, depth - 1, of_user):
                return True
        return False

    def _is_hidden(self, function: Function, path: str) -> bool:
        """Whether a call is of something in a module of the project that is not to be found there."""
        root = path.partition(".")[0]
        symbol = self._flow.project.resolve(function.path, root) if root != path else None
        return (
            symbol is not None
            and symbol.kind == "module"
            and self._flow.receivers.callee(function, path).kind == "unknown"
        )

    def _names_model(self, identifier: str) -> bool:
        """Whether an id is, by its name, that of a customers' model: `chat_session_id` of `ChatSession`."""
        stem = identifier.rpartition("_")[0].replace("_", "").lower()
        return bool(stem) and any(model.name.lower().endswith(stem) for model in self._flow.models.values())

    def _agreeing(
        self, mine: _Route, name: str, rows: Iterable[_Route], fewest: int, *, same_id: bool
    ) -> Bystander | None:
        others = [row for row in rows if row.function != mine.function]
        using = [row for row in others if row.used]
        if len(others) < fewest or len(using) < AGREE * len(others):
            return None
        examples = tuple(
            TraceStep(
                row.function.path,
                row.function.facts.line,
                f"{row.function.facts.name} uses `{row.principal}`",
            )
            for row in using[:2]
        )
        return Bystander(mine.principal, name, len(others), len(using), examples, same_id)

    def _collect(self) -> Mapping[str, list[_Route]]:
        if self._by_file is None:
            self._by_file = defaultdict(list)
            for function in self._flow.project.all_functions():
                route = self._route(function) if entry_of(function.facts) == "route" else None
                if route is not None and not SUPPORT_PATH.search(function.path):
                    self._by_file[function.path].append(route)
                    for name in route.ids:
                        self._by_id.setdefault(name, []).append(route)
        return self._by_file

    def _route(self, function: Function) -> _Route | None:
        """A route with its principal and ids; None for one that lacks either, or whose dependency takes the id."""
        flow, facts = self._flow, function.facts
        principals = [row.name for row in facts.params if self._is_principal(function, row.name)]
        names = [row.partition("(")[0].strip().rpartition(".")[2].lower() for row in facts.decorators]
        others = [
            row
            for row in flow.reach_of(function)
            if row not in principals and not (principals and row.endswith("()") and TENANT.search(row))
        ]
        principal = (principals or others or [""])[0].removesuffix("()")
        if not principal and any(LOGGED_IN.search(name) for name in names):
            principal = "current_user"
        if not principal:
            return None
        words = set(facts.names.split())
        taken = set(self._taken_by_dependencies(function))
        ids = tuple(
            row.name
            for row in facts.params
            if IDENTIFIER.match(row.name)
            and row.name in words
            and not flow.vocabulary.level(row.name)
            and row.name not in taken
            and filler(flow.project, function, row) == "path"
        )
        if not ids:
            return None
        decides = any(is_authority(name) and not NO_AUTHORITY.search(name) for name in names)
        at_hand = (*principals, *others)
        used = decides or any(row.endswith("()") or row.rpartition(".")[2] in words for row in at_hand)
        return _Route(function, principal, bool(principals), used, ids)

    def _is_principal(self, function: Function, name: str) -> bool:
        """Whether a dependency fills a parameter with who calls."""
        flow = self._flow
        param = next(row for row in function.facts.params if row.name == name)
        if not dependencies_of(flow.project, function, param):
            return False
        vocabulary = flow.vocabulary
        return (
            vocabulary.is_identity(param.annotation)
            or vocabulary.is_injected(param)
            or vocabulary.is_strict(name)
        )

    def _taken_by_dependencies(self, function: Function) -> Iterator[str]:
        """The parameters of the dependencies, which the framework fills from the same path."""
        flow, facts = self._flow, function.facts
        texts = [f"{row.annotation} {row.default or ''}" for row in facts.params]
        texts += [row.annotation for row in facts.params] + facts.decorators
        for text in texts:
            for module, path in injected(flow.project, function, text):
                found = flow.receivers.callee(module, path)
                target = found.function
                if target is not None:
                    yield from (row.name for row in target.facts.params)
