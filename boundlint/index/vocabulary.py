"""Which names hold a boundary: the common ones, and this project's own, mined from its models and parameters."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from boundlint.index.facts import ClassFacts, FunctionFacts, Param
from boundlint.index.project import Class, Function, Project
from boundlint.index.receivers import named_types
from boundlint.index.words import CAMEL as CAMEL
from boundlint.index.words import CONDITIONAL as CONDITIONAL
from boundlint.index.words import NEVER as NEVER
from boundlint.index.words import TENANT as TENANT
from boundlint.index.words import TENANT_SUFFIX as TENANT_SUFFIX
from boundlint.index.words import USER as USER
from boundlint.index.words import USER_SUFFIX as USER_SUFFIX
from boundlint.index.words import normal as normal

Level = Literal["tenant", "user", "scope"]

WEAK = frozenset("session_id thread_id conversation_id chat_id session_key".split())
GETTER = re.compile(
    r"^_?(?:get_|require_|load_|fetch_|resolve_|verify_|extract_)?(?:optional_)?(?:current|authenticated|verified|active|request|login|auth)?_?"
    r"(?:tenant|user|org|organi[sz]ation|workspace|account|principal|identity|boundary|auth_context|auth_subject)(?:_id|_ids|_or_none|_from_token|_from_request|_dependency)?$"
)
IDENTITY_CLASS = re.compile(
    r"(?:User|Account|Auth|Principal|Actor|Tenant|Identity|Boundary|Member|Organi[sz]ation|Workspace|Scope)"
    r"|(?:Request|Run|Agent|Session|Call|Tool|Execution)Context$"
)
DEPENDENCY = re.compile(r"\b(?:Depends|Security)\(\s*([\w.]+)")
# Machinery around identities, and what a client sends about them: neither says who calls.
NO_IDENTITY = re.compile(
    r"(?:Error|Exception|Config|Test|Type|Schema|Service|Manager|Client|Router|Repository|View|ViewSet|Serializer|Factory"
    r"|Form|(?<!Authenticated)Request|Create|Update|Params|Body|Query|Filter|Input|In)$"
)
BODY = re.compile(r"(?:^|_)(?:form|form_data|data|body|payload|params|request|req|args|kwargs|input|obj)$")
COLLECTION = re.compile(
    r"(?:typing\.)?(?:[Ll]ist|[Dd]ict|[Ss]et|[Tt]uple|Sequence|Iterable|Mapping|Callable|[Tt]ype)\["
)
MODEL_BASE = re.compile(
    r"(?:^|\.)(?:\w*Base\w*|Model|models\.Model|SQLModel|Document|DeclarativeBase|\w*Mixin|BaseModel|\w+Model)$"
)
COMMON_ON = 5  # models that hold a column before it counts as a boundary of the project
COMMON_SHARE = 0.25
ALIAS_SHARE = 0.5  # of the functions with such a parameter
NO_ENDINGS = ("_count", "_name", "_agent", "_prompt", "_message", "_query", "_input")
# A key that leads to the table of the tenants, by whatever column they are known: `ForeignKey("workspaces.name")`.
TENANT_KEY = re.compile(
    r"ForeignKey\(\s*[\"'](?:\w+\.)?(?:tenant|org|organi[sz]ation|workspace|account)s?\.(?:name|slug|key|code)[\"']"
)
RELATION = re.compile(r"^(?:\w+\.)*(?:ForeignKey\w*|OneToOneField|relationship)\(")


@dataclass(frozen=True)
class Vocabulary:
    """Carrier names with their level, and the types and getters that hold a boundary.

    `strict` names are evidence ("a boundary is in reach"); `wide` names suffice to call a value scoped;
    `patterns` are strict names of the configuration with a `*` in them; `owners` are relations of the
    models that lead to a boundary (`workspace`, `project`): names of columns and of nothing else.
    """

    strict: Mapping[str, Level]
    wide: Mapping[str, Level]
    types: frozenset[str]
    getters: frozenset[str]
    evidence: Mapping[str, str] = field(default_factory=dict)
    shown: bool = True
    patterns: tuple[tuple[re.Pattern[str], Level], ...] = ()
    owners: Mapping[str, Level] = field(default_factory=dict)
    _levels: dict[str, Level | None] = field(default_factory=dict)
    _strict_names: dict[str, bool] = field(default_factory=dict)
    _getter_names: dict[str, bool] = field(default_factory=dict)
    _identities: dict[str, bool] = field(default_factory=dict)

    def level(self, name: str) -> Level | None:
        """The level of the boundary that a name holds, in the wide sense; None for any other name."""
        if name in self._levels:
            return self._levels[name]
        plain = normal(name)
        found: Level | None = None
        if name[:1].isupper():  # a class, such as the identity class itself
            pass
        elif (declared := self.declared(plain)) is not None:
            found = declared
        elif plain in NEVER or (plain not in self.strict and plain.endswith(NO_ENDINGS)):
            found = None
        elif plain in self.strict:
            found = self.strict[plain]
        elif plain in self.wide:
            found = self.wide[plain]
        elif TENANT_SUFFIX.search(plain):
            found = "tenant"
        elif USER_SUFFIX.search(plain):
            found = "user"
        self._levels[name] = found
        return found

    def column(self, name: str) -> Level | None:
        """The level of a column, or of a path of relations as Django writes it: `workspace__slug`."""
        first, _, rest = name.partition("__")
        found = self.level(first) or self.owners.get(normal(first))
        if found is None and rest:
            second = rest.partition("__")[0]
            return self.level(f"{normal(first)}_{second}") or self.column(rest)
        return found

    def declared(self, plain: str) -> Level | None:
        """The level that a pattern of the configuration gives to a name in snake case."""
        return next((level for pattern, level in self.patterns if pattern.fullmatch(plain)), None)

    def is_strict(self, name: str) -> bool:
        """Whether the name is good evidence of a boundary."""
        known = self._strict_names.get(name)
        if known is None:
            known = self._strict_names[name] = self._is_strict(normal(name))
        return known

    def _is_strict(self, plain: str) -> bool:
        if self.patterns and self.declared(plain) is not None:
            return True
        return plain in self.strict or (
            plain not in NEVER
            and plain not in self.wide
            and bool(TENANT_SUFFIX.search(plain) or USER_SUFFIX.search(plain))
        )

    def is_getter(self, name: str) -> bool:
        """Whether a call of this name returns a boundary, such as `get_current_user`."""
        known = self._getter_names.get(name)
        if known is None:
            plain = normal(name)
            known = self._getter_names[name] = plain in self.getters or (
                bool(GETTER.match(plain))
                and plain not in ("user", "account", "auth", "get_user", "get_account")
            )
        return known

    def is_injected(self, param: Param) -> bool:
        """Whether a dependency that authenticates fills the parameter: `who=Depends(get_verified_user)`."""
        found = DEPENDENCY.search(f"{param.annotation} {param.default or ''}")
        return found is not None and self.is_getter(found[1].rpartition(".")[2])

    def is_identity(self, annotation: str) -> bool:
        """Whether a parameter of this annotation is, or wraps, an identity object; a list of them is none."""
        known = self._identities.get(annotation)
        if known is None:
            known = self._identities[annotation] = not COLLECTION.match(annotation) and any(
                word in self.types for word in re.findall(r"\w+", annotation)
            )
        return known


def mine(
    project: Project,
    names: Iterable[str] = (),
    types: Iterable[str] = (),
    getters: Iterable[str] = (),
    levels: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Vocabulary:
    """The vocabulary of a project; the arguments are what its configuration adds."""
    strict: dict[str, Level] = dict.fromkeys(TENANT, "tenant")
    strict.update(dict.fromkeys(USER, "user"))
    wide: dict[str, Level] = dict.fromkeys(CONDITIONAL, "scope")
    evidence: dict[str, str] = {}
    patterns: dict[str, Level] = dict.fromkeys(names, "tenant")
    for level, members in levels.items():
        patterns.update(dict.fromkeys(members, "user" if level == "user" else "tenant"))
    for name in patterns:
        evidence[name] = "configuration"
    compiled = tuple((re.compile(fnmatch.translate(normal(name))), level) for name, level in patterns.items())
    columns: Counter[str] = Counter()
    relations: Counter[str] = Counter()
    tenant_keys: Counter[str] = Counter()
    models = 0
    identity = {name.rpartition(".")[2] for name in types}
    for cls in _classes(project):
        fields = {normal(row.name) for row in cls.facts.fields}
        if is_model(project, cls.facts):
            models += 1
            columns.update(fields)
            tenant_keys.update({normal(row.name) for row in cls.facts.fields if TENANT_KEY.search(row.value)})
            relations.update({normal(row.name) for row in cls.facts.fields if RELATION.search(row.value)})
        name = cls.facts.qualname.rpartition(".")[2]
        if IDENTITY_CLASS.search(name) and not NO_IDENTITY.search(name):
            held = {normal(attribute) for attribute in (*fields, *cls.facts.attributes)}
            if held & strict.keys() or re.search(
                r"(?:User|Account|Principal|Actor|Tenant|Identity|Boundary)(?:Auth|Read|Model|Info|Payload|Context|Entity|Public|InDB)?$",
                name,
            ):
                identity.add(name)
    for name, count in columns.items():
        if (
            name in CONDITIONAL
            and name != "username"
            and (count >= COMMON_ON or (models and count / models >= COMMON_SHARE and count > 1))
        ) and (name.endswith(("_id", "_ids")) or name == "namespace"):
            strict[name] = "scope"
            evidence[name] = f"a column of {count} of {models} models"
    for name, count in tenant_keys.items():
        if count >= COMMON_ON or (models and count / models >= COMMON_SHARE and count > 1):
            strict[name] = "tenant"
            evidence[name] = f"leads to the tenant in {count} of {models} models"
    owners: dict[str, Level] = {}
    for name, count in relations.items():
        known = strict.get(name) or strict.get(f"{name}_id")
        common = count >= COMMON_ON or (models and count / models >= COMMON_SHARE and count > 1)
        if known is None and f"{name}_id" in wide and common:
            known = "scope"
            strict.setdefault(f"{name}_id", known)
        if known is not None and name not in strict:
            owners[name] = known
            evidence[name] = f"a relation of {count} of {models} models"
    strict.update(_aliases(project, strict, evidence))
    shown: Counter[str] = Counter()
    for function in project.all_functions():
        for param in function.facts.params:
            plain = normal(param.name)
            declared = any(pattern.fullmatch(plain) for pattern, _ in compiled)
            if (
                declared
                or plain in strict
                or any(t.rpartition(".")[2] in identity for t in named_types(param.annotation))
            ):
                shown[plain] += 1
    for name, count in shown.items():
        if (
            name
            and name not in strict
            and name not in NEVER
            and count >= COMMON_ON
            and name not in ("self", "cls", "db", "session")
            and not BODY.search(name)
        ):
            wide.setdefault(name, "user")
            evidence[name] = f"{count} parameters typed as an identity"
    has = bool(shown) or bool(identity) or bool(patterns) or any(normal(c) in strict for c in columns)
    return Vocabulary(
        strict,
        wide,
        frozenset(identity),
        frozenset(normal(g.rpartition(".")[2].rpartition(":")[2]) for g in getters),
        evidence,
        has,
        compiled,
        owners,
    )


def _aliases(project: Project, strict: Mapping[str, Level], evidence: dict[str, str]) -> dict[str, Level]:
    """Parameter names that stand for the tenant: most functions that take one give it to a tenant's keyword."""
    given: Counter[str] = Counter()
    for function in project.all_functions():
        if function.facts.given:
            names = {name for text in function.facts.given.values() for name in text.split()}
            given.update(names.intersection(param.name for param in function.facts.params))
    common = {name: count for name, count in given.items() if count >= COMMON_ON}
    taken: Counter[str] = Counter()
    for function in project.all_functions() if common else ():
        taken.update({param.name for param in function.facts.params if param.name in common})
    found: dict[str, Level] = {}
    for name, count in common.items():
        if count >= ALIAS_SHARE * taken[name] and name not in NEVER | strict.keys():
            found[name] = "tenant"
            evidence[name] = f"given to a tenant's keyword in {count} of {taken[name]} functions that take it"
    return found


