"""Where the identities in a function come from: the server, a request, or what a model wrote.

In a function that serves a request or a tool call, every read of a tenant's or user's id from what came in
makes a claim; reads of what the server keeps beside the request make principals.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.flow.claims import (
    CONTEXT,
    HANDED,
    INBOUND,
    PARSED,
    SERVER,
    WHOLE,
    Claim,
    Who,
    claims_in,
    states_in,
    with_mark,
)
from boundlint.flow.values import NONE, Value
from boundlint.index.entries import dependencies_of, filler
from boundlint.index.extract import path_of
from boundlint.index.facts import FunctionFacts, Param
from boundlint.index.nodes import span_of
from boundlint.index.project import Function, Project
from boundlint.index.vocabulary import COLLECTION, TENANT, USER, normal

if TYPE_CHECKING:
    from boundlint.flow.interpret import Environment, Interpreter

PRINCIPAL_PARTS = frozenset("user auth principal identity account tenant organization workspace".split())
CONTEXT_PARTS = frozenset("state session app scope".split())
REQUEST_ROOTS = frozenset("request req info websocket ws".split())
REQUEST_READER = re.compile(
    r"^_?a?(?:get|read|parse)_request_(?:json|body|data|payload|params)$|"
    r"^\w*parse_(?:\w+_)?request(?:_(?:json|body|data|payload|params))?$|^get_json$"
)
READERS = frozenset("get pop getlist get_list getall getone setdefault".split())
PASSING = frozenset(
    "json get_json form body data model_dump dict copy deepcopy loads to_dict items values str UUID int strip lower cast "
    "list set tuple sorted get getlist pop model_dump_json parse_obj model_validate validated_data".split()
)
DECODING = frozenset(
    "str int UUID loads b64decode urlsafe_b64decode decode encode unquote unquote_plus strip split parse_qs get dict".split()
)
KEEPING = (
    PASSING
    | DECODING
    | frozenset("join format replace upper title map filter lstrip rstrip hexdigest encode".split())
)
VERIFYING = frozenset({"decode", "loads"})  # of a token library they verify, of these modules they do not
PLAIN_DECODER = re.compile(r"^(?:json|orjson|ujson|base64|urllib|binascii)\b")
HANDED_NAME = re.compile(
    r"(?:^|_)(?:params|body|payload|req|request|form|json|query_args|request_data|req_data)$"
)
PARSED_PATH = re.compile(
    r"(?:^|[._])(?:tool_calls?|function_call|func_call|tool_use|fn_call|fc|tc|function|call)(?:\[\])?\.(?:function\.)?(?:arguments|args|input)$"
)
PARSED_NAME = re.compile(
    r"^(?:tool_args|tool_arguments|function_args|function_arguments|fn_args|tool_input|call_args)$"
)
# What may stand before the name of the caller's own tenant or user; `target_user_id` is somebody else's.
OWN = re.compile(
    r"^(?:current|request|caller|login|logged_in|auth|authenticated|effective|active|my|end|app|application)_"
)
OTHERS = frozenset("member_id author_id authors member".split())
OWNERS = frozenset(
    "owner_ids tenant_ids workspace_ids org_ids organization_ids account_ids company_ids".split()
)
NAMED_ID = re.compile(r"_(?:id|ids|uuid|slug|email|key)$")
IDENTITY_WORD = re.compile(
    r"user|account|auth|tenant|principal|member|organi[sz]ation|workspace|identity|actor|claims|subject|customer|current"
)
SERVING = frozenset(
    "request current_user flask_request tool_call tool_calls function_call tool_use get_json".split()
)


class Sources:
    """The claims and principals that one function reads, while its body is followed."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: dict[str, Claim] = {}
        self.principals: dict[str, None] = {}
        self.entry = run.flow.entry(run.function) if run.function.facts.qualname else None
        self.lists_owners = self.entry is None and lists_owners(run.function.facts)
        self.active = self.entry in ("route", "tool") or self.lists_owners or self._may_claim()
        if self.active:
            self._fill_parameters(run.env)

    def _may_claim(self) -> bool:
        facts = self.run.function.facts
        keys = facts.keys.split()
        return (any(self._level(key) for key in keys) or "state" in keys) and may_serve(facts)

    def _level(self, label: str) -> bool:
        """Whether a label names the caller's own tenant or user."""
        plain = normal(label)
        strict = self.run.vocabulary.strict
        if plain in OTHERS or self.run.vocabulary.level(label) not in ("tenant", "user"):
            return False  # a project of many is a resource; who may see it is settled elsewhere
        if plain not in TENANT | USER and not NAMED_ID.search(plain):
            return False
        return plain in strict or OWN.sub("", plain) in strict

    def level_of(self, label: str) -> str:
        """Whose id a label holds; owners in the plural are tenants."""
        return "tenant" if normal(label) == "owner_ids" else self.run.vocabulary.level(label) or ""

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
                environment[param.name] = value._replace(marks=value.marks | marks, text=None)

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
        if (
            param.name == "request"
            and not COLLECTION.match(param.annotation or "?")
            and param.annotation != "dict"
        ):
            return frozenset({INBOUND})
        if HANDED_NAME.search(param.name) or (
            self.lists_owners and param.name == "args" and param.kind == "pos"
        ):
            return frozenset({INBOUND, HANDED})
        if self.lists_owners and self._level(param.name):
            self.principals[param.name] = None
            return frozenset({SERVER})
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
            level=self.level_of(param.name),
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
            if states_in(value)
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
            span_of(node),
            level=self.level_of(label),
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
                return with_mark(value, PARSED)
            return value
        if node.id in ("request", "flask_request") and not value.carriers:
            return with_mark(value, INBOUND)
        if node.id in ("g", "session") and not value.carriers:
            symbol = run.flow.project.resolve(run.function.path, node.id)
            return with_mark(value, CONTEXT) if symbol is not None and symbol.kind == "external" else value
        if value.carriers and run.vocabulary.level(node.id) and node.id[:1].islower():
            return self._principal(node.id, value)
        return value

    def _seen_attribute(self, node: ast.Attribute, value: Value) -> Value:
        path = path_of(node)
        if PARSED_PATH.search(path):
            return with_mark(value, PARSED)
        if path.startswith("self.") and path.count(".") == 1:
            if node.attr == "request":
                return with_mark(value, INBOUND)
            if self.run.vocabulary.level(node.attr) and value.carriers:
                return self._principal(path, value)
            return value
        if INBOUND in value.marks and path_of(node.value).rpartition(".")[2] in REQUEST_ROOTS:
            outside = value._replace(marks=value.marks - {INBOUND, HANDED})
            if node.attr in PRINCIPAL_PARTS:
                return self._principal(path, outside)
            if node.attr in CONTEXT_PARTS:
                return with_mark(outside, CONTEXT)
        if CONTEXT in value.marks and (node.attr in PRINCIPAL_PARTS or self.run.vocabulary.level(node.attr)):
            return self._principal(path, value)
        return self._read(node, node.attr, value)

    def _seen_call(self, node: ast.Call, value: Value) -> Value:
        path = path_of(node.func)
        name = path.rpartition(".")[2]
        if REQUEST_READER.match(name):
            return with_mark(value, INBOUND)
        if not value.marks:
            return value
        if self.run.vocabulary.is_getter(name) and f"{name}()" in value.carriers:
            return self._principal(f"{name}()", value)
        if name in READERS or path == "getattr":
            position = 1 if path == "getattr" else 0
            key = node.args[position] if len(node.args) > position else None
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if INBOUND in value.marks and key.value in CONTEXT_PARTS and path == "getattr":
                    return with_mark(value._replace(marks=value.marks - WHOLE), CONTEXT)
                if CONTEXT in value.marks and self.run.vocabulary.level(key.value):
                    return self._principal(f'{path}("{key.value}")', value)
                default = (
                    node.args[position + 1]
                    if len(node.args) > position + 1
                    else next((k.value for k in node.keywords if k.arg == "default"), None)
                )
                read = self._read(node, key.value, value)
                if default is not None and SERVER in value.marks:
                    self.fallback(claims_in(read), ast.unparse(default))
                return read
        kept = value.marks
        if kept & WHOLE and not (name in PASSING or self._returns_inbound(node)):
            kept -= WHOLE
        if claims_in(value) and not (name in KEEPING or self._is_followed(node)):
            kept = frozenset(mark for mark in kept if "claim@" not in mark)
        if name not in DECODING or (name in VERIFYING and node.args and not PLAIN_DECODER.match(path)):
            kept = frozenset(mark for mark in kept if not mark.endswith(":state"))
        return value if kept == value.marks else value._replace(marks=kept)

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
        came_in = bool(value.marks & {INBOUND, PARSED}) or bool(states_in(value))
        state = label == "state" and INBOUND in value.marks and HANDED not in value.marks
        if came_in and (self._level(label) or state):
            mark = self._claim(node, label, value)
            return value._replace(marks=(value.marks - WHOLE) | {mark})
        return value

    def fallback(self, marks: Iterable[str], default: str) -> None:
        """The principal is only the default of these claims."""
        for mark in marks:
            claim = self.found.get(mark)
            if claim is not None and not mark.endswith(":state"):
                other = self.level_of(re.findall(r"\w+", default)[-1]) if re.search(r"\w", default) else ""
                differs = bool(other) and "scope" not in (other, claim.level) and other != claim.level
                self.found[mark] = replace(
                    claim, use="fallback", target=default[:60], together=claim.together or differs
                )

    def _principal(self, name: str, value: Value) -> Value:
        self.principals[name] = None
        return self.bound_to_server(value)

    @staticmethod
    def bound_to_server(value: Value) -> Value:
        return value._replace(marks=(value.marks - {"none"}) | {SERVER})


def names_identity(project: Project, function: Function, param: Param) -> bool:
    """Whether the type of a parameter, or the dependency that fills it, speaks of an identity."""
    words = [param.annotation, *dependencies_of(project, function, param)]
    return any(IDENTITY_WORD.search(word.lower()) for word in words)


def lists_owners(facts: FunctionFacts) -> bool:
    """Whether a function reads a list of owners or tenants from a dictionary that it was handed."""
    return not OWNERS.isdisjoint(facts.keys.split()) and any(
        param.kind == "pos" and (param.name == "args" or HANDED_NAME.search(param.name))
        for param in facts.params
    )


def may_serve(facts: FunctionFacts) -> bool:
    """Whether a function that is no entry point may still look at a request or at what a model wrote."""
    return (
        not SERVING.isdisjoint(facts.names.split())
        or any(param.name == "request" for param in facts.params)
        or any(REQUEST_READER.match(call.rpartition(".")[2]) for call in facts.calls)
    )
