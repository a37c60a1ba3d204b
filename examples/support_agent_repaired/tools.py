"""What the model may call. It chooses the arguments; the server gives the context."""

from __future__ import annotations

from agents import RunContextWrapper, function_tool
from sqlalchemy import select

from support_agent.context import RequestContext
from support_agent.models import Ticket
from support_agent.records import OutsideBoundary, document_text, open_tickets, ticket_in_boundary
from support_agent.retrieval import search_documents, search_help_center
from support_agent.settings import database, vector_client


@function_tool
def find_documents(run: RunContextWrapper[RequestContext], question: str) -> str:
    """Search the customer's own documents."""
    found = search_documents(vector_client(), run.context, question)
    return "\n".join(payload["text"] for payload in found) or "Nothing found."


@function_tool
def find_help(run: RunContextWrapper[RequestContext], question: str) -> str:
    """Search the public help center."""
    return "\n".join(search_help_center(vector_client(), run.context, question)) or "Nothing found."


@function_tool
def read_document(run: RunContextWrapper[RequestContext], document_id: str) -> str:
    """Read one document."""
    with database() as session:
        try:
            return document_text(session, run.context, document_id)
        except OutsideBoundary:
            return "There is no such document."


@function_tool
def list_open_tickets(run: RunContextWrapper[RequestContext]) -> str:
    """List the open tickets of the workspace."""
    with database() as session:
        return "\n".join(f"{ticket.id}: {ticket.title}" for ticket in open_tickets(session, run.context))


@function_tool
def read_ticket(run: RunContextWrapper[RequestContext], ticket_id: str) -> str:
    """Read one ticket."""
    with database() as session:
        try:
            ticket = ticket_in_boundary(session, run.context, ticket_id)
        except OutsideBoundary:
            return "There is no such ticket."
        return f"{ticket.title}\n{ticket.body}"


@function_tool
def close_ticket(run: RunContextWrapper[RequestContext], ticket_id: str) -> str:
    """Close a ticket that is solved."""
    with database() as session:
        try:
            ticket = ticket_in_boundary(session, run.context, ticket_id)
        except OutsideBoundary:
            return "There is no such ticket."
        ticket.status = "closed"
        session.commit()
    return f"Closed {ticket_id}."


@function_tool
def search_tickets(run: RunContextWrapper[RequestContext], words: str) -> str:
    """Search the customer's own tickets by a word of the title."""
    with database() as session:
        query = select(Ticket).where(
            Ticket.tenant_id == run.context.tenant_id,
            Ticket.workspace_id == run.context.workspace_id,
            Ticket.title.contains(words, autoescape=True),
        )
        return (
            "\n".join(f"{ticket.id}: {ticket.title}" for ticket in session.scalars(query)) or "Nothing found."
        )


TOOLS = [
    find_documents,
    find_help,
    read_document,
    list_open_tickets,
    read_ticket,
    close_ticket,
    search_tickets,
]
