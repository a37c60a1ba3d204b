"""Search over the customers' documents and tickets, all in shared Qdrant collections."""

from __future__ import annotations

import hashlib
from typing import Any

from qdrant_client import QdrantClient, models

from support_agent import audit
from support_agent.context import RequestContext

DIMENSIONS = 64


def embed(text: str) -> list[float]:
    """Words hashed into a vector: enough for an example, and it needs no network."""
    vector = [0.0] * DIMENSIONS
    for word in text.lower().split():
        vector[int(hashlib.sha256(word.strip(".,?!").encode()).hexdigest(), 16) % DIMENSIONS] += 1.0
    return vector


def workspace_filter(context: RequestContext, *more: models.FieldCondition) -> models.Filter:
    """Only what this workspace owns."""
    return models.Filter(
        must=[
            models.FieldCondition(key="tenant_id", match=models.MatchValue(value=context.tenant_id)),
            models.FieldCondition(key="workspace_id", match=models.MatchValue(value=context.workspace_id)),
            *more,
        ]
    )


def search_documents(
    client: QdrantClient, context: RequestContext, question: str, limit: int = 5
) -> list[dict[str, Any]]:
    allowed = models.FieldCondition(
        key="datasource_id", match=models.MatchAny(any=list(context.allowed_datasource_ids))
    )
    found = client.query_points(
        collection_name="documents",
        query=embed(question),
        query_filter=workspace_filter(context, allowed),
        limit=limit,
    )
    return [point.payload or {} for point in found.points]


def similar_tickets(
    client: QdrantClient, context: RequestContext, question: str, limit: int = 5
) -> list[dict[str, Any]]:
    found = client.query_points(
        collection_name="tickets", query=embed(question), query_filter=workspace_filter(context), limit=limit
    )
    return [point.payload or {} for point in found.points]


def suggest_replies(
    client: QdrantClient, context: RequestContext, question: str, limit: int = 3
) -> list[str]:
    """Replies that solved tickets like this one."""
    found = client.query_points(
        collection_name="replies", query=embed(question), query_filter=workspace_filter(context), limit=limit
    )
    return [(point.payload or {})["text"] for point in found.points]


def search_help_center(
    client: QdrantClient, context: RequestContext, question: str, limit: int = 3
) -> list[str]:
    """Articles that we wrote and that everybody may read; who asked is counted."""
    audit.help_searched(context)
    found = client.query_points(  # boundlint: ignore[BND301] reason: the articles are public
        "help_center", query=embed(question), limit=limit
    )
    return [(point.payload or {})["text"] for point in found.points]


def index_document(
    client: QdrantClient, context: RequestContext, point_id: int, payload: dict[str, Any]
) -> None:
    scope = {"tenant_id": context.tenant_id, "workspace_id": context.workspace_id}
    point = models.PointStruct(id=point_id, vector=embed(payload["text"]), payload={**payload, **scope})
    client.upsert("documents", points=[point])
