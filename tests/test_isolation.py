"""How a project isolates decides what is found: ORM events, default managers, bound sessions."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from boundlint import engine
from boundlint.config import load_settings
from boundlint.findings import Report

MODELS = """
from sqlalchemy import Column, String
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class TenantMixin:
    tenant_id = Column(String)


class Note(TenantMixin, Base):
    __tablename__ = "notes"
    id = Column(String, primary_key=True)


class Letter(Base):
    __tablename__ = "letters"
    id = Column(String, primary_key=True)
    tenant_id = Column(String)
"""
API = """
from fastapi import APIRouter, Depends
from sqlalchemy import select
from app.identity import get_current_user
from app.models import Letter, Note

router = APIRouter()


@router.get("/notes/{note_id}")
def read_note(note_id: str, db=None, user=Depends(get_current_user)):
    return db.execute(select(Note).where(Note.id == note_id)).scalar_one()


@router.get("/letters/{letter_id}")
def read_letter(letter_id: str, db=None, user=Depends(get_current_user)):
    return db.execute(select(Letter).where(Letter.id == letter_id)).scalar_one()
"""
IDENTITY = "def get_current_user():\n    return None\n\n\ndef get_current_tenant_id():\n    return None\n"
EVENT = """
from sqlalchemy import event
from sqlalchemy.orm import Session, with_loader_criteria
from app.identity import get_current_tenant_id
from app.models import Base, TenantMixin


@event.listens_for(Session, "do_orm_execute")
def add_criteria(execute_state):
    if execute_state.is_select:
        tenant_id = get_current_tenant_id()
        execute_state.statement = execute_state.statement.options(
            with_loader_criteria(TenantMixin, lambda cls: cls.tenant_id == tenant_id, include_aliases=True)
        )
"""


def check(folder: Path, **files: str) -> Report:
    """Check a project of the given files: `app__api` is app/api.py."""
    for name, source in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    report = engine.check(engine.Request((folder,), load_settings(folder)))
    assert not report.errors
    return report


def reported(report: Report, code: str = "BND501") -> list[str]:
    """The functions in which a rule speaks."""
    return [row.function for row in report.findings if row.rule == code]


def sqlalchemy(folder: Path, hook: str = "", api: str = API) -> list[str]:
    """What is found in a project with the given hook."""
    return reported(
        check(folder, app__models=MODELS, app__api=api, app__identity=IDENTITY, app__hooks=hook or "x = 1\n")
    )


def test_without_a_hook_both_lookups_are_found(tmp_path: Path) -> None:
    assert sqlalchemy(tmp_path) == ["read_note", "read_letter"]


def test_an_orm_event_scopes_the_models_that_it_names(tmp_path: Path) -> None:
    assert sqlalchemy(tmp_path, EVENT) == ["read_letter"]


def test_an_orm_event_over_all_models(tmp_path: Path) -> None:
    assert sqlalchemy(tmp_path, EVENT.replace("TenantMixin", "Base")) == []


def test_an_orm_event_that_is_registered_by_a_call(tmp_path: Path) -> None:
    hook = EVENT.replace('@event.listens_for(Session, "do_orm_execute")\n', "")
    assert sqlalchemy(tmp_path, hook + '\n\nevent.listen(Session, "do_orm_execute", add_criteria)\n') == [
        "read_letter"
    ]


def test_an_orm_event_for_something_else_scopes_nothing(tmp_path: Path) -> None:
    hook = EVENT.replace("tenant_id = get_current_tenant_id()", "deleted = None").replace(
        "cls.tenant_id == tenant_id", "cls.deleted_at == deleted"
    )
    assert sqlalchemy(tmp_path, hook) == ["read_note", "read_letter"]


CONNECTION = """
from sqlalchemy import event
from app.identity import get_current_tenant_id
from app.models import engine


@event.listens_for(engine, "checkout")
def on_checkout(connection, record, proxy):
    tenant_id = get_current_tenant_id()
    {}
"""


def test_a_connection_hook_that_only_counts_scopes_nothing(tmp_path: Path) -> None:
    hook = CONNECTION.format('held.labels(tenant_id=tenant_id).inc()\n    record.info["tenant"] = tenant_id')
    assert sqlalchemy(tmp_path, hook) == ["read_note", "read_letter"]


def test_a_connection_hook_that_sets_the_schema_scopes_all(tmp_path: Path) -> None:
    hook = CONNECTION.format('connection.cursor().execute(f"SET search_path TO {tenant_id}")')
    assert sqlalchemy(tmp_path, hook) == []


def test_a_query_that_opts_out_of_the_event(tmp_path: Path) -> None:
    api = API.replace("Note.id == note_id)", "Note.id == note_id).execution_options(skip_tenant=True)")
    assert sqlalchemy(tmp_path, EVENT, api) == ["read_note", "read_letter"]


def test_criteria_in_one_query_are_no_event(tmp_path: Path) -> None:
    helper = """
    from sqlalchemy.orm import with_loader_criteria
    from app.models import TenantMixin

    def only(query, tenant_id):
        return query.options(with_loader_criteria(TenantMixin, lambda cls: cls.tenant_id == tenant_id))
    """
    assert sqlalchemy(tmp_path, helper) == ["read_note", "read_letter"]


def test_a_middleware_that_maps_the_schema_scopes_all_but_models_of_a_schema_of_their_own(
    tmp_path: Path,
) -> None:
    middleware = """
    from app.identity import get_current_tenant_id
    from app.models import engine

    async def bind(request, call_next):
        tenant_id = get_current_tenant_id()
        request.state.engine = engine.execution_options(schema_translate_map={None: tenant_id})
        return await call_next(request)
    """
    models = MODELS + '    __table_args__ = {"schema": "shared"}\n'
    report = check(
        tmp_path, app__models=models, app__api=API, app__identity=IDENTITY, app__middleware=middleware
    )
    assert reported(report) == ["read_letter"]


@pytest.mark.parametrize(
    "binding",
    [
        'session = make(engine)\n    session.info["tenant_id"] = tenant_id\n    yield session',
        "session = make(engine.execution_options(schema_translate_map={None: tenant_id}))\n    yield session",
        (
            "session = make(engine)\n"
            '    session.execute(text("SET app.tenant_id = :id"), {"id": tenant_id})\n    yield session'
        ),
        (
            "session = make(engine)\n"
            "    session.execute(text(\"SELECT set_config('app.tenant_id', :id, true)\"), {'id': tenant_id})\n"
            "    return session"
        ),
    ],
)
@pytest.mark.parametrize("injection", ["db=Depends(tenant_session)", "db: SessionDep"])
def test_a_session_that_a_dependency_bound_to_the_tenant(
    tmp_path: Path, binding: str, injection: str
) -> None:
    sessions = f"""
