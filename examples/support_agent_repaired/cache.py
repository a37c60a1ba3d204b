"""Answers that were already given, on disk beside the process."""

from __future__ import annotations

from functools import lru_cache

from diskcache import Cache

from support_agent.context import RequestContext, current_tenant_id
from support_agent.keys import digest, scoped_key
from support_agent.models import Tenant
from support_agent.settings import PROMPT_VERSION, database

ANSWER_SECONDS = 600


def answer_key(context: RequestContext, question: str) -> str:
    sources = digest("\0".join(context.allowed_datasource_ids))
    return scoped_key(context, "answer", context.role, sources, PROMPT_VERSION, digest(question))


def cached_answer(cache: Cache, context: RequestContext, question: str) -> str | None:
    return cache.get(answer_key(context, question))


def keep_answer(cache: Cache, context: RequestContext, question: str, answer: str) -> None:
    cache.set(answer_key(context, question), answer, expire=ANSWER_SECONDS)


def cached_embedding(cache: Cache, text: str) -> list[float] | None:
    """The vector of a text depends on nothing but the text."""
    return cache.get(f"embedding:{digest(text)}")


def greeting() -> str:
    with database() as session:
        tenant = session.get(Tenant, current_tenant_id())
    return f"You are the support agent of {tenant.company if tenant else 'nobody'}."


@lru_cache(maxsize=64)
def prompt_template(language: str) -> str:
    return {"de": "Antworte auf Deutsch.", "en": "Answer in English."}.get(language, "Answer in English.")
