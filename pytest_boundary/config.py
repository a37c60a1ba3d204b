"""The plugin's settings: the command line, pytest's own ini settings, and `[tool.boundlint]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from boundlint.boundary import LEVELS
from boundlint.config import BoundarySettings, ConfigError, load_settings

Mode = Literal["strict", "warn", "report"]
MODES: tuple[Mode, ...] = ("strict", "warn", "report")
DELIMITERS = ":/|#{},;=&"


@dataclass(frozen=True)
class PluginSettings:
    """Everything that one run was told. `shared` and `unscoped` map a pattern to its reason."""

    mode: Mode
    root: Path
    levels: tuple[str, ...] = ("tenant",)
    require: tuple[str, ...] = ()
    report: Path | None = None
    delimiters: str = DELIMITERS
    shared: Mapping[str, str] = field(default_factory=dict)
    unscoped: Mapping[str, str] = field(default_factory=dict)
    judge_tests: bool = False
    current: tuple[str, ...] = ()
    boundary: BoundarySettings = field(default_factory=BoundarySettings)
    test_files: tuple[str, ...] = ("test_*.py", "*_test.py")


def load(config: pytest.Config, mode: str) -> PluginSettings:
    """The settings of a run. Raises `pytest.UsageError` where they cannot be used."""
    if mode not in MODES:
        raise pytest.UsageError(f"boundary_enforce must be one of {', '.join(MODES)}, not {mode!r}")
    try:
        settings = load_settings(config.rootpath)
    except ConfigError as error:
        raise pytest.UsageError(f"boundlint: {error}") from None
    option = config.known_args_namespace
    levels = tuple(config.getini("boundary_levels")) or ("tenant",)
    for level in levels:
        if level not in LEVELS and level not in settings.boundary.levels:
            known = ", ".join((*LEVELS, *settings.boundary.levels))
            raise pytest.UsageError(f"boundary_levels: unknown level {level!r} (known: {known})")
    delimiters = config.getini("boundary_delimiters") or DELIMITERS
    if any(character.isalnum() or character in "-_" for character in delimiters):
        raise pytest.UsageError("boundary_delimiters: letters, digits, '-' and '_' are part of ids")
    required = option.boundary_require or ",".join(config.getini("boundary_require"))
    report = option.boundary_report or config.getini("boundary_report")
    if report and not report.endswith((".json", ".html")):
        raise pytest.UsageError(f"--boundary-report: {report} must end in .json or .html")
    return PluginSettings(
        mode=mode,
        root=config.rootpath,
        levels=levels,
        require=tuple(name.strip() for name in required.split(",") if name.strip()),
        report=config.invocation_params.dir / report if report else None,
        delimiters=delimiters,
        shared=_shared(config.getini("boundary_shared")),
        unscoped=settings.unscoped,
        judge_tests=bool(config.getini("boundary_judge_tests")),
        current=settings.boundary.current,
        boundary=settings.boundary,
        test_files=tuple(config.getini("python_files")),
    )


def _shared(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        pattern, separator, reason = line.partition(" # ")
        if not separator or not reason.strip():
            message = f"boundary_shared: {line!r} needs a reason: 'flags:* # the same for every customer'"
            raise pytest.UsageError(message)
        found[pattern.strip()] = reason.strip()
    return found
