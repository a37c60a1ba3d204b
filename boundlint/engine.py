"""One run: find the files, index them, follow the flow, ask the rules, apply suppressions, report."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boundlint import __version__, parallel, serialize
from boundlint.dotted import DottedPatterns
from boundlint.files import discover
from boundlint.findings import AnalysisError, Finding, Report, Summary
from boundlint.index.build import SourceFile, build_index, read_text, survey
from boundlint.index.cache import Cache, open_cache
from boundlint.index.modules import module_name
from boundlint.registry import Registry, load_registry
from boundlint.suppressions import Suppression, apply, parse

if TYPE_CHECKING:
    from boundlint.config import Settings
    from boundlint.flow.analysis import Flow
    from boundlint.flow.inference import Inference
    from boundlint.index.isolation import Scoping
    from boundlint.index.project import Function, Project
    from boundlint.index.receivers import Receivers
    from boundlint.index.vocabulary import Vocabulary
    from boundlint.rule import Rule

Progress = Callable[[str, int, int], None]
RECURSION = 12_000  # frames: the flow follows calls and nested expressions
FEW = 0.1  # of the project's files: for so few, what they reach is looked at, not all that reaches data
YOUNG_OBJECTS = 200_000  # between two collections: the flow makes much that lives long, and few cycles
NO_TENANCY = "no boundary (tenant, user, workspace …) was found in this project: only the certain rules ran"


@dataclass(frozen=True)
class Request:
    """What to check.  `stdin` is a file's path and the text that stands in for its content."""

    paths: tuple[Path, ...]
    settings: Settings
    jobs: int = 1
    cache_dir: Path | None = None
    stdin: tuple[Path, str] | None = None
    suppressions: bool = True


@dataclass(frozen=True)
class Scope:
    """The files of a run: those that are reported on, and the whole project as their context."""

    reported: tuple[SourceFile, ...]
    context: tuple[SourceFile, ...]
    errors: tuple[AnalysisError, ...]


@dataclass(frozen=True)
class Understanding:
    """The project as the index shows it, and what of the reported files could not be analyzed."""

    project: Project
    receivers: Receivers
    vocabulary: Vocabulary
    scoping: Scoping
    inference: Inference
    errors: tuple[AnalysisError, ...]


def check(request: Request, progress: Progress | None = None) -> Report:
    """Check the files of a request.  Findings are those of all personas; paths are root-relative."""
    tell = progress or (lambda stage, done, total: None)
    registry = load_registry()
    scope = find_files(request)
    cache = open_cache(request.cache_dir, _stamp(registry)) if request.cache_dir is not None else None
    try:
        key = _run_key(request, scope)
        known = _stored_report(cache, key)
        if known is not None:
            return known
        with _seldom_collecting():
            report = _analyze(request, scope, registry, cache, tell)
        if cache is not None:
            cache.put_many({key: serialize.dump_report(report)})
            if len(scope.reported) == len(scope.context):
                cache.prune(_kept(key, scope))
        return report
    finally:
        if cache is not None:
            cache.close()


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """The garbage collector as a run wants it; as it was afterwards, for an editor's server lives on."""
    before = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def find_files(request: Request) -> Scope:
    """The files that a request reports on and those that give them context."""
    settings = request.settings
    replaced: dict[Path, str] = {}
    paths = list(request.paths)
    if request.stdin is not None:
        location = request.stdin[0].resolve()
        replaced[location] = request.stdin[1]
    named, errors = discover(paths, settings)
    reported = dict.fromkeys([*named, *replaced])
    around = (
        () if settings.root in (path.resolve() for path in paths) else discover([settings.root], settings)[0]
    )
    locations = sorted({*reported, *around})
    sources, unreadable = survey(locations, settings.root, replaced)
    mine = tuple(source for source in sources if source.location in reported)
    asked = {source.path for source in mine} | {error.path for error in errors}
    reported_names = {str(path) for path in reported}
    problems = [
        *errors,
        *(
            e
            for e in unreadable
            if e.path in asked or str((settings.root / e.path).resolve()) in reported_names
        ),
    ]
    return Scope(mine, tuple(sources), tuple(problems))


