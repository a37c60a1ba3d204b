"""Runs agree: the same findings for one file as in the whole project, and whatever order Python's sets have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent.parent / "examples" / "support_agent"
JOINED = """\
from sqlalchemy import Column, ForeignKey, String, func
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()


class Toolkit(Base):
    id = Column(String, primary_key=True)
    organisation_id = Column(String)


class Tool(Base):
    id = Column(String, primary_key=True)
    organisation_id = Column(String)
    toolkit_id = Column(ForeignKey("toolkit.id"))


class Handler:
    def __init__(self, session: Session, organisation_id: str):
        self.session = session
        self.organisation_id = organisation_id

    def count(self):
        return self.session.query(Tool).filter(Tool.organisation_id == self.organisation_id).count()

    def names(self):
        return self.session.query(Toolkit).filter(Toolkit.organisation_id == self.organisation_id).all()

    def tools(self):
        return self.session.query(Tool).filter(Tool.organisation_id == self.organisation_id).all()

    def pairs(self):
        rows = self.session.query(
            func.lower(Tool.name).label("tool"), Toolkit.name.label("toolkit")
        ).join(Toolkit, Tool.toolkit_id == Toolkit.id).all()
        return {row.tool: row.toolkit for row in rows}
"""


def findings(root: Path, path: Path, seed: str = "0") -> list[dict[str, Any]]:
    """What a run says about a file or folder of a project."""
    command = [sys.executable, "-m", "boundlint", "check", "--no-cache", "--persona", "auditor"]
    command += ["--root", str(root), "--output-format", "json", str(path)]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return rows


def test_a_run_for_one_file_says_what_the_whole_run_says_of_it() -> None:
    whole = defaultdict(list)
    for row in findings(EXAMPLE, EXAMPLE):
        whole[row["path"]].append(row)
    assert len(whole) >= 5
    for path, rows in whole.items():
        assert findings(EXAMPLE, EXAMPLE / path) == rows


def test_the_order_of_sets_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(JOINED)
    first, *others = (findings(tmp_path, tmp_path, seed) for seed in "0789")
    assert first
    assert others == [first] * 3
