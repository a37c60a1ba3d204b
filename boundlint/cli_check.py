"""The command `check`: from arguments to a report, its output and an exit status."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from boundlint import files
from boundlint.config import ConfigError, Settings, load_settings
from boundlint.findings import AnalysisError, Report
from boundlint.output import Context, printable
from boundlint.personas import narrow
from boundlint.registry import Registry, load_registry

if TYPE_CHECKING:
    from boundlint.engine import Request

STDIN = Path("-")
_TEXT_FORMATS = ("rich", "concise")


def check(options: argparse.Namespace) -> int:
    """Check, print, and give the exit status. Raises ConfigError for bad usage."""
    registry = load_registry()
    chosen = options.output_format or "rich"
    if chosen not in registry.formats:
        raise _usage(f"--output-format: {chosen!r} is not one of {', '.join(registry.formats)}")
    if options.statistics and chosen not in (*_TEXT_FORMATS, "json"):
        raise _usage(f"--statistics cannot be written as {chosen}; use rich, concise or json")
    paths, stdin_name = _targets(options)
    settings = _settings(options, registry, paths, stdin_name)
    if options.show_settings:
        return _show(options, settings, registry, paths, stdin_name)
    report, sources = _run(options, settings, paths, stdin_name)
    report = narrow(report, settings.persona, settings.min_confidence)
    context = Context(
        root=settings.root,
        cwd=Path.cwd(),
        rules=registry.rules,
        sources=sources,
        color=_color(options.color, options.output_file),
    )
    if options.statistics:
        text = _statistics(report, as_json=chosen == "json")
    else:
        text = registry.formats[chosen](report, context)
    _write(text, options.output_file)
    _tell(report, context, options.quiet)
    if report.errors:
        return 2
    return 1 if report.findings and not options.exit_zero else 0


def _usage(message: str) -> ConfigError:
    return ConfigError(None, 0, message)


def _targets(options: argparse.Namespace) -> tuple[list[Path], Path | None]:
    """The paths to check and the name of what comes from standard input."""
    paths: list[Path] = list(options.paths)
    if STDIN in paths or options.stdin_filename is not None:
        if any(path != STDIN for path in paths):
            raise _usage("standard input cannot be checked together with other paths")
        return [], Path(options.stdin_filename or STDIN)
    return paths or [Path(".")], None


def _settings(
    options: argparse.Namespace, registry: Registry, paths: list[Path], stdin_name: Path | None
) -> Settings:
    for option, folder in (("--root", options.root), ("--cache-dir", options.cache_dir)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise _usage(f"{option}: {folder} is not a folder")
    if options.root is not None and not options.root.exists():
        raise _usage(f"--root: {options.root} does not exist")
    return load_settings(
        _start(paths, stdin_name),
        options.config,
        options.root,
        codes=registry.codes,
        select=None if options.select is None else tuple(options.select),
        ignore=tuple(options.ignore or ()),
        extend_select=tuple(options.extend_select or ()),
        persona=options.persona,
        min_confidence=options.min_confidence,
    )


def _start(paths: list[Path], stdin_name: Path | None) -> Path:
    """Where the search for the project begins: the folder that all paths have in common."""
    given = [Path(stdin_name)] if stdin_name is not None else paths
    existing = [path.resolve() for path in given if path.exists() or stdin_name is not None]
    if not existing:
        return Path.cwd()
    try:
        start = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in existing]))
    except ValueError:  # several drives
        return Path.cwd()
    return start if start.is_dir() else Path.cwd()


def _run(
    options: argparse.Namespace, settings: Settings, paths: list[Path], stdin_name: Path | None
) -> tuple[Report, dict[str, str]]:
    """The report, and the text of what is not on the disk by its path in the report."""
    from boundlint import engine

    stdin, sources = None, {}
    if stdin_name is not None:
        place = Path.cwd() / stdin_name
        name = files.relative_name(place.resolve(), settings.root)
        text = files.decode(sys.stdin.buffer.read(), name)
        if isinstance(text, AnalysisError):
            return Report(errors=(text,)), {}
        stdin, sources = (place, text), {name: text}
    request = _request(options, settings, paths, stdin)
    if options.quiet or not sys.stderr.isatty():
        return engine.check(request), sources
    from boundlint.cli_progress import ProgressBar

    with ProgressBar() as bar:
        return engine.check(request, bar.update), sources


def _request(
    options: argparse.Namespace, settings: Settings, paths: list[Path], stdin: tuple[Path, str] | None
) -> Request:
    from boundlint.engine import Request
    from boundlint.index.cache import CACHE_DIRECTORY

    return Request(
        paths=tuple(paths),
        settings=settings,
        jobs=options.jobs or _cores(),
        cache_dir=None if options.no_cache else options.cache_dir or settings.root / CACHE_DIRECTORY,
        stdin=stdin,
        suppressions=not options.no_suppressions,
    )


def _show(
    options: argparse.Namespace,
    settings: Settings,
    registry: Registry,
    paths: list[Path],
    stdin_name: Path | None,
) -> int:
    """Print the settings and, as comments, what the project shows of itself; nothing is checked."""
    from boundlint import engine
    from boundlint.cli_settings import describe_project, describe_settings
    from boundlint.index.isolation import find_isolation

    print(describe_settings(settings, registry), end="")
    found = [settings.root] if stdin_name is not None else paths
    known = engine.understand(_request(options, settings, found, None))
    isolation = find_isolation(known.project, known.receivers, known.vocabulary)
    print(describe_project(known.vocabulary, isolation, known.scoping), end="")
    report = Report(errors=known.errors)
    _tell(report, Context(settings.root, Path.cwd(), registry.rules), quiet=True)
    return 2 if known.errors else 0


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _color(choice: str, output_file: Path | None) -> bool:
    """Colors only on a terminal, unless the user says otherwise."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR") or output_file is not None:
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _write(text: str, output_file: Path | None) -> None:
    if output_file is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        output_file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise _usage(f"--output-file: {output_file} cannot be written: {error.strerror or error}") from None


def _tell(report: Report, context: Context, quiet: bool) -> None:
    """Errors and the summary, on standard error: they never mix with what a program reads."""
    for error in report.errors:
        line = f":{error.line}" if error.line else ""
        where = f"{printable(context.shown(error.path))}{line}"
        print(f"boundlint: error: {where}: {printable(error.message)}", file=sys.stderr)
    if quiet:
        return
    for note in report.summary.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    if not report.summary.files and not report.errors:
        print("warning: no Python files were found under the given paths", file=sys.stderr)
    print(_summary(report), file=sys.stderr)


def _summary(report: Report) -> str:
    counts = Counter(item.severity for item in report.findings)
    found = _count(len(report.findings), "finding") if report.findings else "no findings"
    severities = ", ".join(
        _count(counts[name], name) for name in ("error", "warning", "note") if counts[name]
    )
    text = f"{found} ({severities})" if severities else found
    text += f" in {_count(report.summary.files, 'file')}"
    if report.suppressed:
        text += f"; {len(report.suppressed)} suppressed"
    if report.summary.hidden:
        text += f"; {report.summary.hidden} hidden (--persona auditor shows all)"
    if report.errors:
        text += f"; {_count(len(report.errors), 'error')} of the analysis: the result is not complete"
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _statistics(report: Report, as_json: bool) -> str:
    counts = Counter((item.rule, item.name) for item in report.findings)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    if as_json:
        rows = [{"rule": rule, "name": name, "count": count} for (rule, name), count in ordered]
        return json.dumps(rows, indent=2) + "\n"
    return "".join(f"{count:>6}  {rule}  {name}\n" for (rule, name), count in ordered)
