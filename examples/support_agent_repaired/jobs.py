"""Work that outlives the request. A job carries a snapshot of its context and checks it when it starts."""

from __future__ import annotations

import os
import uuid
from typing import Any

from celery import Celery
from sqlalchemy import select

from support_agent import audit
from support_agent.context import RequestContext, current_tenant_id
from support_agent.memory import single_flight
from support_agent.models import Message
from support_agent.records import still_allowed, ticket_in_boundary
from support_agent.settings import database, redis_client

app = Celery("support_agent", broker=os.environ.get("BROKER_URL", "memory://"), backend="cache+memory://")


def schedule_follow_up(context: RequestContext, ticket_id: str) -> str:
    job_id = uuid.uuid4().hex
    write_follow_up.delay(job_id, context.snapshot(), ticket_id)
    return job_id


@app.task
def write_follow_up(job_id: str, snapshot: dict[str, Any], ticket_id: str) -> str | None:
    context = RequestContext.from_snapshot(snapshot)
    with database() as session:
        if not still_allowed(session, context):
            audit.job_blocked(context, job_id)
            return None
        if not single_flight(redis_client(), job_id):
            return None
        ticket = ticket_in_boundary(session, context, ticket_id)
        return f"About your ticket “{ticket.title}”: is it solved?"


def schedule_summary(context: RequestContext, ticket_id: str) -> None:
    summarize_ticket.delay(context.snapshot(), ticket_id)


@app.task
def summarize_ticket(snapshot: dict[str, Any], ticket_id: str) -> None:
    context = RequestContext.from_snapshot(snapshot)
    with database() as session:
        if not still_allowed(session, context):
            audit.job_blocked(context, f"summary of {ticket_id}")
            return
        ticket = ticket_in_boundary(session, context, ticket_id)
        ticket.summary = ticket.body[:80]
        session.commit()


@app.task
def trending_questions() -> list[str]:
    """The tenant's own newest questions, offered as conversation starters."""
    mine = select(Message).where(Message.tenant_id == current_tenant_id(), Message.role == "user")
    with database() as session:
        newest = mine.order_by(Message.id.desc()).limit(5)
        return [message.text for message in session.scalars(newest)]
