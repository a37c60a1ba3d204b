"""Where control comes in from outside, routes and jobs, and who fills the parameters of a route.

Told by decorators and base classes alone. What a model may call is in `boundlint.flow.tools`: it takes the catalog.
"""

from __future__ import annotations

import re
from typing import Literal

from boundlint.index.dependencies import injected
from boundlint.index.facts import FunctionFacts, Param
from boundlint.index.project import Class, Function, Project
from boundlint.index.receivers import named_types

Entry = Literal["route", "tool", "job"]
# Who fills a parameter: the server (a dependency, a decorator), the path, the query, a header, the body, or the
# framework with the request itself; "" where nothing tells.
Filler = Literal["server", "path", "query", "header", "body", "request", ""]

ROUTE = re.compile(
    r"(?:^|\.)(?:get|post|put|patch|delete|head|options|websocket|route|api_route|api_view|action|view)\(|(?:^|_)route\b"
)
JOB = re.compile(
    r"(?:^|[._])(?:task|shared_task|actor|job|periodic_task|activity\.defn|workflow\.defn|background_task|on_event|cron)(?:\(|$)"
)


VIEW_CLASS = re.compile(r"(?:View|ViewSet|Endpoint|Resource|Controller|APIView|MethodView|Handler|Api|API)$")
VIEW_METHODS = frozenset(
    "get post put patch delete list retrieve create update partial_update destroy".split()
)
# Class variables of a view that say who may call it, in Django REST framework, Flask and Flask-RESTful.
VIEW_GUARDS = frozenset("permission_classes authentication_classes method_decorators decorators".split())
GUARDING_BASE = re.compile(r"(?:LoginRequired|PermissionRequired|UserPassesTest|Authenticated)\w*Mixin$")
PRIVILEGED = re.compile(
    r"admin|superuser|super_user|internal|webhook|callback|public|shared?(?![a-z])|health|metrics|inner_api|staff|system|license|service_account"
)
ORDINARY = re.compile(r"member|guest|viewer|editor|\buser\b|reader|contributor")
ADMINISTRATOR = re.compile(r"admin(?!istration)|superuser|super_user|staff")
# A dependency that lets others in beside administrators: `current_editor_or_admin`.
SHARED_WITH_ADMINISTRATOR = re.compile(r"[a-z]_or_(?:super)?admin|admin(?:istrator)?_or_[a-z]")
TAGS = re.compile(r"\btags\s*=\s*(?:\[[^\]]*\]|[\w.]+)")  # chapters of the documentation
QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
ADMINISTRATOR_CHECK = re.compile(
    r"^_?(?:require|ensure|check|verify|assert|validate|enforce)_(?:\w+_)?(?:admin|superuser|super_user|staff)(?:_|$)"
)
PLACED = re.compile(r"(?<![\w.])(?:\w+\.)?(Query|Header|Path|Body|Form|File|Cookie)\(")
PLAIN_TYPE = re.compile(r"^(?:None|str|int|float|bool|uuid|UUID[45]?|uuid\.UUID|\w*(?:Id|ID|Uuid|UUID|Str))$")
REQUEST_TYPE = re.compile(r"(?:^|\.)(?:\w*Request|WebSocket|ASGIConnection)$")
FILLERS: dict[str, Filler] = {
    "Query": "query",
    "Header": "header",
    "Path": "path",
    "Body": "body",
    "Form": "body",
    "File": "body",
    "Cookie": "",
}


def entry_point(project: Project, function: Function) -> Entry | None:
    """Like `entry_of`, and knows the methods of view classes."""
    found = entry_of(function.facts)
    if found is None and function.facts.owner and function.facts.name in VIEW_METHODS:
        owner = project.classes(function.path).get(function.facts.owner)
        rows = project.ancestors(owner) if owner is not None else ()
        names = [(row.facts.qualname if isinstance(row, Class) else row).rpartition(".")[2] for row in rows]
        if any(VIEW_CLASS.search(name) for name in names):
            return "route"
    return found


def view_guards(project: Project, function: Function) -> str:
    """What the class of a view says of who may call its methods, itself or by a base; "" for what is no method of one.

    The source of its permission classes and decorators, and the names of bases such as `LoginRequiredMixin`.
    """
    owner = project.classes(function.path).get(function.facts.owner) if function.facts.owner else None
    texts: dict[str, str] = {}
    for row in project.ancestors(owner) if owner is not None else ():
        if isinstance(row, str):
            if GUARDING_BASE.search(row):
                texts[row] = row
            continue
        for field in row.facts.fields:
            if field.name in VIEW_GUARDS:
                texts.setdefault(field.name, field.value)
    return " ".join(texts.values())


