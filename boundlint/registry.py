"""Rules, catalog files and output formats, of boundlint itself and of plugins. Changes with the hooks.

A plugin is an object (usually a module) behind an entry point of the group `boundlint`; its functions are
marked with `hookimpl`. The built-in rules come in through the same hooks.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from boundlint.rule import Rule

if TYPE_CHECKING:
    from boundlint.findings import Report
    from boundlint.output import Context

GROUP = "boundlint"
BUILT_IN = "boundlint itself"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

Renderer = Callable[["Report", "Context"], str]

_CODE = re.compile(r"[A-Z]{1,3}[0-9]{3}")
_FORMAT = re.compile(r"[a-z][a-z0-9-]*")


class Hooks:
    """The hooks that a plugin may implement."""

    @hookspec
    def boundlint_rules(self) -> Iterable[ModuleType]:  # type: ignore[empty-body]
        """Rule modules. Each holds one `RULE`, and its spec stands beside it: `name.py`, `name.md`."""

    @hookspec
    def boundlint_catalog(self) -> Iterable[Path]:  # type: ignore[empty-body]
        """Catalog files (TOML), in the form of the shipped ones."""

    @hookspec
    def boundlint_output_formats(self) -> Mapping[str, Renderer]:  # type: ignore[empty-body]
        """Output formats by name: functions that turn a report into text."""


class PluginError(Exception):
    """A plugin cannot be used. The message names the distribution that it comes from."""


@dataclass(frozen=True)
class RuleEntry:
    """A rule and where it comes from: the file of its spec (it may be missing) and the distribution."""

    rule: Rule
    spec: Path
    origin: str


@dataclass(frozen=True)
class Registry:
    """Everything that can be chosen in a run. `entries` are sorted by rule code."""

    entries: tuple[RuleEntry, ...]
    catalog_files: tuple[Path, ...]
    formats: Mapping[str, Renderer]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, sorted by code."""
        return tuple(entry.rule for entry in self.entries)

    @property
    def codes(self) -> frozenset[str]:
        """The codes of all rules."""
        return frozenset(entry.rule.code for entry in self.entries)


@lru_cache(maxsize=1)
def load_registry() -> Registry:
    """Load the built-in rules and formats and every installed plugin. Raises PluginError."""
    import boundlint_rules
    from boundlint import output

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    origins: dict[str, str] = {}
    for plugin in (boundlint_rules, output):
        origins[_register(manager, plugin, plugin.__name__, BUILT_IN)] = BUILT_IN
    for distribution, entry_point in _entry_points():
        label = f"the plugin {entry_point.name!r} of the distribution {distribution!r}"
        try:
            plugin = entry_point.load()
        except Exception as error:
            raise PluginError(f"{label} cannot be loaded: {type(error).__name__}: {error}") from error
        origins[_register(manager, plugin, f"{distribution}:{entry_point.name}", label)] = label
    registry = _collect(manager, origins)
    if not any(entry.origin == BUILT_IN for entry in registry.entries):
        raise PluginError("the rules of boundlint itself are missing: the installation is broken, repeat it")
    return registry


def _entry_points() -> list[tuple[str, importlib.metadata.EntryPoint]]:
    """The plugins of all installed distributions, each once, sorted."""
    found: dict[tuple[str, str], importlib.metadata.EntryPoint] = {}
    for distribution in importlib.metadata.distributions():
        for entry_point in distribution.entry_points:
            if entry_point.group == GROUP:
                # The first of a name on the path is the one that an import finds.
                found.setdefault((distribution.name, entry_point.name), entry_point)
    return [(name, found[name, entry]) for name, entry in sorted(found)]


def _register(manager: pluggy.PluginManager, plugin: object, name: str, label: str) -> str:
    try:
        registered = manager.register(plugin, name=name)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"{label} does not fit the hooks of boundlint: {error}") from error
    return registered or name


def _collect(manager: pluggy.PluginManager, origins: Mapping[str, str]) -> Registry:
    entries: dict[str, RuleEntry] = {}
    names: dict[str, RuleEntry] = {}
    formats: dict[str, Renderer] = {}
    for plugin, module in _results(manager, origins, "boundlint_rules"):
        entry = _entry(module, origins[plugin])
        other = entries.get(entry.rule.code) or names.get(entry.rule.name)
        if other is not None:
            raise PluginError(
                f"{entry.rule.code} {entry.rule.name} of {entry.origin} and {other.rule.code} "
                f"{other.rule.name} of {other.origin} have the same code or name"
            )
        entries[entry.rule.code] = names[entry.rule.name] = entry
    catalog_files = []
    for plugin, path in _results(manager, origins, "boundlint_catalog"):
        if not isinstance(path, Path):
            raise PluginError(f"{origins[plugin]}: boundlint_catalog() must give paths, not {path!r}")
        catalog_files.append(path)
    for plugin, (name, renderer) in _results(manager, origins, "boundlint_output_formats"):
        if name in formats or not _FORMAT.fullmatch(str(name)) or not callable(renderer):
            raise PluginError(f"{origins[plugin]}: {name!r} is taken or is not a name for an output format")
        formats[name] = renderer
    return Registry(tuple(entries[code] for code in sorted(entries)), tuple(catalog_files), formats)


def _results(
    manager: pluggy.PluginManager, origins: Mapping[str, str], hook: str
) -> Iterable[tuple[str, Any]]:
    """Each thing that a plugin returns from the hook, with the plugin's name, in order of registration."""
    implementations = getattr(manager.hook, hook).get_hookimpls()
    order = list(origins)
    for implementation in sorted(implementations, key=lambda item: order.index(item.plugin_name)):
        label = origins[implementation.plugin_name]
        try:
            given = implementation.function()
            items = list(given.items()) if isinstance(given, Mapping) else list(given)
        except Exception as error:
            raise PluginError(f"{label}: {hook}() failed: {type(error).__name__}: {error}") from error
        if hook == "boundlint_output_formats" and not isinstance(given, Mapping):
            raise PluginError(f"{label}: {hook}() must return a mapping, not {type(given).__name__}")
        for item in items:
            yield implementation.plugin_name, item


def _entry(module: object, origin: str) -> RuleEntry:
    rule = getattr(module, "RULE", None)
    if not isinstance(module, ModuleType) or not isinstance(rule, Rule):
        raise PluginError(f"{origin}: boundlint_rules() must give modules with a RULE, not {module!r}")
    if not _CODE.fullmatch(rule.code):
        raise PluginError(f"{origin}: {rule.code!r} is not a rule code (up to three letters, three digits)")
    return RuleEntry(rule, Path(module.__file__ or "").with_suffix(".md"), origin)
