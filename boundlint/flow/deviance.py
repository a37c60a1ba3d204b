"""Deviance inside one function: two calls that do alike, of which one passes the scope and the other does not."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.queries import IDENTIFIER
from boundlint.flow.values import NONE, Oddity, OddityKind, Value, join
from boundlint.index.extract import path_of
from boundlint.index.facts import FunctionFacts
from boundlint.index.receivers import Callee
from boundlint.index.vocabulary import TENANT, USER, WEAK

if TYPE_CHECKING:
    from boundlint.flow.arguments import Arguments
    from boundlint.flow.interpret import Interpreter

READS = re.compile(
    r"^_?a?(?:search|query|retrieve|recall|similarity_search|semantic_search|hybrid_search|keyword_search|vector_search|get_all|list|list_all|find|"
    r"find_all|fetch|fetch_all|get_relevant_\w+)$"
)
DELETES = re.compile(r"^_?a?(?:delete_all|delete_many|remove_all|clear|clear_all|purge|truncate|drop_all)$")
FILTER = re.compile(r"(?:^|_)(?:filters?|where|conditions?|criteria|namespace|partition|scope)$")
# A receiver that keeps documents or memories, by its last name.
STORE = re.compile(
    r"(?:^|_)(?:stores?|graphs?|graph_db|index|indexes|db|memory|memories|vectors?|vector_db|retrievers?|collections?|repo|repository|knowledge|"
    r"knowledge_base|kb|storage|search_client|doc_store|docstore|backend|engine)$"
)
OUTSIDE = re.compile(r"web|internet|online|news|scholar|public|remote|http|map|image")
CACHE = re.compile(r"cache")


@dataclass(frozen=True, slots=True)
class _Call:
    node: ast.Call
    path: str
    verb: str
    carried: frozenset[str]
    filtered: bool
    bare: bool


class SiblingCalls:
    """The calls of one function that read or delete many rows, and those that take one of its parameters by name."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: list[_Call] = []
        self.named: dict[str, list[tuple[ast.Call, Value, str]]] = {}

    def on_call(self, node: ast.Call, callee: Callee, receiver: Value, given: Arguments) -> None:
        """Remember a call with what it passes."""
        self._note_named(node, given)
        if not isinstance(node.func, ast.Attribute):
            return
        name = node.func.attr
        known = callee.operation is not None and callee.operation.kind in ("retrieval", "memory")
        reads = known and callee.operation is not None and callee.operation.effect == "read"
        verb = "read" if reads or READS.match(name) else "delete" if DELETES.match(name) else ""
        if not verb or callee.kind == "class" or given.open_ended or given.starred:
            return
        everything = join([receiver, given.joined()])
        filters = [value for keyword, (value, _) in given.keywords.items() if FILTER.search(keyword)]
        filters += [
            value
            for value, argument in given.positional
            if isinstance(argument, ast.Name) and FILTER.search(argument.id)
        ]
        scoped = NONE.union(*(value.carriers | value.maybe for value in filters))
        narrowed = any(
            IDENTIFIER.match(keyword) and not value.is_constant
            for keyword, (value, _) in given.keywords.items()
        )
        scoped_by = everything.carriers or everything.maybe or filters or narrowed
        bare = not scoped_by and callee.operation is None
        self.found.append(
            _Call(node, path_of(node.func), verb, scoped, bool(scoped), bare and _is_store(node.func.value))
        )

    def _note_named(self, node: ast.Call, given: Arguments) -> None:
        params = {param.name for param in self.run.function.facts.params}
        for keyword, (value, argument) in given.keywords.items():
            if keyword in params and (keyword in WEAK or self.run.vocabulary.level(keyword)):
                self.named.setdefault(keyword, []).append((node, value, ast.unparse(argument)))

    def finish(self) -> list[Oddity]:
        """The deviants among the calls."""
        return [*self._unfiltered(), *self._other_scope()]

    def _unfiltered(self) -> list[Oddity]:
        good = [call for call in self.found if call.filtered]
        if not good:
            return []
        peers = {call.path for call in good}
        rows = []
        for call in self.found:
            if not call.bare or call.path in peers:
                continue
            like = [row for row in good if row.verb == call.verb] if call.verb == "read" else good
            if call.verb == "delete" and (call.node.args or call.node.keywords):
                continue
            if like:
                says = f"{ast.unparse(call.node)[:80]} beside {like[0].path} in line {like[0].node.lineno}"
                rows.append(_oddity("sibling-without-filter", call.node, says))
        return rows

    def _other_scope(self) -> list[Oddity]:
        """A cache that is told another session or tenant than the one that the calls around it are told."""
        rows = []
        for name, calls in self.named.items():
            alike = [node for node, _, source in calls if source == name]
            for node, value, source in calls:
                stem = name.removesuffix("_id")
                other = name not in value.params and name not in value.carriers and not value.is_constant
                other = other and not source.lower().startswith(
                    (stem, f"str({stem}")
                )  # the same thing, loaded
                if alike and other and CACHE.search(path_of(node.func).lower()):
                    says = f"{name}={source}, while line {alike[0].lineno} passes {name}={name}"
                    rows.append(_oddity("other-scope", node, says))
        return rows


def may_deviate(facts: FunctionFacts) -> bool:
    """Whether, by its facts alone, a function with a session or tenant as its parameter calls a cache."""
    scoped = any(param.name in WEAK or param.name in TENANT or param.name in USER for param in facts.params)
    return scoped and any(CACHE.search(path.rpartition(".")[2].lower()) for path in facts.calls)


def _is_store(receiver: ast.expr) -> bool:
    name = path_of(receiver).rpartition(".")[2].strip("_").lower()
    return bool(STORE.search(name)) and not OUTSIDE.search(name)


def _oddity(kind: OddityKind, node: ast.expr, source: str) -> Oddity:
    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return Oddity(kind, node.lineno, node.col_offset, end_line, end_column, source)
