"""What `--show-settings` prints: the settings as a configuration file, and what the project shows of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from boundlint.config import Settings
from boundlint.registry import Registry

if TYPE_CHECKING:
    from boundlint.index.isolation import Isolation, Scoping
    from boundlint.index.vocabulary import Vocabulary


def describe_settings(settings: Settings, registry: Registry) -> str:
    """The settings in the form of the configuration file, all of them, and which rules run."""
    boundary = settings.boundary
    running = [rule.code for rule in registry.rules if settings.selects(rule.code)]
    rows: list[tuple[str, object]] = [
        ("# root", str(settings.root)),
        ("# configuration", str(settings.config_path) if settings.config_path else "none found"),
        ("# rules that run", running),
        ("select", settings.select),
        ("ignore", settings.ignore),
        ("extend-select", settings.extend_select),
        ("persona", settings.persona),
        ("min-confidence", settings.min_confidence),
        ("exclude", settings.exclude),
        ("per-file-ignores", settings.per_file_ignores),
        ("boundary.names", boundary.names),
        ("boundary.types", boundary.types),
        ("boundary.current", boundary.current),
        ("boundary.factories", boundary.factories),
        ("boundary.levels", boundary.levels),
        ("guards", settings.guards),
        ("key-builders", settings.key_builders),
        ("unscoped", settings.unscoped),
        ("# operation", [operation.target for operation in settings.operations]),
    ]
    return "".join(f"{key} = {_toml(value)}\n" for key, value in rows)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)


def describe_project(vocabulary: Vocabulary, isolation: Isolation, scoping: Scoping) -> str:
    """How the project isolates and the names it has for it, each with the count or place that shows it."""
    rows: list[tuple[str, object]] = [
        ("isolation.parameters", isolation.parameters),
        ("isolation.identities", isolation.identities),
        ("isolation.ambient", isolation.ambient),
        ("isolation.factories", [str(place) for place in isolation.factories]),
        ("isolation.schemas", [str(place) for place in isolation.schemas]),
        ("isolation.events", [str(place) for place in scoping.events]),
        ("isolation.managers", [str(place) for place in scoping.managers]),
        ("isolation.every-query", scoping.every_query),
        ("vocabulary.types", sorted(vocabulary.types)),
        ("vocabulary.names", dict(sorted(vocabulary.evidence.items()))),
    ]
    text = "".join(f"# {key} = {_toml(value)}\n" for key, value in rows)
    return f"# what the project shows of itself; numbers are functions\n{text}"
