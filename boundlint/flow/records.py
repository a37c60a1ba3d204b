"""What speaks for a leak at a query on a customers' model: who calls it, and what its peers compare."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boundlint.findings import TraceStep
from boundlint.flow.lookups import Lookup
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.view import View
from boundlint.index.entries import is_privileged

REQUEST_NAMES = frozenset(
    "request req data body payload params args kwargs json form query_params request_data req_data".split()
)
AUTHENTICATES = re.compile(r"login|auth|jwt|token|current_user|permission|require|protected|secure|account")


@dataclass(frozen=True)
class RecordEvidence:
    """Evidence around one unguarded query.

    `entry`: it is made for a request or a tool call; `principal`: that entry point knows who calls; `peers`:
    most queries on the model, or in the class, compare a boundary; `from_outside`: the id was not loaded
    before; `direct`: the function queries itself.
    """

    entry: bool
    principal: bool
    peers: bool
    privileged: bool
    support: bool
    from_outside: bool
    direct: bool
    reach: tuple[str, ...]
    facts: tuple[str, ...]
    trace: tuple[TraceStep, ...]


def record_evidence(view: View, lookup: Lookup) -> RecordEvidence:
    """Collect the evidence around a query."""
    function = view.function
    entry = view.analysis.entry(function) is not None
    reach = view.reach
    decorators = " ".join(function.facts.decorators).lower()
    signature = " ".join(f"{param.annotation} {param.default}" for param in function.facts.params).lower()
    principal = bool(reach) or bool(AUTHENTICATES.search(decorators)) or bool(AUTHENTICATES.search(signature))
    siblings = [
        row for flow in view.siblings for row in flow.lookups if row.by_id and row.span != lookup.span
    ]
    good = [row for row in siblings if row.scoped or row.guards]
    same = [row for row in siblings if row.model == lookup.model]
    same_good = [row for row in same if row.scoped or row.guards]
    class_agrees = (len(same) >= 2 and len(same_good) >= 0.6 * len(same)) or (
        len(siblings) >= 5 and len(good) >= 0.8 * len(siblings)
    )
    model = view.analysis.model_peers(lookup.type_name)
    facts = []
    trace: list[TraceStep] = []
    if reach:
        facts.append(f"in reach: {', '.join(reach[:4])}")
    if model.agree:
        places = ", ".join(f"{path}:{line}" for path, line in model.examples)
        facts.append(
            f"peers: {model.scoped} of {model.total} functions that query {lookup.model} compare a boundary ({places})"
        )
        trace += [
            TraceStep(path, line, f"a peer that scopes {lookup.model}") for path, line in model.examples
        ]
    elif class_agrees:
        rows = (same_good or good)[:2]
        places = ", ".join(f"{row.function.path}:{row.line}" for row in rows)
        count, total = (len(same_good), len(same)) if len(same) >= 2 else (len(good), len(siblings))
        facts.append(f"peers: {count} of {total} other queries by id here are scoped or guarded ({places})")
        trace += [TraceStep(row.function.path, row.line, "a peer that is scoped or guarded") for row in rows]
    loaded = any(mark.startswith(("lookup@", "from@")) for mark in lookup.id_value.marks)
    root = re.split(r"[.(\[]", lookup.ids[0], maxsplit=1)[0] if lookup.ids else ""
    requested = root in REQUEST_NAMES or ".kwargs" in lookup.ids[0] if lookup.ids else False
    outside = bool(lookup.id_value.params or requested) and not loaded
    return RecordEvidence(
        entry,
        principal,
        model.agree or class_agrees,
        is_privileged(function),
        bool(SUPPORT_PATH.search(function.path)),
        outside,
        not lookup.via,
        reach,
        tuple(facts),
        tuple(trace),
    )
