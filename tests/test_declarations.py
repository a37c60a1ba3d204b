"""What `[tool.boundlint]` declares changes what is found: each key with and without, over one small project."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from boundlint import engine
from boundlint.config import ConfigError, load_settings
from boundlint.findings import Report

MODELS = """
from sqlalchemy import Column, String
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    id = Column(String, primary_key=True)
    tenant_id = Column(String)
    text = Column(String)
"""


def check(folder: Path, config: str, **files: str) -> Report:
    """Check a project of the given files (`app__notes` is app/notes.py) under a configuration."""
    (folder / "boundlint.toml").write_text(textwrap.dedent(config), encoding="utf-8")
    for name, source in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")
    return engine.check(engine.Request((folder,), load_settings(folder)))


def found(report: Report, *codes: str) -> list[tuple[str, int]]:
    """Code and line of the findings with these codes, of all personas."""
    assert not report.errors
    return [
        (row.rule, row.location.line)
        for row in report.findings
        if row.rule.startswith(codes or ("BND2", "BND3", "BND4", "BND5"))
    ]


RECORDS = """
from fastapi import APIRouter, Depends
from app.models import Note
from app.rules import vet
from app.identity import get_current_user

router = APIRouter()


@router.get("/notes/{note_id}")
def read_note(note_id: str, db=None, user=Depends(get_current_user)):
    vet(user.tenant_id if user.is_staff else "", CALL)
    return db.query(Note).filter(Note.id == note_id).first()
"""


def test_a_declared_guard_guards_the_id_that_it_takes(tmp_path: Path) -> None:
    files = {
        "app__models": MODELS,
        "app__rules": "def vet(tenant, what):\n    return tenant\n",
        "app__identity": "def get_current_user():\n    return None\n",
        "app__api": RECORDS.replace('vet(user.tenant_id if user.is_staff else "", CALL)', "vet(note_id)"),
    }
    before = check(tmp_path, "", **files)
    assert found(before, "BND501") == [("BND501", 13)]
    after = check(tmp_path, 'guards = ["app.rules.vet"]', **files)
    assert found(after, "BND501") == []


def test_a_declared_guard_says_nothing_of_other_ids(tmp_path: Path) -> None:
    files = {
        "app__models": MODELS,
        "app__rules": "def vet(what):\n    return what\n",
        "app__identity": "def get_current_user():\n    return None\n",
        "app__api": RECORDS.replace(
            'vet(user.tenant_id if user.is_staff else "", CALL)', "vet(other_id)"
        ).replace("note_id: str,", "note_id: str, other_id: str,"),
    }
    assert found(check(tmp_path, 'guards = ["app.rules.vet"]', **files), "BND502") == [("BND502", 13)]


@pytest.mark.parametrize(
    "guarded",
    [
        "@router.get('/notes/{note_id}')\n@vet\ndef read_note(note_id: str, db=None, user=Depends(get_current_user)):",
        (
            "@router.get('/notes/{note_id}', dependencies=[Depends(vet)])\n"
            "def read_note(note_id: str, db=None, user=Depends(get_current_user)):"
        ),
        (
            "@router.get('/notes/{note_id}')\n"
            "def read_note(note_id: str, ok=Depends(vet), db=None, user=Depends(get_current_user)):"
        ),
    ],
)
def test_a_declared_guard_counts_as_decorator_and_dependency(tmp_path: Path, guarded: str) -> None:
    source = f"""
from fastapi import APIRouter, Depends
from app.models import Note
from app.rules import vet
from app.identity import get_current_user

router = APIRouter()


{guarded}
    return db.query(Note).filter(Note.id == note_id).first()
"""
    files = {
        "app__models": MODELS,
        "app__rules": "def vet(note_id):\n    return note_id\n",
        "app__identity": "def get_current_user():\n    return None\n",
        "app__api": source,
    }
    assert [code for code, _ in found(check(tmp_path, "", **files), "BND501")] == ["BND501"]
    assert found(check(tmp_path, 'guards = ["app.rules.vet"]', **files), "BND501") == []


MEMORY = """
import redis
from app.helpers import open_store, place, vet

store = redis.Redis()


class Memory:
    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id

    def remember(self, value: str) -> None:
        store.set(f"{self.tenant_id}/name", value)

    def recall(self) -> str:
        BODY
