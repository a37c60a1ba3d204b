"""Show the rules the functions of a file in which the flow found something to judge, and collect problems."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.findings import DOCS_URL, Finding, Location, fingerprint
from boundlint.flow.analysis import Flow
from boundlint.flow.optional import scoping
from boundlint.flow.values import DATA_KINDS, HOLE, FunctionFlow
from boundlint.flow.view import View
from boundlint.index.entries import may_enter
from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Function
from boundlint.rule import Handler, Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

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
        view = View(row, flow, groups[row.function.facts.owner], lines)
        findings.extend(_visit(view, rules))
    return number(findings)


def held(flow: Flow, row: FunctionFlow) -> list[FunctionFacts]:
    """The facts of a function and of those nested in it."""
    outer = row.function.facts
    inside = outer.qualname + "."
    functions = flow.project.functions(row.function.path).values() if outer.qualname else ()
    return [outer, *(f.facts for f in functions if f.facts.parent and f.facts.qualname.startswith(inside))]


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
        or any(row.bare or row.dropped or row.predicate.maybe or not flow.reach for row in flow.lookups)
        or scoping(flow)
        or (flow.memoized and flow.ambient)
        or any(access.verdict in ("unscoped", "unknown") for access in data)
        or (may_enter(flow.function.facts) and any(access.verdict == "open" for access in data))
        or any(HOLE + HOLE in (key.text or "") or "*" in (key.text or "") for key in keys)
        or any("digest" in key.marks and access.has("value") for key, access in zip(keys, data, strict=False))
        or (data and (flow.unused or not flow.reach))
    )


def _visit(view: View, rules: Sequence[Rule]) -> list[Finding]:
    handlers: dict[str, list[tuple[Rule, Handler]]] = defaultdict(list)
    facts = held(view.analysis, view.flow)
    for rule in rules:
        if rule.only_wanted and not (rule.wants is not None and any(map(rule.wants, facts))):
            continue
        if view.tenancy or rule.certain:
            for node_type, handler in rule.visit.items():
                handlers[node_type].append((rule, handler))
    if not handlers:
        return []
    source, offset = _source(view.function, view.lines)
    findings, unsure = _ask_stand_ins(view, source, offset, handlers)
    if unsure:
        nodes, positions = _slice(view.function, source, offset)
        view = replace(view, positions=positions)
        for node in nodes:
            for rule, handler in unsure.get(type(node).__name__, ()):
                findings += _findings(rule, handler(node, view), positions[node], view)
    return findings


def _ask_stand_ins(
    view: View, source: str, offset: int, handlers: Handlers
) -> tuple[list[Finding], Handlers]:
    """What the handlers say that ask only where a node stands, and the handlers that have to see the tree."""
    from boundlint.flow.spots import NeedsTree, spots

    found = spots(source, view.path, offset, handlers.keys())
    if found is None:
        return [], handlers
    asked = replace(view, positions=found)
    said: dict[tuple[str, Handler], list[Finding]] = defaultdict(list)
    unsure: dict[str, list[tuple[Rule, Handler]]] = defaultdict(list)
    open_handlers = {kind: list(rows) for kind, rows in handlers.items()}
    for spot, kinds in found.rows:
        for kind in kinds:
            for row in tuple(open_handlers[kind]):
                rule, handler = row
                try:
                    problems = list(handler(spot, asked))  # type: ignore[arg-type]
                except NeedsTree:
                    open_handlers[kind].remove(row)
                    unsure[kind].append(row)
                    said.pop((kind, handler), None)
                    continue
                if problems:
                    said[kind, handler] += _findings(rule, problems, found[spot], view)
    return [finding for findings in said.values() for finding in findings], unsure


def _source(function: Function, lines: Sequence[str]) -> tuple[str, int]:
    """A function's own source, and how many lines of the file stand before it."""
    first, last = function.facts.start, function.facts.end
    rows = list(lines[first - 1 : last])
    if function.facts.qualname and rows and rows[0][:1].isspace():
        # keeps the indentation, and with it the columns, as they are
        return "\n".join(("if True:", *rows)) + "\n", first - 2
    return "\n".join(rows) + "\n", first - 1


def _slice(function: Function, source: str, offset: int) -> tuple[Sequence[cst.CSTNode], Positions]:
    """The nodes of LibCST's tree of a function's own source, and where they stand in the file."""
    import libcst as cst

    from boundlint.flow.places import Positions

    positions = Positions(cst.parse_module(source), source, function.path, offset)
    # without the module, the statement around, its test and its block
    return positions.nodes[4 if offset < function.facts.start - 1 else 0 :], positions


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