def is_model(project: Project, facts: ClassFacts) -> bool:
    """Whether a class looks like a database model: columns, or a base that says so."""
    columns = sum(
        1
        for row in facts.fields
        if re.match(r"(?:\w+\.)*(?:Column|mapped_column|\w*Field|ForeignKey\w*|relationship)\(", row.value)
        or row.annotation.startswith(("Mapped[", "orm.Mapped[", "so.Mapped["))
    )
    return columns >= 1 and (columns >= 2 or any(MODEL_BASE.search(base) for base in facts.bases))


def _classes(project: Project) -> Iterable[Class]:
    for path in project.files:
        yield from project.classes(path).values()


def reach(
    project: Project, vocabulary: Vocabulary, function: Function, owner: Class | None
) -> tuple[str, ...]:
    """The boundary parts at hand in a function: its parameters, attributes of `self`, ambient getters it calls.

    Only names that are good evidence count.
    """
    found: dict[str, None] = {}
    facts: FunctionFacts | None = function.facts
    while facts is not None:
        for param in facts.params:
            if (
                vocabulary.is_strict(param.name)
                or vocabulary.is_identity(param.annotation)
                or vocabulary.is_injected(param)
            ):
                found[param.name] = None
        for call in facts.calls:
            name = call.rpartition(".")[2]
            if vocabulary.is_getter(name):
                found[f"{name}()"] = None
        used = facts.names.split()
        found.update((name, None) for name in ("current_user", "current_tenant_id") if name in used)
        parent = project.functions(function.path).get(facts.parent) if facts.parent else None
        facts = parent.facts if parent else None
    if owner is not None:
        for row in project.ancestors(owner):
            if isinstance(row, Class):
                found.update((f"self.{a}", None) for a in row.facts.attributes if vocabulary.is_strict(a))
    return tuple(found)
