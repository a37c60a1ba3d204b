"""What the agent remembers about a customer, in Redis."""

from __future__ import annotations

import json

import redis

from support_agent.context import RequestContext
from support_agent.keys import scoped_key, tenant_key

RUN_STATE_SECONDS = 900
MEMORY_SECONDS = 90 * 24 * 3600


class CustomerMemory:
    """Durable preferences of one user, bound to the context it was made with."""

    def __init__(self, store: redis.Redis, context: RequestContext) -> None:
        self._store = store
        self._context = context

    def recall(self, name: str) -> str | None:
        return self._store.get(scoped_key(self._context, "memory", name))

    def remember(self, name: str, value: str) -> None:
        self._store.set(scoped_key(self._context, "memory", name), value, ex=MEMORY_SECONDS)

    def forget(self, name: str) -> None:
        self._store.delete(scoped_key(self._context, "memory", name))

    def remember_report_format(self, value: str) -> None:
        self._store.set(scoped_key(self._context, "memory", "report_format"), value, ex=MEMORY_SECONDS)

    def report_format(self) -> str | None:
        return self._store.get(scoped_key(self._context, "memory", "report_format"))

    def last_topics(self) -> list[str]:
        return self._store.lrange(scoped_key(self._context, "topics"), 0, 9)

    def add_topic(self, topic: str) -> None:
        key = scoped_key(self._context, "topics")
        with self._store.pipeline() as pipe:
            pipe.lpush(key, topic)
            pipe.ltrim(key, 0, 9)
            pipe.execute()

    def forget_tenant(self) -> int:
        """Delete all that is remembered for the tenant, when a customer leaves."""
        keys = list(self._store.scan_iter(match=f"{tenant_key(self._context)}:*"))
        return self._store.delete(*keys) if keys else 0


class RunState:
    """The scratchpad of one run: planner notes and tool observations. It expires by itself."""

    def __init__(self, store: redis.Redis, context: RequestContext, run_id: str) -> None:
        self._store = store
        self._key = scoped_key(context, "run", run_id)

    def save(self, notes: list[str]) -> None:
        self._store.set(self._key, json.dumps(notes), ex=RUN_STATE_SECONDS)

    def load(self) -> list[str]:
        raw = self._store.get(self._key)
        return json.loads(raw) if raw else []


def within_rate_limit(store: redis.Redis, context: RequestContext, allowed: int) -> bool:
    key = tenant_key(context, "messages-today")
    used = store.incr(key)
    if used == 1:
        store.expire(key, 24 * 3600)
    return used <= allowed


def single_flight(store: redis.Redis, job_id: str) -> bool:
    """Whether this worker is the one that runs the job."""
    return bool(store.set(f"lock:job:{job_id}", "1", nx=True, ex=60))


def in_maintenance(store: redis.Redis) -> bool:
    return store.get("support-agent:maintenance-mode") == "on"
