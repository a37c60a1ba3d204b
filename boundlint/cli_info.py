"""The commands that tell what boundlint knows, `explain`, `rules` and `catalog`, and `clean`."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from boundlint.config import ConfigError, load_settings
from boundlint.output import printable
from boundlint.registry import load_registry

if TYPE_CHECKING:
    from boundlint.catalog.model import Family
    from boundlint.catalog.verify import Verification


def explain(options: argparse.Namespace) -> int:
    """Print the spec of one rule, rendered on a terminal and as Markdown otherwise."""
    entries = load_registry().entries
    wanted = options.rule.strip().lower()
    entry = next((e for e in entries if wanted in (e.rule.code.lower(), e.rule.name.lower())), None)
    if entry is None:
        known = [name for e in entries for name in (e.rule.code, e.rule.name)]
        spelled = wanted if "-" in wanted else wanted.upper()
        near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(None, 0, f"no rule is called {options.rule!r}{hint} (`boundlint rules` lists them)")
    try:
        text = entry.spec.read_text(encoding="utf-8")
    except OSError as error:
        message = f"the page of {entry.rule.code} ({entry.origin}) cannot be read: {error.strerror or error}"
        raise ConfigError(None, 0, message) from None
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    if options.color == "never" or (options.color == "auto" and plain):
        print(text, end="")
        return 0
    from rich.console import Console
    from rich.markdown import Markdown

    Console(force_terminal=True, width=None).print(Markdown(text))
    return 0


def rules(options: argparse.Namespace) -> int:
    """Print a table of all rules."""
    entries = load_registry().entries
    if options.output_format == "json":
        rows = [
            {
                "code": entry.rule.code,
                "name": entry.rule.name,
                "severity": entry.rule.severity,
                "summary": entry.rule.summary,
                "origin": entry.origin,
            }
            for entry in entries
        ]
        print(json.dumps(rows, indent=2))
        return 0
    header = ("CODE", "NAME", "SEVERITY", "IT REPORTS")
    _print_table(header, [(e.rule.code, e.rule.name, e.rule.severity, e.rule.summary) for e in entries])
    return 0


def catalog(options: argparse.Namespace) -> int:
    """List or verify the catalog: the shipped files, plugins' and the project's own operations."""
    from boundlint.catalog.loader import load_catalog

    registry = load_registry()
    settings = load_settings(Path.cwd(), codes=registry.codes)
    everything = load_catalog(registry.catalog_files, settings.operations)
    families = _chosen(everything.families, options.families)
    if options.action == "verify":
        return _verify(families, options)
    if options.output_format == "json":
        print(json.dumps([asdict(family) for family in families], indent=2))
    elif options.families:
        rows = [
            (op.target, op.kind, op.effect, op.form, op.versions) for f in families for op in f.operations
        ]
        _print_table(("OPERATION", "KIND", "EFFECT", "FORM", "VERSIONS"), rows)
    else:
        counts = [(f.name, str(len(f.clients)), str(len(f.operations)), f.title) for f in families]
        _print_table(("FAMILY", "CLIENTS", "OPERATIONS", "TITLE"), counts)
    return 0


def _chosen(families: Sequence[Family], names: Sequence[str]) -> list[Family]:
    known = {family.name: family for family in families}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise ConfigError(None, 0, f"the catalog has no family {name!r}{hint}")
    return [known[name] for name in dict.fromkeys(names)] if names else list(families)


def _verify(families: Iterable[Family], options: argparse.Namespace) -> int:
    """Exit status 1 where an entry is wrong, or nothing of a named family, or of any, was verified."""
    from boundlint.catalog.verify import verify

    results = verify(families)
    if options.output_format == "json":
        print(json.dumps([{**asdict(result), "passed": result.passed} for result in results], indent=2))
    else:
        _print_table(
            ("FAMILY", "VERIFIED", "INSTALLED"),
            [(r.family, f"{r.verified}/{r.operations}", _installed(r)) for r in results],
        )
        for result in results:
            for problem in result.problems:
                print(f"problem: {problem}", file=sys.stderr)
            if result.installed:
                for reason in result.unverified:
                    print(f"not verified: {reason}", file=sys.stderr)
    failed = any(result.problems for result in results)
    if options.families:
        failed = failed or not all(result.passed for result in results)
    if not any(result.verified for result in results):
        print("boundlint: error: nothing was verified: no such client is installed here", file=sys.stderr)
        failed = True
    return 1 if failed else 0


def _installed(result: Verification) -> str:
    found = ", ".join(f"{name} {version}" for name, version in result.installed.items())
    absent = ", ".join(result.missing)
    return "; ".join(filter(None, (found, f"not installed: {absent}" if absent else "")))


def clean(options: argparse.Namespace) -> int:
    """Delete the cache of the project around a path."""
    from boundlint.index.cache import CACHE_DIRECTORY, remove_cache

    folder: Path | None = options.cache_dir
    if folder is None:
        if not options.path.exists():
            raise ConfigError(None, 0, f"{options.path} does not exist")
        folder = load_settings(options.path, root=options.root).root / CACHE_DIRECTORY
    try:
        removed = remove_cache(folder)
    except OSError as error:
        raise ConfigError(None, 0, f"{folder} cannot be deleted: {error.strerror or error}") from None
    print(
        f"deleted {printable(str(folder))}" if removed else f"there is no cache in {printable(str(folder))}"
    )
    return 0


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
