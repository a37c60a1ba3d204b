"""The audit trail: who did what for whom, without what was said."""

from __future__ import annotations

import logging

from support_agent.context import RequestContext
from support_agent.keys import digest

log = logging.getLogger("support_agent.audit")


def turn_finished(context: RequestContext, run_id: str, question: str, answer: str) -> None:
    log.info(
        "turn finished",
        extra={
            "trace_id": context.trace_id,
            "tenant_id": context.tenant_id,
            "workspace_id": context.workspace_id,
            "run_id": run_id,
            "question_digest": digest(question),
            "answer_length": len(answer),
        },
    )


def turn_failed(context: RequestContext, question: str, passages: list[str], error: Exception) -> None:
    log.error(
        "turn failed",
        extra={
            "trace_id": context.trace_id,
            "tenant_id": context.tenant_id,
            "question_digest": digest(question),
            "passages": len(passages),
            "error": type(error).__name__,
        },
    )


def job_blocked(context: RequestContext, job_id: str) -> None:
    log.warning(
        "job blocked: permissions changed",
        extra={"trace_id": context.trace_id, "tenant_id": context.tenant_id, "job_id": job_id},
    )


def help_searched(context: RequestContext) -> None:
    log.info("help searched", extra={"trace_id": context.trace_id, "tenant_id": context.tenant_id})
