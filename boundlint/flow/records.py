"""What speaks for a leak at a query on a customers' model: who can reach it, and what its peers compare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.findings import Confidence, Persona, TraceStep
from boundlint.flow import names
from boundlint.flow.analysis import Flow
from boundlint.flow.claims import INBOUND
from boundlint.flow.gates import gates
from boundlint.flow.queries import IDENTIFIER, QUERY, ROW, Lookup, is_named_after
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.view import View
from boundlint.index.entries import ADMINISTRATOR, is_privileged
from boundlint.index.models import AUDIT
from boundlint.index.project import Function
from boundlint.index.vocabulary import is_model, normal

if TYPE_CHECKING:
    import libcst as cst

REQUEST_NAMES = frozenset(
    "request req data body payload params args kwargs json form query_params request_data req_data".split()
)
BODY = re.compile(
    r"payload|body|data(?!set|base|source)|req|form(?!at)|input|dto|args|params|json|schema|(?:^|_)(?:in|create|update)$"
)
# Where a page begins: the row is looked at for its place in the order alone.
PAGE = re.compile(
    r"^(?:\w+\.)?(?:before|after|cursor|starting_after|ending_before|since|until)(?:_(?:id|cursor))?$"
)
OWN_ID = re.compile(r"\.(?:id|pk)$")
OPEN_TO_ALL = re.compile(r"allowany|isauthenticatedorreadonly")
OWN_IDS = re.compile(r"\.(?:id|pk) for ")  # `{tag.pk for tag in tags}`
AUTHENTICATES = re.compile(r"login|auth|jwt|token|current_user|permission|require|protected|secure|account")
VERBS = {"read": "loads", "update": "changes", "delete": "deletes"}
FARTHEST = 4  # calls between a query and the entry point that answers for it
MOST_OF_LAYER = 0.6  # of the functions beside one that query: so many hold a boundary where the checks belong
MOST_CALLERS = 24  # callers looked at for one query


@dataclass(frozen=True)
class RecordEvidence:
    """Evidence around one query without a boundary.

    `entry`: it is made for a request, a tool call or a job; `principal`: that entry point knows who calls;
    `peers`: most queries on the model, or beside it, compare a boundary, `class_peers` nearly all in its class;
    `layer`: functions beside it that query hold a boundary, so this is where the check belongs; `exposed`: entry
    points that reach it unguarded; `guarded`: callers that guard it themselves; `direct`: the function queries
    itself.
    """

    entry: bool
    principal: bool
    peers: bool
    class_peers: bool
    layer: bool
    exposed: tuple[Function, ...]
    guarded: int
    privileged: bool
    support: bool
    direct: bool
    reach: tuple[str, ...]
    facts: tuple[str, ...]
    trace: tuple[TraceStep, ...]

    @property
    def persona(self) -> Persona:
        """Good evidence: a request reaches it and its principal is known.

        That the class agrees is less: a primitive of the data layer may be checked by whoever calls it.
        """
        if self.support or self.privileged:
            return "auditor"
        if self.entry:
            return "regular" if self.reach or self.principal or self.peers else "auditor"
        if self.exposed and (self.layer or self.peers):
            return "regular"
        return "pedantic" if self.direct and self.class_peers and not self.guarded else "auditor"


def record_evidence(view: View, lookup: Lookup) -> RecordEvidence:
    """Collect the evidence around a query."""
    function, analysis = view.function, view.analysis
    reach = view.reach
    facts = [f"in reach: {', '.join(reach[:4])}"] if reach else []
    peers, peer_facts, trace = _peers(view, lookup)
    facts += peer_facts
    entry = analysis.entry(function) is not None
    support, privileged = bool(SUPPORT_PATH.search(function.path)), is_for_few(analysis, function)
    exposed, guarded = ((), 0) if entry or support or privileged else exposure(analysis, lookup)
    layer = layer_share(analysis, function)
    if layer < MOST_OF_LAYER and any(layer_share(analysis, caller) for caller in exposed):
        exposed = ()  # told there
    for caller in exposed[:1]:
        facts.append(f"reached from {caller.facts.qualname} ({caller.path}:{caller.facts.line}) unguarded")
        trace.append(
            TraceStep(caller.path, caller.facts.line, f"{caller.facts.qualname} reaches it for a request")
        )
    return RecordEvidence(
        entry,
        bool(reach) or knows_principal(analysis, function),
        peers,
        peers and is_deviant(view, lookup),
        layer > 0,
        exposed,
        guarded,
        privileged,
        support,
        not lookup.via,
        reach,
        tuple(facts),
        tuple(trace),
    )


def open_lookups(node: cst.CSTNode, view: View) -> Iterator[Lookup]:
    """The open queries by an id from outside that begin at a node.

    One guard on an id mends all queries by it, so each id once; of several the first that the function makes itself is told, else the first.
    """
    for lookup in view.lookups(node):
        same = [row for row in view.flow.lookups if row.open and row.ids == lookup.ids]
        first = min(same, key=lambda row: (bool(row.via), row.span), default=None)
        if lookup.open and lookup is first and is_outside(view, lookup):
            yield lookup


def is_outside(view: View, lookup: Lookup) -> bool:
    """Whether the id is the caller's or the client's choice: no job's, and that of no record handed in."""
    analysis, function = view.analysis, view.function
    entry = analysis.entry(function)
    return (
        entry != "job"
        and from_outside(lookup, entry is not None)
        and not is_given_record(analysis, function, lookup)
    )