def understand(request: Request, progress: Progress | None = None) -> Understanding:
    """What a run knows of the project before it follows any function: its vocabulary, how it isolates."""
    registry = load_registry()
    scope = find_files(request)
    cache = open_cache(request.cache_dir, _stamp(registry)) if request.cache_dir is not None else None
    try:
        return _understand(request, scope, registry, cache, progress or (lambda stage, done, total: None))
    finally:
        if cache is not None:
            cache.close()


def _understand(
    request: Request, scope: Scope, registry: Registry, cache: Cache | None, tell: Progress
) -> Understanding:
    from boundlint.catalog.loader import load_catalog
    from boundlint.catalog.lookup import build
    from boundlint.flow.inference import Inference
    from boundlint.index.isolation import find_scoping
    from boundlint.index.project import Project
    from boundlint.index.receivers import Receivers
    from boundlint.index.vocabulary import mine

    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    total = len(scope.context)
    index = build_index(scope.context, cache, request.jobs, lambda done: tell("index", done, total))
    asked = {source.path for source in scope.reported}
    errors = (*scope.errors, *(error for error in index.errors if error.path in asked))
    gc.freeze()  # the facts stay to the end: the collector need not walk them again and again
    project = Project(index.files)
    boundary = request.settings.boundary
    vocabulary = mine(project, boundary.names, boundary.types, boundary.current, boundary.levels)
    lookup = build(load_catalog(registry.catalog_files, request.settings.operations))
    read = Reader({source.path: source for source in scope.context})
    remembered = (lambda key: cache.get_many([key]).get(key)) if cache is not None else (lambda key: None)
    inference = Inference(project, lookup, read, remembered=remembered)
    receivers = Receivers(project, lookup, inference)
    scoping = find_scoping(project, vocabulary)
    return Understanding(project, receivers, vocabulary, scoping, inference, errors)


def _analyze(
    request: Request, scope: Scope, registry: Registry, cache: Cache | None, tell: Progress
) -> Report:
    from boundlint.flow.analysis import Flow
    from boundlint.flow.declared import declared

    settings = request.settings
    known = _understand(request, scope, registry, cache, tell)
    project, vocabulary, errors = known.project, known.vocabulary, list(known.errors)
    sources = {source.path: source for source in scope.context}
    rows = declared(settings.guards, settings.key_builders, settings.boundary.factories)
    flow = Flow(project, known.receivers, vocabulary, Reader(sources), rows, known.scoping)
    few = len(scope.reported) <= FEW * len(scope.context) and len(scope.reported) < parallel.FEWEST
    if not few:  # processes would infer each for itself, and pay from a budget of its own
        flow.near.mark_all()
    reported = [source.path for source in scope.reported if source.path in project.files]
    by_file: dict[str, list[Function]] = defaultdict(list)
    rules = tuple(rule for rule in registry.rules if settings.selects(rule.code))
    wanting = [rule.wants for rule in rules if rule.wants is not None]
    functions = [row for path in reported for row in project.functions(path).values()]
    followed = [
        row for row in functions if flow.near.follows(row) or any(want(row.facts) for want in wanting)
    ]
    leaving = flow.mark_effects(reported, followed)
    for function in dict.fromkeys(flow.outermost(function) for function in (*followed, *leaving)):
        by_file[function.path].append(function)
    work = Judge(flow, by_file, rules, sources)
    todo = [path for path in reported if path in by_file]
    findings: list[Finding] = []
    gc.freeze()  # forked processes then share these objects instead of copying them
    for done, outcome in enumerate(parallel.run(todo, work, request.jobs), 1):
        if outcome.failure is not None:
            errors.append(AnalysisError(outcome.item, 0, outcome.failure.message))
        findings.extend(outcome.result or ())
        tell("rules", done, len(todo))
    if cache is not None:
        cache.put_many(known.inference.memory())
    findings.sort(key=lambda row: (row.location.path, row.location.line, row.location.column, row.rule))
    lines = sum(project.files[path].lines for path in reported)
    notes = () if vocabulary.shown or not reported else (NO_TENANCY,)
    ran = frozenset(rule.code for rule in rules if vocabulary.shown or rule.certain)
    return _suppress(
        request, scope, registry, rules, ran, findings, errors, Summary(len(reported), lines, 0, notes)
    )


