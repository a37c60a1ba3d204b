"""Build the index: read every file once, take its facts from the cache or extract them in local processes."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from boundlint import parallel
from boundlint.files import decode, read_bytes, relative_name
from boundlint.findings import AnalysisError
from boundlint.index import facts
from boundlint.index.cache import Cache
from boundlint.index.extract import extract
from boundlint.index.facts import FileFacts
from boundlint.index.parse import ParseError, parse_module


@dataclass(frozen=True)
class SourceFile:
    """A file of the project; `digest` is that of its content, `text` is set for standard input only."""

    path: str
    location: Path
    digest: str
    text: str | None = None


@dataclass(frozen=True)
class Index:
    """Facts of all files that could be read, and what could not."""

    files: tuple[FileFacts, ...]
    errors: tuple[AnalysisError, ...]


def survey(
    locations: Sequence[Path], root: Path, replaced: Mapping[Path, str]
) -> tuple[list[SourceFile], list[AnalysisError]]:
    """Digests of all files; `replaced` holds texts that stand in for a file's content on disk."""
    found: list[SourceFile] = []
    errors: list[AnalysisError] = []
    for location in locations:
        name = relative_name(location, root)
        text = replaced.get(location)
        data = text.encode("utf-8", "surrogatepass") if text is not None else read_bytes(location, name)
        if isinstance(data, AnalysisError):
            errors.append(data)
            continue
        found.append(SourceFile(name, location, hashlib.sha256(data).hexdigest()[:32], text))
    return found, errors


def build_index(
    sources: Sequence[SourceFile],
    cache: Cache | None,
    jobs: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Index:
    """The facts of all sources.  A file that cannot be decoded or parsed becomes an error."""
    stored = cache.get_many([source.digest for source in sources]) if cache is not None else {}
    found: list[FileFacts] = []
    errors: list[AnalysisError] = []
    fresh: dict[str, str] = {}
    missing: list[SourceFile] = []
    collecting = gc.isenabled()
    gc.disable()  # nothing built here is garbage: the collector would only walk it, again and again
    try:
        for source in sources:
            known = _load(source, stored.get(source.digest))
            if known is None:
                missing.append(source)
            else:
                found.append(known)
        progress(len(found))
        for outcome in parallel.run(missing, index_file, jobs):
            result = outcome.result
            if outcome.failure is not None:
                errors.append(AnalysisError(outcome.item.path, 0, outcome.failure.message))
            elif isinstance(result, AnalysisError):
                errors.append(result)
            elif result is not None:
                fresh[outcome.item.digest] = result
                found.append(facts.load(outcome.item.path, outcome.item.digest, result))
            progress(len(found) + len(errors))
    finally:
        if collecting:
            gc.enable()
    if cache is not None:
        cache.put_many(fresh)
    found.sort(key=lambda row: row.path)
    return Index(tuple(found), tuple(errors))


def index_file(source: SourceFile) -> str | AnalysisError:
    """The dumped facts of one file, or why there are none."""
    text = read_text(source)
    if isinstance(text, AnalysisError):
        return text
    try:
        tree = parse_module(text)
        return facts.dump(extract(source.path, source.digest, text, tree))
    except ParseError as error:
        return AnalysisError(source.path, error.line, f"cannot be parsed: {error.message}")
    except RecursionError:
        return AnalysisError(source.path, 0, "cannot be analyzed: its code is nested too deeply")


def read_text(source: SourceFile) -> str | AnalysisError:
    """The text of a source file."""
    if source.text is not None:
        return source.text
    data = read_bytes(source.location, source.path)
    return data if isinstance(data, AnalysisError) else decode(data, source.path)


def _load(source: SourceFile, text: str | None) -> FileFacts | None:
    if text is None:
        return None
    try:
        return facts.load(source.path, source.digest, text)
    except (ValueError, TypeError):
        return None