def parent_of(view: View, lookup: Lookup) -> str:
    """Another id that the function is given and that is checked, while this one is not; "" without one."""
    own = {re.split(r"[.(\[]", source, maxsplit=1)[0] for source in lookup.ids}
    level = view.analysis.vocabulary.level
    others = sorted(name for name in view.flow.checks - own if IDENTIFIER.match(name) and not level(name))
    return others[0] if others else ""


def is_told_below(view: View, lookup: Lookup) -> bool:
    """Whether the finding belongs to a function on the way to the query, not to this one.

    It belongs where nearly all functions beside hold a boundary; else where control comes in, if some there
    hold one; else to the first function on the way beside which some do.
    """
    analysis = view.analysis
    way = []
    for step in lookup.trace if lookup.via else ():
        functions = analysis.project.functions(step.path).values()
        around = [
            row for row in functions if row.facts.qualname and row.facts.start <= step.line <= row.facts.end
        ]
        way += [analysis.outermost(row) for row in around[-1:]]
    there = [row for row in way if layer_share(analysis, row) >= MOST_OF_LAYER]
    if not there and layer_share(analysis, view.function) <= 0:
        there = [row for row in way if layer_share(analysis, row) > 0]
    if not there or analysis.entry(view.function) is None:
        return bool(there)
    return any(_reaches(analysis, row, view.function, lookup) for row in there)


def _reaches(analysis: Flow, function: Function, entry: Function, lookup: Lookup) -> bool:
    """Whether a function on the way to a query is seen to be reached from an entry point: of many callers not all are."""
    flow = analysis.flow_of(function)
    sink = _sink(lookup)
    rows = [row for row in (flow.lookups if flow is not None else ()) if row.open and _sink(row) == sink]
    return any(entry in exposure(analysis, row)[0] for row in rows)


def _sink(lookup: Lookup) -> tuple[str, int]:
    """Where the query itself stands, however many calls away."""
    return (
        (lookup.trace[-1].path, lookup.trace[-1].line)
        if lookup.trace
        else (lookup.function.path, lookup.line)
    )


def is_support(view: View) -> bool:
    """Whether the code is a test, a migration, a command or for administrators, other services or the public."""
    return bool(SUPPORT_PATH.search(view.path)) or is_for_few(view.analysis, view.function)


def boundary_at_hand(view: View) -> tuple[str, ...]:
    """The boundary parts that a function takes, holds or reads, and its variables that are named after one."""
    names = (name for name in view.function.facts.assigned if view.analysis.vocabulary.is_strict(name))
    return tuple(dict.fromkeys((*(row.removesuffix("()") for row in view.reach), *names)))


