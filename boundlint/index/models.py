"""The project's database models: which of them are customers' data, by their own columns or their parents'."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from boundlint.index.project import Class, Project
from boundlint.index.vocabulary import Vocabulary
from boundlint.index.words import AUDIT as AUDIT
from boundlint.index.words import IDENTITY as IDENTITY
from boundlint.index.words import normal

COLUMN = re.compile(
    r"^(?:(?:models|db|sa|sqlalchemy|orm|peewee|fields|me|mongoengine|gis|ormar|so|pw)\.)?"
    r"(?:Column|mapped_column|relationship|ForeignKey\w*|OneToOneField|ManyToManyField|(?!Serializer)[A-Z]\w*Field)\("
)
COLUMN_OPTION = re.compile(r"\b(?:primary_key|foreign_key|sa_column\w*)\s*=")
SQLMODEL_TABLE = "table=True"  # in the head of a class of SQLModel that has rows
# What keeps types by name, and no rows: `FieldTypeRegistry`.
NO_STORE = re.compile(r"Registry$|Factory$")
NO_MODEL = re.compile(
    r"(?:Serializer|Factory|Config|Form|Schema|FilterSet|Filter|View|ViewSet|Widget|Admin|TypedDict|NamedTuple|Enum)$"
)
# Whom a tenant serves, as it names them itself.
PATRON = re.compile(r"^(?:Customer|Client|Contact|EndUser|Visitor|ExternalUser)s?$")
SUFFIX = re.compile(r"(?:Model|ORM|Orm|Entity|Table)$")
# Words that make a class of `File` out of `FileService`: the class around a model's queries.
SERVICE = re.compile(
    r"(?:Async)?(?:Service|Repository|Repo|Manager|DAO|Dao|CRUD|Crud|Store|Table|Mixin|RepositoryMixin)$"
)
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]+")  # of a class name
KEYS = frozenset({"id", "pk", "uuid"})
AUDIT_SHARE = 0.6  # of all models: a column on more of them says who wrote a row, not whose it is


@dataclass(frozen=True)
class Model:
    """A customers' model: the class, its boundary columns, and the owned models it belongs to."""

    cls: Class
    columns: tuple[str, ...]
    parents: tuple[str, ...]

    @property
    def name(self) -> str:
        """The class name."""
        return self.cls.facts.qualname.rpartition(".")[2]


def find_models(project: Project, vocabulary: Vocabulary) -> Mapping[str, Model]:
    """The customers' models by type name (`path::qualname`)."""
    fields: dict[Class, dict[str, str]] = {}
    for path in project.files:
        for cls in project.classes(path).values():
            rows = _columns(project, cls)
            if rows:
                fields[cls] = rows
    common = Counter(name for rows in fields.values() for name in rows)
    audit = {name for name in AUDIT if common[name] > AUDIT_SHARE * max(len(fields), 1)}
    every = {cls.facts.qualname.rpartition(".")[2] for cls in fields}

    def is_identity(name: str, rows: Mapping[str, str]) -> bool:
        """Whether the rows are the tenants or users themselves; beside `Tenant`, `TenantModel` is something else.

        A tenant's own customers and end users are its records.
        """
        stem = SUFFIX.sub("", name)
        if PATRON.match(stem) and any(vocabulary.column(row) == "tenant" for row in rows):
            return False
        return bool(IDENTITY.match(name)) and (stem == name or stem not in every)

    found: dict[str, Model] = {}
    for cls, rows in fields.items():
        name = cls.facts.qualname.rpartition(".")[2]
        own = tuple(
            n
            for n in rows
            if vocabulary.column(n) and normal(n) not in audit and normal(n) not in ("username", "member")
        )
        if own and not is_identity(name, rows):
            found[cls.name] = Model(cls, own, ())
    joined = _joined(project)
    families = _families(fields)
    for _ in range(2):  # a child of a child is as deep as it goes
        names = {model.name for model in found.values()} | {_table(model.cls) for model in found.values()} - {
            ""
        }
        stems = {SUFFIX.sub("", name).lower(): name for name in names}
        for cls, rows in fields.items():
            name = cls.facts.qualname.rpartition(".")[2]
            if cls.name in found or is_identity(name, rows):
                continue
            words = {
                word for value in rows.values() if "ForeignKey" in value for word in re.findall(r"\w+", value)
            }
            words |= {stems[column[:-3].replace("_", "")] for column in rows if _names_parent(column, stems)}
            words |= {parent for column in rows if (parent := families.get((_family(name), column)))}
            words |= joined.get(cls, set())
            if parents := tuple(sorted(words & names)):
                found[cls.name] = Model(cls, (), parents)
    return found


