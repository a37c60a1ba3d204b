"""MongoDB's filters, pipelines and documents in the language of `pytest_boundary.checks.filters`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boundlint.index.words import IDENTITY
from pytest_boundary.active import Active
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other, fields, holds
from pytest_boundary.levels import Levels, Owner
from pytest_boundary.operations import Judgement, Missing

ID = re.compile(r"(?:^|[._])(?:_?id|ids|uuid|guid|key|slug)$", re.IGNORECASE)
# Stages behind which a `$match` still speaks of the documents of the collection, and of all that were found.
NOBODY = Owner("", frozenset(), "")  # stands for the owner where no boundary is active
KEEPS = frozenset("$match $sort $unwind $addFields $set $unset $project $lookup $graphLookup $search".split())


@dataclass(frozen=True)
class Part:
    """What a call does in one collection: finds by a condition, or puts in documents."""

    collection: str  # with its database
    condition: Filter = NOTHING
    documents: tuple[Mapping[str, Any], ...] = ()  # new ones
    changes: Mapping[str, Any] | None = None  # what is set in those that are found
    effect: str = "read"

    @property
    def name(self) -> str:
        """The collection without its database."""
        return self.collection.partition(".")[2]

    def names(self) -> Iterator[str]:
        """The fields that the call itself shows."""
        yield from fields(self.condition)
        for document in self.documents:
            yield from field_names(document)
        yield from self.changes or ()


def field_names(document: Mapping[str, Any], depth: int = 2) -> Iterator[str]:
    """The fields of a document, with those of embedded ones (`metadata.tenant_id`)."""
    for name, value in document.items():
        yield name
        if depth > 1 and isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in field_names(value, depth - 1))


def condition(query: Any) -> Filter:
    """A filter. `$or` and a list of values bind only where each of them does, other operators never."""
    if query is None:
        return NOTHING
    if not isinstance(query, Mapping):
        return Equals("_id", (query,))
    return All(tuple(_clause(name, value) for name, value in query.items()))


def _clause(name: str, value: Any) -> Filter:
    if name == "$and":
        return All(tuple(condition(part) for part in value))
    if name == "$or":
        return AnyOf(tuple(condition(part) for part in value))
    if name == "$expr":
        return _expression(value)
    if name.startswith("$"):
        return Other()
    if isinstance(value, Mapping) and any(str(key).startswith("$") for key in value):
        return All(tuple(_operator(name, key, operand) for key, operand in value.items()))
    # a pattern is no value
    return Other() if hasattr(value, "pattern") else Equals(name, (value,))


def _operator(name: str, operator: str, operand: Any) -> Filter:
    if operator == "$eq":
        return Equals(name, (operand,))
    if operator == "$in":
        return Equals(name, tuple(operand)) if not any(hasattr(v, "pattern") for v in operand) else Other()
    return Other()


def _expression(value: Any) -> Filter:
    if isinstance(value, Mapping) and len(value) == 1:
        (operator, operands), *_ = value.items()
        if operator == "$and":
            return All(tuple(_expression(part) for part in operands))
        if operator == "$or":
            return AnyOf(tuple(_expression(part) for part in operands))
        if operator == "$eq" and len(operands) == 2:
            for field, constant in (operands, operands[::-1]):
                if isinstance(field, str) and field.startswith("$") and not _computed(constant):
                    return Equals(field[1:], (constant,))
    return Other()


def _computed(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, str) and value.startswith("$"))


def pipeline_parts(collection: str, pipeline: Iterable[Any]) -> Iterator[Part]:
    """What an aggregation reads: its own collection, and those that it joins."""
    database = collection.partition(".")[0]
    found: list[Filter] = []
    others: list[Part] = []
    open_ = True
    for stage in pipeline:
        for name, body in stage.items() if isinstance(stage, Mapping) else ():
            if name == "$match" and open_:
                found.append(condition(body))
            elif name == "$geoNear":
                found.append(condition(body.get("query")))
            elif name == "$vectorSearch":  # its filter is applied before the ranking
                found.append(condition(body.get("filter")))
            elif name == "$search" and isinstance(body.get("compound"), Mapping):
                clauses = [*body["compound"].get("filter", ()), *body["compound"].get("must", ())]
                found.append(All(tuple(_search(clause) for clause in clauses)))
            elif name == "$unionWith":
                union = body if isinstance(body, Mapping) else {"coll": body}
                others += pipeline_parts(f"{database}.{union.get('coll')}", union.get("pipeline", ()))
            elif name == "$lookup" and not _by_id(body, "localField", "foreignField"):
                others += pipeline_parts(f"{database}.{body.get('from')}", body.get("pipeline", ()))
            elif name == "$graphLookup" and not _by_id(body, "connectFromField", "connectToField"):
                joined = condition(body.get("restrictSearchWithMatch"))
                others.append(Part(f"{database}.{body.get('from')}", joined))
            if name not in KEEPS:
                open_ = False
    yield Part(collection, All(tuple(found)))
    yield from others


def _search(clause: Any) -> Filter:
    for operator, value in (("equals", "value"), ("in", "value")):
        body = clause.get(operator)
        if isinstance(body, Mapping):
            given = body.get(value)
            return Equals(str(body.get("path")), tuple(given) if isinstance(given, list) else (given,))
    return Other()


def _by_id(body: Any, *names: str) -> bool:
    """Whether documents are joined by an id: those of another collection then belong to those found."""
    return any(ID.search(str(body.get(name) or "")) for name in names)


def judge_parts(
    parts: Sequence[Part], active: Active, levels: Levels, known: Mapping[str, Iterable[str]]
) -> Judgement:
    """Each part of a call. A collection is customers' data where a document of it names an owner."""
    judged: Judgement = "free"
    for part in parts:
        found = _judge_part(part, active, levels, frozenset((*known.get(part.collection, ()), *part.names())))
        if isinstance(found, Missing):
            return found
        judged = "scoped" if "scoped" in (found, judged) else "free"
    return judged


