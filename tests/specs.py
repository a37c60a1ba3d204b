"""Reads the rules' specs (rules/**/*.md), runs their code through the engine, and says what differs.

CONTRIBUTING.md ("How a spec is written") describes the format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boundlint.findings import PERSONAS, Finding, Persona

RULES = Path(__file__).resolve().parent.parent / "rules"
SECTIONS = ("Before and after", "Found", "Not found")
OPTIONAL_SECTIONS = ("Project", "Known gaps")
SHARED = "Project"

_TITLE = re.compile(r"^# (?P<name>[a-z0-9]+(?:-[a-z0-9]+)*) \((?P<code>BND\d{3})\)$")
_HEADING = re.compile(r"^(?P<level>##|###) (?P<text>.+)$")
_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^`]*)$")
_ANY_MARKER = re.compile(r"#\s*(?P<word>\w+):\s*\[(?P<code>[^\]]*)\](?P<rest>[^#]*)")
_REST = re.compile(r'^\s*(?P<persona>regular|pedantic|auditor)?\s*(?:"(?P<text>[^"]*)")?\s*$')
_CODE = re.compile(r"^BND\d{3}$")
_SEVERITIES = ("error", "warning", "note")

_Group = tuple[str, str, int, list["Block"]]  # section, heading, line, blocks


class SpecError(Exception):
    """A spec that is not written as CONTRIBUTING.md says; the message begins with file and line."""


@dataclass(frozen=True)
class Expectation:
    """One inline marker.  `severity` is error, warning, note or todo; `line` counts from 1 in the block."""

    severity: str
    code: str
    path: str
    line: int
    persona: Persona = "regular"
    text: str = ""

    def __str__(self) -> str:
        text = f' "{self.text}"' if self.text else ""
        return f"{self.path}:{self.line}: {self.severity}: [{self.code}]{text}"


@dataclass(frozen=True)
class Block:
    """One fenced block that names a path."""

    path: str
    language: str
    source: str
    expected: tuple[Expectation, ...]

    @property
    def is_python(self) -> bool:
        """Whether the linter would read it."""
        return self.language == "python"

    @property
    def is_finding(self) -> bool:
        """Whether the block promises at least one finding."""
        return any(item.severity in _SEVERITIES for item in self.expected)


@dataclass(frozen=True)
class Example:
    """The files of one small project: the blocks under one heading, and the shared ones."""

    section: str
    heading: str
    number: int
    line: int
    blocks: tuple[Block, ...]

    @property
    def expected(self) -> tuple[Expectation, ...]:
        """All markers of all files."""
        return tuple(item for block in self.blocks for item in block.expected)


@dataclass(frozen=True)
class Spec:
    """One rule's spec."""

    path: Path
    name: str
    code: str
    sections: tuple[str, ...]
    examples: tuple[Example, ...]
    blocks: tuple[Block, ...] = field(default=(), repr=False)

    @property
    def persona(self) -> Persona:
        """The most thorough persona that any marker of the spec names."""
        named = [item.persona for example in self.examples for item in example.expected]
        return max(named, key=PERSONAS.index, default="regular")


def thorough_personas(persona: Persona) -> tuple[Persona, ...]:
    """The personas beyond regular, up to the given one."""
    return PERSONAS[1 : PERSONAS.index(persona) + 1]


def find_specs(folder: Path = RULES) -> list[Path]:
    """All spec files, in path order."""
    return sorted(folder.rglob("*.md"))


def read_spec(path: Path) -> Spec:
    """Parse one spec file; SpecError where it is not written as it should be."""
    return parse_spec(path.read_text(encoding="utf-8"), path)


def parse_spec(text: str, path: Path) -> Spec:
    """Parse the text of a spec.  `path` is for messages."""
    lines = text.splitlines()
    title = _TITLE.match(lines[0]) if lines else None
    if title is None:
        raise SpecError(f"{path}:1: the first line must read `# rule-name (BNDnnn)`")
    sections: list[str] = []
    shared: list[Block] = []
    groups: list[_Group] = []
    section = heading = ""
    fresh = True
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if found := _HEADING.match(line):
            heading = found["text"].strip()
            if found["level"] == "##":
                section = heading
                sections.append(section)
                if section not in SECTIONS + OPTIONAL_SECTIONS:
                    known = ", ".join(SECTIONS + OPTIONAL_SECTIONS)
                    raise SpecError(f"{path}:{number}: unknown section `{section}`; known are {known}")
            fresh = True
        elif fence := _FENCE.match(line):
            start = number
            while number < len(lines) and lines[number].rstrip() != fence["ticks"]:
                number += 1
            if number == len(lines):
                raise SpecError(f"{path}:{start}: the fence is never closed")
            block = _block(fence["info"], lines[start:number], path, start)
            number += 1
            if block is None:
                continue
            if section == SHARED:
                shared.append(block)
            elif fresh or any(block.path == other.path for other in groups[-1][3]):
                groups.append((section, heading, start, [block]))
                fresh = False
            else:
                groups[-1][3].append(block)
    own = tuple(block for *_, blocks in groups for block in blocks)
    return Spec(path, title["name"], title["code"], tuple(sections), _examples(groups, shared), own)


