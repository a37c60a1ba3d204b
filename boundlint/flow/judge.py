"""Show the rules the functions of a file in which the flow found something to judge, and collect problems."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.findings import DOCS_URL, Finding, Location, fingerprint
from boundlint.flow.analysis import Flow
from boundlint.flow.optional import scoping
from boundlint.flow.spots import KNOWN, NeedsTree, Spots
from boundlint.flow.values import DATA_KINDS, HOLE, FunctionFlow
from boundlint.flow.view import View
from boundlint.index.entries import may_enter
from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Function
from boundlint.rule import Handler, Problem, Rule

if TYPE_CHECKING:
    import ast

    from boundlint.flow.places import Positions

Handlers = Mapping[str, Sequence[tuple[Rule, Handler]]]  # by the type name of the nodes they look at


def judge_file(
    flow: Flow, path: str, functions: Iterable[Function], lines: Sequence[str], rules: Sequence[Rule]
) -> list[Finding]:
    """The findings of one file. `functions` are its marked functions, `lines` its source."""
    flows = [found for function in functions if (found := flow.look_at(function)) is not None]
    wanting = [rule.wants for rule in rules if rule.wants is not None]
    suspecting = [rule.suspects for rule in rules if rule.suspects is not None]
    suspects = [
        row
        for row in flows
        if is_suspect(row)
        or any(suspect(row) for suspect in suspecting)
        or any(wants(facts) for wants in wanting for facts in held(flow, row))
    ]
    if not suspects:
        return []
    groups: dict[str, list[FunctionFlow]] = defaultdict(list)
    for row in flows:
        groups[row.function.facts.owner].append(row)
    findings: list[Finding] = []
    for row in suspects:
        findings += _visit(row, flow, groups[row.function.facts.owner], lines, rules)
    return number(findings)


def held(flow: Flow, row: FunctionFlow) -> list[FunctionFacts]:
    """The facts of a function and of those nested in it."""
    return [row.function.facts, *(inner.facts for inner in flow.project.nested(row.function))]


def is_suspect(flow: FunctionFlow) -> bool:
    """Whether a rule could have anything to say: an access that is not scoped, or an oddity."""
    data = [access for access in flow.accesses if access.operation.kind in DATA_KINDS]
    keys = [access.value_of("key", "key_list", "key_pattern", "namespace") for access in data]
    return bool(
        flow.post_filters
        or flow.oddities
        or flow.shared
        or flow.claims
        or flow.overwrites
        or flow.views
        or any(row.bare or row.dropped or row.predicate.maybe or not flow.reach for row in flow.lookups)
        or scoping(flow)
        or (flow.memoized and flow.ambient)
        or any(access.verdict in ("unscoped", "unknown") for access in data)
        or (may_enter(flow.function.facts) and any(access.verdict == "open" for access in data))
        or any(HOLE + HOLE in (key.text or "") or "*" in (key.text or "") for key in keys)
        or any("digest" in key.marks and access.has("value") for key, access in zip(keys, data, strict=False))
        or (data and (flow.unused or not flow.reach))
    )


def _visit(
    row: FunctionFlow, flow: Flow, beside: Sequence[FunctionFlow], lines: Sequence[str], rules: Sequence[Rule]
) -> list[Finding]:
    """Ask the rules with stand-ins for the nodes, and those that have to see a node with LibCST's."""
    handlers = _handlers(row, flow, rules)
    tree = _tree(flow, row.function) if handlers else None
    findings: list[Finding] = []
    if tree is not None:
        spots = Spots(tree, row.function.path, lines, handlers.keys() & KNOWN)
        view = View(row, flow, beside, lines, spots)
        findings, handlers = _ask(view, spots, handlers)
    if handlers:
        positions = _parse(row.function, lines)
        view = View(row, flow, beside, lines, positions)
        for node in positions.nodes:
            for rule, handler in handlers.get(type(node).__name__, ()):
                findings += _findings(rule, handler(node, view), positions[node], view)
    return findings


