"""`python -m support_agent`: two lookalike customers ask, and the second is told what the first one said."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("REDIS_URL", "memory://")
os.environ.setdefault("DATABASE_URL", f"sqlite:///{tempfile.mkdtemp()}/demo.db")

from support_agent import agent
from support_agent.memory import CustomerMemory
from support_agent.records import authenticate
from support_agent.scripted import ScriptedModel
from support_agent.seed import DENTAL, DESIGN, seed
from support_agent.settings import database, redis_client, vector_client


def first_fact(prompt: str) -> str:
    """What a model would say that believes its context."""
    return next(line for line in prompt.splitlines() if "renews" in line)


def main() -> None:
    model = ScriptedModel(say=first_fact)
    with database() as session:
        seed(session, vector_client(), DENTAL, DESIGN)
        dental = authenticate(session, DENTAL.token, "trace-1")
        design = authenticate(session, DESIGN.token, "trace-2")
        CustomerMemory(redis_client(), dental).remember_report_format("a weekly summary for the dentists")
        agent.answer(session, dental, "When do we renew?", model)
        said = agent.answer(session, design, "When do we renew?", model)
    print("What the model was given when Northstar Design asked:\n")
    for line in model.prompts[-1].splitlines():
        foreign = any(word in line.lower() for word in ("dental", "dentist", "march 12"))
        print("LEAK  " if foreign else "      ", line)
    print(f"\nWhat Northstar Design was told: {said}")


if __name__ == "__main__":
    main()
