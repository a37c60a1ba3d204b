"""What a function leaves outside of the data stores: log lines and files.  Told without following its values."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.artifacts import SAVES, Artifact, artifacts
from boundlint.flow.content_names import may_log_content
from boundlint.flow.logs import Anonymous, Disclosure, anonymous_events, disclosures, may_audit
from boundlint.flow.objectstores import STORE
from boundlint.flow.origins import read_body
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.catalog.lookup import Lookup
    from boundlint.catalog.model import Kind, Operation
    from boundlint.flow.analysis import Flow


def methods_of(lookup: Lookup, kind: Kind, *effects: str) -> frozenset[str]:
    """The last names of the calls that are operations of a kind."""
    tables = [*lookup.methods.values(), lookup.functions]
    return frozenset(
        name.rpartition(".")[2]
        for table in tables
        for name, operation in table.items()
        if operation.kind == kind and operation.effect in effects
    )


def telling_methods(lookup: Lookup) -> dict[str, Operation]:
    """The methods that write a file and whose name says so by itself (`write_bytes`), on whatever they are called."""
    return {
        name: operation
        for table in lookup.methods.values()
        for name, operation in table.items()
        if operation.kind == "file" and operation.effect == "write" and "_" in name
    }


def leaves_something(flow: Flow, function: Function) -> bool:
    """Whether the facts say that a function may log content, write an audit event or write a file."""
    return logs_content(flow, function) or audits(function) or writes(flow, function)


def logs_content(flow: Flow, function: Function) -> bool:
    """Whether the facts name what could be content in a log call."""
    facts = function.facts
    if facts.logged and may_log_content(facts.logged):
        return True
    return any(call.rpartition(".")[2] in flow.trace_methods for call in facts.calls)


def audits(function: Function) -> bool:
    """Whether the facts show a call on a logger for audit events."""
    return may_audit(function.facts.calls)


def writes(flow: Flow, function: Function) -> bool:
    """Whether the facts show a call that may write a file."""
    calls = function.facts.calls
    names = [call.rpartition(".")[2] for call in calls]
    if any(name in flow.written_methods or SAVES.match(name) for name in names):
        return True
    return bool(function.facts.decorators) and any(STORE.search(call.rpartition(".")[0]) for call in calls)


def binds_logs(flow: Flow, function: Function) -> bool:
    """Whether a function adds a boundary to all log lines: it binds a logger, or is a method of a log filter."""
    facts = function.facts
    binding = False
    for call in facts.calls:
        if call.rpartition(".")[2] in flow.log_methods:
            operation = flow.receivers.callee(function, call).operation
            if operation is not None and operation.kind == "log" and "chained" in operation.binders:
                binding = True
    if facts.owner and facts.name in ("filter", "format", "process", "emit", "__call__"):
        binding = binding or "Log" in facts.owner or "Filter" in facts.owner or "Format" in facts.owner
    return binding and any(flow.vocabulary.level(word) for word in facts.names.split())


def hands_over(flow: Flow, function: Function) -> bool:
    """Whether a function hands work to a thread or a job queue."""
    for call in function.facts.calls:
        if call.rpartition(".")[2] in flow.queue_methods:
            operation = flow.receivers.callee(function, call).operation
            if (
                operation is not None
                and operation.kind == "queue"
                and operation.runs not in (None, "context")
            ):
                return True
    return False


@dataclass(frozen=True)
class Effects:
    """The content that a function logs, its audit events without ids, and the files it writes where customers meet."""

    disclosures: tuple[Disclosure, ...] = ()
    anonymous: tuple[Anonymous, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


def effects(
    flow: Flow, function: Function, read: Callable[[Function], list[ast.stmt] | None]
) -> Effects | None:
    """What a function leaves, those nested in it included; `read` gives its statements, None when they are gone."""
    rows = (function, *flow.project.nested(function))
    logging, auditing = any(logs_content(flow, row) for row in rows), any(audits(row) for row in rows)
    writing = any(writes(flow, row) for row in rows)
    statements = read(function) if logging or auditing or writing else None
    if statements is None:
        return None
    body = read_body(flow.project, function, statements)
    return Effects(
        tuple(disclosures(flow, body)) if logging else (),
        tuple(anonymous_events(flow, body)) if auditing else (),
        tuple(artifacts(flow, body)) if writing else (),
    )
