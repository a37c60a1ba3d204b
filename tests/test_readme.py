"""The documentation says what is true: samples, commands, links, tables and configuration examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY

from boundlint import __version__
from boundlint.config import load_settings
from boundlint.registry import load_registry

PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), *(REPOSITORY / "examples").rglob("*.md")]
)
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]+))?\)")
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(page: str, language: str) -> list[str]:
    return [found["text"] for found in FENCE.finditer(page) if found["language"] == language]


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_sample_finding_is_what_boundlint_says(tmp_path: Path) -> None:
    sample, said = fences(README, "python")[0], fences(README, "")[0]
    (tmp_path / "app").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.boundlint]\n", encoding="utf-8")
    (tmp_path / "app" / "memory.py").write_text(sample, encoding="utf-8")
    command = [sys.executable, "-m", "boundlint", "check", "--no-cache", "--quiet"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert run.stdout.strip() == said.strip()


def test_the_readme_leads_with_the_two_commands_and_says_the_ruff_sentence_early() -> None:
    make = read("Makefile")
    for target in ("demo", "test"):
        assert f"\nmake {target} " in README
        assert f"\n{target}: " in make
    first_page = README[: README.index("## What it reports")]
    for part in ('external = ["BND"]', "pre-commit", "flake8", "CI"):
        assert part in first_page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.finditer(text):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), link.group()
        if link["anchor"]:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert link["anchor"] in anchors, link.group()


def test_the_rules_page_lists_every_rule() -> None:
    command = [sys.executable, str(REPOSITORY / "tools" / "rules_page.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")
    for rule in load_registry().rules:
        assert f"| {rule.name} | {rule.severity} | {rule.summary} |" in read("docs/rules.md")


def test_rules_named_in_the_readme_exist_under_that_name() -> None:
    names = {rule.code: rule.name for rule in load_registry().rules}
    rows = re.findall(r"^\| (BND\d{3}) \| ([\w-]+) \|", README, re.MULTILINE)
    assert len(rows) == 4
    assert {code: names.get(code) for code, _ in rows} == dict(rows)


def test_output_formats_are_documented() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", read("docs/integrations.md"), re.MULTILINE)
    assert sorted(documented) == sorted(load_registry().formats)


@pytest.mark.parametrize("example", fences(read("docs/configuration.md"), "toml"))
def test_configuration_examples_load(example: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(example, encoding="utf-8")
    settings = load_settings(tmp_path)
    assert settings.config_path is not None
    assert settings.config_path.parent == tmp_path.resolve()


def test_hook_examples_name_the_hook_that_exists() -> None:
    (hook,) = yaml.safe_load(read(".pre-commit-hooks.yaml"))
    examples = [
        yaml.safe_load(text)
        for name in ("README.md", "docs/integrations.md")
        for text in fences(read(name), "yaml")
        if "repos:" in text
    ]
    assert len(examples) == 2
    for example in examples:
        assert example["repos"][0]["rev"] == f"v{__version__}"
        assert example["repos"][0]["hooks"][0]["id"] == hook["id"]


def test_changelog_names_this_version() -> None:
    assert f"\n## {__version__}" in read("CHANGELOG.md")


@pytest.mark.parametrize(("settings", "kept"), [("", False), ('[lint]\nexternal = ["BND"]\n', True)])
def test_ruff_keeps_our_comments_when_told(settings: str, kept: bool, tmp_path: Path) -> None:
    """The sentence about ruff in the README is needed, and it helps."""
    source = 'print(flags.get("beta"))  # noqa: BND201 -- the same for every tenant\n'
    (tmp_path / "ruff.toml").write_text(settings, encoding="utf-8")
    (tmp_path / "app.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--select=RUF", "--fix", "--no-cache", "app.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert ("noqa: BND201" in (tmp_path / "app.py").read_text(encoding="utf-8")) is kept
