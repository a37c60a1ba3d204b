"""Who chose the boundary: the server, the client or the model.

A claim travels with the value as a mark.  The function's own flow says where it is used as an identity,
whether the authenticated principal was the alternative, what checks it, and which data access it reaches.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from boundlint.findings import TraceStep
from boundlint.flow.claims import CONTEXT, SERVER, Claim, Use, claims_in, states_in
from boundlint.flow.sources import DECODING, Sources
from boundlint.flow.values import DATA_KINDS, FunctionFlow, Value
from boundlint.index.extract import DEFERS, path_of
from boundlint.index.receivers import Callee
from boundlint.index.vocabulary import normal

if TYPE_CHECKING:
    from boundlint.flow.arguments import Arguments
    from boundlint.flow.interpret import Environment, Interpreter

RESPONDS = re.compile(
    r"respon[sd]|jsonify|json_result|data_error|success|render|redirect|dumps|(?:^|_)result$|serializ|exception|error$|errors$|abort|Http"
)
SILENT = re.compile(
    r"^(?:print|log|debug|info|warning|warn|error|exception|critical|track|capture|emit|audit|span|set_attribute|set_tag|"
    r"bind|str|int|float|UUID|len|repr|isinstance|bool|format|join|append|add|startswith|endswith|isinstance|hasattr|type|id|hash)$"
)
CHECKS = re.compile(
    r"access|check|verif|ensure|require|can_|has_|authori[sz]|permission|permit|assert_|validate_(?:user|tenant|owner|member|workspace|org)|"
    r"is_owner|is_member|belong|_owned|own_|guard|forbid|protect|accessible|allowed|raise_for|enforce"
)
# `resolve_workspace_role(workspace_id)` finds what the caller may do there, and refuses whoever may nothing.
RESOLVES_ROLE = re.compile(r"(?:^|_)resolve_(?:\w+_)?(?:role|membership)(?:_for_(?:request|caller|user))?$")
FETCHES = re.compile(
    r"^_?a?(?:get|fetch|load|create|list|build|make|set|update|add|find|query|search|save|insert)_"
)
SET_METHODS = frozenset({"intersection", "intersection_update", "issubset", "difference"})
PRIVILEGE = re.compile(
    r"admin|superuser|super_user|is_super|staff|\brole|\.role|roles|permission|privileg|impersonat|trust|is_service|"
    r"service_account|api_token|api_key|is_internal|is_system|is_root|can_|allowed|scopes?\b|is_owner|maintainer|operator"
)
CERTAIN_PRIVILEGE = re.compile(r"is_admin|is_superuser|superuser|is_staff|is_super_user|has_perm|\bADMIN\b")
RESOLVES = re.compile(
    r"(?:^|_)(?:user|account|tenant|org|organi[sz]ation|workspace|customer|owner|principal)s?(?:_|$)"
)
MOST_STEPS = 4  # of a trace


class Claims(Sources):
    """The claims of one function, and what becomes of them."""

    def __init__(self, run: Interpreter) -> None:
        super().__init__(run)
        self.checked: set[str] = set()
        self.principal_used = False
        self.guarded = False
        self.trusted = False
        self.together = False  # whether the call that is looked at is given the principal, too
        self.privileged = False
        self.inner: tuple[Claim, ...] = ()  # claims of the functions nested in this one

    def on_either(self, values: Sequence[Value], sources: Sequence[str]) -> None:
        """Alternatives of one value, best first: a claim before the server's principal makes this its default."""
        for index, value in enumerate(values):
            claims = claims_in(value)
            if claims and SERVER not in value.marks:
                for other, source in zip(values[index + 1 :], sources[index + 1 :], strict=True):
                    if SERVER in other.marks and not claims_in(other):
                        self.fallback(claims, source)

    def on_branches(self, ends: Sequence[Environment], guarded: Sequence[bool]) -> None:
        """After an `if`: a name that one branch fills from the client and the other from the principal."""
        for name in sorted(set(ends[0]).intersection(*ends[1:])):
            rows = [end[name] for end in ends]
            for row, is_guarded in zip(rows, guarded, strict=True):
                mine = claims_in(row)
                if not mine or SERVER in row.marks or is_guarded:
                    continue
                if any(
                    SERVER in other.marks and not mine & claims_in(other)
                    for other in rows
                    if other is not row
                ):
                    self.fallback(mine, name)

    def on_test(self, test: ast.expr, value: Value) -> Literal["", "principal", "presence"]:
        """Note a condition; answers whether it is about the principal, or only about whether there is one."""
        text = ast.unparse(test)
        about = bool(value.marks & {SERVER, CONTEXT}) and not claims_in(value)
        if CERTAIN_PRIVILEGE.search(text) or (value.marks & {SERVER, CONTEXT} and PRIVILEGE.search(text)):
            self.privileged = True
        if about and _asks_presence(test):
            return "presence"
        return "principal" if about else ""

    def on_compare(self, node: ast.Compare, values: Sequence[Value]) -> None:
        """A comparison with the principal checks a claim; one with a column uses it."""
        for index, value in enumerate(values):
            others = [row for position, row in enumerate(values) if position != index]
            if any(SERVER in row.marks for row in others):
                self.checked |= {
                    mark
                    for mark in claims_in(value)
                    if any(
                        SERVER in row.marks and row.marks.isdisjoint((mark, f"given-{mark[6:]}"))
                        for row in others
                    )
                }
                self.principal_used = True
            elif states_in(value) and not all(row.is_constant for row in others):
                self.checked |= states_in(value)
        left = node.left
        if (
            isinstance(left, ast.Attribute)
            and self.run.vocabulary.level(left.attr)
            and not claims_in(values[0])
        ):
            for value in values[1:]:
                self._use(claims_in(value), ast.unparse(left), value)

    def on_difference(self, values: Sequence[Value]) -> None:
        """Set arithmetic of the client's ids with the principal's own is a check."""
        if any(SERVER in value.marks for value in values):
            for value in values:
                self.checked |= claims_in(value)

    def on_result(self, given: Arguments, receiver: Value, value: Value) -> Value:
        """The result of a call that was given the principal is bound to it."""
        rows = [
            receiver,
            given.spread,
            *(row for row, _ in given.positional),
            *(row for row, _ in given.keywords.values()),
        ]
        if not any(SERVER in row.marks for row in rows):
            return value
        given_with = {f"given-{mark[6:]}" for row in rows for mark in claims_in(row)}
        return self.bound_to_server(value)._replace(marks=value.marks - {"none"} | {SERVER} | given_with)

    def inherit(self, outer: Claims) -> None:
        """Take over the claims of the function around, whose variables are captured."""
        self.found = {**outer.found, **self.found}
        self.checked |= outer.checked
        self.principals = {**outer.principals, **self.principals}
        self.active = self.active or bool(outer.found)

    def on_summary(self, node: ast.Call, summary: FunctionFlow, bound: Mapping[str, Value]) -> None:
        """A called function scopes data by parameters: what they were given reaches it from here, too."""
        if self.active and any(
            name.startswith("current_") or name.endswith("()") for name in summary.ambient
        ):
            self.guarded = True  # the called function reads it itself
        for name, steps in summary.scopes.items():
            value = bound.get(name)
            if value is None:
                continue
            step = TraceStep(
                self.run.function.path,
                node.lineno,
                f"{summary.function.facts.qualname} is given it as {name}",
            )
            trace = (step, *steps)[:MOST_STEPS]
            for param in _own(value):
                self.run.scopes.setdefault(param, trace)
            if "data" not in value.marks:
                self.reach(claims_in(value), summary.function.facts.qualname, trace)

    def on_call(self, node: ast.Call, path: str, callee: Callee, given: Arguments) -> None:
        """Uses and checks of claims in the arguments of a call."""
        name = path.rpartition(".")[2]
        if SILENT.match(name):
            return
        values = [
            given.spread,
            *(row for row, _ in given.positional),
            *(row for row, _ in given.keywords.values()),
        ]
        checks = _is_check(name)
        self.guarded = self.guarded or checks
        if any(SERVER in value.marks for value in values) and not RESPONDS.search(name):
            self.principal_used = True
        claimed = {mark for value in values for mark in claims_in(value)}
        if not claimed:
            return
        if checks:
            self.checked |= claimed
            return
        self.together = any(SERVER in value.marks and not claims_in(value) for value in values)
        positional = list(given.positional)
        if DEFERS.search(name) and positional and isinstance(positional[0][1], (ast.Name, ast.Attribute)):
            callee = self.run.flow.receivers.callee(self.run.function, path_of(positional[0][1]))
            path = path_of(positional[0][1])
            name = path.rpartition(".")[2]
            positional = positional[1:]
        if RESPONDS.search(name):
            return
        calls = callee.function.facts.calls if callee.function is not None else ["check"]
        self.trusted = not any(_is_check(call.rpartition(".")[2]) for call in calls)
        for keyword, (value, _) in given.keywords.items():
            if self.run.vocabulary.level(keyword.partition("__")[0]):
                self._use(claims_in(value), f"{path}({keyword}=…)", value)
            elif self._is_read(callee, value):
                self._use(self._labelled(value), f"{path}({keyword}=…)", value)
        names = _parameters(callee)
        for index, (value, argument) in enumerate(positional):
            param = names[index] if index < len(names) else ""
            marks = claims_in(value)
            states = states_in(value)
            if states and (self.run.vocabulary.level(param) or RESOLVES.search(normal(name))):
                self._use(states, f"{path}({param or '…'})", value, "state")
            elif states and name not in DECODING:
                self.checked |= states
            if self.run.vocabulary.level(param) or (
                not names
                and callee.kind != "class"
                and isinstance(argument, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
                and callee.kind != "external"
            ):
                self._use(marks - states, f"{path}({param or '…'})", value)
            elif self._is_read(callee, value):
                self._use(self._labelled(value), path, value)

    def _labelled(self, value: Value) -> set[str]:
        """The claims that a dictionary holds under an identity's name."""
        return {mark for mark in claims_in(value) if f"as-{mark}" in value.marks}

    def _is_read(self, callee: Callee, value: Value) -> bool:
        """Whether a class that is given a dictionary knows any of its identity keys."""
        if callee.cls is None:
            return True
        labels = {self.found[mark].label for mark in self._labelled(value) if mark in self.found}
        project = self.run.flow.project
        for cls in project.ancestors(callee.cls):
            if isinstance(cls, str):
                continue
            functions = [row.facts for row in project.methods(cls)]
            known = {row.name for row in cls.facts.fields}
            known.update(word for facts in functions for word in (*facts.keys.split(), *facts.names.split()))
            if labels & known:
                return True
        return False

    def on_label(self, label: str, value: Value) -> Value:
        """A value stored under a key or attribute: an identity's key makes an identity of a claim."""
        claims = claims_in(value)
        if not claims or not self.run.vocabulary.level(label):
            return value
        return value._replace(marks=value.marks | {f"as-{mark}" for mark in claims})

    def reach(self, marks: Iterable[str], target: str, trace: tuple[TraceStep, ...]) -> None:
        """A claim gets to a data access, here or in a function that is called."""
        for mark in marks:
            claim = self.found.get(mark)
            if claim is not None and not claim.trace:
                target = target if claim.who == "model" or claim.use == "nothing" else claim.target
                self.found[mark] = replace(claim, queried=True, trace=trace[:MOST_STEPS], target=target)

    def _use(self, marks: Iterable[str], target: str, value: Value, use: Use = "used") -> None:
        for mark in marks:
            claim = self.found.get(mark)
            if claim is None:
                continue
            bound = SERVER in value.marks and use == "used" and f"as-{mark}" not in value.marks
            if claim.use == "nothing" and not bound:
                kind: Use = "state" if claim.where == "state" and claim.label != "state" else use
                self.found[mark] = replace(
                    claim, use=kind, target=target, together=self.together, trusted=self.trusted
                )
            elif self.together and not claim.together:
                self.found[mark] = replace(claim, together=True, trusted=self.trusted)

    def finish(self) -> tuple[Claim, ...]:
        """The claims that something uses and nothing checks."""
        rows = {row.mark: row for row in self.inner}
        if self.active and not self.privileged:
            self._reach_data()
            for mark, row in self.found.items():
                if mark not in self.checked and (row.use != "nothing" or row.queried) and mark not in rows:
                    rows[mark] = replace(
                        row,
                        principals=tuple(self.principals),
                        principal_used=self.principal_used,
                        guarded=self.guarded,
                    )
        return tuple(rows.values())

    def _reach_data(self) -> None:
        """Mark what the function's own accesses and queries take."""
        own = dict(self.found)
        if not own:
            return
        run = self.run
        for access in run.accesses.values():
            hit = {mark for mark in access.scope.marks if mark in own}
            step = TraceStep(
                access.function.path, access.line, f"{access.operation.target} is scoped by it here"
            )
            self.reach(hit, access.operation.target, (step, *access.trace))
        for lookup in run.lookups.found.values():
            roots = {carrier.partition(".")[0] for carrier in lookup.predicate.carriers}
            hit = {mark for mark, row in own.items() if row.is_parameter and row.label in roots}
            hit |= {mark for mark in lookup.id_value.marks if mark in own}
            step = TraceStep(lookup.function.path, lookup.line, f"{lookup.model} is queried by it here")
            self.reach(hit, f"the query on {lookup.model}", (step, *lookup.trace))


def _asks_presence(test: ast.expr) -> bool:
    """Whether a condition only asks if something is there: `user`, `user is not None`, `hasattr(state, "user")`."""
    if isinstance(test, ast.BoolOp):
        return all(_asks_presence(part) for part in test.values)
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return _asks_presence(test.operand)
    if isinstance(test, ast.Compare):
        return isinstance(test.comparators[0], ast.Constant) and _asks_presence(test.left)
    if isinstance(test, ast.Call):
        return path_of(test.func) in ("hasattr", "getattr", "bool")
    return isinstance(test, (ast.Name, ast.Attribute))


def _is_check(name: str) -> bool:
    """Whether a call of this name checks what it is given."""
    if name in SET_METHODS or RESOLVES_ROLE.search(name):
        return True
    return bool(CHECKS.search(name.lower())) and not FETCHES.match(name) and not name[:1].isupper()


def data_scopes(run: Interpreter) -> dict[str, tuple[TraceStep, ...]]:
    """The parameters of a function that choose whose data it touches, and the way there."""
    params = {param.name for param in run.function.facts.params} - {"self", "cls"}
    found = dict(run.scopes)
    if not params:
        return {}
    for access in run.accesses.values():
        step = TraceStep(access.function.path, access.line, f"{access.operation.target} is scoped by it here")
        if access.operation.kind in DATA_KINDS:
            for name in _own(access.scope):
                found.setdefault(name, (step, *access.trace)[:MOST_STEPS])
    for lookup in run.lookups.found.values():
        step = TraceStep(lookup.function.path, lookup.line, f"{lookup.model} is queried by it here")
        for name in _own(lookup.predicate):
            found.setdefault(name, (step, *lookup.trace)[:MOST_STEPS])
    return {name: trace for name, trace in found.items() if name in params}


def _own(value: Value) -> set[str]:
    """The parameters of the running function that a value depends on."""
    return {name.partition(".")[0] for name in (*value.params, *value.carriers)}


def _parameters(callee: Callee) -> list[str]:
    """The names of the positional parameters of a called project function or class."""
    function = callee.function
    if function is None:
        return []
    names = [row.name for row in function.facts.params if row.kind in ("pos", "kw")]
    return names[1:] if function.facts.owner and names and names[0] in ("self", "cls") else names
