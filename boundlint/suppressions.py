"""Comments that silence findings: reading them, applying them, and judging whether they are needed.

Changes when the comment syntax changes, or what a comment covers.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from boundlint.findings import DOCS_URL, Finding, Location, Suppressed, fingerprint
from boundlint.rule import Rule

SYNTAX = "# boundlint: ignore[CODE] reason: why this is fine"

# Tokenizing costs; a file without one of these on a line has nothing for us.
_CANDIDATE = re.compile(r"#[^\n]*(?:boundlint\s*:|noqa\s*:[^\n]*BND[0-9])", re.IGNORECASE)
_OURS = re.compile(r"#\s*boundlint\s*:(?P<rest>[^#]*)", re.IGNORECASE)
_IGNORE = re.compile(r"\s*ignore\s*\[(?P<codes>[^\]]*)\]\s*(?P<reason>.*)", re.IGNORECASE | re.DOTALL)
_NOQA = re.compile(
    r"#\s*noqa\s*:\s?(?P<codes>[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*)(?P<reason>[^#]*)", re.IGNORECASE
)
_REASON = re.compile(r"\s*(?:reason\s*:|--|—|–|:)\s*(?P<text>.*)", re.IGNORECASE | re.DOTALL)
_CODE = re.compile(r"[A-Z]{1,3}[0-9]{3}")
_COMMENT_START = re.compile(r"#[^\n]*")


@dataclass(frozen=True)
class Suppression:
    """One suppressing comment. Lines and columns count from 1; `first` to `last` are the lines it covers.

    A comment inside or after a statement covers all lines of that statement; on a `def` or `class` line it
    covers the whole body, decorators included. `problem` says why the comment silences nothing at all.
    """

    line: int
    column: int
    end_column: int
    codes: tuple[str, ...]
    reason: str
    form: Literal["ignore", "noqa"]
    first: int
    last: int
    problem: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether the lines of the finding and the lines of this comment meet."""
        start = finding.location.line
        return self.first <= max(start, finding.location.end_line) and start <= self.last


@dataclass(frozen=True)
class SuppressionUse:
    """What became of one comment; the rules about suppressions judge this.

    `used` codes silenced something, `unused` ones ran in this file and found nothing here, `unknown` ones no
    rule has. Codes that did not run are in none of them.
    """

    path: str
    suppression: Suppression
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Applied:
    """The findings after suppression. `problems` are findings about the suppressions themselves."""

    kept: tuple[Finding, ...]
    suppressed: tuple[Suppressed, ...]
    problems: tuple[Finding, ...]


def parse(source: str) -> tuple[Suppression, ...]:
    """All suppressions of a file, in file order. `source` has `\\n` line ends. Never raises."""
    if not _CANDIDATE.search(source):
        return ()
    found: list[Suppression] = []
    for comment in _comments(source):
        found.extend(_read_comment(comment))
    return tuple(found)


