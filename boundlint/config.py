"""The settings of a run: what the project's configuration file and the command line say.

Changes when a configuration key changes. Nothing in a configuration is skipped in silence: unknown keys,
wrong types and unknown rule codes are errors that name the file and the line.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from boundlint.files import CONFIG_NAMES, VCS_FOLDERS, find_root
from boundlint.findings import CONFIDENCES, PERSONAS, Confidence, Persona
from boundlint.globs import compile_globs

if TYPE_CHECKING:
    from boundlint.catalog.model import Operation

DEFAULT_EXCLUDE = (
    *(".git", ".hg", ".svn", ".bzr", ".direnv", ".eggs", ".ipynb_checkpoints", ".idea", ".vscode"),
    *(".mypy_cache", ".nox", ".pytest_cache", ".pytype", ".ruff_cache", ".tox", ".boundlint_cache"),
    *(".venv", "venv", "__pycache__", "__pypackages__", "node_modules", "site-packages"),
    *("_build", "/build", "/dist", "buck-out", "*.egg-info"),
)


class ConfigError(Exception):
    """The configuration cannot be used; `path` is None when the command line is at fault."""

    def __init__(self, path: Path | None, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if path else message)
        self.path = path
        self.line = line
        self.message = message


@dataclass(frozen=True)
class BoundarySettings:
    """The project's own carriers, on top of what boundlint finds out by itself.

    `names` are identifiers (`*` allowed), `types` dotted classes, `current` dotted calls that return the
    boundary or a part of it, `factories` dotted calls that return a client or session bound to a tenant,
    `levels` maps a level of isolation (`tenant`, `user`) to the names that carry it.
    """

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    current: tuple[str, ...] = ()
    factories: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """All settings of one run. Patterns in `exclude` and `per_file_ignores` are relative to `root`.

    `select` empty means every rule. `unscoped` maps a dotted pattern to the reason why what it matches
    needs no scope.
    """

    root: Path
    config_path: Path | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    persona: Persona = "regular"
    min_confidence: Confidence = "low"
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    boundary: BoundarySettings = field(default_factory=BoundarySettings)
    guards: tuple[str, ...] = ()
    key_builders: tuple[str, ...] = ()
    unscoped: Mapping[str, str] = field(default_factory=dict)
    operations: tuple[Operation, ...] = ()

    def selects(self, code: str) -> bool:
        """Whether the rule runs: the longest matching prefix decides, on a tie `ignore` wins."""
        wanted = _longest((*self.select, *self.extend_select), code)
        if not self.select:
            wanted = max(wanted, 0)
        return wanted > _longest(self.ignore, code)

    def ignored_in(self, path: str, code: str) -> str | None:
        """The `per-file-ignores` pattern that silences the rule in a root-relative file, None without one."""
        for pattern, codes in self.per_file_ignores.items():
            if any(code.startswith(prefix) for prefix in codes) and compile_globs((pattern,)).covers(path):
                return pattern
        return None

    def digest(self) -> str:
        """Changes whenever a setting changes that the analysis itself depends on: 16 hex digits."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        boundary = self.boundary
        parts = (
            (boundary.names, boundary.types, boundary.current, boundary.factories),
            sorted(boundary.levels.items()),
            (self.guards, self.key_builders, sorted(self.unscoped.items())),
            # Where an entry stands in its file has no bearing on what it means.
            tuple(replace(operation, source="") for operation in self.operations),
        )
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def load_settings(
    start: Path,
    config: Path | None = None,
    root: Path | None = None,
    *,
    codes: Collection[str] | None = None,
    select: tuple[str, ...] | None = None,
    ignore: tuple[str, ...] = (),
    extend_select: tuple[str, ...] = (),
    persona: Persona | None = None,
    min_confidence: Confidence | None = None,
) -> Settings:
    """The settings for checking `start`.

    Without `config` the nearest boundlint.toml, or pyproject.toml with a `[tool.boundlint]` table, at or
    above `start` inside the same repository is read, and its folder is the root. `codes` are the rule codes
    that exist; None asks the registry. The other arguments are what the command line says: `select`,
    `persona` and `min_confidence` replace the file's value, the others add to it. Raises ConfigError.
    """
    codes = _RegisteredCodes() if codes is None else codes
    found = _read(config) if config is not None else _nearest(start, root)
    if root is None:
        root = find_root(start) if config is not None or found is None else found.path.parent
    settings = Settings(root=root.resolve())
    if found is not None:
        settings = _apply_file(settings, found, codes)
    for option, given in (
        ("--select", select or ()),
        ("--ignore", ignore),
        ("--extend-select", extend_select),
    ):
        for code in given:
            if problem := _code_problem(code, codes):
                raise ConfigError(None, 0, f"{option}: {problem}")
    return replace(
        settings,
        select=settings.select if select is None else select,
        ignore=(*settings.ignore, *ignore),
        extend_select=(*settings.extend_select, *extend_select),
        persona=persona or settings.persona,
        min_confidence=min_confidence or settings.min_confidence,
    )


