"""What the caller of an entry point chooses: a key, thread or collection that nothing ties to who is calling."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boundlint.catalog.model import SCOPE_ROLES
from boundlint.findings import Persona
from boundlint.flow import names
from boundlint.flow.evidence import is_keyed
from boundlint.flow.records import AUTHENTICATES
from boundlint.flow.values import DATA_KINDS, Access
from boundlint.flow.view import View
from boundlint.index.entries import ROUTE, is_privileged
from boundlint.index.facts import Param

# A decorator or dependency that lets only those in who may use what the path names; a mere login does not.
GUARD = re.compile(
    r"access|permission|permit|authori[sz]e|owner|guard|member|can_|allowed|protect|verify_(?!token|jwt|login)|belongs|role"
)
GUARD_CALL = re.compile(
    r"^_?(?:authori[sz]e|enforce|permit|(?:check|require|ensure|assert|verify|validate)_(?:\w+_)?"
    r"(?:access|accessible|permissions?|owner(?:ship)?|owned|member(?:ship)?|can|allowed|authori[sz]ed|authori[sz]ation|role))(?:_|$)"
)
CUSTOMER = frozenset({"customer", "resource"})
INJECTED = re.compile(r"\b(?:Depends|Security|Provide|Inject)\(")
SIMPLE = re.compile(r"^(?:(?:typing\.)?(?:Optional|Union|Annotated)\[)?(?:str|int|UUID|uuid\.UUID|UUID\d)\b")


@dataclass(frozen=True)
class Choice:
    """The parameters that the caller chooses, what kind of entry point it is, and who is known to call."""

    params: tuple[str, ...]
    entry: str
    principal: str
    persona: Persona

    @property
    def says(self) -> str:
        """The choice, as a message tells it."""
        who = "the model chooses" if self.entry == "tool" else "whoever calls this route chooses"
        known = f" to {self.principal}" if self.principal else " to the caller"
        return f"{who} {', '.join(self.params)}, and nothing ties it{known}"

    @property
    def help(self) -> str:
        """The repair."""
        who = self.principal.removesuffix("()") or "the caller's boundary"
        return f"check that {self.params[0]} belongs to {who} before the access, or make {who} a part of it"

    @property
    def facts(self) -> tuple[str, ...]:
        """What the reader is told besides."""
        return (f"in reach: {self.principal}",) if self.principal else ()


def choice(view: View, access: Access) -> Choice | None:
    """What an outsider chooses of an access's scope; None where that is nothing, or somebody checked it."""
    function = view.function
    entry = view.analysis.entry(function)
    if access.verdict != "open" or entry not in ("route", "tool") or is_privileged(function):
        return None
    open_params = {row.name: row for row in function.facts.params if row.name in access.scope.params}
    chosen = tuple(name for name, row in open_params.items() if is_chosen(view, row))
    signature = " ".join(f"{row.annotation} {row.default or ''}" for row in function.facts.params).lower()
    decorators = [row.lower() for row in function.facts.decorators]
    known = bool(view.reach) or bool(AUTHENTICATES.search(" ".join((signature, *decorators))))
    if not chosen or len(chosen) < len(open_params) or not known or is_guarded(view, access):
        return None
    if view.usage(access) not in CUSTOMER or is_told_before(view, access):
        return None
    principal = view.reach[0] if view.reach else ""
    identified = any("id" in names.marks(name) for name in chosen)
    sure = access.confidence != "low" and (identified or not is_keyed(access)) and bool(principal)
    return Choice(chosen, entry, principal, "regular" if sure else "pedantic")


def is_told_before(view: View, access: Access) -> bool:
    """Whether an earlier access of the function depends on the same choice: one check mends both."""
    return any(
        row.verdict == "open"
        and (row.line, row.column) < (access.line, access.column)
        and row.scope.params == access.scope.params
        and row.operation.kind in DATA_KINDS
        and view.usage(row) in CUSTOMER
        for row in view.flow.accesses
    )


def is_chosen(view: View, param: Param) -> bool:
    """Whether a parameter of an entry point is filled from outside: the path, the query, the body, a tool's argument."""
    tool = view.analysis.tools.get(view.function)
    if tool is not None and param.name in tool.hidden:
        return False
    if INJECTED.search(f"{param.annotation} {param.default or ''}") or view.analysis.vocabulary.level(
        param.name
    ):
        return False
    return not param.annotation or bool(SIMPLE.match(param.annotation)) or "id" in names.marks(param.name)


def is_guarded(view: View, access: Access) -> bool:
    """Whether the body, a decorator or a dependency checks what the caller chose, or what the access gave."""
    function = view.function
    checked = {re.split(r"[.(\[]", source, maxsplit=1)[0] for source in view.flow.checked}
    used = {
        name
        for row in access.passed
        if row.argument.role in SCOPE_ROLES
        for name in re.findall(r"\w+", row.source)
    }
    if checked & (access.scope.params | used):
        return True
    if f"from@{access.line}:{access.column}" in view.flow.compared:
        return True
    if any(GUARD_CALL.match(call.rpartition(".")[2]) for call in function.facts.calls):
        return True
    decorators = [row for row in function.facts.decorators if not ROUTE.search(row) or "dependencies" in row]
    injected = [
        row.default or row.annotation
        for row in function.facts.params
        if INJECTED.search(f"{row.annotation} {row.default or ''}")
    ]
    if any(GUARD.search(row.lower()) for row in (*decorators, *injected)):
        return True
    owner = view.analysis.receivers.owner(function)
    return owner is not None and any(
        name in owner.facts.attributes for name in ("permission_classes", "method_decorators", "decorators")
    )