"""


def memory(body: str) -> dict[str, str]:
    """A project whose one doubtful access is `body`, on line 16."""
    return {
        "app__memory": MEMORY.replace("BODY", body),
        "app__helpers": "import app.native as native\n\n\ndef open_store(name):\n    return native.open(name)\n\n\n"
        "def place(name):\n    return native.place(name)\n\n\ndef vet(what):\n    return native.vet(what)\n",
    }


def test_a_declared_key_builder_that_reads_the_boundary_itself(tmp_path: Path) -> None:
    files = memory('return store.get(place("prefs"))')
    assert found(check(tmp_path, "", **files), "BND201") == [("BND201", 16)]
    assert found(check(tmp_path, 'key-builders = ["app.helpers.place"]', **files)) == []


def test_a_declared_key_builder_is_known_by_the_name_it_is_imported_under(tmp_path: Path) -> None:
    files = {**memory('return store.get(place("prefs"))')}
    files["app__helpers"] = files["app__helpers"].replace(
        "def place", "from app.deep import place\ndef _place"
    )
    files["app__deep"] = "import app.native as native\ndef place(name):\n    return native.place(name)\n"
    for pattern in ("app.helpers.place", "app.deep.place", "app.*.pla*"):
        assert found(check(tmp_path, f'key-builders = ["{pattern}"]', **files)) == [], pattern


def test_a_declared_key_builder_carries_only_what_goes_in_when_it_takes_the_boundary(tmp_path: Path) -> None:
    files = memory('return store.get(place("shared", "prefs"))')
    files["app__helpers"] = files["app__helpers"].replace("def place(name)", "def place(tenant_id, name)")
    assert found(check(tmp_path, 'key-builders = ["app.helpers.place"]', **files), "BND201") == [
        ("BND201", 16)
    ]
    files = memory('return store.get(place(self.tenant_id, "prefs"))')
    files["app__helpers"] = files["app__helpers"].replace("def place(name)", "def place(tenant_id, name)")
    assert found(check(tmp_path, 'key-builders = ["app.helpers.place"]', **files)) == []


def test_a_declared_factory_binds_its_client(tmp_path: Path) -> None:
    body = 'mine: redis.Redis = open_store("prefs")\n        return mine.get("prefs")'
    files = memory(body)
    assert found(check(tmp_path, "", **files), "BND201") == [("BND201", 17)]
    assert found(check(tmp_path, '[boundary]\nfactories = ["app.helpers.open_store"]', **files)) == []


def test_a_declared_factory_binds_a_session(tmp_path: Path) -> None:
    source = """
    from fastapi import APIRouter, Depends
    from sqlalchemy import select
    from app.models import Note
    from app.helpers import open_session
    from app.identity import get_current_user

    router = APIRouter()


    @router.get("/notes/{note_id}")
    def read_note(note_id: str, db=Depends(open_session), user=Depends(get_current_user)):
        return db.execute(select(Note).where(Note.id == note_id)).scalar_one()


    @router.get("/all/{note_id}")
    def read_with(note_id: str, user=Depends(get_current_user)):
        with open_session() as db:
            return db.get(Note, note_id)
    """
    files = {
        "app__models": MODELS,
        "app__helpers": "import app.native as native\n\n\ndef open_session():\n    return native.session()\n",
        "app__identity": "def get_current_user():\n    return None\n",
        "app__api": source,
    }
    assert found(check(tmp_path, "", **files), "BND501") == [("BND501", 13), ("BND501", 19)]
    bound = check(tmp_path, '[boundary]\nfactories = ["app.helpers.open_session"]', **files)
    assert found(bound, "BND501") == []


@pytest.mark.parametrize("name", ["studio", "acting_studio", "studio_key"])
def test_declared_names_may_have_a_star(tmp_path: Path, name: str) -> None:
    files = memory("return store.get('prefs')")
    files["app__memory"] = files["app__memory"].replace("tenant_id", name)
    assert found(check(tmp_path, "", **files), "BND201") == []
    starred = check(tmp_path, '[boundary]\nnames = ["studio*", "*_studio"]', **files)
    assert found(starred, "BND201") == [("BND201", 16)]


@pytest.mark.parametrize("level", ["tenant", "user"])
def test_the_names_of_a_level_are_carriers(tmp_path: Path, level: str) -> None:
    files = memory("return store.get('prefs')")
    files["app__memory"] = files["app__memory"].replace("tenant_id", "studio")
    named = check(tmp_path, f'[boundary.levels]\n{level} = ["studio"]', **files)
    assert found(named, "BND201") == [("BND201", 16)]


def test_a_level_that_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "boundlint.toml").write_text('[boundary.levels]\ntenants = ["studio"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"unknown key 'boundary.levels.tenants'.*boundary.levels.tenant"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    "pattern",
    [
        "app.memory.Memory.recall",
        "app.memory.Memory",
        "app.memory",
        "app.*",
        "*.recall",
        "redis.client.Redis.get",
    ],
)
def test_what_needs_no_scope_is_suppressed_with_the_reason(tmp_path: Path, pattern: str) -> None:
    files = memory("return store.get('prefs')")
    report = check(tmp_path, f'[unscoped]\n"{pattern}" = "shared by all"', **files)
    assert found(report, "BND201") == []
    silenced = [row for row in report.suppressed if row.finding.rule == "BND201"]
    assert [(row.finding.location.line, row.reason) for row in silenced] == [
        (16, f"unscoped {pattern}: shared by all")
    ]


@pytest.mark.parametrize(
    "pattern", ["app.memory.Memory.remember", "memo", "app.memory.Mem", "redis.client.Redis.set"]
)
def test_what_needs_no_scope_says_nothing_of_the_rest(tmp_path: Path, pattern: str) -> None:
    report = check(tmp_path, f'[unscoped]\n"{pattern}" = "shared"', **memory("return store.get('prefs')"))
    assert found(report, "BND201") == [("BND201", 16)]