def may_enter(facts: FunctionFacts) -> bool:
    """Whether a function could be an entry point; cheap, and true of many that are none."""
    return bool(facts.decorators) or facts.name in VIEW_METHODS


def is_privileged(function: Function) -> bool:
    """Whether an entry point is for administrators, other services or the public.

    Told by its path and names, by a dependency that lets administrators in only, or by a check in its body.
    """
    facts = function.facts
    injected = " ".join(f"{row.annotation} {row.default or ''}" for row in facts.params).lower()
    if SHARED_WITH_ADMINISTRATOR.search(injected):
        return False  # though its path says so, others are let in
    decorators = QUOTED.sub(_word, TAGS.sub("", " ".join(facts.decorators))).lower()
    if ORDINARY.search(decorators):
        decorators = ""  # administrators are but some of those whom it lets in
    text = " ".join((function.path, facts.qualname)).lower() + " " + decorators
    return (
        bool(PRIVILEGED.search(text))
        or bool(ADMINISTRATOR.search(injected))
        or any(ADMINISTRATOR_CHECK.search(call.rpartition(".")[2]) for call in facts.calls)
    )


def _word(quoted: re.Match[str]) -> str:
    """A quoted text, or nothing for what the documentation says in words: "Internal server error"."""
    return "" if " " in quoted[0] else quoted[0]


def entry_of(facts: FunctionFacts) -> Entry | None:
    """What kind of entry point a function is by its decorators; None for one that only code calls."""
    for decorator in facts.decorators:
        if ROUTE.search(decorator):
            return "route"
        if JOB.search(decorator):
            return "job"
    return None


def filler(project: Project, function: Function, param: Param) -> Filler:
    """Who fills a parameter of a route."""
    facts = function.facts
    text = f"{_spelled_out(project, function.path, param.annotation)} {param.default or ''}"
    if dependencies_of(project, function, param):
        return "server"
    if "Depends()" in text:
        return "body"  # a class that collects query parameters
    if found := PLACED.search(text):
        return FILLERS[found[1]]
    types = named_types(param.annotation)
    if any(_is_body(project, function.path, name) for name in types) or param.annotation.startswith(
        ("dict", "Dict")
    ):
        return "body"
    if param.name == "request" or any(REQUEST_TYPE.search(name) for name in types):
        return "request"
    routes = [row for row in facts.decorators if ROUTE.search(row)]
    if any(re.search(rf"[{{<:]{re.escape(param.name)}[}}>:]", row) for row in routes):
        return "path"
    if not routes:
        return "path"  # a method of a view class is given the parts of its path
    if not param.annotation or any(".route(" in row or row.startswith("route(") for row in routes):
        return "server"  # nothing but a decorator is left to pass it
    simple = [name for name in re.findall(r"[\w.]+", param.annotation) if not _wraps(name)]
    if all(PLAIN_TYPE.match(name) for name in simple):
        return "query" if len(routes) == len(facts.decorators) or param.default is not None else ""
    return ""


def dependencies_of(project: Project, function: Function, param: Param) -> list[str]:
    """The functions that dependencies call for a parameter."""
    return [
        name
        for text in (param.annotation, param.default or "")
        for _, name in injected(project, function, text)
    ]


def _spelled_out(project: Project, path: str, annotation: str) -> str:
    """An annotation with an alias such as `Caller = Annotated[User, Depends(get_user)]` replaced by its text."""
    name = annotation.partition("[")[0].strip().strip("'\"")
    symbol = project.resolve(path, name) if re.fullmatch(r"[\w.]+", name) else None
    if symbol is not None and symbol.kind == "variable":
        values = project.files[symbol.path].assigned.get(symbol.name, ())
        return " ".join([annotation, *(value[1:] for value in values if value.startswith(":"))])
    return annotation


def _wraps(name: str) -> bool:
    return name.rpartition(".")[2] in (
        "Optional",
        "Union",
        "list",
        "List",
        "set",
        "Set",
        "tuple",
        "Annotated",
    )


def _is_body(project: Project, path: str, name: str) -> bool:
    """Whether a type is a model that the framework fills from the body: a project class with a base outside."""
    symbol = project.resolve(path, name)
    if symbol is None or symbol.cls is None:
        return False
    return any(
        isinstance(row, str)
        and row.rpartition(".")[2] in ("BaseModel", "SQLModel", "Schema", "Struct", "TypedDict")
        for row in project.ancestors(symbol.cls)
    )