def apply(
    findings: Iterable[Finding],
    suppressions: Mapping[str, Sequence[Suppression]],
    rules: Sequence[Rule],
    *,
    known: Collection[str],
    ran: Collection[str] | None = None,
    ignored_in: Callable[[str, str], str | None] = lambda path, code: None,
    unscoped: Callable[[Finding], str | None] = lambda finding: None,
) -> Applied:
    """Take out what comments, `per-file-ignores` and `unscoped` silence, and report the comments that are at fault.

    `suppressions` are those of the analyzed files by path, `rules` the selected rules, `known` the codes of
    all rules that exist, `ran` the codes of the rules that really ran (all selected ones when None) and
    `ignored_in` is `Settings.ignored_in`; `unscoped` gives the reason why a finding's place needs no scope.
    """
    ran_codes = {rule.code for rule in rules} if ran is None else set(ran)
    judges = [rule for rule in rules if rule.on_suppression is not None]
    judge_codes = {rule.code for rule in judges}
    kept, silenced, used = _silence(findings, suppressions, ignored_in, unscoped)
    uses = {
        (path, index): _use(path, item, used.get((path, index), set()), ran_codes - judge_codes, known)
        for path, items in suppressions.items()
        for index, item in enumerate(items)
    }
    raised = [problem for use in uses.values() for rule in judges for problem in _judge(rule, use)]
    problems, more, used_here = _silence(raised, suppressions, ignored_in, lambda finding: None)
    # A comment may also name the rules about comments; only now it is known whether it had to.
    for (path, index), use in uses.items():
        late = _use(path, use.suppression, used_here.get((path, index), set()), ran_codes & judge_codes, ())
        if late.unused:
            late = replace(late, unknown=(), used=(*use.used, *late.used))
            reported = {(item.rule, item.location) for item in problems}
            for rule in judges:
                for problem in _judge(rule, late):
                    if (problem.rule, problem.location) not in reported and not ignored_in(path, rule.code):
                        problems.append(problem)
    return Applied(tuple(kept), (*silenced, *more), tuple(problems))


_Used = dict[tuple[str, int], set[str]]


def _silence(
    findings: Iterable[Finding],
    suppressions: Mapping[str, Sequence[Suppression]],
    ignored_in: Callable[[str, str], str | None],
    unscoped: Callable[[Finding], str | None],
) -> tuple[list[Finding], list[Suppressed], _Used]:
    kept: list[Finding] = []
    silenced: list[Suppressed] = []
    used: _Used = {}
    for finding in findings:
        path = finding.location.path
        reasons = []
        for index, item in enumerate(suppressions.get(path, ())):
            if finding.rule in item.codes and not item.problem and item.covers(finding):
                used.setdefault((path, index), set()).add(finding.rule)
                reasons.append(item.reason)
        if reasons:
            silenced.append(Suppressed(finding, next(filter(None, reasons), "")))
        elif pattern := ignored_in(path, finding.rule):
            silenced.append(Suppressed(finding, f"per-file-ignores: {pattern}"))
        elif reason := unscoped(finding):
            silenced.append(Suppressed(finding, reason))
        else:
            kept.append(finding)
    return kept, silenced, used


def _use(
    path: str, item: Suppression, used: Collection[str], ran: Collection[str], known: Collection[str]
) -> SuppressionUse:
    return SuppressionUse(
        path,
        item,
        used=tuple(code for code in item.codes if code in used),
        unused=tuple(code for code in item.codes if code in ran and code not in used),
        unknown=tuple(code for code in item.codes if known and code not in known),
    )


def _judge(rule: Rule, use: SuppressionUse) -> list[Finding]:
    assert rule.on_suppression is not None
    item = use.suppression
    place = Location(use.path, item.line, item.column, item.line, item.end_column)
    return [
        Finding(
            rule=rule.code,
            name=rule.name,
            severity=rule.severity,
            confidence=problem.confidence,
            persona=problem.persona,
            message=problem.message,
            help=problem.help,
            location=place,
            facts=problem.facts,
            trace=problem.trace,
            fix=problem.fix,
            url=f"{DOCS_URL}{rule.name}/",
            fingerprint=fingerprint(rule.code, use.path, "", "", f"{item.codes} {item.reason}", number),
        )
        for number, problem in enumerate(rule.on_suppression(use))
    ]


@dataclass(frozen=True)
class _Comment:
    line: int
    column: int  # from 0
    text: str
    first: int
    last: int


