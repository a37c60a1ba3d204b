from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from support_agent import agent, cache, jobs, settings
from support_agent.context import RequestContext
from support_agent.records import authenticate
from support_agent.seed import DENTAL, seed


@pytest.fixture(autouse=True)
def embedded_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", "memory://")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/agent.db")
    monkeypatch.setenv("RESPONSE_CACHE_DIR", str(tmp_path / "cache"))
    jobs.app.conf.task_always_eager = True
    clients = (settings.engine, settings.redis_client, settings.vector_client, settings.response_cache)
    for client in (*clients, cache.greeting):
        getattr(client, "cache_clear", lambda: None)()
    getattr(agent, "CONVERSATION", []).clear()
    yield
    settings.engine().dispose()
    settings.response_cache().close()


@pytest.fixture
def session() -> Iterator[Session]:
    with settings.database() as session:
        seed(session, settings.vector_client(), DENTAL)
        yield session


@pytest.fixture
def context(session: Session) -> RequestContext:
    return authenticate(session, DENTAL.token, trace_id="trace-1")