def _examples(groups: Iterable[_Group], shared: Sequence[Block]) -> tuple[Example, ...]:
    examples: list[Example] = []
    for section, heading, line, blocks in groups:
        taken = {block.path for block in blocks}
        common = [block for block in shared if block.path not in taken]
        count = 1 + sum(1 for other in examples if (other.section, other.heading) == (section, heading))
        examples.append(Example(section, heading, count, line, (*common, *blocks)))
    return tuple(examples)


def _block(info: str, source: list[str], spec: Path, line: int) -> Block | None:
    """The block of one fence, None for an illustration without a path."""
    words = info.split()
    language = words[0] if words else ""
    path = ""
    for word in words[1:]:
        key, _, value = word.partition("=")
        if key != "path" or not value:
            raise SpecError(f"{spec}:{line}: a fence takes `path=...` and nothing else, not `{word}`")
        path = value
    if not path:
        return None
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise SpecError(f"{spec}:{line}: `{path}` must lie inside the project")
    expected = tuple(_markers(source, path, spec, line)) if language == "python" else ()
    return Block(path, language, "\n".join(source) + "\n", expected)


def _markers(source: list[str], path: str, spec: Path, first: int) -> Iterable[Expectation]:
    pending: list[tuple[str, str, Persona, str]] = []
    for number, line in enumerate(source, 1):
        found: list[tuple[str, str, Persona, str]] = []
        for marker in _ANY_MARKER.finditer(line):
            where = f"{spec}:{first + number}"
            if marker["word"] not in (*_SEVERITIES, "todo"):
                raise SpecError(f"{where}: unknown marker `{marker['word']}`")
            if not _CODE.match(marker["code"]):
                raise SpecError(f"{where}: `{marker['code']}` is not a rule code")
            rest = _REST.match(marker["rest"])
            if rest is None:
                raise SpecError(f'{where}: after the code come a persona and "a part of the message"')
            persona: Persona = next((name for name in PERSONAS if name == rest["persona"]), "regular")
            found.append((marker["word"], marker["code"], persona, rest["text"] or ""))
        if line.lstrip().startswith("#"):
            pending += found  # a marker on a line of its own speaks of the next line of code
            continue
        if not line.strip():
            continue
        for severity, code, persona, text in (*pending, *found):
            yield Expectation(severity, code, path, number, persona, text)
        pending = []
    if pending:
        raise SpecError(f"{spec}:{first + len(source)}: a marker at the end of a block speaks of no line")


def problems_of_shape(spec: Spec) -> list[str]:
    """What the spec lacks as a document."""
    problems = [f"the section `{name}` is missing" for name in SECTIONS if name not in spec.sections]
    blocks = [block for block in spec.blocks if block.is_python]
    found = sum(1 for block in blocks if block.is_finding)
    silent = len(blocks) - found
    if not found:
        problems.append("no block promises a finding")
    if silent <= found:
        problems.append(f"{silent} blocks without a finding are not more than {found} with one")
    for example in spec.examples:
        if example.section == "Not found" and any(block.is_finding for block in example.blocks):
            problems.append(f"line {example.line}: a finding is promised under `Not found`")
    if not any(
        item.code == spec.code and item.severity in _SEVERITIES for b in blocks for item in b.expected
    ):
        problems.append(f"no marker names {spec.code} itself")
    return problems


def write_project(example: Example, folder: Path) -> None:
    """Write the example's files, and an empty pyproject.toml where there is none: it marks the root."""
    for block in example.blocks:
        target = folder / block.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.source, encoding="utf-8")
    if not (folder / "pyproject.toml").exists():
        (folder / "pyproject.toml").write_text("[tool.boundlint]\n", encoding="utf-8")


def compare(expected: Sequence[Expectation], findings: Sequence[Finding]) -> list[str]:
    """What differs between the markers and the findings, one line each; empty where they agree.

    Each marker answers for one finding.  Every finding needs a marker.
    """
    problems: list[str] = []
    left = list(findings)
    for item in expected:
        place = (item.code, item.path, item.line)
        same = [f for f in left if (f.rule, f.location.path, f.location.line) == place]
        if item.severity == "todo":
            for finding in same:
                left.remove(finding)
                problems.append(
                    f"{item}: the known gap is closed; write `# {finding.severity}: [{item.code}]`"
                )
            continue
        match = next((f for f in same if item.text in f.message), None)
        if match is None:
            said = "; ".join(f.message for f in same)
            problems.append(f"{item}: not found" + (f", but: {said}" if said else ""))
            continue
        left.remove(match)
        if match.severity != item.severity:
            problems.append(f"{item}: found as {match.severity}")
    for f in left:
        where = f"{f.location.path}:{f.location.line}"
        problems.append(f'{where}: unexpected {f.severity}: [{f.rule}] {f.persona} "{f.message}"')
    return problems