def _names_parent(column: str, stems: Mapping[str, str]) -> bool:
    """Whether a column without a foreign key names an owned model all the same: `agent_id` and `Agent`."""
    return column.endswith("_id") and column[:-3].replace("_", "") in stems


def _joined(project: Project) -> Mapping[Class, set[str]]:
    """The models that queries join a model to by their ids: `Task.doc_id == Document.id` makes one of `Document`."""
    found: dict[Class, set[str]] = {}
    for path, facts in project.files.items():
        for join in facts.joins:
            sides = [side.rpartition(".") for side in join.split("==")]
            for (child, _, column), (parent, _, key) in (sides, sides[::-1]):
                cls = _named(project, path, child)
                if key in KEYS and column.endswith("_id") and cls is not None:
                    found.setdefault(cls, set()).add(parent)
    return found


def _named(project: Project, path: str, name: str) -> Class | None:
    """The model that a join calls by its name, or by the class that is about it."""
    if name.endswith(".model"):
        service = project.classes(path).get(name.removesuffix(".model"))
        found = project.attribute(service, "model") if service is not None else None
        if found is None:
            return None
        path, name = found[0], found[1][0]
    symbol = project.resolve(path, name)
    return symbol.cls if symbol is not None else None


def _families(models: Iterable[Class]) -> Mapping[tuple[str, str], str]:
    """The model that a column means to models that begin with the same word: `provider_id` and `ModelProvider`."""
    named: dict[tuple[str, str], set[str]] = {}
    for cls in models:
        name = cls.facts.qualname.rpartition(".")[2]
        first, rest = _family(name), WORDS.findall(name)[1:]
        for cut in range(len(rest)):
            column = "_".join(rest[cut:]).lower() + "_id"
            named.setdefault((first, column), set()).add(cls.facts.qualname)
    return {key: next(iter(names)) for key, names in named.items() if len(names) == 1}


def _family(name: str) -> str:
    words: list[str] = WORDS.findall(name)
    return words[0] if words else ""


def service_models(project: Project, models: Mapping[str, Model]) -> Mapping[str, Model]:
    """The models behind service, repository and manager classes, by the type name of the class."""
    by_name: dict[str, Model] = {}
    for model in models.values():
        by_name.setdefault(model.name, model)
    found: dict[str, Model] = {}
    for path in project.files:
        for cls in project.classes(path).values():
            name = cls.facts.qualname
            if cls.name in models or name.endswith(".Meta") or NO_MODEL.search(name) or NO_STORE.search(name):
                continue
            served = _served(project, cls, by_name)
            if served is not None:
                found[cls.name] = served
    return found


def _served(project: Project, cls: Class, by_name: Mapping[str, Model]) -> Model | None:
    for attribute in ("model", "model_class", "_model", "entity"):
        for value in (project.attribute(cls, attribute) or ("", []))[1]:
            if value in by_name:
                return by_name[value]
    for base in cls.facts.bases:
        for word in re.findall(r"\w+", base.partition("[")[2]):
            if word in by_name:
                return by_name[word]
    name = cls.facts.qualname.rpartition(".")[2]
    stem = SERVICE.sub("", name)
    if stem != name:
        return by_name.get(stem) or by_name.get(stem.removesuffix("s"))
    return None


def _columns(project: Project, cls: Class) -> dict[str, str]:
    """Columns of a class and its ancestors with their source; empty for what is no model."""
    ancestors = project.ancestors(cls)
    names = [row.facts.qualname if isinstance(row, Class) else row for row in ancestors]
    if any(NO_MODEL.search(name.rpartition(".")[2]) for name in names):
        return {}
    is_table = SQLMODEL_TABLE in cls.facts.keywords
    if not is_table and any(isinstance(row, str) and row.endswith("SQLModel") for row in ancestors):
        return {}  # the schema of a request, or what tables have in common
    rows: dict[str, str] = {}
    for item in (item for row in ancestors if isinstance(row, Class) for item in row.facts.fields):
        mapped = re.match(r"(?:\w+\.)?Mapped\[", item.annotation)
        option = COLUMN_OPTION.search(item.value)
        if COLUMN.match(item.value) or mapped or option or (is_table and item.annotation):
            rows.setdefault(item.name, f"{item.annotation} {item.value}")
    return rows if len(rows) >= 2 else {}


def _table(cls: Class) -> str:
    return next((row.value.strip("\"'") for row in cls.facts.fields if row.name == "__tablename__"), "")
