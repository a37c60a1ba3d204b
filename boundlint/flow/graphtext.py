"""Graph queries in text: a pattern match over all nodes, with no boundary in the text or its parameters."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from boundlint.flow.values import HOLE, Oddity, Value, join
from boundlint.index.extract import path_of
from boundlint.index.texts import GRAPH_QUERY

if TYPE_CHECKING:
    from boundlint.flow.arguments import Arguments
    from boundlint.flow.interpret import Interpreter

# Addressed by an id: a matter for those rules that look at records.
BY_ID = re.compile(
    r"(?i)(?:\b\w*id\w*\s*\(\s*\w+\s*\)|\b\w*(?:id|uuid|key|name|hash)\w*)\s*(?::|={1,2}|IN)\s*(?:\$|\{\}|%s|\?)"
    r"|\bUNWIND\s+\$"
)
CHOSEN_GRAPH = "graph"  # the mark of a session opened on a database, space or graph that its caller names
NAMES_GRAPH = frozenset({"database", "database_", "space", "graph", "graph_name", "keyspace"})
RUNS = re.compile(
    r"run|query|execute|cypher|fetch|search|graph|transaction|^(?:tx|session|read|write)", re.IGNORECASE
)
# A probe that reads nothing, and a graph that is chosen by name, as a database of its own is.
HARMLESS = re.compile(r"(?i)\bLIMIT\s+0\b|\bcypher\(\s*['\"$]*\{\}")


def chooses_graph(given: Arguments) -> bool:
    """Whether a call names the database or graph it works on, and not by a constant."""
    return any(name in NAMES_GRAPH and not value.is_constant for name, (value, _) in given.keywords.items())


def open_graph_query(run: Interpreter, node: ast.Call, receiver: Value, given: Arguments) -> Oddity | None:
    """The query that a call runs over everybody's nodes; None for a call that runs none."""
    values = [value for value, _ in given.positional] + [value for value, _ in given.keywords.values()]
    text = next((value.text for value in values if value.text and GRAPH_QUERY.search(value.text)), None)
    if text is None or BY_ID.search(text) or HARMLESS.search(text):
        return None
    if CHOSEN_GRAPH in receiver.marks or chooses_graph(given):
        return None
    if not RUNS.search(path_of(node.func).rpartition(".")[2]):
        return None
    everything = join([receiver, given.joined(), given.spread])
    if HOLE in text and (everything.carriers or everything.maybe):
        return None  # what is filled in may be the boundary; a constant text has to name it
    if any(run.vocabulary.level(word) for word in re.findall(r"\w+", text)):
        return None
    shown = " ".join(text.split())[:60]
    return Oddity(
        "open-graph-query",
        node.lineno,
        node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or node.col_offset,
        shown,
    )
