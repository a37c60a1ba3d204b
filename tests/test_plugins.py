"""Plugins as installed distributions: what they add, and that a broken one is loud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RULE = """\
from boundlint.rule import Problem, Rule


def check(use):
    yield Problem("seen " + use.path, "", confidence="high", persona="regular")


RULE = Rule("{code}", "{name}", "note", "a test", on_suppression=check, certain=True)
"""
PLUGIN = """\
from pathlib import Path
from boundlint.registry import hookimpl


@hookimpl
def boundlint_rules():
    from acme_plugin import rule
    return [rule]


@hookimpl
def boundlint_catalog():
    return [Path(__file__).with_name("acme.toml")]


@hookimpl
def boundlint_output_formats():
    return {"count": lambda report, context: f"{len(report.findings)}\\n"}
"""
CATALOG = """\
family = "acme"
title = "Acme's store"
requires = ["acme"]

[[client]]
types = ["acme.Store"]

[[operation]]
target = "acme.Store.put"
kind = "memory"
effect = "write"
args = [{ role = "key", position = 0, keyword = "key" }]
scoped = "the key has a component of the boundary"
unscoped_example = 'store.put("prefs")'
scoped_example = 'store.put(f"{tenant_id}:prefs")'
"""


def install(site: Path, plugin: str = PLUGIN, code: str = "ACM101", name: str = "acme-rule") -> None:
    """What an installer leaves behind: the package and its metadata."""
    package = site / "acme_plugin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(plugin, encoding="utf-8")
    (package / "rule.py").write_text(RULE.format(code=code, name=name), encoding="utf-8")
    (package / "rule.md").write_text(f"# {name} ({code})\nThe page of Acme.\n", encoding="utf-8")
    (package / "acme.toml").write_text(CATALOG, encoding="utf-8")
    metadata = site / "acme_lint-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: acme-lint\nVersion: 1.0\n", encoding="utf-8"
    )
    (metadata / "entry_points.txt").write_text("[boundlint]\nacme = acme_plugin\n", encoding="utf-8")


def hook(name: str, value: str) -> str:
    """A plugin with one hook."""
    return f"from boundlint.registry import hookimpl\n\n@hookimpl\ndef {name}():\n    return {value}\n"


def run(folder: Path, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, "-m", "boundlint", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text('[tool.boundlint]\nselect = ["ACM"]\n', encoding="utf-8")
    (folder / "a.py").write_text("x = 1  # boundlint: ignore[BND201] reason: x\n", encoding="utf-8")
    return folder


def test_a_plugin_brings_rules_catalog_and_formats(project: Path, site: Path) -> None:
    install(site)
    done = run(project, site, "check", "--output-format", "concise")
    assert done.stdout == "a.py:1:8: ACM101 [note] seen a.py\n", done.stderr
    assert done.returncode == 1
    assert run(project, site, "check", "--output-format", "count").stdout == "1\n"
    assert run(project, site, "explain", "acme-rule").stdout.endswith("The page of Acme.\n")
    rows = json.loads(run(project, site, "rules", "--output-format", "json").stdout)
    assert [row["origin"] for row in rows if row["code"] == "ACM101"] == [
        "the plugin 'acme' of the distribution 'acme-lint'"
    ]
    assert {row["origin"] for row in rows if row["code"].startswith("BND")} == {"boundlint itself"}
    assert "acme.Store.put" in run(project, site, "catalog", "list", "acme").stdout


def test_without_the_plugin_its_codes_are_unknown(project: Path, site: Path) -> None:
    done = run(project, site, "check")
    assert done.returncode == 2
    assert "pyproject.toml:2: select: no rule has the code 'ACM'" in done.stderr


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (
            "import no_such_module\n",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("1 / 0\n", "cannot be loaded: ZeroDivisionError"),
        ("def f(:\n", "cannot be loaded: SyntaxError"),
        (
            hook("boundlint_rulez", "[]"),
            "does not fit the hooks of boundlint: unknown hook 'boundlint_rulez'",
        ),
        (hook("boundlint_rules", "[3]"), "boundlint_rules() must give modules with a RULE, not 3"),
        (hook("boundlint_rules", "None"), "boundlint_rules() failed: TypeError"),
        (hook("boundlint_catalog", "['x']"), "boundlint_catalog() must give paths, not 'x'"),
        (hook("boundlint_output_formats", "{'json': print}"), "'json' is taken"),
    ],
)
def test_a_plugin_that_fails_stops_the_run_and_is_named(
    project: Path, site: Path, plugin: str, message: str
) -> None:
    install(site, plugin)
    done = run(project, site, "check")
    assert done.returncode == 2
    assert done.stderr.startswith("boundlint: error: the plugin 'acme' of the distribution 'acme-lint'")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("code", "name"), [("BND201", "acme-rule"), ("ACM101", "unscoped-memory-key")])
def test_codes_and_names_are_taken_once(project: Path, site: Path, code: str, name: str) -> None:
    install(site, code=code, name=name)
    done = run(project, site, "check")
    assert done.returncode == 2
    assert "have the same code or name" in done.stderr
    assert "acme-lint" in done.stderr


def test_a_code_that_no_selection_could_name_is_refused(project: Path, site: Path) -> None:
    install(site, code="acme1")
    done = run(project, site, "rules")
    assert done.returncode == 2
    assert "'acme1' is not a rule code" in done.stderr