def _read_comment(comment: _Comment) -> Iterable[Suppression]:
    for match in _OURS.finditer(comment.text):
        ignore = _IGNORE.fullmatch(match["rest"].rstrip())
        codes = _split(ignore["codes"]) if ignore else ()
        problem = "" if ignore else f"this comment is not understood; write `{SYNTAX}`"
        if ignore and not codes:
            problem = f"this comment names no rule; write `{SYNTAX}`"
        elif wrong := [code for code in codes if not _CODE.fullmatch(code)]:
            problem = f"{wrong[0]!r} is not a rule code; write `{SYNTAX}`"
        reason = _reason(ignore["reason"]) if ignore else ""
        yield _suppression(comment, match, codes, reason, "ignore", problem)
    for match in _NOQA.finditer(comment.text):
        codes = tuple(code for code in _split(match["codes"]) if code.startswith("BND"))
        if codes:
            yield _suppression(comment, match, codes, _reason(match["reason"]), "noqa", "")


def _suppression(
    comment: _Comment,
    match: re.Match[str],
    codes: tuple[str, ...],
    reason: str,
    form: Literal["ignore", "noqa"],
    problem: str,
) -> Suppression:
    start = comment.column + match.start()
    end = start + len(match.group().rstrip())
    return Suppression(
        comment.line, start + 1, end + 1, codes, reason, form, comment.first, comment.last, problem
    )


def _split(codes: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(code.upper() for code in re.split(r"[,\s]+", codes) if code))


def _reason(text: str) -> str:
    match = _REASON.fullmatch(text.strip())
    return match["text"].strip() if match else ""


@dataclass
class _Block:
    """A `def` or `class` whose body is open: its first line, its depth, and the comments on its header."""

    first: int
    depth: int
    comments: list[tuple[int, int, str]]


def _comments(source: str) -> list[_Comment]:
    """Every comment with the lines that it covers."""
    found: list[_Comment] = []
    blocks: list[_Block] = []
    depth, decorated, last = 0, 0, 0
    statement: list[tokenize.TokenInfo] = []
    pending: list[tuple[int, int, str]] = []

    def close(level: int) -> None:
        while blocks and blocks[-1].depth >= level:
            block = blocks.pop()
            found.extend(_Comment(*comment, block.first, last) for comment in block.comments)

    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            kind = token.type
            if kind == tokenize.COMMENT:
                pending.append((token.start[0], token.start[1], token.string))
            elif kind == tokenize.NL:
                if not statement:  # a comment on a line of its own
                    found.extend(_Comment(*comment, comment[0], comment[0]) for comment in pending)
                    pending = []
            elif kind == tokenize.INDENT:
                depth += 1
            elif kind == tokenize.DEDENT:
                depth -= 1
            elif kind in (tokenize.NEWLINE, tokenize.ENDMARKER):
                if statement:
                    close(depth)
                    first, last = statement[0].start[0], token.start[0]
                    words = [part.string for part in statement[:2]]
                    decorated = (decorated or first) if words[0] == "@" else decorated
                    if words[0] in ("def", "class") or words == ["async", "def"]:
                        blocks.append(_Block(decorated or first, depth, pending))
                    else:
                        found.extend(_Comment(*comment, first, last) for comment in pending)
                    decorated = decorated if words[0] == "@" else 0
                    statement, pending = [], []
            else:
                statement.append(token)
    except (tokenize.TokenError, SyntaxError, RecursionError, ValueError):
        # The parsers may still accept the file. What follows is read line by line.
        found.extend(_Comment(*comment, comment[0], comment[0]) for comment in pending)
        done = max((item.line for item in found), default=0)
        done = max(done, *(comment[0] for block in blocks for comment in block.comments), 0)
        found.extend(_loose_comments(source, done))
        last = source.count("\n") + 1
    close(0)
    return sorted(found, key=lambda item: (item.line, item.column))


def _loose_comments(source: str, done: int) -> Iterable[_Comment]:
    for number, line in enumerate(source.split("\n"), 1):
        if number <= done or not _CANDIDATE.search(line):
            continue
        match = _COMMENT_START.search(line)
        if (
            match
            and line.count('"', 0, match.start()) % 2 == 0
            and line.count("'", 0, match.start()) % 2 == 0
        ):
            yield _Comment(number, match.start(), match.group(), number, number)