from typing import Annotated
from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.orm import Session
from app.identity import get_current_tenant_id
from app.native import engine, make


def tenant_session(tenant_id: str = Depends(get_current_tenant_id)):
    {binding}


SessionDep = Annotated[Session, Depends(tenant_session)]
"""
    moved = API.replace("note_id: str, db=None", f"note_id: str, {injection}").replace(
        "letter_id: str, db=None", "letter_id: str, db=Depends(open_session)"
    )
    moved = moved.replace(
        "from app.models",
        "from app.sessions import SessionDep, open_session, tenant_session\nfrom app.models",
    )
    sessions += "\n\ndef open_session():\n    return make(engine)\n"
    report = check(
        tmp_path, app__models=MODELS, app__api=moved, app__identity=IDENTITY, app__sessions=sessions
    )
    assert reported(report) == ["read_letter"]


def test_a_statement_that_sets_something_else_binds_nothing(tmp_path: Path) -> None:
    api = API.replace(
        "    return db.execute(select(Note)",
        '    db.execute(text("UPDATE visits SET user_id = :id"), {"id": user.id})\n    return db.execute(select(Note)',
    )
    assert sqlalchemy(tmp_path, "", api.replace("import select", "import select, text")) == [
        "read_note",
        "read_letter",
    ]


DJANGO_MODELS = """
from django.db import models
from app.identity import get_current_tenant


class TenantManager(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(FILTER)


class Note(models.Model):
    tenant = models.ForeignKey("Tenant", on_delete=models.CASCADE)
    text = models.TextField()

    objects = TenantManager()
    all_objects = models.Manager()
"""
DJANGO_VIEWS = """
from django.contrib.auth.decorators import login_required
from django.shortcuts import get_object_or_404
from rest_framework.decorators import api_view
from app.models import Note


@api_view(["GET"])
def plain(request, note_id, tenant_id):
    return Note.objects.get(id=note_id)


@api_view(["GET"])
def shortcut(request, note_id, tenant_id):
    return get_object_or_404(Note, id=note_id)


@api_view(["GET"])
def everything(request, note_id, tenant_id):
    return Note.all_objects.get(id=note_id)
"""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("tenant=get_current_tenant()", ["everything"]),
        ("deleted=False", ["plain", "shortcut", "everything"]),
    ],
)
def test_a_default_manager_that_filters_by_the_tenant(
    tmp_path: Path, condition: str, expected: list[str]
) -> None:
    report = check(
        tmp_path,
        app__models=DJANGO_MODELS.replace("FILTER", condition),
        app__views=DJANGO_VIEWS,
        app__identity="def get_current_tenant():\n    return None\n",
    )
    assert reported(report) == expected


def test_a_manager_that_is_not_the_default_scopes_only_its_own_queries(tmp_path: Path) -> None:
    models = DJANGO_MODELS.replace("FILTER", "tenant=get_current_tenant()")
    models = models.replace("    objects = TenantManager()\n", "").replace(
        "all_objects = models.Manager()", "all_objects = models.Manager()\n    objects = TenantManager()"
    )
    report = check(
        tmp_path,
        app__models=models,
        app__views=DJANGO_VIEWS,
        app__identity="def get_current_tenant():\n    return None\n",
    )
    assert reported(report) == ["shortcut", "everything"]


def test_show_settings_prints_how_the_project_isolates(tmp_path: Path) -> None:
    check(tmp_path, app__models=MODELS, app__api=API, app__identity=IDENTITY, app__hooks=EVENT)
    done = subprocess.run(
        [sys.executable, "-m", "boundlint", "check", "--show-settings", "--no-cache", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert '# isolation.events = ["app.hooks.add_criteria (app/hooks.py:9)"]\n' in done.stdout
    assert '"get_current_tenant_id" = 1' in done.stdout


def test_a_key_that_leads_to_the_tenants_by_their_name_is_a_boundary(tmp_path: Path) -> None:
    models = """
    from sqlalchemy import Column, ForeignKey, String
    from sqlalchemy.orm import DeclarativeBase


    class Base(DeclarativeBase):
        pass


    class Note(Base):
        __tablename__ = "notes"
        id = Column(String, primary_key=True)
        workspace_name = Column(String, ForeignKey("workspaces.name"))


    class Letter(Base):
        __tablename__ = "letters"
        id = Column(String, primary_key=True)
        workspace_name = Column(String, ForeignKey("workspaces.name"))
    """
    api = API.replace("Note.id == note_id)", "Note.id == note_id, Note.workspace_name == user.workspace)")
    report = check(tmp_path, app__models=models, app__api=api, app__identity=IDENTITY)
    assert reported(report) == ["read_letter"]
