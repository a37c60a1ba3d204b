"""The one place where keys are built. Each part is escaped, so that no two scopes share a key."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from support_agent.context import RequestContext


def scoped_key(context: RequestContext, *parts: str) -> str:
    """A key that belongs to one user of one workspace of one tenant."""
    scope = (context.tenant_id, context.workspace_id, context.user_id)
    return ":".join(quote(part, safe="") for part in (*scope, *parts))


def tenant_key(context: RequestContext, *parts: str) -> str:
    """A key that all users of a tenant share."""
    return ":".join(quote(part, safe="") for part in (context.tenant_id, *parts))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