class _RegisteredCodes(Collection[str]):
    """The codes that the registry knows; it is loaded where a setting names a rule, and not before."""

    @cached_property
    def _codes(self) -> Collection[str]:
        from boundlint.registry import load_registry

        return load_registry().codes

    def __contains__(self, code: object) -> bool:
        return code in self._codes

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __len__(self) -> int:
        return len(self._codes)


@dataclass(frozen=True)
class _File:
    """One configuration file and its table of settings, which stands below the keys `prefix`."""

    path: Path
    text: str
    table: dict[str, Any]
    prefix: tuple[str, ...]

    def error(self, keys: tuple[str | int, ...], message: str) -> ConfigError:
        return ConfigError(self.path, self.line(*keys), message)

    def line(self, *keys: str | int) -> int:
        from boundlint.toml_lines import line_of

        return line_of(self.text.split("\n"), (*self.prefix, *keys))


def _nearest(start: Path, root: Path | None) -> _File | None:
    folder = (start if start.is_dir() else start.parent).resolve()
    stop = root.resolve() if root else None
    for candidate in (folder, *folder.parents):
        for name in CONFIG_NAMES:
            path = candidate / name
            if path.is_file() and (found := _read(path, optional=name == "pyproject.toml")):
                return found
        if candidate == stop or any((candidate / name).exists() for name in VCS_FOLDERS):
            break
    return None