def _handlers(row: FunctionFlow, flow: Flow, rules: Sequence[Rule]) -> Handlers:
    """The handlers of the rules that are shown a function."""
    found: dict[str, list[tuple[Rule, Handler]]] = defaultdict(list)
    facts = held(flow, row)
    for rule in rules:
        if rule.only_wanted and not (rule.wants is not None and any(map(rule.wants, facts))):
            continue
        if flow.vocabulary.shown or rule.certain:
            for node_type, handler in rule.visit.items():
                found[node_type].append((rule, handler))
    return found


def _ask(view: View, spots: Spots, handlers: Handlers) -> tuple[list[Finding], Handlers]:
    """What the handlers say that ask only where a node stands, and the handlers that have to see the nodes."""
    said: dict[tuple[str, Handler], list[Finding]] = defaultdict(list)
    unsure = {kind: list(rows) for kind, rows in handlers.items() if kind not in KNOWN}
    asked = {kind: list(rows) for kind, rows in handlers.items() if kind in KNOWN}
    for spot, kinds in spots.rows:
        for kind in kinds:
            for row in tuple(asked[kind]):
                rule, handler = row
                try:
                    problems = list(handler(spot, view))  # type: ignore[arg-type]
                except NeedsTree:
                    asked[kind].remove(row)
                    unsure.setdefault(kind, []).append(row)
                    said.pop((kind, handler), None)
                else:
                    if problems:
                        said[kind, handler] += _findings(rule, problems, spots[spot], view)
    return [finding for findings in said.values() for finding in findings], unsure


def _tree(flow: Flow, function: Function) -> ast.AST | None:
    """CPython's tree of a function, or of a whole file for the code outside of functions."""
    if function.facts.qualname:
        return flow.slices.function(function)
    return flow.slices.module(function.path)


def _parse(function: Function, lines: Sequence[str]) -> Positions:
    """The nodes of LibCST's tree of a function's own source, and where they stand in the file."""
    import libcst as cst

    from boundlint.flow.places import Positions

    source, offset = _source(function, lines)
    # an `if` around an indented function is none of its nodes: neither is its test or its block
    return Positions(
        cst.parse_module(source), source, function.path, offset, around=offset < function.facts.start - 1
    )


def _source(function: Function, lines: Sequence[str]) -> tuple[str, int]:
    """A function's own source, and how many lines of the file stand before it."""
    first, last = function.facts.start, function.facts.end
    rows = list(lines[first - 1 : last])
    if function.facts.qualname and rows and rows[0][:1].isspace():
        # keeps the indentation, and with it the columns, as they are
        return "\n".join(("if True:", *rows)) + "\n", first - 2
    return "\n".join(rows) + "\n", first - 1


def _findings(rule: Rule, problems: Iterable[Problem], place: Location, view: View) -> list[Finding]:
    return [_finding(rule, problem, place, view) for problem in problems]


def _finding(rule: Rule, problem: Problem, place: Location, view: View) -> Finding:
    statement = " ".join(view.lines[place.line - 1 : max(place.end_line, place.line)])
    return Finding(
        rule=rule.code,
        name=rule.name,
        severity=rule.severity,
        confidence=problem.confidence,
        persona=problem.persona,
        message=problem.message,
        help=problem.help,
        location=place,
        function=view.function_at(place.line),
        operation=problem.operation,
        facts=problem.facts,
        trace=problem.trace,
        fix=problem.fix,
        url=f"{DOCS_URL}{rule.code}/",
        fingerprint=statement,
    )


def number(findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order of their places, equal ones once, with their fingerprints."""
    seen: Counter[tuple[str, str, str, str]] = Counter()
    numbered = []
    unique = {(row.rule, row.location, row.operation): row for row in findings}
    for row in sorted(
        unique.values(), key=lambda f: (f.location.path, f.location.line, f.location.column, f.rule)
    ):
        key = (row.rule, row.function, row.operation, " ".join(row.fingerprint.split()))
        mark = fingerprint(
            row.rule, row.location.path, row.function, row.operation, row.fingerprint, seen[key]
        )
        seen[key] += 1
        numbered.append(replace(row, fingerprint=mark))
    return numbered
