"""What the team that wrote the agent tests: each feature, with one customer. All of it passes."""

from __future__ import annotations

import dataclasses

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from support_agent import agent, api, jobs
from support_agent.context import RequestContext
from support_agent.keys import scoped_key
from support_agent.memory import CustomerMemory, RunState
from support_agent.models import User
from support_agent.records import OutsideBoundary, authenticate, ticket_in_boundary
from support_agent.scripted import ScriptedModel
from support_agent.seed import DENTAL
from support_agent.settings import redis_client, vector_client

pytestmark = pytest.mark.boundary(tenant=DENTAL.tenant_id, workspace="main", user="user-1")


def test_answer_reads_documents_tickets_and_memory(session: Session, context: RequestContext) -> None:
    memory = CustomerMemory(redis_client(), context)
    memory.remember("name", "Kim")
    memory.remember_report_format("a weekly summary")
    model = ScriptedModel()
    agent.answer(session, context, "When do we renew?", model)
    for part in (DENTAL.note, "Ticket of Northstar Dental", "Kim", "a weekly summary", "Northstar Dental."):
        assert part in model.prompts[0]


def test_answer_is_cached(session: Session, context: RequestContext) -> None:
    model = ScriptedModel(say=lambda prompt: "March 12")
    first = agent.answer(session, context, "When do we renew?", model)
    assert agent.answer(session, context, "When do we renew?", model) == first == "March 12"
    assert len(model.prompts) == 1


def test_plan_limits_the_messages_of_a_day(session: Session, context: RequestContext) -> None:
    free = dataclasses.replace(context, plan="none")
    with pytest.raises(agent.TooManyMessages):
        agent.answer(session, free, "Hello?", ScriptedModel())


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("find_documents", {"question": "renews"}, DENTAL.note),
        ("find_help", {"question": "password"}, "Reset your password"),
        ("read_document", {"document_id": "doc-1"}, DENTAL.note),
        ("list_open_tickets", {}, "ticket-1: Renewal invoice"),
        ("read_ticket", {"ticket_id": "ticket-1"}, "the renewal invoice is wrong"),
        ("read_ticket", {"ticket_id": "ticket-9"}, "There is no such ticket."),
        ("close_ticket", {"ticket_id": "ticket-1"}, "Closed ticket-1."),
        ("search_tickets", {"tenant_id": DENTAL.tenant_id, "words": "invoice"}, "ticket-1: Renewal invoice"),
    ],
)
def test_the_model_can_call_the_tool(
    session: Session, context: RequestContext, tool: str, arguments: dict[str, str], expected: str
) -> None:
    model = ScriptedModel(((tool, arguments),))
    assert expected in agent.answer(session, context, "Please help.", model)


def test_run_state_is_temporary(context: RequestContext) -> None:
    state = RunState(redis_client(), context, "run-1")
    state.save(["look at the invoice"])
    assert state.load() == ["look at the invoice"]
    assert 0 < redis_client().ttl(scoped_key(context, "run", "run-1")) <= 900


def test_memory_of_a_leaving_tenant_is_deleted(context: RequestContext) -> None:
    memory = CustomerMemory(redis_client(), context)
    memory.remember("name", "Kim")
    memory.add_topic("renewal")
    assert memory.last_topics() == ["renewal"]
    assert memory.forget_tenant() == 2
    assert memory.recall("name") is None


def test_a_ticket_of_another_workspace_does_not_exist(session: Session, context: RequestContext) -> None:
    with pytest.raises(OutsideBoundary):
        ticket_in_boundary(session, dataclasses.replace(context, workspace_id="other"), "ticket-1")


def test_jobs_run_for_the_tenant(session: Session, context: RequestContext) -> None:
    said = jobs.write_follow_up("job-1", context.snapshot(), "ticket-1")
    assert said is not None
    assert "Renewal invoice" in said
    jobs.schedule_summary(context, "ticket-1")
    session.expire_all()
    assert ticket_in_boundary(session, context, "ticket-1").summary


def test_a_job_is_blocked_when_the_user_has_left(session: Session, context: RequestContext) -> None:
    session.get_one(User, context.user_id).active = False
    session.commit()
    assert jobs.write_follow_up("job-1", context.snapshot(), "ticket-1") is None


def test_unknown_token_is_refused(session: Session) -> None:
    with pytest.raises(PermissionError):
        authenticate(session, "someone-else", "trace-1")


def test_http(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.app.state, "model", ScriptedModel(say=lambda prompt: "On March 12."))
    client = TestClient(api.app, headers={"Authorization": f"Bearer {DENTAL.token}"})
    assert client.get("/health").json() == {"maintenance": False}
    assert client.put("/preferences", json={"name": "Kim", "report_format": "short"}).status_code == 200
    assert client.post("/ask", json={"text": "When do we renew?"}).json() == {"answer": "On March 12."}
    assert client.get("/tickets").json() == [{"id": "ticket-1", "title": "Renewal invoice"}]
    assert client.post("/tickets/ticket-1/follow-up").status_code == 200
    assert client.post("/tickets/ticket-9/follow-up").status_code == 404
    assert "On March 12." in client.get("/transcript").json()
    assert client.get("/tickets", headers={"Authorization": "Bearer no"}).status_code == 401


def test_documents_can_be_indexed(session: Session, context: RequestContext) -> None:
    from support_agent.retrieval import index_document, search_documents

    payload = {"text": "Braces cost extra.", "datasource_id": "notes"}
    index_document(vector_client(), context, 7, payload)
    assert search_documents(vector_client(), context, "braces")[0]["text"] == "Braces cost extra."
