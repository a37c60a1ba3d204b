"""What binds an id or a loaded record to the boundary besides the query: checks by call, compare and decorator.

A guard counts for the id, or the record, that it is handed, and only where it comes before the access or its
outcome decides whether the function goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from boundlint.flow.gates import gates
from boundlint.index.dependencies import injected
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

# Words of a function's name that say it decides about access.
AUTHORITY = re.compile(
    r"access|permission|permit|authori[sz]|owner|owned|(?:^|_)own_|belong|can_|allow|forbid|protect|member|visible|"
    r"privilege|(?:verif\w*|check|valid\w*)_(?:\w+_)?signature|readable|writable|editable|guard|_or_403|(?:for|by|of)_(?:user|tenant|actor|workspace|org)(?!_(?!ids?$)[a-z_]+_ids?$)|"
    r"in_(?:workspace|tenant|org|project)|check_(?:user|tenant|role)|_role(?:$|_)"
)
# Words of a check that may be about anything: it counts when the boundary is handed to it, or read inside it.
CHECK = re.compile(r"check|verif|ensure|require|assert|valid|_or_404|confirm|resolve_")
NO_GUARD = re.compile(
    r"^(?:model_validate\w*|validate_python|validate_request|is_valid\w*|full_clean|check_duplicate\w*|assert_type|"
    r"isinstance|issubclass|is_none|has_attr|hasattr|checkpoint\w*|resolve_type)$"
)
# What is fetched or made for access, or is in order, is no check of it: `get_access_token`, `load_valid_session`.
FETCHES = re.compile(
    r"^_?a?(?:get|fetch|load|create|make|generate|refresh|build|issue|mint|decode|encrypt|decrypt)_(?:\w+_)?"
    r"(?:access_(?:token|key|url)s?|(?:valid|active)_\w*(?:token|credential|session|key|client|config)s?)(?:_|$)"
)
SILENT_CALL = re.compile(
    r"^(?:print|log|debug|info|warning|warn|error|exception|critical|track|emit|capture|publish|append|add|format|join|"
    r"str|len|dict|list|set|tuple|int|bool|repr|sorted|isinstance|delay|apply_async|send|send_task|enqueue|submit|"
    r"run_in_executor|create_task|create|insert|save|audit|record|jsonify|get_json_result|model_dump|to_dict)$"
)
# Decorators that say who calls, or what a request must hold, and nothing about an id.
NO_AUTHORITY = re.compile(
    r"login|jwt|auth_required|authenticat|token|validate_request|csrf|rate|throttl|trace|cache|log"
)
ANY_ID = frozenset({"id", "pk", "uuid", "slug"})
MODEL_ARGUMENT = re.compile(r"=\s*(?:\w+\.)*[A-Z][a-z]\w*")


class Check(NamedTuple):
    """Why an id counts as checked; `firm` when the check decides wherever it stands."""

    reason: str
    line: int
    firm: bool


@lru_cache(maxsize=8192)
def is_authority(name: str) -> bool:
    """Whether a function's name says that it decides about access."""
    plain = name.lower()
    return bool(AUTHORITY.search(plain)) and not NO_GUARD.match(plain) and not FETCHES.match(plain)


@lru_cache(maxsize=8192)
def is_check(name: str) -> bool:
    """Whether a function's name says that it checks something."""
    plain = name.lower()
    return bool(CHECK.search(plain)) and not NO_GUARD.match(plain) and not FETCHES.match(plain)


def mentions_boundary(flow: Flow, function: Function | None) -> bool:
    """Whether a project function names a boundary anywhere in its body or parameters."""
    if function is None:
        return False
    vocabulary = flow.vocabulary
    words = (*function.facts.names.split(), *(param.name for param in function.facts.params))
    return any(vocabulary.is_strict(word) or vocabulary.is_getter(word) for word in words)


def authorized_params(flow: Flow, function: Function) -> Iterator[tuple[str, str]]:
    """Parameters that a decorator or a dependency checks before the body runs, with the reason.

    A dependency checks those parameters of its own that it guards; a decorator of the project those that its
    wrapper mentions, or that are named in its arguments, where its name says that it decides about access, and
    those that a wrapper which asks about access hands in itself.
    """
    facts = function.facts
    own = {param.name for param in facts.params}
    for param in facts.params:
        for module, path in injected(flow.project, function, f"{param.annotation} {param.default or ''}"):
            found = flow.receivers.callee(module, path).function
            summary = flow.summary(found) if found is not None and found != function else None
            for name in own & (summary.checks if summary is not None else frozenset()):
                yield name, f"checked by the dependency {path}"
    module = flow.project.functions(function.path)[""]
    before = gates(flow, function) if flow.entry(function) == "route" else ""
    for place, path in injected(flow.project, function, before):
        found = flow.receivers.callee(place, path).function
        summary = flow.summary(found) if found is not None and found != function else None
        for name in own & (summary.checks if summary is not None else frozenset()):
            yield name, f"checked by the dependency {path}"
    for name in own & (_words_of_classes(flow, function.path, set(re.findall(r"[\w.]+", before))) - ANY_ID):
        yield name, f"checked by what is asked before the view: {before[:60]}"
    for decorator in facts.decorators:
        path, _, arguments = decorator.partition("(")
        name = path.strip().rpartition(".")[2]
        found = flow.receivers.callee(module, path.strip()).function
        decides = is_authority(name) or (is_check(name) and mentions_boundary(flow, found))
        if NO_AUTHORITY.search(name.lower()):
            continue
        if not decides:
            routed = set(re.findall(r"\w+", " ".join(facts.decorators)))  # `/cases/<case_id>`: the client's
            for handed in sorted((own & _handed_checked(flow, found)) - routed):
                yield handed, f"handed in by the decorator {path.strip()}, which decides about access"
            continue
        words = set(re.findall(r"\w+", arguments))
        if found is not None:
            inside = _words_inside(flow, found)
            # One decorator serves many routes: a plain `pk` is meant where the model is named.
            words |= inside if MODEL_ARGUMENT.search(arguments) else inside - ANY_ID
        words |= _words_of_classes(flow, function.path, words) - ANY_ID
        for name in own & words:
            yield name, f"checked by the decorator {path.strip()}"


def _words_of_classes(flow: Flow, path: str, names: set[str]) -> set[str]:
    """What the classes of the project among these names read: `@permission_classes([MayReadReport])`."""
    symbols = [flow.project.resolve(path, name) for name in sorted(names)]
    held = [
        method.facts
        for symbol in symbols
        if symbol is not None and symbol.cls is not None
        for method in flow.project.methods(symbol.cls)
    ]
    return {word for row in held for text in (row.names, row.keys) for word in text.split()}


def _handed_checked(flow: Flow, decorator: Function | None) -> set[str]:
    """What a decorator's wrapper may hand to a route in its own name, after it asked about access; none without that."""
    if decorator is None:
        return set()
    called = {path.rpartition(".")[2] for row in _with_nested(flow, decorator) for path in row.facts.calls}
    return _words_inside(flow, decorator) if any(is_authority(name) for name in called) else set()


def _words_inside(flow: Flow, function: Function) -> set[str]:
    """The identifiers and string keys in a function and in those nested in it."""
    rows = _with_nested(flow, function)
    return {word for row in rows for text in (row.facts.names, row.facts.keys) for word in text.split()}


def _with_nested(flow: Flow, function: Function) -> list[Function]:
    inside = function.facts.qualname + "."
    rows = flow.project.functions(function.path).values()
    return [row for row in rows if row == function or row.facts.qualname.startswith(inside)]
