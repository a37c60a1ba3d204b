"""The pre-commit hook: pre-commit itself installs this repository and runs it before a real commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CLEAN, LEAKY_LINE

pytestmark = pytest.mark.xdist_group("snapshot")  # its fixtures are costly: one process makes them


def test_a_leak_stops_the_commit_and_a_clean_commit_passes(
    snapshot: Path,
    git_environment: dict[str, str],
    leaky_project: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    environment = git_environment | {"PRE_COMMIT_HOME": str(tmp_path / "pre-commit"), "NO_COLOR": "1"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=leaky_project, env=environment, capture_output=True, text=True, check=False
        )

    head = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=snapshot,
        env=git_environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (leaky_project / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {snapshot}\n    rev: {head}\n    hooks:\n      - id: boundlint\n",
        encoding="utf-8",
    )
    assert run("git", "init", "--quiet").returncode == 0
    installed = run(sys.executable, "-m", "pre_commit", "install")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    run("git", "add", "--all")

    stopped = run("git", "commit", "-m", "Remember the format")
    said = stopped.stdout + stopped.stderr
    assert stopped.returncode == 1, said
    assert f"app/memory.py:{LEAKY_LINE}:9" in said
    assert "BND201" in said
    assert run("git", "rev-parse", "HEAD").returncode != 0  # no commit was made

    (leaky_project / "app" / "memory.py").write_text(CLEAN, encoding="utf-8")
    run("git", "add", "--all")
    passed = run("git", "commit", "-m", "Remember the format")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout + passed.stderr
    assert run("git", "status", "--porcelain").stdout == ""
