"""How a project isolates its tenants, worked out from the facts: what carries the boundary, and what adds it.

Most projects pass the boundary along; some add it where nobody sees it: an ORM event, a default manager, a
schema per tenant.  There a plain query is scoped although it names no tenant.  Raw SQL never is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Class, Function, Project
from boundlint.index.receivers import Receivers, named_types
from boundlint.index.vocabulary import Vocabulary

# SQLAlchemy: events in which a hook can add criteria to a query, or set the tenant of a connection.
EVENT = re.compile(r"[\"'](do_orm_execute|before_compile\w*|after_begin|begin|checkout)[\"']")
CONNECTION_EVENTS = frozenset({"after_begin", "begin", "checkout"})
SETS = re.compile(r"execut|^exec|schema|search_path|^_?(?:set|apply|bind|use|switch)_")
CRITERIA = "with_loader_criteria"
EVENT_STATE = frozenset("is_select is_orm_statement orm_execute_state execute_state is_column_load".split())
MANAGER = re.compile(r"(?:Manager|QuerySet)$")
# A manager from a library whose name says that it scopes: its source is not at hand.
SCOPING_NAME = re.compile(r"^(?:Tenant|Scoped|Organi[sz]ation|Org|Workspace)\w*Manager$")
SCHEMA_NAMES = frozenset({"schema_translate_map", "schema_context", "tenant_context", "set_tenant"})
TENANT_SCHEMAS = ("django_tenants", "tenant_schemas")  # packages that switch the schema for each request
SCHEMA_MAP = "schema_translate_map"
REQUEST_NAMES = frozenset(
    {"request", "scope", "call_next"}
)  # a middleware: its map holds for all of a request
ASIDE = re.compile(r"(?:^|/)(?:tests?|migrations?|alembic)/|conftest\.py$")
NAMES_SCHEMA = re.compile(r"[\"']schema[\"']\s*:\s*[\"']")
FACTORY = re.compile(
    r"client|session|store|db|database|redis|conn|engine|collection|index|memory|cache|vector"
)
MOST_SHOWN = 12


class Place(NamedTuple):
    """Where a piece of evidence stands, and its dotted name."""

    name: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.name} ({self.path}:{self.line})"


@dataclass(frozen=True)
class Isolation:
    """What isolates, each with its evidence.

    `parameters`, `identities` and `ambient` count functions: those that take a boundary by name, those with a
    parameter of an identity type, those that read it from a getter.  `factories` make a client or session from
    a boundary, `schemas` choose the schema of a tenant.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    identities: Mapping[str, int] = field(default_factory=dict)
    ambient: Mapping[str, int] = field(default_factory=dict)
    factories: tuple[Place, ...] = ()
    schemas: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Scoping:
    """What adds the boundary to queries that do not name it.

    `events` add it to every ORM query, and `managers` are Django managers that do.  `covered` gives for each
    scoped model (`path::qualname`) the manager attributes through which it is scoped, "" for all queries on it.
    `every_query` scopes all queries but those on models with a schema of their own, which all tenants share.
    """

    events: tuple[Place, ...] = ()
    managers: tuple[Place, ...] = ()
    covered: Mapping[str, frozenset[str]] = field(default_factory=dict)
    every_query: str = ""
    own_schema: frozenset[str] = frozenset()

    def scopes(self, type_name: str, path: str) -> str:
        """What adds the boundary to a plain query on a model, written as a call path; "" when nothing does."""
        if self.every_query and type_name not in self.own_schema:
            return self.every_query
        attributes = self.covered.get(type_name, ())
        if "" in attributes:
            return "an ORM event"
        between = path.split(".")[1:-1]  # `Note.objects.get`: the managers
        if between:
            return next((f"the manager {part}" for part in between if part in attributes), "")
        return "the default manager" if DEFAULT in attributes else ""  # `get_object_or_404(Note)`


DEFAULT = "*default*"  # stands in `Scoping.covered` for the manager that Django takes by itself


def find_isolation(project: Project, receivers: Receivers, vocabulary: Vocabulary) -> Isolation:
    """Work out what of the project isolates, to be shown."""
    parameters: Counter[str] = Counter()
    identities: Counter[str] = Counter()
    ambient: Counter[str] = Counter()
    schemas: list[Place] = []
    factories: list[Place] = []
    for function in project.all_functions():
        facts = function.facts
        held = [param.name for param in facts.params if vocabulary.is_strict(param.name)]
        parameters.update(held)
        for param in facts.params:
            if vocabulary.is_identity(param.annotation):
                kinds = (name.rpartition(".")[2] for name in named_types(param.annotation))
                identities.update(kind for kind in kinds if kind in vocabulary.types)
        called = {call.rpartition(".")[2].strip("()[]") for call in facts.calls}
        reads = {name for name in called if not name[:1].isupper() and vocabulary.is_getter(name)}
        ambient.update(reads)
        if SCHEMA_NAMES & set(facts.names.split()):
            schemas.append(_place(project, function))
        if (held or reads) and FACTORY.search(facts.name.lower()) and _makes_client(function, receivers):
            factories.append(_place(project, function))
    return Isolation(
        dict(parameters.most_common(MOST_SHOWN)),
        dict(identities.most_common(MOST_SHOWN)),
        dict(ambient.most_common(MOST_SHOWN)),
        tuple(factories),
        tuple(schemas),
    )


