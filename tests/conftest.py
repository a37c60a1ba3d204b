"""What several test files need: a leaky project, and this repository as a stranger would clone it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from runtime_project import Project

REPOSITORY = Path(__file__).resolve().parent.parent

LEAKY = """\
import redis

store = redis.Redis(decode_responses=True)


class Memory:
    def __init__(self, tenant_id: str, user_id: str) -> None:
        self.tenant_id = tenant_id
        self.user_id = user_id

    def recall(self, name: str) -> str | None:
        return store.get(f"{self.tenant_id}/{self.user_id}/{name}")

    def remember(self, name: str, value: str) -> None:
        store.set(f"{self.tenant_id}/{self.user_id}/{name}", value)

    def remember_format(self, value: str) -> None:
        store.set("preferred_report_format", value)
"""
LEAKY_LINE = 1 + LEAKY.splitlines().index('        store.set("preferred_report_format", value)')
CLEAN = LEAKY.replace('"preferred_report_format"', 'f"{self.tenant_id}/{self.user_id}/report_format"')


@pytest.fixture
def leaky_project(tmp_path: Path) -> Path:
    """A project whose app/memory.py leaks at `LEAKY_LINE`."""
    root = tmp_path / "project"
    (root / "app").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.boundlint]\n", encoding="utf-8")
    (root / "app" / "__init__.py").write_text("", encoding="utf-8")
    (root / "app" / "memory.py").write_text(LEAKY, encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def git_environment() -> dict[str, str]:
    """The environment for git commands that depend on no person's settings, nor on a hook that runs us."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    for role in ("AUTHOR", "COMMITTER"):
        kept |= {f"GIT_{role}_NAME": "Test", f"GIT_{role}_EMAIL": "test@example.com"}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory, git_environment: dict[str, str]) -> Path:
    """This repository with the changes of the working tree, committed to a repository of its own."""
    target = tmp_path_factory.mktemp("snapshot") / "boundlint"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        source = REPOSITORY / name
        if source.is_symlink() or source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "Snapshot"]):
        subprocess.run(["git", *arguments], cwd=target, env=git_environment, check=True)
    return target


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Runs pytest with the flag over an application and its tests; see `runtime_project`."""
    from runtime_project import project_in

    monkeypatch.setenv("PY_COLORS", "0")
    return project_in(pytester)
