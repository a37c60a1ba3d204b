"""Tickets, documents and messages in the database."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from support_agent.context import RequestContext
from support_agent.keys import digest
from support_agent.models import Document, Message, Plan, Tenant, Ticket, User


class OutsideBoundary(LookupError):
    """The record does not exist for this tenant. Whether it exists for another is not told."""


def authenticate(session: Session, token: str, trace_id: str) -> RequestContext:
    """The context of the user who holds the token; PermissionError where nobody does."""
    user = session.scalar(select(User).where(User.token_digest == digest(token)))
    if user is None or not user.active:
        raise PermissionError("unknown or inactive token")
    tenant = session.get(Tenant, user.tenant_id)
    assert tenant is not None
    sources = session.scalars(
        select(Document.datasource_id).where(Document.tenant_id == user.tenant_id).distinct()
    )
    return RequestContext(
        tenant_id=user.tenant_id,
        workspace_id=user.workspace_id,
        user_id=user.id,
        role=user.role,
        plan=tenant.plan,
        allowed_datasource_ids=tuple(sorted(sources)),
        trace_id=trace_id,
    )


def still_allowed(session: Session, context: RequestContext) -> bool:
    """Whether the user of a snapshot still holds what the snapshot says."""
    user = session.scalar(select(User).where(User.id == context.user_id, User.tenant_id == context.tenant_id))
    return user is not None and user.active and user.role == context.role


def plan_limit(session: Session, name: str) -> int:
    plan = session.get(Plan, name)
    return plan.messages_per_day if plan else 0


def ticket_in_boundary(session: Session, context: RequestContext, ticket_id: str) -> Ticket:
    ticket = session.scalar(
        select(Ticket).where(
            Ticket.id == ticket_id,
            Ticket.tenant_id == context.tenant_id,
            Ticket.workspace_id == context.workspace_id,
        )
    )
    if ticket is None:
        raise OutsideBoundary(ticket_id)
    return ticket


def open_tickets(session: Session, context: RequestContext) -> Sequence[Ticket]:
    query = select(Ticket).where(Ticket.tenant_id == context.tenant_id)
    query = query.where(Ticket.workspace_id == context.workspace_id, Ticket.status == "open")
    return session.scalars(query.order_by(Ticket.id)).all()


def document_text(session: Session, context: RequestContext, document_id: str) -> str:
    document = session.scalar(
        select(Document).where(
            Document.id == document_id,
            Document.tenant_id == context.tenant_id,
            Document.workspace_id == context.workspace_id,
        )
    )
    if document is None:
        raise OutsideBoundary(document_id)
    return document.text


def add_message(session: Session, context: RequestContext, role: str, text: str) -> None:
    session.add(Message(tenant_id=context.tenant_id, user_id=context.user_id, role=role, text=text))
    session.commit()


def recent_messages(session: Session, context: RequestContext, limit: int = 10) -> list[Message]:
    mine = select(Message).where(Message.tenant_id == context.tenant_id, Message.user_id == context.user_id)
    newest_first = session.scalars(mine.order_by(Message.id.desc()).limit(limit)).all()
    return list(reversed(newest_first))
