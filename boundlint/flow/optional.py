"""Boundary parameters that a caller may leave out, and whether the methods beside require them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from boundlint.flow.queries import ON_MODEL, TAKES_MODEL
from boundlint.flow.records import knows_principal
from boundlint.flow.values import FunctionFlow, Value
from boundlint.index.entries import filler
from boundlint.index.facts import Param
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.view import View

PLAIN = ON_MODEL | TAKES_MODEL  # what they are given is compared as it is, None as well
EMPTY = frozenset({"None", "''"})
ABSENT = re.compile(r"^(?:\w+\.)?Query\((?:default=)?None\b")
FEWEST_PEERS = 4
PEER_SHARE = 0.8  # of the methods that take the parameter


def scoping(flow: FunctionFlow) -> list[Param]:
    """The optional parameters that are all that scopes some query by id of a function."""
    return [
        param
        for param in flow.function.facts.params
        if param.default in EMPTY
        and any(row.by_id and not row.guards and _scopes(param.name, row.predicate) for row in flow.lookups)
    ]


def _scopes(name: str, predicate: Value) -> bool:
    roots = {carrier.partition(".")[0] for carrier in predicate.carriers | predicate.maybe}
    return name in roots and roots <= {name, "**"}


def scoped_by(view: View) -> list[Param]:
    """The optional parameters that hold a boundary and are all that scopes a query of the function."""
    vocabulary = view.analysis.vocabulary
    return [
        param
        for param in scoping(view.flow)
        if (vocabulary.is_strict(param.name) or vocabulary.is_identity(param.annotation))
        and not fails_closed(view, param.name)
    ]


def dropped_by_client(view: View) -> list[Param]:
    """The boundaries that a client may leave out of a request to a route, where they are checked only when given.

    Such a check shows that the rows are not everybody's; without the parameter no query asks whose they are.
    """
    function, analysis, flow = view.function, view.analysis, view.flow
    if analysis.entry(function) != "route" or not knows_principal(analysis, function):
        return []
    return [
        param
        for param in function.facts.params
        if (param.default in EMPTY or ABSENT.search(param.default or ""))
        and analysis.vocabulary.is_strict(param.name)
        and param.name in flow.checked
        and param.name not in function.facts.assigned  # else the principal's own may take its place
        and filler(analysis.project, function, param) == "query"
        and not fails_closed(view, param.name)
        and any(
            row.effect == "read" and not row.via and not row.guards and _scopes(param.name, row.predicate)
            for row in flow.lookups
        )
        and not _asks_another(flow, param.name)
    ]


def _asks_another(flow: FunctionFlow, name: str) -> bool:
    """Whether a branch of its own queries the same model by another boundary: the rows of the caller's workspaces."""
    models = {row.model for row in flow.lookups if _scopes(name, row.predicate)}
    return any(row.scoped and not _scopes(name, row.predicate) for row in flow.lookups if row.model in models)


def fails_closed(view: View, name: str) -> bool:
    """Whether without the parameter the function raises, or compares its column with None and finds nothing."""
    facts = view.function.facts
    body = "\n".join(view.lines[facts.line - 1 : facts.end])
    if re.search(rf"\bif (?:not {name}|{name} is None)\s*:\s*raise\b", body):
        return True
    if re.search(rf"\bif\b[^\n]*\b{name}\b|\b{name}\b\s*or\b|\bor {name}\b", body):
        return False
    rows = [row for row in view.flow.lookups if row.by_id and not row.guards and _scopes(name, row.predicate)]
    return all(name in row.values and row.call.rpartition(".")[2] in PLAIN for row in rows)


def required_beside(view: View, name: str) -> list[Function]:
    """The methods of the same class that require a parameter of this name; empty where they do not agree."""
    function = view.function
    beside = [
        (row, param.default)
        for row in view.analysis.project.functions(view.path).values()
        if function.facts.owner and row.facts.owner == function.facts.owner and row != function
        for param in row.facts.params
        if param.name == name
    ]
    required = [row for row, default in beside if default is None]
    agree = len(required) >= FEWEST_PEERS and len(required) >= PEER_SHARE * len(beside)
    return required if agree else []