def creator_beside(view: View, lookup: Lookup) -> tuple[Function, str] | None:
    """A method of the same class that creates records of the model, and the boundary column that it gives them."""
    owner, vocabulary = view.function.facts.owner, view.analysis.vocabulary
    for row in view.analysis.project.functions(view.path).values() if owner else ():
        if row.facts.owner != owner or row == view.function or lookup.model not in row.facts.calls:
            continue
        for word in row.facts.columns.get(lookup.model, "").split():
            if vocabulary.column(word) and normal(word) not in AUDIT:
                return row, word
    return None


def is_deviant(view: View, lookup: Lookup) -> bool:
    """Whether the class agrees on a boundary: 80 % of five or more queries, or of three or more on the model."""
    if not view.function.facts.owner:
        return False
    others = [row for flow in view.siblings for row in flow.lookups if row.span != lookup.span]
    direct = [row for row in others if not row.via]
    same = [row for row in direct if row.model == lookup.model]
    return any(
        len(rows) >= fewest and len([row for row in rows if row.scoped or row.guards]) >= 0.8 * len(rows)
        for rows, fewest in ((same, 3), (direct, 5))
    )


def confidence_of(found: RecordEvidence) -> Confidence:
    """How sure a finding is."""
    reached = found.entry or bool(found.exposed)
    return "high" if reached and found.peers else "medium" if reached or found.peers else "low"


def is_for_few(analysis: Flow, function: Function) -> bool:
    """Whether a function is for administrators, other services or the public; its class or router may say so, too."""
    before = asked_before(analysis, function)
    return is_privileged(function) or bool(ADMINISTRATOR.search(before) or OPEN_TO_ALL.search(before))


def asked_before(analysis: Flow, function: Function) -> str:
    """What the class or the router of a route asks before it, in lower case; "" for any other function."""
    return gates(analysis, function).lower() if analysis.entry(function) == "route" else ""


def knows_principal(analysis: Flow, function: Function) -> bool:
    """Whether a function is called with an authenticated principal: a decorator, a dependency, a header."""
    facts = function.facts
    texts = (*facts.decorators, *(f"{param.annotation} {param.default}" for param in facts.params))
    if AUTHENTICATES.search(asked_before(analysis, function)):
        return True
    return bool(AUTHENTICATES.search(" ".join(texts).lower())) or "Authorization" in facts.keys.split()


def from_outside(lookup: Lookup, entry: bool) -> bool:
    """Whether the id comes from the caller or the request, and not from a row that was loaded before."""
    marks = lookup.id_value.marks
    loaded = any(mark.startswith((QUERY, ROW, "from@")) for mark in marks)
    if not lookup.ids or (loaded and INBOUND not in marks):  # with both, one branch reads it from the request
        return False
    if lookup.id_value.params and all(map(is_token, lookup.id_value.params)):
        return False  # unpacked from a token: whoever holds that may have what it names
    root = re.split(r"[.(\[]", lookup.ids[0], maxsplit=1)[0]
    if PAGE.match(lookup.ids[0]) and lookup.effect == "read":
        return False
    if OWN_ID.search(lookup.ids[0]) and not BODY.search(root):
        return False  # `document.id`: the record is at hand already
    if OWN_IDS.search(lookup.ids[0]) or (lookup.taken and "data" in marks and INBOUND not in marks):
        return False  # read from what was loaded
    if lookup.effect != "read" and root == lookup.ids[0] and is_named_after(root, lookup.model):
        return False  # `repository.update(account)`: a record that the function has loaded or made
    named = root in REQUEST_NAMES or any(".kwargs" in source for source in lookup.ids[:1])
    requested = INBOUND in marks or (named and bool(marks & {"unknown", "external"}))  # not an id just made
    return bool(lookup.id_value.params) or requested or (entry and "unknown" in marks)


