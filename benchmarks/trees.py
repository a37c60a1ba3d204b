"""The real code that is measured on: pinned packages, fetched with pip and unpacked, never installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
WORK = HERE / ".work"
PACKAGES = HERE / "packages.txt"
# One platform and version for everybody, so that everybody measures on the same files.
WHEELS_FOR = ("--python-version", "3.12", "--platform", "manylinux_2_28_x86_64", "--only-binary", ":all:")


@dataclass(frozen=True)
class Package:
    """A pinned package and the folder with its sources."""

    name: str
    version: str
    tree: Path


def pinned(names: Iterable[str] = (), file: Path = PACKAGES) -> list[tuple[str, str]]:
    """The packages of a list and their versions; with `names` only those.  Raises ValueError."""
    rows: dict[str, str] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        requirement = line.partition("#")[0].strip()
        name, separator, version = requirement.partition("==")
        if requirement and not separator:
            raise ValueError(f"{file}:{number}: {requirement!r} is not pinned with ==")
        if requirement:
            rows[name] = version
    wanted = list(names) or list(rows)
    if unknown := [name for name in wanted if name not in rows]:
        raise ValueError(f"{file}: has no {', '.join(unknown)}; it has {', '.join(rows)}")
    return [(name, rows[name]) for name in wanted]


def fetch(names: Iterable[str] = (), work: Path = WORK) -> list[Package]:
    """Download and unpack what is not there yet.  Raises CalledProcessError where pip fails."""
    packages = []
    for name, version in pinned(names):
        tree = work / "src" / f"{name}-{version}"
        if not tree.is_dir():
            print(f"fetching {name} {version}", file=sys.stderr)
            wheels = work / "wheels" / f"{name}-{version}"
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *WHEELS_FOR]
            subprocess.run([*pip, "--dest", str(wheels), f"{name}=={version}"], check=True)
            (wheel,) = wheels.glob("*.whl")
            unpack(wheel, tree)
            shutil.rmtree(wheels)
        packages.append(Package(name, version, tree))
    return packages


def unpack(wheel: Path, target: Path) -> None:
    """The Python files of a wheel, in a folder that appears only when it is complete."""
    half = target.with_name(target.name + ".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                archive.extract(name, half)
    half.rename(target)


def python_files(tree: Path) -> Iterator[Path]:
    """All Python files below a folder."""
    return (path for path in sorted(tree.rglob("*.py")) if path.is_file())


def count_lines(tree: Path) -> tuple[int, int]:
    """How many Python files, and lines in them."""
    files = lines = 0
    for path in python_files(tree):
        files += 1
        lines += path.read_bytes().count(b"\n")
    return files, lines


def head(tree: Path, target: Path, lines: int) -> tuple[Path, int]:
    """A copy of the first files of a tree that have together as many lines, and how many they have."""
    shutil.rmtree(target, ignore_errors=True)
    total = 0
    for path in python_files(tree):
        if total >= lines:
            break
        copy = target / path.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        total += path.read_bytes().count(b"\n")
    return target, total


def assemble(packages: Iterable[Package], target: Path) -> Path:
    """Fresh copies of the packages side by side in one tree, as one project."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for package in packages:
        shutil.copytree(package.tree, target / package.name.replace("-", "_"))
    return target
