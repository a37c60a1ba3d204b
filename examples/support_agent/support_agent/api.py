"""The HTTP entry. The boundary is made here, from the token, and handed on."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy.orm import Session

from support_agent import agent, jobs
from support_agent.context import RequestContext
from support_agent.exports import transcript
from support_agent.memory import CustomerMemory, in_maintenance
from support_agent.records import OutsideBoundary, authenticate, open_tickets, ticket_in_boundary
from support_agent.settings import database, redis_client

app = FastAPI(title="Support agent")
app.state.model = "gpt-5-mini"


class Question(BaseModel):
    text: str


class Preference(BaseModel):
    name: str
    report_format: str


def session_of_request() -> Iterator[Session]:
    with database() as session:
        yield session


Database = Annotated[Session, Depends(session_of_request)]


def context_of_request(session: Database, authorization: Annotated[str, Header()]) -> RequestContext:
    try:
        return authenticate(session, authorization.removeprefix("Bearer "), trace_id=uuid.uuid4().hex)
    except PermissionError as error:
        raise HTTPException(401) from error


Context = Annotated[RequestContext, Depends(context_of_request)]


@app.get("/health")
def health() -> dict[str, bool]:
    return {"maintenance": in_maintenance(redis_client())}


@app.post("/ask")
def ask(question: Question, session: Database, context: Context) -> dict[str, str]:
    try:
        return {"answer": agent.answer(session, context, question.text, app.state.model)}
    except agent.TooManyMessages as error:
        raise HTTPException(429) from error


@app.put("/preferences")
def set_preference(preference: Preference, context: Context) -> dict[str, str]:
    memory = CustomerMemory(redis_client(), context)
    memory.remember("name", preference.name)
    memory.remember_report_format(preference.report_format)
    return preference.model_dump()


@app.get("/tickets")
def tickets(session: Database, context: Context) -> list[dict[str, str]]:
    return [{"id": ticket.id, "title": ticket.title} for ticket in open_tickets(session, context)]


@app.post("/tickets/{ticket_id}/follow-up")
def follow_up(ticket_id: str, session: Database, context: Context) -> dict[str, str]:
    try:
        ticket = ticket_in_boundary(session, context, ticket_id)
    except OutsideBoundary as error:
        raise HTTPException(404) from error
    jobs.schedule_summary(context, ticket.id)
    return {"job": jobs.schedule_follow_up(context, ticket.id)}


@app.get("/transcript")
def download(session: Database, context: Context) -> str:
    return transcript(session, context)