def _suppress(
    request: Request,
    scope: Scope,
    registry: Registry,
    rules: Sequence[Rule],
    ran: frozenset[str],
    findings: Sequence[Finding],
    errors: Sequence[AnalysisError],
    summary: Summary,
) -> Report:
    failed = {error.path for error in errors}
    comments: dict[str, tuple[Suppression, ...]] = {}
    if request.suppressions:
        for source in scope.reported:
            text = read_text(source) if source.path not in failed else ""
            if isinstance(text, str) and (found := parse(text)):
                comments[source.path] = found
    applied = apply(
        findings,
        comments,
        rules,
        known=registry.codes,
        ran=ran,
        ignored_in=request.settings.ignored_in,
        unscoped=Unscoped(request.settings.unscoped),
    )
    kept = sorted(
        (*applied.kept, *applied.problems),
        key=lambda row: (row.location.path, row.location.line, row.location.column, row.rule),
    )
    ordered = sorted(set(errors), key=lambda row: (row.path, row.line, row.message))
    return Report(tuple(kept), applied.suppressed, tuple(ordered), summary)


class Unscoped:
    """The reasons that the configuration gives for functions, classes, modules and operations without a scope."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self._reasons = reasons
        self._patterns = DottedPatterns(reasons)

    def __call__(self, finding: Finding) -> str | None:
        """Why the place or the operation of a finding needs no scope, with the pattern that says so."""
        if not self._patterns:
            return None
        place = ".".join(filter(None, (module_name(finding.location.path), finding.function)))
        pattern = self._patterns.covers(place) or self._patterns.covers(finding.operation)
        return f"unscoped {pattern}: {self._reasons[pattern]}" if pattern else None


@dataclass(frozen=True)
class Reader:
    """Reads a file of the project again, for the flow."""

    sources: Mapping[str, SourceFile]

    def __call__(self, path: str) -> str | None:
        """The text of a root-relative path; None when it is gone."""
        text = read_text(self.sources[path])
        return text if isinstance(text, str) else None


@dataclass(frozen=True)
class Judge:
    """The work on one file in the third pass."""

    flow: Flow
    functions: Mapping[str, Sequence[Function]]
    rules: Sequence[Rule]
    sources: Mapping[str, SourceFile]

    def __call__(self, path: str) -> list[Finding]:
        """The findings of one file."""
        from boundlint.flow.judge import judge_file

        text = read_text(self.sources[path])
        if not isinstance(text, str):
            raise OSError(text.message)
        return judge_file(self.flow, path, self.functions[path], text.split("\n"), self.rules)


def _kept(key: str, scope: Scope) -> set[str]:
    """The keys of the cache that the next run over the same files can use."""
    from boundlint.flow.inference import key as inferred

    digests = {source.digest for source in scope.context}
    return {key, *digests, *(inferred(source.path, source.digest) for source in scope.context)}


def _stamp(registry: Registry) -> str:
    """Facts and reports of another version, interpreter or set of plugins are not believed."""
    parts = [__version__, sys.version, *(f"{entry.rule.code} {entry.origin}" for entry in registry.entries)]
    package = Path(__file__).parent
    for root in (package, *sorted({entry.spec.parent for entry in registry.entries})):
        for file in sorted(root.rglob("*.py") if root == package else root.glob("*.py")):
            status = file.stat()
            parts.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _run_key(request: Request, scope: Scope) -> str:
    """Digest of all that a report depends on."""
    settings = request.settings
    digest = hashlib.sha256(
        repr((settings.digest(), settings.select, settings.ignore, settings.extend_select)).encode()
    )
    digest.update(
        repr((sorted(settings.per_file_ignores.items()), request.suppressions)).encode(
            "utf-8", "surrogatepass"
        )
    )
    reported = {source.path for source in scope.reported}
    for source in scope.context:
        digest.update(
            f"\0{source.path}\0{source.digest}\0{source.path in reported}".encode("utf-8", "surrogatepass")
        )
    for error in scope.errors:
        digest.update(repr(error).encode("utf-8", "surrogatepass"))
    for file in load_registry().catalog_files:
        digest.update(file.read_bytes())
    return "run:" + digest.hexdigest()[:32]


def _stored_report(cache: Cache | None, key: str) -> Report | None:
    stored = cache.get_many([key]).get(key) if cache is not None else None
    if stored is None:
        return None
    try:
        return serialize.load_report(stored)
    except (ValueError, TypeError, KeyError, json.JSONDecodeError):
        return None
