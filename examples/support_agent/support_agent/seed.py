"""Two customers that are easy to confuse, for the demo and the tests."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_client import QdrantClient, models
from sqlalchemy.orm import Session

from support_agent.keys import digest
from support_agent.models import Base, Document, Plan, Tenant, Ticket, User
from support_agent.retrieval import DIMENSIONS, embed


@dataclass(frozen=True)
class Customer:
    tenant_id: str
    company: str
    token: str
    note: str


DENTAL = Customer(
    "northstar",
    "Northstar Dental",
    "dental-token",
    "Northstar renews on March 12 and may churn over slow support.",
)
DESIGN = Customer(
    "northstar-2",
    "Northstar Design",
    "design-token",
    "Northstar renews on April 18 and adds three new seats.",
)


def seed(session: Session, vectors: QdrantClient, *customers: Customer) -> None:
    """Create the tables and collections, and what each customer owns."""
    Base.metadata.create_all(session.get_bind())
    session.add(Plan(name="pro", messages_per_day=100))
    session.flush()
    for name in ("documents", "tickets", "replies", "help_center"):
        space = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        vectors.create_collection(name, vectors_config=space)
    _point(vectors, "help_center", 1, {"text": "Reset your password on the sign-in page."})
    for number, customer in enumerate(customers, 1):
        _seed_customer(session, vectors, number, customer)
    session.commit()


def _seed_customer(session: Session, vectors: QdrantClient, number: int, customer: Customer) -> None:
    owner = {"tenant_id": customer.tenant_id, "workspace_id": "main"}
    ticket = f"Ticket of {customer.company}: the renewal invoice is wrong."
    reply = f"We told {customer.company} how to read the renewal invoice."
    session.add(Tenant(id=customer.tenant_id, company=customer.company, plan="pro"))
    session.flush()
    session.add_all(
        [
            User(
                id=f"user-{number}",
                email="kim@northstar.example",
                token_digest=digest(customer.token),
                **owner,
            ),
            Ticket(id=f"ticket-{number}", title="Renewal invoice", body=ticket, **owner),
            Document(id=f"doc-{number}", datasource_id="notes", title="Renewal", text=customer.note, **owner),
        ]
    )
    _point(vectors, "documents", number, {"text": customer.note, "datasource_id": "notes", **owner})
    _point(vectors, "tickets", number, {"text": ticket, **owner})
    _point(vectors, "replies", number, {"text": reply, **owner})


def _point(vectors: QdrantClient, collection: str, number: int, payload: dict[str, str]) -> None:
    point = models.PointStruct(id=number, vector=embed(payload["text"]), payload=payload)
    vectors.upsert(collection, points=[point])