def find_scoping(project: Project, vocabulary: Vocabulary) -> Scoping:
    """Work out what adds the boundary to the project's queries."""
    events = [
        function
        for function in project.all_functions()
        if _is_event(function.facts) and _mentions(function.facts, vocabulary)
    ]
    managers = list(_managers(project, vocabulary))
    return Scoping(
        tuple(_place(project, function) for function in events),
        tuple(_class_place(project, cls) for cls in managers),
        _covered(project, vocabulary, events, managers),
        _every_query(project, vocabulary),
        _own_schema(project),
    )


def _mentions(facts: FunctionFacts, vocabulary: Vocabulary) -> bool:
    """Whether a function's body names a boundary."""
    return any(vocabulary.is_strict(name) or vocabulary.is_getter(name) for name in facts.names.split())


def _is_event(facts: FunctionFacts) -> bool:
    """Whether a function hooks into every query: by its decorator, or (`event.listen(…)`) by what it asks for."""
    for decorator in facts.decorators:
        if found := EVENT.search(decorator):
            if found[1] not in CONNECTION_EVENTS:
                return True
            # Of a connection it may as well count, or measure: the tenant has to be set on it.
            return any(SETS.search(call.rpartition(".")[2].lower()) for call in facts.calls)
    return CRITERIA in facts.names and not EVENT_STATE.isdisjoint(facts.names.split())


def _makes_client(function: Function, receivers: Receivers) -> bool:
    """Whether a function returns a client or session of the catalog."""
    typed = receivers.returned_type(function)
    return typed is not None and (
        typed.name in receivers.lookup.clients or typed.name.endswith(("Session", "AsyncSession"))
    )


def _managers(project: Project, vocabulary: Vocabulary) -> Iterator[Class]:
    """Manager classes whose `get_queryset` filters by a boundary that it reads by itself."""
    for path in project.files:
        for cls in project.classes(path).values():
            names = [row.facts.qualname if isinstance(row, Class) else row for row in project.ancestors(cls)]
            if not any(MANAGER.search(name.rpartition(".")[2]) for name in names):
                continue
            method = project.method(cls, "get_queryset")
            if method is None or len(method.facts.params) > 1:
                continue
            if "filter" in method.facts.names.split() and _mentions(method.facts, vocabulary):
                yield cls


def _covered(
    project: Project, vocabulary: Vocabulary, events: Iterable[Function], managers: Iterable[Class]
) -> dict[str, frozenset[str]]:
    scoping = {cls.name for cls in managers}
    bases: set[str] = set()
    everything = False
    for function in events:
        given = {
            symbol.cls.name
            for name, columns in function.facts.columns.items()
            if "()" in columns.split()
            and (symbol := project.resolve(function.path, name)) is not None
            and symbol.cls is not None
        }
        bases |= given
        everything = everything or not given
    found: dict[str, frozenset[str]] = {}
    for path in project.files:
        for cls in project.classes(path).values():
            ancestors = [row for row in project.ancestors(cls) if isinstance(row, Class)]
            columns = (row.name for ancestor in ancestors for row in ancestor.facts.fields)
            if any(row.name in bases for row in ancestors) or (
                everything and any(vocabulary.level(name) for name in columns)
            ):
                found[cls.name] = frozenset({""})
            elif attributes := _scoping_attributes(project, ancestors, scoping):
                found[cls.name] = attributes
    return found


def _scoping_attributes(project: Project, ancestors: Iterable[Class], scoping: set[str]) -> frozenset[str]:
    """The manager attributes of a model that scope, and whether its default manager does."""
    found: set[str] = set()
    seen: set[str] = set()
    first = ""
    for cls in ancestors:
        for row in cls.facts.fields:
            match = re.match(r"([\w.]+)(?:\.(?:from_queryset|as_manager))?\(", row.value)
            name = match[1].removesuffix(".from_queryset").removesuffix(".as_manager") if match else ""
            if not name or row.name in seen or not MANAGER.search(name.rpartition(".")[2]):
                continue
            seen.add(row.name)
            first = first or row.name
            symbol = project.resolve(cls.path, name)
            known = symbol.cls if symbol is not None else None
            if known.name in scoping if known is not None else SCOPING_NAME.match(name.rpartition(".")[2]):
                found.add(row.name)
    return frozenset(found | ({DEFAULT} if first in found else set()))


def _every_query(project: Project, vocabulary: Vocabulary) -> str:
    """Whether a library, or the project itself, chooses the schema of the tenant before any query of a request."""
    for facts in project.files.values():
        for target in facts.imports.values():
            if target.partition(".")[0] in TENANT_SCHEMAS:
                return f"{target.partition('.')[0]} (a schema per tenant)"
    for function in project.all_functions():
        names = set(function.facts.names.split())
        serves = bool(names & REQUEST_NAMES) and not ASIDE.search(function.path)
        if SCHEMA_MAP in names and serves and _mentions(function.facts, vocabulary):
            return f"{SCHEMA_MAP} (a schema per tenant)"
    return ""


def _own_schema(project: Project) -> frozenset[str]:
    """The models that name their schema themselves."""
    return frozenset(
        cls.name
        for path in project.files
        for cls in project.classes(path).values()
        if any(row.name == "__table_args__" and NAMES_SCHEMA.search(row.value) for row in cls.facts.fields)
    )


def _place(project: Project, function: Function) -> Place:
    name = ".".join(filter(None, (project.modules.name_of(function.path), function.facts.qualname)))
    return Place(name, function.path, function.facts.line)


def _class_place(project: Project, cls: Class) -> Place:
    return Place(f"{project.modules.name_of(cls.path)}.{cls.facts.qualname}", cls.path, cls.facts.line)
