"""Every rule's spec holds: each marked line is found, and nothing else is."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import specs
from boundlint import engine
from boundlint.config import load_settings
from boundlint.findings import Finding, Location, Report
from boundlint.rule import Rule

PATHS = specs.find_specs()


def _name(path: Path) -> str:
    return path.relative_to(specs.RULES).as_posix().removesuffix(".md")


def _examples() -> list[object]:
    parameters: list[object] = []
    for path in PATHS:
        spec = specs.read_spec(path)
        for example in spec.examples:
            name = f"{_name(path)}:{example.heading}" + (f"-{example.number}" if example.number > 1 else "")
            parameters.append(pytest.param(spec, example, id=name))
    return parameters


def check(folder: Path) -> Report:
    """Run the engine over one small project; the report holds the findings of every persona."""
    request = engine.Request(paths=(folder,), settings=load_settings(folder), jobs=1, cache_dir=None)
    return engine.check(request)


@pytest.mark.parametrize(("spec", "example"), _examples())
def test_example(spec: specs.Spec, example: specs.Example, tmp_path: Path) -> None:
    specs.write_project(example, tmp_path)
    report = check(tmp_path)
    assert not report.errors
    regular = specs.compare(
        [item for item in example.expected if item.persona == "regular"],
        [finding for finding in report.findings if finding.persona == "regular"],
    )
    # A rule of a thorough persona is judged there too, by its own code alone.
    thorough = specs.compare(
        [item for item in example.expected if item.code == spec.code and item.persona != "regular"],
        [
            finding
            for finding in report.findings
            if finding.rule == spec.code and finding.persona in specs.thorough_personas(spec.persona)
        ],
    )
    untold = []
    if engine.NO_TENANCY in report.summary.notes and "tenancy" not in example.heading:
        untold = ["the project shows no carrier, so silence proves nothing; let `## Project` show one"]
    problems = "\n".join((*regular, *thorough, *untold))
    assert not problems, f"{spec.path}:{example.line}: {example.heading}\n{problems}"


@pytest.mark.parametrize("path", PATHS, ids=_name)
def test_shape(path: Path) -> None:
    spec = specs.read_spec(path)
    assert specs.problems_of_shape(spec) == []
    rule = importlib.import_module("boundlint_rules." + _name(path).replace("/", ".")).RULE
    assert isinstance(rule, Rule)
    assert (spec.name, spec.code) == (rule.name, rule.code)
    assert path.stem == rule.name.replace("-", "_")


def test_every_rule_has_a_spec() -> None:
    without = [
        module.relative_to(specs.RULES).as_posix()
        for module in sorted(specs.RULES.rglob("*.py"))
        if "\nRULE = " in module.read_text(encoding="utf-8") and not module.with_suffix(".md").exists()
    ]
    assert PATHS
    assert without == []


SPEC = """\
# some-rule (BND201)
What it reports.

## Project
```python path=app/models.py
class Note: ...
```
## Before and after
```python
not_run()
```
## Found
```python path=app/a.py
x = 1  # error: [BND201] "no boundary"
# warning: [BND301] pedantic
y = 2
z = 3  # error: [BND201]  # note: [BND205] "collide"
```
```python path=app/a.py
x = 1  # todo: [BND201]
```
## Not found
### a lock
```toml path=pyproject.toml
[tool.boundlint]
```
```python path=app/b.py
x = 1  # ok
```
"""


def _finding(line: int, severity: str = "error") -> Finding:
    assert severity in {"error", "warning"}
    return Finding(
        rule="BND201",
        name="some-rule",
        severity="error" if severity == "error" else "warning",
        confidence="high",
        persona="regular",
        message="no boundary",
        help="",
        location=Location("app/a.py", line),
    )


def _expect(line: int = 1, severity: str = "error", text: str = "") -> specs.Expectation:
    return specs.Expectation(severity, "BND201", "app/a.py", line, text=text)


def test_parser_reads_blocks_markers_and_the_shared_project() -> None:
    spec = specs.parse_spec(SPEC, Path("some.md"))
    first, second, third = spec.examples
    assert [str(item) for item in first.expected] == [
        'app/a.py:1: error: [BND201] "no boundary"',
        "app/a.py:3: warning: [BND301]",
        "app/a.py:4: error: [BND201]",
        'app/a.py:4: note: [BND205] "collide"',
    ]
    assert spec.persona == "pedantic"
    assert [block.path for block in first.blocks] == ["app/models.py", "app/a.py"]
    assert [item.severity for item in second.expected] == ["todo"]
    assert [block.path for block in third.blocks] == ["app/models.py", "pyproject.toml", "app/b.py"]
    assert third.heading == "a lock"


def test_compare_accepts_what_the_markers_say() -> None:
    expected = [_expect(text="boundary")]
    assert specs.compare(expected, [_finding(1)]) == []


@pytest.mark.parametrize(
    ("expected", "findings", "problem"),
    [
        ([], [_finding(1)], "unexpected error: [BND201]"),
        ([_expect()], [], "not found"),
        ([_expect(2)], [_finding(1)], "not found"),
        ([_expect()], [_finding(1), _finding(1)], "unexpected"),
        ([_expect()], [_finding(1, "warning")], "found as warning"),
        (
            [_expect(text="tenant")],
            [_finding(1)],
            "not found, but",
        ),
        ([_expect(severity="todo")], [_finding(1)], "the known gap is closed"),
    ],
)
def test_compare_names_each_difference(
    expected: list[specs.Expectation], findings: list[Finding], problem: str
) -> None:
    assert problem in "\n".join(specs.compare(expected, findings))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("# some-rule (BND201)", "# some-rule", "some.md:1: the first line must read"),
        ("## Found", "## Finds", "some.md:12: unknown section `Finds`"),
        ("# error: [BND201] ", "# eror: [BND201] ", "some.md:14: unknown marker `eror`"),
        ("[BND205]", "[BND20]", "some.md:17: `BND20` is not a rule code"),
        ("path=app/b.py", "file=app/b.py", "`file=app/b.py`"),
        ("path=app/b.py", "path=../b.py", "must lie inside the project"),
        ('"collide"', "collide", "some.md:17: after the code"),
        ("z = 3  # error: [BND201]  #", "#", "a marker at the end"),
    ],
)
def test_parser_refuses_what_it_would_misread(old: str, new: str, problem: str) -> None:
    with pytest.raises(specs.SpecError) as caught:
        specs.parse_spec(SPEC.replace(old, new), Path("some.md"))
    assert problem in str(caught.value)


def test_shape_counts_silent_blocks() -> None:
    problems = specs.problems_of_shape(specs.parse_spec(SPEC, Path("some.md")))
    assert problems == []
    more = SPEC.replace("x = 1  # todo: [BND201]", "x = 1  # error: [BND201]")
    problems = specs.problems_of_shape(specs.parse_spec(more, Path("some.md")))
    assert problems == ["1 blocks without a finding are not more than 2 with one"]
