"""BND204: the state of one run, kept with nothing that ever removes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.evidence import confidence_of, is_cache, is_keyed, shown_key
from boundlint.flow.usage import RUN_STATE, usage_of
from boundlint.flow.values import Access, FunctionFlow
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

ENDS = frozenset(
    "expire expireat pexpire pexpireat delete adelete unlink getdel hdel pop clear flush".split()
)


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a write of run state with no time to live, where nothing nearby expires or deletes it."""
    for access in view.accesses(node):
        if not is_kept_run_state(access) or usage_of(access) not in ("customer", "resource"):
            continue
        if ends_here(view):
            continue
        takes = next((row.keyword for row in access.operation.args if row.role == "ttl" and row.keyword), "")
        yield Problem(
            f"{access.operation.target} keeps the state of a run under {shown_key(access)} with no expiry",
            f"pass {takes}=…" if takes else "set an expiry on the key, or delete it when the run ends",
            confidence_of(access, True),
            persona_of(access),
            access.operation.target,
            trace=access.trace,
        )


def is_kept_run_state(access: Access) -> bool:
    """Whether an access writes run state, by its key or namespace, and passes no time to live."""
    if access.operation.kind != "memory" or access.operation.effect != "write" or is_cache(access):
        return False
    if access.has("ttl") or not access.has("key", "namespace") or access.via:
        return False
    return bool(RUN_STATE.search(key_text(access)))


def key_text(access: Access) -> str:
    """Constant parts of the key and namespace, and the names in them."""
    rows = [access.value_of(role).text or "" for role in ("key", "namespace")]
    rows += [access.source_of(role) for role in ("key", "namespace")]
    return " ".join(rows).lower()


def ends_here(view: View) -> bool:
    """Whether a function of the same class, or module, expires or deletes what it keeps."""
    return any(
        path.rpartition(".")[2] in ENDS for flow in view.siblings for path in flow.function.facts.calls
    )


def suspects(flow: FunctionFlow) -> bool:
    """Whether the flow saw such a write."""
    return any(is_kept_run_state(access) for access in flow.accesses)


def persona_of(access: Access) -> Persona:
    """Good evidence: the constant part of the key says that it belongs to a run."""
    constant = " ".join(access.value_of(role).text or "" for role in ("key", "namespace")).lower()
    certain = access.confidence != "low" and (is_keyed(access) or access.has("namespace"))
    return "pedantic" if certain and RUN_STATE.search(constant) else "auditor"


RULE = Rule(
    code="BND204",
    name="run-state-without-expiry",
    severity="note",
    summary="temporary run state stored with no expiry",
    visit={"Call": check_call},
    suspects=suspects,
)
