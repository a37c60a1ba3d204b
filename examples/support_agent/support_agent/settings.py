"""The clients of the process, made once. Tests swap in embedded engines."""

from __future__ import annotations

import os
from functools import lru_cache

import redis
from diskcache import Cache
from qdrant_client import QdrantClient
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

PROMPT_VERSION = "support-agent-v4"


@lru_cache(maxsize=1)
def engine() -> Engine:
    return create_engine(os.environ.get("DATABASE_URL", "sqlite://"))


def database() -> Session:
    return Session(engine())


@lru_cache(maxsize=1)
def redis_client() -> redis.Redis:
    url = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
    if url == "memory://":  # the demo and the tests run without a server
        import fakeredis

        return fakeredis.FakeRedis(decode_responses=True)
    return redis.Redis.from_url(url, decode_responses=True)


@lru_cache(maxsize=1)
def vector_client() -> QdrantClient:
    return QdrantClient(os.environ.get("QDRANT_URL", ":memory:"))


@lru_cache(maxsize=1)
def response_cache() -> Cache:
    return Cache(os.environ.get("RESPONSE_CACHE_DIR"))
