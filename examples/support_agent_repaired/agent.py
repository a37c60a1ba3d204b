"""One turn of the agent: recall, retrieve, ask the model, keep the answer."""

from __future__ import annotations

import uuid

from agents import Agent, ModelSettings, RunConfig, Runner
from agents.models.interface import Model
from sqlalchemy.orm import Session

from support_agent import audit, cache
from support_agent.context import RequestContext, acting_for
from support_agent.keys import digest, scoped_key
from support_agent.memory import CustomerMemory, RunState, within_rate_limit
from support_agent.records import add_message, plan_limit, recent_messages
from support_agent.retrieval import search_documents, similar_tickets, suggest_replies
from support_agent.settings import redis_client, response_cache, vector_client
from support_agent.tools import TOOLS


class TooManyMessages(RuntimeError):
    """The plan of the tenant allows no more messages today."""


def answer(session: Session, context: RequestContext, question: str, model: Model | str) -> str:
    store = redis_client()
    responses = response_cache()
    if not within_rate_limit(store, context, plan_limit(session, context.plan)):
        raise TooManyMessages(context.plan)
    if (known := cache.cached_answer(responses, context, question)) is not None:
        return known
    run_id = uuid.uuid4().hex
    with acting_for(context):
        passages = gather(context, question)
        RunState(store, context, run_id).save(passages)
        prompt = build_prompt(session, context, question, passages)
        agent = Agent[RequestContext](
            name="support", instructions=cache.greeting(), tools=list(TOOLS), model=model
        )
        try:
            result = Runner.run_sync(
                agent,
                prompt,
                context=context,
                run_config=RunConfig(tracing_disabled=True, model_settings=ModelSettings(store=False)),
            )
        except Exception as error:
            audit.turn_failed(context, question, passages, error)
            raise
    text = str(result.final_output)
    add_message(session, context, "user", question)
    add_message(session, context, "assistant", text)
    CustomerMemory(store, context).add_topic(question[:40])
    cache.keep_answer(responses, context, question, text)
    audit.turn_finished(context, run_id, question, text)
    return text


def gather(context: RequestContext, question: str) -> list[str]:
    """The passages that the model may read."""
    responses = response_cache()
    vectors = vector_client()
    key = scoped_key(context, "rag", digest("\0".join(context.allowed_datasource_ids)), digest(question))
    if (known := responses.get(key)) is not None:
        return known
    passages = [payload["text"] for payload in search_documents(vectors, context, question)]
    passages += [payload["text"] for payload in similar_tickets(vectors, context, question)]
    passages += suggest_replies(vectors, context, question)
    responses.set(key, passages, expire=cache.ANSWER_SECONDS)
    return passages


def build_prompt(session: Session, context: RequestContext, question: str, passages: list[str]) -> str:
    memory = CustomerMemory(redis_client(), context)
    name = memory.recall("name") or "the customer"
    style = memory.report_format() or "short sentences"
    earlier = [f"{message.role}: {message.text}" for message in recent_messages(session, context)]
    parts = [
        cache.prompt_template("en"),
        f"You talk to {name}.",
        f"Style: {style}",
        *earlier,
        *passages,
        f"Question: {question}",
    ]
    return "\n".join(parts)
