"""For whom the agent acts: made by the server from a verified token, never by the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class RequestContext:
    tenant_id: str
    workspace_id: str
    user_id: str
    role: str
    plan: str
    allowed_datasource_ids: tuple[str, ...]
    trace_id: str

    def snapshot(self) -> dict[str, Any]:
        """The context as plain data, to travel with a job."""
        return asdict(self)

    @classmethod
    def from_snapshot(cls, data: Mapping[str, Any]) -> RequestContext:
        return cls(**{**data, "allowed_datasource_ids": tuple(data["allowed_datasource_ids"])})


_current: ContextVar[RequestContext] = ContextVar("support_agent_context")


def current_tenant_id() -> str:
    """The tenant of this request; LookupError outside of one."""
    return _current.get().tenant_id


@contextmanager
def acting_for(context: RequestContext) -> Iterator[RequestContext]:
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
