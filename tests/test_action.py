"""The GitHub action: its shell steps, run by bash as the runner would, against a real project."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import LEAKY_LINE, REPOSITORY

pytestmark = pytest.mark.xdist_group("snapshot")  # its fixtures are costly: one process makes them

ACTION: dict[str, Any] = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
EXPRESSION = re.compile(r"\$\{\{\s*(?P<name>[\w.-]+)\s*\}\}")
DEFAULTS = {f"inputs.{name}": given["default"] for name, given in ACTION["inputs"].items()}


def step(name: str) -> dict[str, Any]:
    (found,) = (step for step in ACTION["runs"]["steps"] if step.get("name") == name)
    assert isinstance(found, dict)
    return found


def run(name: str, values: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one step with its expressions filled in; an expression that has no value is a KeyError."""
    environment = {
        key: EXPRESSION.sub(lambda found: values[found["name"]], text)
        for key, text in step(name)["env"].items()
    }
    script = step(name)["run"]
    assert "${{" not in script  # inputs never become a part of the script
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=cwd,
        env=os.environ | environment | {"GITHUB_OUTPUT": values["output"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def installed(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The values of the runner after the step that installs."""
    temp = tmp_path_factory.mktemp("runner")
    python = subprocess.run(
        ["python3", "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    values = DEFAULTS | {
        "steps.python.outputs.python-path": python,
        "github.action_path": str(snapshot),
        "runner.temp": str(temp),
        "output": str(temp / "output"),
    }
    done = run("Install boundlint", values, temp)
    assert done.returncode == 0, done.stderr
    return values


def outputs(values: dict[str, str]) -> dict[str, str]:
    lines = Path(values["output"]).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_annotations(installed: dict[str, str], leaky_project: Path, tmp_path: Path) -> None:
    values = installed | {"output": str(tmp_path / "output")}
    done = run("Check", values, leaky_project)
    assert done.returncode == 1, done.stderr
    assert f"file=app/memory.py,line={LEAKY_LINE}" in done.stdout
    assert outputs(values) == {"exit-status": "1", "sarif": ""}


def test_paths_and_options(installed: dict[str, str], leaky_project: Path, tmp_path: Path) -> None:
    values = installed | {
        "output": str(tmp_path / "output"),
        "inputs.args": "--ignore BND201 --persona pedantic",
    }
    done = run("Check", values | {"inputs.paths": "app missing"}, leaky_project)
    assert outputs(values)["exit-status"] == "2"
    assert done.returncode == 2
    done = run("Check", values | {"inputs.paths": "app"}, leaky_project)
    assert done.returncode == 0, done.stderr


def test_sarif(installed: dict[str, str], leaky_project: Path, tmp_path: Path) -> None:
    values = installed | {"output": str(tmp_path / "output"), "inputs.upload-sarif": "true"}
    done = run("Check", values, leaky_project)
    assert done.returncode == 1, done.stderr
    assert outputs(values)["sarif"] == "boundlint.sarif"
    report = json.loads((leaky_project / "boundlint.sarif").read_text(encoding="utf-8"))
    assert [result["ruleId"] for result in report["runs"][0]["results"]] == ["BND201"]


def test_inputs_are_never_evaluated(installed: dict[str, str], leaky_project: Path, tmp_path: Path) -> None:
    values = installed | {"output": str(tmp_path / "output")}
    hostile = f"$(touch {tmp_path}/evil) `touch {tmp_path}/evil` ; touch {tmp_path}/evil"
    done = run("Check", values | {"inputs.paths": hostile}, leaky_project)
    assert done.returncode == 2
    assert not (tmp_path / "evil").exists()
