"""A query that compares the tenant, on a model whose rows are one user's: the colleague's row is found too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.flow.peers import USER_COLUMN
from boundlint.flow.queries import ADDED, Lookup
from boundlint.index.vocabulary import normal

if TYPE_CHECKING:
    from boundlint.flow.view import View

PERSONAL = re.compile(r"^(?:User|My)(?=[A-Z])|Preference|Favou?rite|Bookmark|Draft|RecentVisit")
# Rows about a user that his colleagues are meant to see: who belongs to what, who is told of what.
SHARED = re.compile(
    r"Group|Role|Permission|Invit|Member|Team|Tenant|Organi[sz]ation|Workspace$|Access|Assign|Subscri"
)
USER_WORDS = frozenset(
    "user users owner member actor account principal creator created author assignee".split()
)
LEAST_BESIDE = 2  # other queries on the model in the class


@dataclass(frozen=True)
class PersonalRows:
    """Why the rows of a model are one user's: its column that says whose, the reason, and places that compare it."""

    column: str
    fact: str
    trace: tuple[TraceStep, ...]


def personal_rows(view: View, lookup: Lookup) -> PersonalRows | None:
    """What speaks for a missing user in a query that compares the tenant; None where nothing does."""
    analysis = view.analysis
    model = analysis.models.get(lookup.type_name)
    if model is None or SHARED.search(model.name) or not compares_tenant_alone(lookup):
        return None
    owners = [name for name in model.columns if USER_COLUMN.match(normal(name))]
    if not owners or not any(
        analysis.vocabulary.column(name) and name not in owners for name in model.columns
    ):
        return None
    fact, places = _peers(view, lookup)
    if not fact and PERSONAL.search(model.name):
        fact = f"{model.name} has `{owners[0]}`, and by its name it is a user's own"
    trace = tuple(TraceStep(path, line, "a peer that compares the user") for path, line in places)
    return PersonalRows(owners[0], fact, trace) if fact else None


def _peers(view: View, lookup: Lookup) -> tuple[str, Sequence[tuple[str, int]]]:
    """The other queries on the model that compare the user, where nearly all do: in the project, or in the class."""
    peers = view.analysis.peers.comparing_user(lookup.type_name)
    if peers.agree:
        count, total, places = peers.scoped, peers.total, peers.examples
        return f"peers: {count} of {total} functions that query {lookup.model} compare its user", places
    rows = [row for flow in view.siblings for row in flow.lookups if row.model == lookup.model]
    others = [row for row in rows if row.span != lookup.span and not row.via]
    if len(others) >= LEAST_BESIDE and all(map(names_user, others)):
        fact = f"peers: {len(others)} of {len(others)} other queries on {lookup.model} here compare its user"
        return fact, [(row.function.path, row.line) for row in others[:2]]
    return "", ()


def compares_tenant_alone(lookup: Lookup) -> bool:
    """Whether a query that reads rows compares a boundary, and neither it nor a check of what it loads a user."""
    return (
        lookup.effect == "read"
        and lookup.scoped
        and not lookup.via
        and ADDED not in lookup.predicate.carriers
        and not names_user(lookup)
        and all(guard.startswith("checked by the decorator") for guard in lookup.guards)
    )


def names_user(lookup: Lookup) -> bool:
    """Whether a query compares a user: by a column of it, or with a value that is one."""
    words = {
        part
        for name in (*lookup.columns, *lookup.predicate.carriers, *lookup.predicate.maybe)
        for part in re.findall(r"[a-z]+", normal(name))
    }
    return not words.isdisjoint(USER_WORDS)
