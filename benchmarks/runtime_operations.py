"""One call of each client that the microbenchmark times, on the client's embedded engine.

Every client is imported when it is asked for; pymongo alone talks to a server, the tests' own on loopback.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

Calls = Mapping[str, Callable[[], object]]
TENANT = "acme"


def redis() -> Calls:
    """Keys, on fakeredis."""
    import fakeredis

    store = fakeredis.FakeRedis(decode_responses=True)
    store.set("acme:key", "value")
    return {"redis get (fakeredis)": lambda: store.get("acme:key")}


def sqlite() -> Calls:
    """SQL text, in memory."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE notes (id, tenant_id, text)")
    database.execute("INSERT INTO notes VALUES (1, 'acme', 'x')")
    text = "SELECT text FROM notes WHERE tenant_id = ? AND id = ?"
    return {"sqlite3 select": lambda: database.execute(text, (TENANT, 1)).fetchall()}


def sqlalchemy() -> Calls:
    """Core and ORM, on sqlite in memory."""
    from sqlalchemy import Column, Integer, String, create_engine, select
    from sqlalchemy.orm import Session, declarative_base
    from sqlalchemy.pool import StaticPool

    base: Any = declarative_base()

    class Note(base):  # type: ignore[misc]
        __tablename__ = "notes"
        id = Column(Integer, primary_key=True)
        tenant_id = Column(String(20))
        text = Column(String(20))

    engine = create_engine("sqlite://", poolclass=StaticPool)
    base.metadata.create_all(engine)
    connection, session = engine.connect(), Session(engine)
    note: Any = Note(id=1, tenant_id=TENANT, text="x")
    session.add(note)
    session.commit()
    rows = select(Note.__table__).where(Note.__table__.c.tenant_id == TENANT)
    found = select(Note).where(Note.tenant_id == TENANT)
    number = 0

    def flush() -> None:
        nonlocal number
        number += 1
        note.text = str(number)
        session.flush()

    return {
        "SQLAlchemy Core select (sqlite)": lambda: connection.execute(rows).all(),
        "SQLAlchemy ORM select (sqlite)": lambda: session.scalars(found).all(),
        "SQLAlchemy ORM flush (sqlite)": flush,
    }


@lru_cache(maxsize=1)
def _django_model() -> Any:
    import django  # type: ignore[import-untyped]
    from django.conf import settings  # type: ignore[import-untyped]

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    )
    django.setup()
    from django.db import models  # type: ignore[import-untyped]

    class Note(models.Model):  # type: ignore[misc]
        tenant_id = models.CharField(max_length=20)
        text = models.CharField(max_length=20)

        class Meta:
            app_label = "benchmark"

    return Note


def django() -> Calls:
    """ORM and cache, on sqlite and in memory."""
    model: Any = _django_model()
    from django.core.cache import cache  # type: ignore[import-untyped]
    from django.db import connection

    connection.connect()  # anew: the driver below is watched where it is made
    with connection.schema_editor() as editor:
        editor.create_model(model)
    model(id=1, tenant_id=TENANT, text="x").save(force_insert=True)

    note = model.objects.get(tenant_id=TENANT, id=1)
    cache.set("acme:key", "value")
    return {
        "Django get (sqlite)": lambda: model.objects.get(tenant_id=TENANT, id=1),
        "Django save (sqlite)": lambda: note.save(),
        "Django cache get (locmem)": lambda: cache.get("acme:key"),
    }


@lru_cache(maxsize=1)
def _mongo_server() -> Any:
    import importlib.util

    path = Path(__file__).parent.parent / "tests" / "mongo_server.py"
    spec = importlib.util.spec_from_file_location("mongo_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Server()


def pymongo() -> Calls:
    """The tests' own server."""
    from pymongo import MongoClient

    client: Any = MongoClient(_mongo_server().url)
    notes = client.app.notes
    notes.insert_one({"tenant_id": TENANT, "text": "x"})
    return {"pymongo find_one (server on loopback)": lambda: notes.find_one({"tenant_id": TENANT})}


def qdrant() -> Calls:
    """In memory."""
    from qdrant_client import QdrantClient
    from qdrant_client.models import Distance, FieldCondition, Filter, MatchValue, PointStruct, VectorParams

    client: Any = QdrantClient(":memory:")
    client.create_collection("notes", vectors_config=VectorParams(size=2, distance=Distance.DOT))
    client.upsert("notes", [PointStruct(id=1, vector=[1.0, 0.0], payload={"tenant_id": TENANT, "text": "x"})])
    own = Filter(must=[FieldCondition(key="tenant_id", match=MatchValue(value=TENANT))])
    return {
        "qdrant scroll (memory)": lambda: client.scroll("notes", scroll_filter=own),
        "qdrant query_points (memory)": lambda: client.query_points("notes", [1.0, 0.0], query_filter=own),
    }


def chroma() -> Calls:
    """In this process."""
    import chromadb

    client: Any = chromadb.EphemeralClient()
    notes = client.get_or_create_collection("notes")
    metadata = {"tenant_id": TENANT}
    notes.upsert(ids=["1"], embeddings=[[1.0, 0.0]], metadatas=[metadata])
    return {
        "chroma get (in process)": lambda: notes.get(where=metadata),
        "chroma query (in process)": lambda: notes.query(
            query_embeddings=[[1.0, 0.0]], where=metadata, n_results=1
        ),
    }


def lancedb() -> Calls:
    """In a folder."""
    import tempfile

    import lancedb as client

    folder = tempfile.mkdtemp()
    notes: Any = client.connect(folder).create_table(
        "notes", [{"vector": [1.0, 0.0], "tenant_id": TENANT}], mode="overwrite"
    )
    return {
        "lancedb search (folder)": lambda: (
            notes.search([1.0, 0.0]).where("tenant_id = 'acme'", prefilter=True).limit(1).to_list()
        )
    }


def logs() -> Calls:
    """A record that no handler writes."""
    log = logging.getLogger("benchmark")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.setLevel(logging.INFO)
    return {"log record": lambda: log.info("done %s", 1)}


CLIENTS = (redis, sqlite, sqlalchemy, django, pymongo, qdrant, chroma, lancedb, logs)


def clients(only: str = "") -> Iterator[Callable[[], Calls]]:
    """What makes the calls of a client; while the seams are on or off, since some clients are changed when made."""
    return (client for client in CLIENTS if only in client.__name__)
