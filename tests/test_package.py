"""The distribution: what is inside, and that each way to install it works from outside of the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import LEAKY_LINE, REPOSITORY

import boundlint

pytestmark = pytest.mark.xdist_group("package")  # its fixtures are costly: one process makes them

PRIVATE = ("tests", "examples", "benchmarks", "tools", "docs", ".ci", "rules")


@pytest.fixture(scope="module")
def distributions(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    run = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", out, snapshot],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with nothing but pip."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def _wheel(distributions: Path) -> Path:
    (wheel,) = distributions.glob("*.whl")
    return wheel


def _sdist(distributions: Path) -> Path:
    (sdist,) = distributions.glob("*.tar.gz")
    return sdist


def _data() -> set[str]:
    """The data files that must be installed, as paths inside of site-packages."""
    catalog = (REPOSITORY / "boundlint" / "catalog").glob("*.toml")
    specs = (REPOSITORY / "rules").rglob("*.md")
    return {
        *(f"boundlint/catalog/{path.name}" for path in catalog),
        *(f"boundlint_rules/{path.relative_to(REPOSITORY / 'rules').as_posix()}" for path in specs),
        "boundlint/catalog/catalog.json",  # the compiled copy of the catalog
        "boundlint/py.typed",
        "pytest_boundary/py.typed",
        "boundlint_rules/py.typed",
    }


def test_wheel_holds_the_packages_and_their_data_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(_wheel(distributions)) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {
        "boundlint",
        "boundlint_rules",
        "pytest_boundary",
        f"boundlint-{boundlint.__version__}.dist-info",
    }
    modules = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("boundlint", "pytest_boundary")
        for path in (REPOSITORY / package).rglob("*.py")
    }
    modules |= {
        "boundlint_rules/" + path.relative_to(REPOSITORY / "rules").as_posix()
        for path in (REPOSITORY / "rules").rglob("*.py")
    }
    data = _data()
    assert len([name for name in data if name.endswith(".md")]) >= 10
    assert len([name for name in data if name.endswith(".toml")]) >= 10
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == modules | data
    licenses = [name for name in names if name.endswith("LICENSE")]
    assert licenses


def test_sdist_holds_the_source_and_nothing_private(distributions: Path) -> None:
    with tarfile.open(_sdist(distributions)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "setup.py", "README.md", "LICENSE", "rules/__init__.py"} <= names
    tops = {name.split("/")[0] for name in names if "/" in name}
    assert tops == {"boundlint", "pytest_boundary", "rules", "boundlint.egg-info"}
    assert not [name for name in names if name.endswith((".pyc", ".sqlite", ".log"))]


def test_metadata(distributions: Path) -> None:
    with zipfile.ZipFile(_wheel(distributions)) as wheel:
        folder = f"boundlint-{boundlint.__version__}.dist-info"
        metadata = wheel.read(f"{folder}/METADATA").decode()
        entry_points = wheel.read(f"{folder}/entry_points.txt").decode()
    required = {
        line.removeprefix("Requires-Dist: ").split(">")[0].strip()
        for line in metadata.splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    }
    assert required == {"libcst", "astroid", "pluggy", "rich", "sqlglot", "tomli"}
    assert "Requires-Python: >=3.10" in metadata
    assert "boundlint = boundlint.cli:main" in entry_points
    assert "BND = boundlint.integrations.flake8:Plugin" in entry_points
    assert "boundlint = pytest_boundary.plugin" in entry_points


@pytest.mark.parametrize("way", ["wheel", "sdist", "editable"])
def test_installed(
    way: str, distributions: Path, snapshot: Path, environment: Path, leaky_project: Path, tmp_path: Path
) -> None:
    ways: dict[str, list[str | Path]] = {
        "wheel": [_wheel(distributions)],
        "sdist": [_sdist(distributions)],
        "editable": ["--editable", snapshot],
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
        program = [environment / command[0], *command[1:]]
        return subprocess.run(program, capture_output=True, text=True, check=False, cwd=tmp_path, env=clean)

    # The first install brings the dependencies, the others replace boundlint alone.
    removed = run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "boundlint")
    assert removed.returncode == 0, removed.stderr
    installed = run("python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ways[way])
    assert installed.returncode == 0, installed.stderr

    assert run("boundlint", "--version").stdout.split() == ["boundlint", boundlint.__version__]
    where = run(
        "python", "-c", "import boundlint, boundlint_rules as r; print(boundlint.__file__, r.__file__)"
    )
    inside = [Path(name).is_relative_to(snapshot) for name in where.stdout.split()]
    assert inside == [way == "editable"] * 2, where.stdout + where.stderr
    rules = run("boundlint", "rules")
    assert rules.returncode == 0, rules.stderr
    assert "BND201" in rules.stdout
    explained = run("boundlint", "explain", "BND201")
    assert explained.returncode == 0, explained.stderr
    assert "unscoped-memory-key" in explained.stdout
    checked = run("boundlint", "check", "--output-format", "concise", leaky_project)
    assert checked.returncode == 1, checked.stderr
    assert f"memory.py:{LEAKY_LINE}:9: BND201" in checked.stdout
    assert len(checked.stdout.splitlines()) == 1
    as_module = run("python", "-m", "boundlint", "check", leaky_project / "app" / "__init__.py")
    assert as_module.returncode == 0, as_module.stderr
