"""boundlint inside flake8: the findings of the files that flake8 checks, under their BND codes.

Changes when flake8's plugin interface changes.  The project is analyzed once, when flake8 has read its
options and before it starts its workers; what each file's turn does is a look-up.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from boundlint import __version__

if TYPE_CHECKING:
    import ast

    from boundlint.findings import Report

PREFIX = "BND"
NOT_ANALYZED = "BND000"  # flake8 knows no exit status 2: what could not be analyzed is a violation of its own
STDIN = "-"

Violation = tuple[int, int, str]  # line from 1, column from 0, text


class Plugin:
    """What flake8 calls: once with the options, then once for each file."""

    name = "boundlint"
    version = __version__

    # flake8 makes one instance a file and gives it no place to keep what they share.
    violations: ClassVar[Mapping[Path, Sequence[Violation]]] = {}
    covered: ClassVar[frozenset[Path]] = frozenset()  # files and folders that were analyzed in advance
    active: ClassVar[bool] = False
    reads_stdin: ClassVar[bool] = False

    def __init__(self, tree: ast.AST, filename: str, lines: list[str]) -> None:
        self._filename = filename
        self._lines = lines

    @classmethod
    def parse_options(cls, options: argparse.Namespace) -> None:
        """Analyze all that flake8 is about to check."""
        cls.violations, cls.covered = {}, frozenset()
        cls.active = _wanted(options)
        paths = [Path(name) for name in options.filenames or ["."]]
        cls.reads_stdin = Path(STDIN) in paths
        if not cls.active or cls.reads_stdin:
            return
        on_disk = [path for path in paths if path.exists()]  # flake8 itself complains of the others
        cls.violations = _check_files(on_disk, _jobs(options))
        cls.covered = frozenset(path.resolve() for path in on_disk)

    def run(self) -> Iterator[tuple[int, int, str, type[Any]]]:
        """The violations of this file."""
        if not self.active:
            return
        location = Path(self._filename).resolve()
        found = self.violations
        if self.reads_stdin:
            found = _check_text(location, "".join(self._lines))
        elif self.covered.isdisjoint((location, *location.parents)):  # flake8's Python API names files late
            found = _check_files([location], jobs=1)
        for line, column, text in found.get(location, ()):
            yield line, column, text, type(self)


def _wanted(options: argparse.Namespace) -> bool:
    """Whether flake8 would show any of our codes: the analysis costs more than the look at its options."""
    selected: Sequence[str] = [*(options.select or ()), *(options.extend_select or ())]
    ignored: Sequence[str] = [*(options.ignore or ()), *(options.extend_ignore or ())]
    if any(code.startswith(PREFIX) for code in selected):
        return True
    if any(PREFIX.startswith(code) for code in ignored):
        return False
    return not options.select or any(PREFIX.startswith(code) for code in selected)


def _jobs(options: argparse.Namespace) -> int:
    return os.cpu_count() or 1 if options.jobs.is_auto else max(1, int(options.jobs.n_jobs))


def _check_files(paths: Iterable[Path], jobs: int) -> dict[Path, list[Violation]]:
    """The violations by resolved path.  Paths of several projects are checked project by project."""
    from boundlint.files import find_root

    projects: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        projects[find_root(path)].append(path)
    found: dict[Path, list[Violation]] = {}
    for root, members in projects.items():
        found.update(_check(root, tuple(members), jobs))
    return found


def _check_text(location: Path, text: str) -> dict[Path, list[Violation]]:
    """The violations of a text that an editor holds in the place of a file."""
    start = location.parent if location.parent.is_dir() else Path.cwd()
    return _check(start, (), 1, (location, text))


def _check(
    start: Path, paths: tuple[Path, ...], jobs: int, stdin: tuple[Path, str] | None = None
) -> dict[Path, list[Violation]]:
    from boundlint import engine
    from boundlint.catalog.schema import CatalogError
    from boundlint.config import ConfigError, load_settings
    from boundlint.index.cache import CACHE_DIRECTORY
    from boundlint.personas import narrow
    from boundlint.registry import PluginError

    try:
        settings = load_settings(start)
        request = engine.Request(
            paths=paths, settings=settings, jobs=jobs, cache_dir=settings.root / CACHE_DIRECTORY, stdin=stdin
        )
        report = engine.check(request)
    except (ConfigError, PluginError, CatalogError) as error:
        from flake8.exceptions import ExecutionError

        raise ExecutionError(f"boundlint: {error}") from error
    return _by_file(narrow(report, settings.persona, settings.min_confidence), settings.root)


def _by_file(report: Report, root: Path) -> dict[Path, list[Violation]]:
    found: dict[Path, list[Violation]] = defaultdict(list)
    for finding in report.findings:
        place = finding.location
        text = f"{finding.rule} {' '.join(finding.message.split())}"
        found[(root / place.path).resolve()].append((place.line, place.column - 1, text))
    for error in report.errors:
        text = f"{NOT_ANALYZED} could not be analyzed: {' '.join(error.message.split())}"
        found[(root / error.path).resolve()].append((max(error.line, 1), 0, text))
    return found
