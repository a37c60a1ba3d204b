"""Two customers that are easy to confuse. All of it passes without `--enforce-boundary`, leaks or not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from support_agent import agent, cache, exports, jobs
from support_agent.context import RequestContext, acting_for
from support_agent.memory import CustomerMemory, RunState
from support_agent.records import add_message, authenticate, document_text
from support_agent.retrieval import similar_tickets, suggest_replies
from support_agent.scripted import ScriptedModel
from support_agent.seed import DENTAL, DESIGN, Customer, seed
from support_agent.settings import database, redis_client, vector_client

pytest.importorskip("pytest_boundary", reason="needs boundlint[pytest]")


@pytest.fixture
def marked(lookalike_tenants: Any) -> tuple[Customer, Customer]:
    """The two customers, with marks in what they own."""
    customers = []
    for customer, tenant in zip((DENTAL, DESIGN), lookalike_tenants, strict=True):
        owner = dataclasses.replace(tenant, id=customer.tenant_id)
        company = owner.text(customer.company, store="tenants", field="company")
        note = owner.text(customer.note, store="documents", field="text")
        customers.append(dataclasses.replace(customer, company=company, note=note))
    return customers[0], customers[1]


@pytest.fixture
def contexts(marked: tuple[Customer, Customer]) -> tuple[RequestContext, RequestContext]:
    with database() as session:
        seed(session, vector_client(), *marked)
        one, two = (authenticate(session, customer.token, trace_id="trace") for customer in marked)
    return one, two


@pytest.fixture
def scope(boundary_scope: Callable[..., Any]) -> Callable[[RequestContext], Any]:
    """The boundary of a context, for the plugin and for the application."""

    def enter(context: RequestContext) -> Any:
        ids = {"workspace": context.workspace_id, "user": context.user_id}
        return boundary_scope(tenant=context.tenant_id, **ids)

    return enter


Contexts = tuple[RequestContext, RequestContext]
Scope = Callable[[RequestContext], Any]


def own_note(session: Session, context: RequestContext) -> str:
    """What the customer's document says, read from the database."""
    query = "SELECT text FROM documents WHERE tenant_id = ?"
    return str(session.connection().exec_driver_sql(query, (context.tenant_id,)).scalar_one())


def test_report_format_is_written(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]):
        CustomerMemory(redis_client(), contexts[0]).remember_report_format("a weekly summary")


def test_report_format_is_read(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[1]):
        assert CustomerMemory(redis_client(), contexts[1]).report_format() is None


def test_a_tenant_leaves(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]):
        assert CustomerMemory(redis_client(), contexts[0]).forget_tenant() == 0


def test_similar_tickets(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]):
        assert len(similar_tickets(vector_client(), contexts[0], "renewal invoice")) == 1


def test_suggested_replies(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]):
        assert suggest_replies(vector_client(), contexts[0], "renewal invoice")


def test_a_document_by_id(contexts: Contexts, scope: Scope) -> None:
    with database() as session, scope(contexts[0]):
        assert "March 12" in document_text(session, contexts[0], "doc-1")


def test_passages_are_cached(contexts: Contexts, scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("search_documents", "similar_tickets", "suggest_replies"):
        monkeypatch.setattr(agent, name, lambda *_: [])
    with scope(contexts[0]):
        assert agent.gather(contexts[0], "When do we renew?") == []


def test_the_greeting(contexts: Contexts, scope: Scope, bleed: Any) -> None:
    for context in contexts:
        with scope(context), acting_for(context):
            bleed.check(cache.greeting(), "prompt")


def test_the_conversation_is_the_customers_own(
    contexts: Contexts, scope: Scope, bleed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "gather", lambda context, question: [])
    monkeypatch.setattr(cache, "greeting", lambda: "You are the support agent.")
    monkeypatch.setattr(CustomerMemory, "report_format", lambda self: None)
    for number, context in enumerate(contexts, 1):
        with database() as session, scope(context):
            note = own_note(session, context)
            model = ScriptedModel(say=lambda prompt, note=note: note)
            agent.answer(session, context, f"Question {number}?", model)
            bleed.check(model.prompts[-1], "prompt")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("search_tickets", {"tenant_id": DESIGN.tenant_id, "words": "invoice"}),
        ("close_ticket", {"ticket_id": "ticket-2"}),
    ],
)
def test_the_model_names_the_other_tenant(
    contexts: Contexts,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
    arguments: dict[str, str],
) -> None:
    monkeypatch.setattr(agent, "gather", lambda context, question: [])
    monkeypatch.setattr(CustomerMemory, "report_format", lambda self: None)
    with database() as session, scope(contexts[0]):
        agent.answer(session, contexts[0], "Please help.", ScriptedModel(((tool, arguments),)))


def test_a_summary_is_scheduled(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]):
        jobs.schedule_summary(contexts[0], "ticket-1")


def test_conversation_starters(contexts: Contexts, scope: Scope) -> None:
    with scope(contexts[0]), acting_for(contexts[0]):
        assert jobs.trending_questions() == []


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent without what other tests look at: its greeting, report format, and the scratchpad, which expires."""
    monkeypatch.setattr(cache, "greeting", lambda: "You are the support agent.")
    monkeypatch.setattr(CustomerMemory, "report_format", lambda self: None)
    monkeypatch.setattr(RunState, "save", lambda self, notes: None)


@pytest.mark.usefixtures("quiet")
def test_what_the_planner_noted_is_not_remembered(
    contexts: Contexts, scope: Scope, bleed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database() as session, scope(contexts[0]):
        note = own_note(session, contexts[0])
        monkeypatch.setattr(agent, "gather", lambda context, question: [note])
        bleed.keep_out("memory")
        agent.answer(session, contexts[0], "When do we renew?", ScriptedModel(say=lambda prompt: "In March."))


@pytest.mark.usefixtures("quiet")
def test_a_failure_is_logged_without_content(
    contexts: Contexts, scope: Scope, bleed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(prompt: str) -> str:
        raise ConnectionError("the model is down")

    with database() as session, scope(contexts[0]):
        note = own_note(session, contexts[0])
        monkeypatch.setattr(agent, "gather", lambda context, question: [note])
        bleed.keep_out("log")
        with pytest.raises(ConnectionError):
            agent.answer(session, contexts[0], "When do we renew?", ScriptedModel(say=down))


def test_previews_of_two_customers(contexts: Contexts, scope: Scope, bleed: Any) -> None:
    previews = []
    for context in contexts:
        with database() as session, scope(context):
            add_message(session, context, "user", own_note(session, context))
            previews.append(exports.preview_transcript(session, context))
    for context, preview in zip(contexts, previews, strict=True):
        with scope(context):
            bleed.check(preview.read_text(encoding="utf-8"), "file")