def _judge_part(part: Part, active: Active, levels: Levels, names: frozenset[str]) -> Judgement:
    key = (part.name, names)
    owners: tuple[Owner, ...] | None = active.memo.get(key)
    if owners is None:
        owners = active.memo[key] = _owners(part.name, active, levels, names)
    shown = (part.name, part.collection, f"collection {part.name}")
    for owner in owners:
        if owner is NOBODY:
            return Missing(f"nothing binds collection {part.name!r} to a boundary", shown)
        field, subject = sorted(owner.fields)[0], f"{owner.level} {owner.id!r}"
        fix = f"{{{field!r}: {owner.id!r}}} (from the boundary)"
        for document in part.documents:
            if not holds(_as_condition({name: _at(document, name) for name in field_names(document)}), owner):
                text = f"the new document of {part.name!r} does not say {field} = {owner.id!r}"
                return Missing(text, shown, f"put {fix} into the document")
        changes = part.changes or {}
        if any(last(name) in owner.fields for name in changes) and not holds(_as_condition(changes), owner):
            return Missing(f"the change gives documents of {part.name!r} to another {owner.level}", shown)
        if part.effect != "insert" and not holds(part.condition, owner):
            compared = fields(part.condition)
            text = f"no condition binds collection {part.name!r} to {subject}"
            if any(last(name) in owner.fields for name in compared):
                text = f"the condition on {field!r} does not bind collection {part.name!r} to {subject} in every case"
            bulk = part.effect in ("write", "delete") and not any(ID.search(name) for name in compared)
            return Missing(text, shown, f"put {fix} into the filter", rule="BND506" if bulk else "BND501")
    return "scoped" if owners else "free"


def plainly_scoped(
    collection: str, query: Any, active: Active, levels: Levels, known: Collection[str], sampled: bool
) -> bool:
    """Whether a filter binds each owner of a known collection by a plain value; `sampled` where no more is to be known.

    It is on the way of every search, and answers for nearly all: what this denies may be scoped all the same.
    """
    if query.__class__ is not dict:
        return False
    # the fields of a collection only become more
    key = (plainly_scoped, collection, len(known), *query)
    owners: tuple[Owner, ...] | None = active.memo.get(key)
    if owners is None:
        if not (sampled or levels.owned(known)) or any(str(name)[:1] == "$" for name in query):
            return False
        names = frozenset((*known, *query))
        owners = active.memo[key] = _owners(collection.partition(".")[2], active, levels, names)
    for owner in owners:
        for field in owner.fields:
            value = query.get(field)
            if value.__class__ is str and value == owner.id:
                break
        else:
            return False
    return bool(owners)


def _owners(name: str, active: Active, levels: Levels, names: frozenset[str]) -> tuple[Owner, ...]:
    """Whom the documents of a collection with these fields must name; nobody where they are nobody's."""
    plain = {last(field) for field in names if "." not in field or levels.rank(last(field))[0] == "tenant"}
    identity = IDENTITY.match("".join(word.capitalize() for word in name.split("_")))
    if identity or name.startswith("system.") or not levels.owned(plain):
        return ()
    if not active.ids:
        return (NOBODY,)
    required = (*levels.required_for(active.ids), "workspace", "user")
    return tuple(owner for owner in levels.owners(plain, active.ids) if owner.level in required)


def _as_condition(document: Mapping[str, Any]) -> Filter:
    return All(tuple(Equals(name, (value,)) for name, value in document.items()))


def last(name: str) -> str:
    """The last part of a dotted field."""
    return name.rpartition(".")[2]


def _at(document: Mapping[str, Any], name: str) -> Any:
    found: Any = document
    for step in name.split("."):
        found = found[step]
    return found
