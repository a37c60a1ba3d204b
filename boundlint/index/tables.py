"""The tables that SQL texts name: which of them hold customers' data, and how the project's statements compare.

A table is owned where its model is, where the project's own CREATE TABLE gives it a boundary column or an owned
parent, or where most of the statements on it compare a boundary.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from boundlint.index.models import AUDIT, IDENTITY, SQLMODEL_TABLE, Model
from boundlint.index.project import Class, Function, Project
from boundlint.index.statements import Words, words
from boundlint.index.vocabulary import Vocabulary, normal

FEWEST_STATEMENTS = 5
AGREE_SHARE = 0.8  # of the statements on a table: so many compare a boundary
NAMED = re.compile(r"^f?[\"']?(?:[\w]+\.)?(\w+)[\"']?$")


@dataclass(frozen=True)
class Table:
    """A table of customers' rows, under the name and type name of its model where it has one."""

    name: str
    type_name: str
    model: str = ""


def find_tables(project: Project, models: Mapping[str, Model], vocabulary: Vocabulary) -> Mapping[str, Table]:
    """The owned tables by name in lower case; none where the project has no SQL texts, or its database secures rows."""
    statements: list[Words] = []
    for function in project.all_functions():
        if "row-security" in function.facts.texts:
            return {}
        statements += statements_of(function)
    if not statements:
        return {}
    mentioned = {name for row in statements for name in row.tables}
    owned, others = _by_models(project, models, mentioned)
    created: dict[str, list[Words]] = defaultdict(list)
    used: dict[str, list[Words]] = defaultdict(list)
    for row in statements:
        if row.verb == "create":
            created[row.tables[0] if row.tables else ""].append(row)
        elif row.verb != "insert":
            for name in set(row.tables):
                used[name].append(row)
    free = mentioned - owned.keys() - others - {name for name in mentioned if is_identity(name)}
    for name in free:
        if any(
            _owner_column(vocabulary, column) for row in created.get(name, ()) for column in row.columns
        ) or (name not in created and _agree(vocabulary, used[name])):
            owned[name] = Table(name, f"table:{name}")
    for name in free - owned.keys():
        if any(parent in owned for row in created.get(name, ()) for parent in row.tables[1:]):
            owned[name] = Table(name, f"table:{name}")
    return owned


def statements_of(function: Function) -> Iterator[Words]:
    """The SQL texts of a function."""
    return map(words, function.facts.statements)


def _owner_column(vocabulary: Vocabulary, column: str) -> bool:
    """Whether a column says whose a row is; who wrote it, `created_by`, is less."""
    return vocabulary.is_strict(column) and normal(column) not in AUDIT


def _agree(vocabulary: Vocabulary, statements: list[Words]) -> bool:
    scoped = sum(any(map(vocabulary.column, row.columns)) for row in statements)
    return len(statements) >= FEWEST_STATEMENTS and scoped >= AGREE_SHARE * len(statements)


def is_identity(table: str) -> bool:
    """Whether a table is that of the users or tenants themselves: `users`, `auth_user`, `organizations`."""
    return bool(IDENTITY.match("".join(part.title() for part in table.split("_")))) or table == "auth_user"


def _by_models(
    project: Project, models: Mapping[str, Model], mentioned: set[str]
) -> tuple[dict[str, Table], set[str]]:
    """The tables of the customers' models, and those of all other models."""
    owned: dict[str, Table] = {}
    others: set[str] = set()
    for path in project.files:
        classes = project.classes(path)
        for cls in classes.values():
            names = set(_names(cls, classes)) & mentioned
            if not names:
                continue
            model = models.get(cls.name)
            if model is None:
                others |= names
            for name in names if model is not None else ():
                owned.setdefault(name, Table(name, cls.name, model.name if model is not None else ""))
    return owned, others - owned.keys()


def _names(cls: Class, classes: Mapping[str, Class]) -> Iterator[str]:
    """The names under which SQL may know the table of a class: a declared one, or the framework's own."""
    declared = [row.value for row in cls.facts.fields if row.name == "__tablename__"]
    meta = classes.get(f"{cls.facts.qualname}.Meta")
    if meta is not None:
        declared += [
            row.value for row in meta.facts.fields if row.name in ("db_table", "table_name", "table")
        ]
    for value in declared:
        if (found := NAMED.match(value)) is not None:
            yield found[1].lower()
    if not declared and cls.facts.bases and "." not in cls.facts.qualname:
        plain = cls.facts.qualname.lower()
        if SQLMODEL_TABLE in cls.facts.keywords:
            yield plain
        folders = cls.path.split("/")
        for folder in folders[-3:-1]:  # Django: `chat/models.py`, `chat/models/message.py`
            yield f"{folder}_{plain}".lower()
