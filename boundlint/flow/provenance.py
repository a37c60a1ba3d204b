"""Who chose the boundary: the server, the client or the model.

In a function that serves a request or a tool call, every read of a tenant's or user's id from what came in
makes a *claim*.  The claim travels with the value as a mark; the function's own flow says where it is used
as an identity, whether the authenticated principal was the alternative, and what checks it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from boundlint.findings import TraceStep
from boundlint.flow.values import DATA_KINDS, NONE, FunctionFlow, Value
from boundlint.index.entries import dependencies_of, filler
from boundlint.index.extract import DEFERS, path_of
from boundlint.index.facts import FunctionFacts, Param
from boundlint.index.project import Function, Project
from boundlint.index.receivers import Callee
from boundlint.index.vocabulary import COLLECTION, normal

if TYPE_CHECKING:
    from boundlint.flow.calls import Arguments
    from boundlint.flow.interpret import Environment, Interpreter

Who = Literal["client", "model"]
# fallback: the principal is only the default; state: an OAuth state taken for an identity; used: handed on as
# the identity; reaches: chosen by the model, it gets to a data access.
Use = Literal["fallback", "state", "used", "reaches", "nothing"]

SERVER = "by-server"  # mark of a value that the authenticated principal is in
INBOUND = "inbound"  # mark of a request, its body, or a part of them that is no identity
PARSED = "parsed-output"  # mark of arguments that a model wrote
CONTEXT = "request-context"  # mark of what the server keeps beside a request: session, state, `g`
HANDED = "handed-in"  # mark of a dictionary that a caller filled from a request, as its name suggests
PRINCIPAL_PARTS = frozenset("user auth principal identity account tenant organization workspace".split())
CONTEXT_PARTS = frozenset("state session app scope".split())
REQUEST_ROOTS = frozenset("request req info websocket ws".split())
REQUEST_READER = re.compile(
    r"^_?(?:a?get|read|parse|load)_(?:request_)?(?:json|body|data|payload|params)(?:_data|_body)?$"
)
READERS = frozenset("get pop getlist get_list getall getone setdefault".split())
PASSING = frozenset(
    "json get_json form body data model_dump dict copy deepcopy loads to_dict items values str UUID int strip lower cast "
    "list set tuple sorted get getlist pop model_dump_json parse_obj model_validate validated_data get_request_json".split()
)
DECODING = frozenset(
    "str int UUID loads b64decode urlsafe_b64decode decode encode unquote unquote_plus strip split parse_qs get dict".split()
)
KEEPING = (
    PASSING
    | DECODING
    | frozenset("join format replace upper title map filter lstrip rstrip hexdigest encode".split())
)
WHOLE = frozenset({INBOUND, PARSED, HANDED})
HANDED_NAME = re.compile(
    r"(?:^|_)(?:params|body|payload|req|request|form|json|query_args|request_data|req_data)$"
)
PARSED_PATH = re.compile(
    r"(?:^|[._])(?:tool_calls?|function_call|func_call|tool_use|fn_call|fc|tc|function|call)(?:\[\])?\.(?:function\.)?(?:arguments|args|input)$"
)
PARSED_NAME = re.compile(
    r"^(?:tool_args|tool_arguments|function_args|function_arguments|fn_args|tool_input|call_args)$"
)
# Whose id it is when it is not that of the caller.
THIRD_PARTY = re.compile(
    r"target|invit|assign|recipient|other|reviewer|mention|friend|follow|peer|contact|added|removed|new_|old_|shared|"
    r"sender|receiver|participant|external|remote|source_|dest|slack|discord|telegram|github|gitlab|stripe|google|azure|"
    r"aws|jira|notion|linear|feishu|lark|wechat|dingtalk|salesforce|hubspot|zendesk|twilio|bot_|parent_|delegat|approver|"
    r"managed|member|impersonat|service_account|from_|to_|by_user|author|exclude|filter_"
)
RESPONDS = re.compile(
    r"respon[sd]|jsonify|json_result|data_error|success|render|redirect|dumps|(?:^|_)result$|serializ|exception|error$|errors$|abort|Http"
)
SILENT = re.compile(
    r"^(?:print|log|debug|info|warning|warn|error|exception|critical|track|capture|emit|audit|span|set_attribute|set_tag|"
    r"bind|str|len|repr|isinstance|bool|format|join|append|add|startswith|endswith|isinstance|hasattr|type|id|hash)$"
)
CHECKS = re.compile(
    r"access|check|verif|ensure|require|can_|has_|authori[sz]|permission|permit|assert_|validate_(?:user|tenant|owner|member|workspace|org)|"
    r"is_owner|is_member|belong|_owned|own_|guard|forbid|protect|accessible|allowed|raise_for|enforce"
)
PRIVILEGE = re.compile(
    r"admin|superuser|super_user|is_super|staff|\brole|\.role|roles|permission|privileg|impersonat|trust|is_service|"
    r"service_account|api_token|api_key|is_internal|is_system|is_root|can_|allowed|scopes?\b|is_owner|maintainer|operator"
)
CERTAIN_PRIVILEGE = re.compile(r"is_admin|is_superuser|superuser|is_staff|is_super_user|has_perm|\bADMIN\b")
IDENTITY_WORD = re.compile(
    r"user|account|auth|tenant|principal|member|organi[sz]ation|workspace|identity|actor|claims|subject|customer|current"
)
RESOLVES = re.compile(
    r"(?:^|_)(?:user|account|tenant|org|organi[sz]ation|workspace|customer|owner|principal)s?(?:_|$)"
)
SERVING = frozenset(
    "request current_user flask_request tool_call tool_calls function_call tool_use get_request_json get_json".split()
)
FETCHES = re.compile(
    r"^_?a?(?:get|fetch|load|create|list|build|make|set|update|add|find|query|search|save|insert)_"
)
VERIFYING = frozenset({"decode", "loads"})  # of a token library they verify, of these modules they do not
PLAIN_DECODER = re.compile(r"^(?:json|orjson|ujson|base64|urllib|binascii)\b")
SET_METHODS = frozenset({"intersection", "intersection_update", "issubset", "difference"})
MOST_STEPS = 4  # of a trace


@dataclass(frozen=True)
class Claim:
    """An identity that the client or the model chose, and what the function does with it.

    `label` is the field or parameter it was read from, `where` what that came in by (`body` stands for every
    part of a request that was read by a key), `level` whose id it is (tenant, user), `source` its text, `span`
    its place (columns in UTF-8 bytes; for a parameter that of its name).  `target` is what it is handed to; `principals` are the server's own
    identities at hand, `principal_used` whether one of them reaches a call or comparison, `guarded` whether a
    check or a function that reads the principal itself is called.  `together` says that the same call was
    given both, `trusted` that the function it calls is known and checks nothing.
    """

    who: Who
    label: str
    where: str
    source: str
    function: Function
    span: tuple[int, int, int, int]
    use: Use = "nothing"
    target: str = ""
    together: bool = False
    level: str = ""
    many: bool = False
    is_parameter: bool = False
    overridable: bool = False
    queried: bool = False
    principals: tuple[str, ...] = ()
    principal_used: bool = False
    guarded: bool = False
    trusted: bool = False
    trace: tuple[TraceStep, ...] = ()

    @property
    def mark(self) -> str:
        """The mark of the values made of it."""
        return "claim@" + ":".join(map(str, self.span)) + ":" + self.label


class Claims:
    """The claims of one function while its body is followed."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: dict[str, Claim] = {}
        self.checked: set[str] = set()
        self.principals: dict[str, None] = {}
        self.principal_used = False
        self.guarded = False
        self.trusted = False
        self.together = False  # whether the call that is looked at is given the principal, too
        self.privileged = False
        self.inner: tuple[Claim, ...] = ()  # claims of the functions nested in this one
        self.entry = run.flow.entry(run.function) if run.function.facts.qualname else None
        self.active = self.entry in ("route", "tool") or self._may_claim()
        if self.active:
            self._fill_parameters(run.env)

    def _may_claim(self) -> bool:
        facts = self.run.function.facts
        keys = facts.keys.split()
        return (any(self._level(key) for key in keys) or "state" in keys) and may_serve(facts)

    def _level(self, label: str) -> bool:
        """Whether a label names the caller's own tenant or user."""
        return (
            bool(self.run.vocabulary.level(label))
            and self.run.vocabulary.is_strict(label)
            and not THIRD_PARTY.search(normal(label))
        )

    def _level_of(self, label: str) -> str:
        """Whose id a label holds; owners in the plural are tenants."""
        return "tenant" if normal(label) == "owner_ids" else self.run.vocabulary.level(label) or ""

    # Where claims come from.

    def _fill_parameters(self, environment: Environment) -> None:
        function = self.run.function
        tool = self.run.flow.tools.get(function)
        for param in function.facts.params:
            if param.name in ("self", "cls"):
                continue
            marks = (
                self._tool_marks(param)
                if tool is not None
                else self._route_marks(param)
                if self.entry == "route"
                else self._helper_marks(param)
            )
            if marks:
                value = environment[param.name]
                environment[param.name] = replace(value, marks=value.marks | marks, text=None)

    def _tool_marks(self, param: Param) -> frozenset[str]:
        tool = self.run.flow.tools[self.run.function]
        if param.name in tool.hidden:
            return frozenset({SERVER})
        if re.match(r"(?:dict|Dict|Mapping)\b", param.annotation) and param.name in (
            "arguments",
            "args",
            "params",
            "tool_input",
            "kwargs",
        ):
            return frozenset({PARSED})
        if self._level(param.name):
            return frozenset({self._claim_parameter(param, "model", "tool", param.name in tool.overridable)})
        return NONE

    def _route_marks(self, param: Param) -> frozenset[str]:
        function = self.run.function
        where = filler(self.run.flow.project, function, param)
        held = bool(self.run.vocabulary.level(param.name)) or self.run.vocabulary.is_identity(
            param.annotation
        )
        if where == "server" or (
            held and where in ("", "path") and self.run.vocabulary.is_identity(param.annotation)
        ):
            if held or names_identity(self.run.flow.project, function, param):
                self.principals[param.name] = None
                return frozenset({SERVER})
            return NONE
        if where in ("request", "body"):
            return frozenset({INBOUND})
        if where in ("query", "header") and (self._level(param.name) or param.name == "state"):
            return frozenset({self._claim_parameter(param, "client", where, False)})
        return NONE

    def _helper_marks(self, param: Param) -> frozenset[str]:
        if param.name == "request":
            return frozenset({INBOUND})
        if HANDED_NAME.search(param.name):
            return frozenset({INBOUND, HANDED})
        return NONE

    def _claim_parameter(self, param: Param, who: Who, where: str, overridable: bool) -> str:
        facts = self.run.function.facts
        claim = Claim(
            who,
            param.name,
            where,
            param.name,
            self.run.function,
            (facts.line, 0, facts.line, 0),
            level=self._level_of(param.name),
            many=bool(COLLECTION.search(param.annotation)),
            is_parameter=True,
            overridable=overridable,
        )
        self.found.setdefault(claim.mark, claim)
        return claim.mark

    def _claim(self, node: ast.expr, label: str, value: Value) -> str:
        who: Who = "model" if PARSED in value.marks else "client"
        where = (
            "state"
            if _states(value)
            else "given"
            if HANDED in value.marks
            else "arguments"
            if who == "model"
            else "body"
        )
        name = path_of(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
        claim = Claim(
            who,
            label,
            where,
            ast.unparse(node)[:80],
            self.run.function,
            _span(node),
            level=self._level_of(label),
            many=name in ("getlist", "get_list", "getall") or normal(label).endswith("_ids"),
        )
        self.found.setdefault(claim.mark, claim)
        return claim.mark

    def seen(self, node: ast.expr, value: Value) -> Value:
        """An expression's value with what it says of who chose it."""
        if isinstance(node, ast.Name):
            return self._seen_name(node, value)
        if isinstance(node, ast.Attribute):
            return self._seen_attribute(node, value)
        if isinstance(node, ast.Subscript):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(key, str) and CONTEXT in value.marks and self.run.vocabulary.level(key):
                return self._principal(f'{path_of(node.value)}["{key}"]', value)
            return self._read(node, key, value) if isinstance(key, str) else value
        if isinstance(node, ast.Call):
            return self._seen_call(node, value)
        return value

    def _seen_name(self, node: ast.Name, value: Value) -> Value:
        run = self.run
        if node.id in run.env:
            if PARSED_NAME.match(node.id) and not value.marks & {INBOUND, SERVER}:
                return _with(value, PARSED)
            return value
        if node.id in ("request", "flask_request") and not value.carriers:
            return _with(value, INBOUND)
        if node.id in ("g", "session") and not value.carriers:
            symbol = run.flow.project.resolve(run.function.path, node.id)
            return _with(value, CONTEXT) if symbol is not None and symbol.kind == "external" else value
        if value.carriers and run.vocabulary.level(node.id) and node.id[:1].islower():
            return self._principal(node.id, value)
        return value

    def _seen_attribute(self, node: ast.Attribute, value: Value) -> Value:
        path = path_of(node)
        if PARSED_PATH.search(path):
            return _with(value, PARSED)
        if path.startswith("self.") and path.count(".") == 1:
            if node.attr == "request":
                return _with(value, INBOUND)
            if self.run.vocabulary.level(node.attr) and value.carriers:
                return self._principal(path, value)
            return value
        if INBOUND in value.marks and path_of(node.value).rpartition(".")[2] in REQUEST_ROOTS:
            outside = replace(value, marks=value.marks - {INBOUND, HANDED})
            if node.attr in PRINCIPAL_PARTS:
                return self._principal(path, outside)
            if node.attr in CONTEXT_PARTS:
                return _with(outside, CONTEXT)
        if CONTEXT in value.marks and (node.attr in PRINCIPAL_PARTS or self.run.vocabulary.level(node.attr)):
            return self._principal(path, value)
        return self._read(node, node.attr, value)

    def _seen_call(self, node: ast.Call, value: Value) -> Value:
        path = path_of(node.func)
        name = path.rpartition(".")[2]
        if REQUEST_READER.match(name):
            return _with(value, INBOUND)
        if not value.marks:
            return value
        if self.run.vocabulary.is_getter(name) and f"{name}()" in value.carriers:
            return self._principal(f"{name}()", value)
        if name in READERS or path == "getattr":
            position = 1 if path == "getattr" else 0
            key = node.args[position] if len(node.args) > position else None
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if INBOUND in value.marks and key.value in CONTEXT_PARTS and path == "getattr":
                    return _with(replace(value, marks=value.marks - WHOLE), CONTEXT)
                if CONTEXT in value.marks and self.run.vocabulary.level(key.value):
                    return self._principal(f'{path}("{key.value}")', value)
                default = (
                    node.args[position + 1]
                    if len(node.args) > position + 1
                    else next((k.value for k in node.keywords if k.arg == "default"), None)
                )
                read = self._read(node, key.value, value)
                if default is not None and SERVER in value.marks:
                    self._fallback(_claims(read), ast.unparse(default))
                return read
        kept = value.marks
        if kept & WHOLE and not (name in PASSING or self._returns_inbound(node)):
            kept -= WHOLE
        if _claims(value) and not (name in KEEPING or self._is_followed(node)):
            kept = frozenset(mark for mark in kept if "claim@" not in mark)
        if name not in DECODING or (name in VERIFYING and node.args and not PLAIN_DECODER.match(path)):
            kept = frozenset(mark for mark in kept if not mark.endswith(":state"))
        return value if kept == value.marks else replace(value, marks=kept)

    def _is_followed(self, node: ast.Call) -> bool:
        """Whether the flow knows what the called function makes of its arguments."""
        callee = self.run.flow.receivers.callee(self.run.function, path_of(node.func)).function
        return callee is not None and self.run.flow.summary(callee) is not None

    def _returns_inbound(self, node: ast.Call) -> bool:
        callee = self.run.flow.receivers.callee(self.run.function, path_of(node.func)).function
        summary = self.run.flow.summary(callee) if callee is not None else None
        return summary is not None and INBOUND in summary.returned.marks

    def _read(self, node: ast.expr, label: str, value: Value) -> Value:
        """A read of one part of what came in, by name."""
        came_in = bool(value.marks & {INBOUND, PARSED}) or bool(_states(value))
        state = label == "state" and INBOUND in value.marks and HANDED not in value.marks
        if came_in and (self._level(label) or state):
            mark = self._claim(node, label, value)
            return replace(value, marks=(value.marks - WHOLE) | {mark})
        return value

    def _principal(self, name: str, value: Value) -> Value:
        self.principals[name] = None
        return self._with_server(value)

    @staticmethod
    def _with_server(value: Value) -> Value:
        return replace(value, marks=(value.marks - {"none"}) | {SERVER})

    # What becomes of them.

    def on_either(self, values: Sequence[Value], sources: Sequence[str]) -> None:
        """Alternatives of one value, best first: a claim before the server's principal makes this its default."""
        for index, value in enumerate(values):
            claims = _claims(value)
            if claims and SERVER not in value.marks:
                for other, source in zip(values[index + 1 :], sources[index + 1 :], strict=True):
                    if SERVER in other.marks and not _claims(other):
                        self._fallback(claims, source)

    def on_branches(self, ends: Sequence[Environment], guarded: Sequence[bool]) -> None:
        """After an `if`: a name that one branch fills from the client and the other from the principal."""
        for name in set(ends[0]).intersection(*ends[1:]):
            rows = [end[name] for end in ends]
            for row, is_guarded in zip(rows, guarded, strict=True):
                mine = _claims(row)
                if not mine or SERVER in row.marks or is_guarded:
                    continue
                if any(
                    SERVER in other.marks and not mine & _claims(other) for other in rows if other is not row
                ):
                    self._fallback(mine, name)

    def on_test(self, test: ast.expr, value: Value) -> Literal["", "principal", "presence"]:
        """Note a condition; answers whether it is about the principal, or only about whether there is one."""
        text = ast.unparse(test)
        about = bool(value.marks & {SERVER, CONTEXT}) and not _claims(value)
        if CERTAIN_PRIVILEGE.search(text) or (value.marks & {SERVER, CONTEXT} and PRIVILEGE.search(text)):
            self.privileged = True
        bare = test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else test
        if isinstance(bare, ast.Compare) and isinstance(bare.comparators[0], ast.Constant):
            bare = bare.left
        if about and isinstance(bare, (ast.Name, ast.Attribute)):
            return "presence"
        return "principal" if about else ""

    def on_compare(self, node: ast.Compare, values: Sequence[Value]) -> None:
        """A comparison with the principal checks a claim; one with a column uses it."""
        for index, value in enumerate(values):
            others = [row for position, row in enumerate(values) if position != index]
            if any(SERVER in row.marks for row in others):
                self.checked |= {
                    mark
                    for mark in _claims(value)
                    if any(SERVER in row.marks and mark not in row.marks for row in others)
                }
                self.principal_used = True
            elif _states(value) and not all(row.is_constant for row in others):
                self.checked |= _states(value)
        left = node.left
        if (
            isinstance(left, ast.Attribute)
            and self.run.vocabulary.level(left.attr)
            and not _claims(values[0])
        ):
            for value in values[1:]:
                self._use(_claims(value), ast.unparse(left), value)

    def on_difference(self, values: Sequence[Value]) -> None:
        """Set arithmetic of the client's ids with the principal's own is a check."""
        if any(SERVER in value.marks for value in values):
            for value in values:
                self.checked |= _claims(value)

    def on_result(self, given: Arguments, receiver: Value, value: Value) -> Value:
        """The result of a call that was given the principal is bound to it."""
        rows = [
            receiver,
            given.spread,
            *(row for row, _ in given.positional),
            *(row for row, _ in given.keywords.values()),
        ]
        return self._with_server(value) if any(SERVER in row.marks for row in rows) else value

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
                self.reach(_claims(value), summary.function.facts.qualname, trace)

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
        claimed = {mark for value in values for mark in _claims(value)}
        if not claimed:
            return
        if checks:
            self.checked |= claimed
            return
        self.together = any(SERVER in value.marks and not _claims(value) for value in values)
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
                self._use(_claims(value), f"{path}({keyword}=…)", value)
            elif self._is_read(callee, value):
                self._use(self._labelled(value), f"{path}({keyword}=…)", value)
        names = _parameters(callee)
        for index, (value, argument) in enumerate(positional):
            param = names[index] if index < len(names) else ""
            marks = _claims(value)
            states = _states(value)
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
        return {mark for mark in _claims(value) if f"as-{mark}" in value.marks}

    def _is_read(self, callee: Callee, value: Value) -> bool:
        """Whether a class that is given a dictionary knows any of its identity keys."""
        if callee.cls is None:
            return True
        labels = {self.found[mark].label for mark in self._labelled(value) if mark in self.found}
        project = self.run.flow.project
        for cls in project.ancestors(callee.cls):
            if isinstance(cls, str):
                continue
            inside = cls.facts.qualname + "."
            functions = [
                row.facts
                for row in project.functions(cls.path).values()
                if row.facts.qualname.startswith(inside)
            ]
            known = {row.name for row in cls.facts.fields}
            known.update(word for facts in functions for word in (*facts.keys.split(), *facts.names.split()))
            if labels & known:
                return True
        return False

    def on_label(self, label: str, value: Value) -> Value:
        """A value stored under a key or attribute: an identity's key makes an identity of a claim."""
        claims = _claims(value)
        if not claims or not self.run.vocabulary.level(label):
            return value
        return replace(value, marks=value.marks | {f"as-{mark}" for mark in claims})

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
                self.found[mark] = replace(claim, together=True)

    def _fallback(self, marks: Iterable[str], default: str) -> None:
        for mark in marks:
            claim = self.found.get(mark)
            if claim is not None and not mark.endswith(":state"):
                other = self._level_of(re.findall(r"\w+", default)[-1]) if re.search(r"\w", default) else ""
                differs = bool(other) and "scope" not in (other, claim.level) and other != claim.level
                self.found[mark] = replace(
                    claim, use="fallback", target=default[:60], together=claim.together or differs
                )

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


def _is_check(name: str) -> bool:
    """Whether a call of this name checks what it is given."""
    if name in SET_METHODS:
        return True
    return bool(CHECKS.search(name.lower())) and not FETCHES.match(name) and not name[:1].isupper()


def names_identity(project: Project, function: Function, param: Param) -> bool:
    """Whether the type of a parameter, or the dependency that fills it, speaks of an identity."""
    words = [param.annotation, *dependencies_of(project, function, param)]
    return any(IDENTITY_WORD.search(word.lower()) for word in words)


def as_part(value: Value) -> Value:
    """A value as an element of something else: that is then no request, though a part of it came in."""
    if value.marks.isdisjoint(WHOLE):
        return value
    return replace(value, marks=value.marks - WHOLE)


def may_serve(facts: FunctionFacts) -> bool:
    """Whether a function that is no entry point may still look at a request or at what a model wrote."""
    return not SERVING.isdisjoint(facts.names.split()) or any(
        param.name == "request" for param in facts.params
    )


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


def _claims(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("claim@")}


def _states(value: Value) -> set[str]:
    return {mark for mark in value.marks if mark.startswith("claim@") and mark.endswith(":state")}


def _with(value: Value, mark: str) -> Value:
    return (
        value if mark in value.marks else replace(value, marks=(value.marks - {"none"}) | {mark}, text=None)
    )


def _parameters(callee: Callee) -> list[str]:
    """The names of the positional parameters of a called project function or class."""
    function = callee.function
    if function is None:
        return []
    names = [row.name for row in function.facts.params if row.kind in ("pos", "kw")]
    return names[1:] if function.facts.owner and names and names[0] in ("self", "cls") else names


def _span(node: ast.expr) -> tuple[int, int, int, int]:
    return (
        node.lineno,
        node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or node.col_offset,
    )
