"""The flake8 plugin, as installed: flake8 runs in a subprocess and finds boundlint by its entry point."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CLEAN, LEAKY, LEAKY_LINE


def flake8(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flake8", "--isolated", "--max-line-length=120", *arguments]
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True, check=False)


def places(run: subprocess.CompletedProcess[str]) -> list[str]:
    return sorted(" ".join(line.split()[:2]) for line in run.stdout.splitlines())


def test_flake8_lists_the_plugin(tmp_path: Path) -> None:
    assert "boundlint: " in flake8(tmp_path, "--version").stdout


def test_flake8_reports_the_leak_beside_its_own(leaky_project: Path) -> None:
    (leaky_project / "app" / "other.py").write_text("import os\n", encoding="utf-8")
    run = flake8(leaky_project, "--jobs=2", ".")
    assert run.stderr == ""
    assert run.returncode == 1
    assert places(run) == [f"./app/memory.py:{LEAKY_LINE}:9: BND201", "./app/other.py:1:1: F401"]


@pytest.mark.parametrize("arguments", [["app/memory.py"], ["app"], []])
def test_flake8_checks_what_it_is_given(leaky_project: Path, arguments: list[str]) -> None:
    run = flake8(leaky_project, *arguments)
    assert [place.split()[1] for place in places(run)] == ["BND201"]


def test_the_context_is_the_project_of_the_file(leaky_project: Path) -> None:
    app = leaky_project / "app"
    (app / "store.py").write_text(
        "import redis\n\nclient = redis.Redis()\n\n\ndef save(key: str, value: str) -> None:\n"
        "    client.set(key, value)\n",
        encoding="utf-8",
    )
    (app / "memory.py").write_text(
        "from app.store import save\n\n\nclass Notes:\n    def __init__(self, tenant_id: str) -> None:\n"
        "        self.tenant_id = tenant_id\n\n    def keep(self, text: str) -> None:\n"
        "        save('notes', text)\n",
        encoding="utf-8",
    )
    elsewhere = leaky_project.parent / "elsewhere"
    elsewhere.mkdir()
    run = flake8(elsewhere, "../project/app/memory.py")
    assert places(run) == ["../project/app/memory.py:9:9: BND201"]


def test_standard_input_stands_in_for_the_file(leaky_project: Path) -> None:
    """As editors do it: the buffer is not saved, the name says where it belongs."""
    memory = leaky_project / "app" / "memory.py"
    arguments = ("--stdin-display-name", "app/memory.py", "-")
    assert places(flake8(leaky_project, *arguments, stdin=LEAKY)) == [f"app/memory.py:{LEAKY_LINE}:9: BND201"]
    assert places(flake8(leaky_project, *arguments, stdin=CLEAN)) == []
    memory.write_text(CLEAN, encoding="utf-8")
    assert places(flake8(leaky_project, *arguments, stdin="\n" + LEAKY)) == [
        f"app/memory.py:{LEAKY_LINE + 1}:9: BND201",
    ]


def test_standard_input_without_a_name(leaky_project: Path) -> None:
    assert places(flake8(leaky_project, "-", stdin=LEAKY)) == [f"stdin:{LEAKY_LINE}:9: BND201"]


def test_settings_come_from_the_project(leaky_project: Path) -> None:
    (leaky_project / "pyproject.toml").write_text('[tool.boundlint]\nignore = ["BND201"]\n', encoding="utf-8")
    assert places(flake8(leaky_project)) == []


def test_noqa_is_flake8s(leaky_project: Path) -> None:
    memory = leaky_project / "app" / "memory.py"
    silenced = LEAKY.replace(
        '"preferred_report_format", value)', '"preferred_report_format", value)  # noqa: BND201'
    )
    memory.write_text(silenced, encoding="utf-8")
    without_reason = flake8(leaky_project)
    assert [place.split()[1] for place in places(without_reason)] == ["BND002"]
    memory.write_text(silenced.replace("BND201", "BND201 -- the same for all"), encoding="utf-8")
    assert places(flake8(leaky_project)) == []


def test_own_suppressions_count(leaky_project: Path) -> None:
    comment = "  # boundlint: ignore[BND201] reason: the same for all tenants"
    text = LEAKY.replace('_format", value)', '_format", value)' + comment)
    (leaky_project / "app" / "memory.py").write_text(text, encoding="utf-8")
    assert places(flake8(leaky_project)) == []


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (["--select=F"], []),
        (["--select=BND"], ["BND201"]),
        (["--select=BND2"], ["BND201"]),
        (["--select=BND4"], []),
        (["--extend-ignore=BND"], []),
        (["--extend-ignore=BND401"], ["BND201"]),
    ],
)
def test_flake8_selects(leaky_project: Path, arguments: list[str], codes: list[str]) -> None:
    assert [place.split()[1] for place in places(flake8(leaky_project, *arguments))] == codes


def test_a_wrong_configuration_stops_flake8(leaky_project: Path) -> None:
    (leaky_project / "pyproject.toml").write_text("[tool.boundlint]\nselct = []\n", encoding="utf-8")
    run = flake8(leaky_project)
    assert run.returncode == 1
    assert "selct" in run.stdout + run.stderr
    assert "select" in run.stdout + run.stderr


def test_a_broken_file_is_no_pass(leaky_project: Path) -> None:
    (leaky_project / "app" / "broken.py").write_text("def f(:\n", encoding="utf-8")
    run = flake8(leaky_project)
    assert run.returncode == 1
    assert [place.split()[1] for place in places(run)] == ["E999", "BND201"]


def test_the_python_api_of_flake8(leaky_project: Path) -> None:
    program = (
        "from flake8.api.legacy import get_style_guide\n"
        "guide = get_style_guide(select=['BND'])\n"
        "report = guide.check_files(['../project/app/memory.py'])\n"
        "assert report.get_statistics('BND201'), report.get_statistics('')\n"
    )
    elsewhere = leaky_project.parent / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