def is_token(name: str) -> bool:
    """Whether a variable holds a secret, and not the id of one."""
    marks = names.marks(name)
    return "secret" in marks and "id" not in marks


def is_given_record(analysis: Flow, function: Function, lookup: Lookup) -> bool:
    """Whether the function is handed a record of a model, and queries by it: `def entries_of(agent: Agent)`."""
    annotations = {row.name: row.annotation for row in function.facts.params}
    sources = {*lookup.ids, *lookup.values}
    words = {word for source in sources for word in re.findall(r"\w+", annotations.get(source, ""))}
    for word in words:
        symbol = analysis.project.resolve(function.path, word)
        if symbol is not None and symbol.cls is not None and is_model(analysis.project, symbol.cls.facts):
            return True
    return False


def layer_share(analysis: Flow, function: Function) -> float:
    """Which share of the functions beside this one that query hold a boundary; 0 where fewer than two do."""
    beside = [row for row in analysis.querying(function.path, function.facts.owner) if row != function]
    holding = [row for row in beside if analysis.reach_of(row)]
    return len(holding) / len(beside) if len(holding) >= 2 else 0.0


def exposure(analysis: Flow, lookup: Lookup) -> tuple[tuple[Function, ...], int]:
    """The entry points that reach a query unguarded, and how many callers on the way guard it."""
    sink = _sink(lookup)
    exposed: list[Function] = []
    guarded = 0
    level: Sequence[Function] = [lookup.function]
    seen = {lookup.function}
    for _ in range(FARTHEST):
        further: list[Function] = []
        for caller in (row for function in level for row in analysis.callers(function)):
            outer = analysis.outermost(caller)
            if outer in seen or len(seen) > MOST_CALLERS or SUPPORT_PATH.search(outer.path):
                continue
            seen.add(outer)
            flow = analysis.flow_of(outer)
            rows = [
                row for row in (flow.lookups if flow is not None else ()) if row.trace and _sink(row) == sink
            ]
            if any(row.open for row in rows):
                if analysis.entry(outer) == "job":
                    continue  # its ids were made by the server
                if analysis.entry(outer) is not None:
                    if is_for_few(analysis, outer):
                        guarded += 1  # for administrators: the query is no leak by itself
                    elif any(row.open and from_outside(row, True) for row in rows):
                        exposed.append(outer)
                else:
                    further.append(outer)
            elif rows:
                guarded += 1
        level = further
    return tuple(exposed), guarded


def _peers(view: View, lookup: Lookup) -> tuple[bool, list[str], list[TraceStep]]:
    """Whether other queries on the model, or in the class, are scoped or guarded, told with two places."""
    others = [
        row for flow in view.siblings for row in flow.lookups if row.span != lookup.span and not row.via
    ]
    same = [row for row in others if row.model == lookup.model]
    held = [row for row in same if row.scoped or row.guards]
    by_id = [row for row in others if row.by_id]
    by_id_held = [row for row in by_id if row.scoped or row.guards]
    model = view.analysis.peers.comparing_boundary(lookup.type_name)
    if model.agree:
        places = ", ".join(f"{path}:{line}" for path, line in model.examples)
        fact = f"peers: {model.scoped} of {model.total} functions that query {lookup.model} compare a boundary ({places})"
        trace = [TraceStep(path, line, f"a peer that scopes {lookup.model}") for path, line in model.examples]
        return True, [fact], trace
    if len(same) >= 2 and len(held) >= 0.6 * len(same):
        rows, total = held, same
    elif len(by_id) >= 5 and len(by_id_held) >= 0.8 * len(by_id):
        rows, total = by_id_held, by_id
    else:
        return False, [], []
    places = ", ".join(f"{row.function.path}:{row.line}" for row in rows[:2])
    trace = [TraceStep(row.function.path, row.line, "a peer that is scoped or guarded") for row in rows[:2]]
    return (
        True,
        [f"peers: {len(rows)} of {len(total)} other queries here are scoped or guarded ({places})"],
        trace,
    )
