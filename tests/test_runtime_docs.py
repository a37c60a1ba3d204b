"""docs/pytest.md says what the plugin says."""

from __future__ import annotations

import re

import pytest
from conftest import REPOSITORY

from runtime_project import Project

PAGE = (REPOSITORY / "docs" / "pytest.md").read_text(encoding="utf-8")


def test_the_sample_block(project: Project) -> None:
    files = {
        match[1]: match[2]
        .replace("redis.Redis(", "fakeredis.FakeRedis(")
        .replace("import redis", "import fakeredis")
        for match in re.finditer(r"^```python path=(\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    }
    assert set(files) == {"app/memory.py", "tests/test_memory.py"}
    said = next(
        text for text in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if "BND201" in text
    )
    result = project("", "", "tests", files=files, bare=True)
    result.assert_outcomes(failed=1)
    assert said in result.stdout.str()


@pytest.mark.parametrize("column", ["option", "setting"])
def test_every_option_and_setting_is_documented(column: str, pytestconfig: pytest.Config) -> None:
    from pytest_boundary.plugin import SETTINGS

    if column == "setting":
        assert all(f"`{name}`" in PAGE for name, *_ in SETTINGS)
    else:
        for option in ("--enforce-boundary", "--boundary-report", "--boundary-require"):
            assert f"`{option}" in PAGE
    assert pytestconfig.pluginmanager.hasplugin("boundlint")


def test_the_twins_are_documented() -> None:
    from pytest_boundary.bleed.tenants import TWINS

    assert all(f"`{kind}`" in PAGE for kind in TWINS)
