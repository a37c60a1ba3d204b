"""Which model a call begins to query, if any: `select(File)`, `File.objects.filter`, `FileService.get_by_id`."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from boundlint.flow.arguments import Arguments
from boundlint.flow.guards import is_authority
from boundlint.flow.queries import (
    CONNECTION,
    CREATES,
    IDENTIFIER,
    ON_MODEL,
    ON_SERVICE,
    TAKES_MODEL,
    origins,
)
from boundlint.flow.values import CONSTANT, MODEL, Value, models_of
from boundlint.index.extract import path_of
from boundlint.index.models import Model
from boundlint.index.project import Class, last_name
from boundlint.index.receivers import Callee

if TYPE_CHECKING:
    from boundlint.flow.lookups import Lookups


def queried_model(
    lookups: Lookups, node: ast.Call, name: str, callee: Callee, receiver: Value, given: Arguments
) -> Model | None:
    """The model whose rows a call begins to ask for; None where it begins no query."""
    if callee.kind == "class" or CREATES.match(name):
        return None
    if origins(receiver):
        return None
    if name in TAKES_MODEL and (handed := models_of(given.first)):
        return lookups.models.get(handed[0])
    for type_name in models_of(receiver):
        model = lookups.models.get(type_name)
        if name in ON_MODEL and callee.kind != "function":
            return model
        if model is not None and ON_SERVICE.match(name) and _is_inherited(callee, model.cls):
            return model
    return _served(lookups, node, name, callee)


def handed_model(
    lookups: Lookups, name: str, callee: Callee, given: Arguments
) -> tuple[Model, Arguments] | None:
    """The model that a general helper of the project is handed, with the id and the boundary: `get_item(db, File, id)`.

    None for a helper that reads a boundary or asks about access by itself, and for one that is handed no id.
    """
    if callee.function is None or not ON_SERVICE.match(name):
        return None
    models = [type_name for value, _ in given.positional for type_name in models_of(value)]
    model = lookups.models.get(models[0]) if len(models) == 1 else None
    if model is None or any(row.endswith("()") for row in lookups.run.flow.reach_of(callee.function)):
        return None
    if any(is_authority(path.rpartition(".")[2]) for path in callee.function.facts.calls):
        return None
    rest = tuple(
        (value, node)
        for value, node in given.positional
        if not models_of(value)
        and (value.carriers or not CONNECTION.search(path_of(node)))
        and (value.carriers or IDENTIFIER.match(last_name(path_of(node))))
    )
    ids = any(not value.carriers for value, _ in rest) or any(map(IDENTIFIER.match, given.keywords))
    return (model, given._replace(positional=rest)) if ids else None


def _served(lookups: Lookups, node: ast.Call, name: str, callee: Callee) -> Model | None:
    """The model of a service whose general method (`get_by_id` of a base class) is called."""
    if not isinstance(node.func, ast.Attribute) or not ON_SERVICE.match(name):
        return None
    receivers = lookups.run.flow.receivers
    path = path_of(node.func.value)
    typed = receivers.type_of(lookups.run.function, path)
    if typed is None:
        return None
    cls = lookups.run.flow.project.class_named(typed.name)
    model = lookups.services.get(typed.name) if cls is not None else None
    if model is None or cls is None:
        return None
    if callee.function is None:
        return model
    facts = callee.function.facts
    if model.name in facts.names.split() or any(
        model.name in re.findall(r"\w+", row.annotation) for row in facts.params
    ):
        return None  # it queries the model itself, or is handed a record: what it does is followed
    return model if _is_inherited(callee, cls) else None


def _is_inherited(callee: Callee, cls: Class) -> bool:
    """Whether a method comes from a base class: it is a general one, about whatever the subclass stands for."""
    found = callee.function
    return found is not None and (found.facts.owner != cls.facts.qualname or found.path != cls.path)


def class_mark(cls: Class, models: Mapping[str, Model]) -> Value:
    """The value of a name that stands for a class."""
    return Value(marks=frozenset({f"{MODEL}{cls.name}"})) if cls.name in models else CONSTANT
