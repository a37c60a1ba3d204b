"""What speaks for a leak where a client or a model chose the identity: who is at hand, and what the peers do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from boundlint.findings import TraceStep
from boundlint.flow.claims import Claim
from boundlint.flow.sources import names_identity
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.view import View
from boundlint.index.entries import dependencies_of, filler, is_privileged
from boundlint.index.project import Function

# Decorators and dependencies that let in nobody who has not shown who they are.
LOGIN = re.compile(
    r"login_required|auth_required|authenticat|require[sd]?_(?:auth|login|user)|requires_auth|jwt_required|permission|token_required|"
    r"requires\(|protected|account_initialization|current_user|verified_user|get_user\b|active_user|require_user"
)
# Endpoints that act on users or members: the id they take is that of somebody else.
ABOUT_USERS = re.compile(
    r"(?:^|_|/)(?:members?|invites?|invitations?|grants?|assign\w*|transfer\w*|collaborators?|impersonat\w*|permissions?|roles?|"
    r"add_user|remove_user|users?|customers?|accounts?|profiles?|ban|block|unblock|follow|share\w*|sso|scim|login|signup|signin|register)(?:_|$|/)"
)
# What a page shows without a token: the peers' login says nothing of it.
SHOWN = re.compile(r"icon|logo|avatar|favicon|thumbnail|badge|banner")
# Where nobody is known yet: the peers' login says nothing of it either.
ARRIVES = re.compile(
    r"log_?in|sign_?in|sign_?up|register|password|otp|magic|verif|session|token|oauth|sso|invite|captcha|activate"
)
FURNISHES = re.compile(
    r"db|session|settings|config|client|repo|store|service|engine|cache|params|pagina|filter|logger|bus|queue"
)
PEERS = 3  # routes of one module before they count as agreeing
AGREEMENT = 0.8


@dataclass(frozen=True)
class Chosen:
    """Evidence around one claim.

    `principals` is how the function or its decorators know the caller; `peers` whether the other routes of
    the module do; `privileged` an endpoint for administrators, services or the public; `about_users` one
    whose subject is another user; `support` code that serves no customer.
    """

    principals: tuple[str, ...]
    peers: bool
    privileged: bool
    about_users: bool
    support: bool
    facts: tuple[str, ...]
    trace: tuple[TraceStep, ...]


def chosen(view: View, claim: Claim) -> Chosen:
    """Collect the evidence around a claim."""
    function = claim.function
    facts = function.facts
    login = tuple(f"@{row[:60]}" for row in facts.decorators if LOGIN.search(row.lower()))
    principals = (*claim.principals, *login)
    routes = [row for row in _routes(view, function) if row != function]
    known = [row for row in routes if _authenticates(view, row)]
    shown = SHOWN.search(" ".join((facts.qualname, *facts.decorators)).lower())
    arrives = ARRIVES.search(" ".join((facts.name, *facts.decorators)).lower())
    own = [name for row in facts.params for name in dependencies_of(view.analysis.project, function, row)]
    guarded = any(not FURNISHES.search(name.lower()) for name in own) or any(
        "dependencies=" in row for row in facts.decorators
    )
    served = view.analysis.entry(function) == "route" and not (shown or arrives or guarded)
    peers = served and len(known) >= PEERS and len(known) >= AGREEMENT * len(routes)
    rows = []
    if principals:
        rows.append(f"in reach: {', '.join(principals[:3])}")
    elif peers:
        rows.append(f"peers: {len(known)} of {len(routes)} other routes of this module know who calls")
    return Chosen(
        principals,
        peers,
        is_privileged(function),
        bool(ABOUT_USERS.search(facts.name.lower()))
        or any(ABOUT_USERS.search(_last_part(row)) for row in facts.decorators),
        bool(SUPPORT_PATH.search(function.path)),
        tuple(rows),
        ()
        if principals or not peers
        else tuple(TraceStep(row.path, row.facts.line, "a peer that knows who calls") for row in known[:2]),
    )


def _last_part(decorator: str) -> str:
    """The last fixed part of a route's path: `"/teams/{id}/members"` -> `members`."""
    found = re.search(r"[\"']([^\"']*)[\"']", decorator)
    parts = [part for part in (found[1] if found else "").split("/") if part and part[0] not in "{<:"]
    return parts[-1].lower() if parts else ""


def _routes(view: View, function: Function) -> list[Function]:
    rows = view.analysis.project.functions(function.path).values()
    return [row for row in rows if row.facts.decorators and view.analysis.entry(row) == "route"]


def _authenticates(view: View, function: Function) -> bool:
    facts = function.facts
    if any(LOGIN.search(row.lower()) for row in facts.decorators) or "current_user" in facts.names.split():
        return True
    project = view.analysis.project
    return any(
        filler(project, function, row) == "server" and names_identity(project, function, row)
        for row in facts.params
        if row.name not in ("self", "cls")
    )