def _read(path: Path, optional: bool = False) -> _File | None:
    """Read a configuration file; None when it is `optional` and says nothing about boundlint."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    path = path.absolute()
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(path, 1, f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(path, 1, f"is not valid UTF-8: {error.reason}") from None
    if optional and "boundlint" not in text:
        return None
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = re.search(r"\(at line (\d+)", str(error))
        line = int(match.group(1)) if match else text.rstrip("\n").count("\n") + 1  # at the end
        raise ConfigError(path, line, f"is not valid TOML: {error}") from None
    if path.name != "pyproject.toml" and "tool" not in data:
        return _File(path, text, data, ())
    tool = data.get("tool", {})
    table = tool.get("boundlint") if isinstance(tool, dict) else None
    if table is None:
        if optional:
            return None
        raise ConfigError(path, 1, "has no [tool.boundlint] table")
    file = _File(path, text, table, ("tool", "boundlint"))
    if not isinstance(table, dict):
        raise file.error((), "tool.boundlint must be a table")
    return file


_KEYS = (
    *("select", "ignore", "extend-select", "persona", "min-confidence", "exclude", "per-file-ignores"),
    *("boundary", "guards", "key-builders", "unscoped", "operation"),
)
_BOUNDARY_KEYS = ("names", "types", "current", "factories", "levels")
_LEVELS = ("tenant", "user")
_NAME = re.compile(r"[A-Za-z_*?][\w*?]*")
_DOTTED = re.compile(r"[A-Za-z_*?][\w*?]*(\.[A-Za-z_*?][\w*?]*)*")
_CALL = re.compile(
    rf"{_DOTTED.pattern}(:{_DOTTED.pattern})?"
)  # app.context:get_current, as entry points have it
_CODE = re.compile(r"[A-Z]{1,3}[0-9]{0,3}")


def _apply_file(settings: Settings, file: _File, codes: Collection[str]) -> Settings:
    table = file.table
    _check_keys(file, (), table, _KEYS)
    ignores = _mapping(file, ("per-file-ignores",), table)
    return replace(
        settings,
        config_path=file.path,
        select=_codes(file, ("select",), table, codes),
        ignore=_codes(file, ("ignore",), table, codes),
        extend_select=_codes(file, ("extend-select",), table, codes),
        persona=cast("Persona", _choice(file, "persona", PERSONAS, settings.persona)),
        min_confidence=cast(
            "Confidence", _choice(file, "min-confidence", CONFIDENCES, settings.min_confidence)
        ),
        exclude=(*DEFAULT_EXCLUDE, *_strings(file, ("exclude",), table)),
        per_file_ignores={
            pattern: _codes(file, ("per-file-ignores", pattern), ignores, codes) for pattern in ignores
        },
        boundary=_boundary(file),
        guards=_dotted(file, ("guards",), table),
        key_builders=_dotted(file, ("key-builders",), table),
        unscoped=_unscoped(file),
        operations=_operations(file),
    )


def _boundary(file: _File) -> BoundarySettings:
    table = _mapping(file, ("boundary",), file.table)
    _check_keys(file, ("boundary",), table, _BOUNDARY_KEYS)
    levels = _mapping(file, ("boundary", "levels"), table)
    _check_keys(file, ("boundary", "levels"), levels, _LEVELS)
    return BoundarySettings(
        names=_dotted(file, ("boundary", "names"), table, _NAME, "a name"),
        types=_dotted(file, ("boundary", "types"), table),
        current=tuple(
            value.replace(":", ".")
            for value in _dotted(file, ("boundary", "current"), table, _CALL, "a dotted name")
        ),
        factories=_dotted(file, ("boundary", "factories"), table),
        levels={
            level: _dotted(file, ("boundary", "levels", level), levels, _NAME, "a name") for level in levels
        },
    )


def _unscoped(file: _File) -> dict[str, str]:
    if isinstance(file.table.get("unscoped"), (list, str)):
        message = (
            'unscoped: give each pattern a reason: unscoped = { "app.flags.*" = "shared feature flags" }'
        )
        raise file.error(("unscoped",), message)
    table = _mapping(file, ("unscoped",), file.table)
    for pattern, reason in table.items():
        keys = ("unscoped", pattern)
        if not _DOTTED.fullmatch(pattern):
            raise file.error(keys, f"unscoped: {pattern!r} is not a dotted name")
        if not isinstance(reason, str) or not reason.strip():
            raise file.error(keys, f"unscoped: {pattern!r} needs a reason, a text that says why")
    return dict(table)


def _operations(file: _File) -> tuple[Operation, ...]:
    rows = file.table.get("operation", [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise file.error(("operation",), "operation must be an array of tables: [[tool.boundlint.operation]]")
    if not rows:
        return ()
    from boundlint.catalog.loader import CatalogError, Place, parse_operation, table_places

    places = table_places(file.text, str(file.path), ".".join((*file.prefix, "operation")))
    if len(places) != len(rows):  # written as inline tables
        places = [Place(str(file.path), file.line("operation"))] * len(rows)
    try:
        return tuple(parse_operation(row, place) for row, place in zip(rows, places, strict=True))
    except CatalogError as error:
        raise ConfigError(file.path, error.line, f"operation: {error.message}") from None


def _check_keys(file: _File, keys: tuple[str, ...], table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key.replace("_", "-").lower(), known, n=1, cutoff=0)
            where = ".".join((*keys, key))
            raise file.error(
                (*keys, key), f"unknown key {where!r}; did you mean {'.'.join((*keys, *near))!r}?"
            )


def _mapping(file: _File, keys: tuple[str, ...], table: Mapping[str, Any]) -> dict[str, Any]:
    value = table.get(keys[-1], {})
    if not isinstance(value, dict):
        raise file.error(keys, f"{'.'.join(keys)} must be a table, not {_type_name(value)}")
    return value


def _strings(file: _File, keys: tuple[str, ...], table: Mapping[str, Any]) -> tuple[str, ...]:
    value = table.get(keys[-1], [])
    if not isinstance(value, list):
        raise file.error(keys, f"{'.'.join(keys)} must be a list of strings, not {_type_name(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            what = "an empty string" if isinstance(item, str) else _type_name(item)
            raise file.error((*keys, index), f"{'.'.join(keys)} must be a list of strings, this is {what}")
    return tuple(value)


def _dotted(
    file: _File,
    keys: tuple[str, ...],
    table: Mapping[str, Any],
    form: re.Pattern[str] = _DOTTED,
    what: str = "a dotted name",
) -> tuple[str, ...]:
    values = _strings(file, keys, table)
    for index, value in enumerate(values):
        if not form.fullmatch(value):
            raise file.error((*keys, index), f"{'.'.join(keys)}: {value!r} is not {what}")
    return values


def _codes(
    file: _File, keys: tuple[str, ...], table: Mapping[str, Any], codes: Collection[str]
) -> tuple[str, ...]:
    values = _strings(file, keys, table)
    for index, value in enumerate(values):
        if problem := _code_problem(value, codes):
            raise file.error((*keys, index), f"{'.'.join(keys)}: {problem}")
    return values


def _code_problem(code: str, codes: Collection[str]) -> str:
    if _CODE.fullmatch(code) and any(known.startswith(code) for known in codes):
        return ""
    near = difflib.get_close_matches(code.upper(), sorted(codes), n=1, cutoff=0)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no rule has the code {code!r}{hint} (`boundlint rules` lists them)"


def _choice(file: _File, key: str, choices: tuple[str, ...], default: str) -> str:
    value = file.table.get(key, default)
    if value in choices:
        return str(value)
    raise file.error((key,), f"{key} must be one of {', '.join(choices)}, not {value!r}")


def _longest(prefixes: tuple[str, ...], code: str) -> int:
    return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=-1)


def _type_name(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "a table" if isinstance(value, dict) else f"a {type(value).__name__}")
