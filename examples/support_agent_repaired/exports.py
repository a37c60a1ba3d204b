"""Transcripts for download."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sqlalchemy.orm import Session

from support_agent.context import RequestContext
from support_agent.records import recent_messages


def transcript(session: Session, context: RequestContext) -> str:
    return "\n".join(f"{m.role}: {m.text}" for m in recent_messages(session, context, limit=1000))


def export_transcript(session: Session, context: RequestContext) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="transcript-"))
    target = folder / "transcript.txt"
    target.write_text(transcript(session, context), encoding="utf-8")
    return target


def preview_transcript(session: Session, context: RequestContext) -> Path:
    target = Path(tempfile.mkdtemp(prefix="preview-")) / "transcript.txt"
    target.write_text(transcript(session, context)[:2000], encoding="utf-8")
    return target
