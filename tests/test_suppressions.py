"""Comments that silence findings: which are read, what they cover, and which are at fault."""

from __future__ import annotations

import textwrap

import pytest

from boundlint.findings import Finding, Location
from boundlint.rule import Rule
from boundlint.suppressions import Applied, Suppression, apply, parse
from boundlint_rules.suppressions import suppression_without_reason, unused_suppression

KNOWN = ("BND001", "BND002", "BND201", "BND301", "BND401")
JUDGES = (unused_suppression.RULE, suppression_without_reason.RULE)


def rule(code: str) -> Rule:
    return Rule(code=code, name=code.lower(), severity="error", summary="")


def finding(line: int, code: str = "BND201", end_line: int = 0, path: str = "a.py") -> Finding:
    place = Location(path, line, 1, end_line or line, 2)
    return Finding(code, "name", "error", "high", "regular", "message", "help", place)


def run(
    source: str, *findings: Finding, selected: tuple[str, ...] = ("BND201", "BND301"), judge: bool = True
) -> Applied:
    rules = tuple(rule(code) for code in selected) + (JUDGES if judge else ())
    return apply(findings, {"a.py": parse(textwrap.dedent(source))}, rules, known=KNOWN)


def said(applied: Applied) -> list[tuple[str, int, str]]:
    return [(item.rule, item.location.line, item.message) for item in applied.problems]


def only(source: str) -> Suppression:
    (item,) = parse(source)
    return item


@pytest.mark.parametrize(
    ("comment", "codes", "reason", "form"),
    [
        ("# boundlint: ignore[BND201] reason: shared flags", ("BND201",), "shared flags", "ignore"),
        ("# boundlint:ignore[BND201,BND301]reason:x", ("BND201", "BND301"), "x", "ignore"),
        ("# boundlint: ignore[BND201, BND301]", ("BND201", "BND301"), "", "ignore"),
        ("# boundlint: ignore[bnd201] -- why", ("BND201",), "why", "ignore"),
        ("# boundlint: ignore[BND201] because", ("BND201",), "", "ignore"),
        ("# noqa: BND201 -- shared: flags", ("BND201",), "shared: flags", "noqa"),
        ("# noqa:BND201,E501", ("BND201",), "", "noqa"),
        ("# NOQA: E501 BND201 BND301 -- x", ("BND201", "BND301"), "x", "noqa"),
        ("# type: ignore  # noqa: BND201 -- x  # nosec", ("BND201",), "x", "noqa"),
    ],
)
def test_forms(comment: str, codes: tuple[str, ...], reason: str, form: str) -> None:
    item = only(f"x = 1  {comment}\n")
    assert (item.codes, item.reason, item.form, item.problem) == (codes, reason, form, "")
    assert (item.line, item.first, item.last) == (1, 1, 1)


@pytest.mark.parametrize(
    "line",
    [
        "x = 1  # noqa",
        "x = 1  # noqa: E501",
        "x = 1  # noqa: E501 -- not BND201",
        "x = 1  # type: ignore[BND201]",
        "x = '# boundlint: ignore[BND201] reason: x'",
        "x = '''\n# noqa: BND201\n'''",
        "# boundlint is a linter, see BND201",
    ],
)
def test_what_is_no_suppression(line: str) -> None:
    assert parse(line + "\n") == ()


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        ("# boundlint: ignore", "is not understood"),
        ("# boundlint: ignroe[BND201] reason: x", "is not understood"),
        ("# boundlint: ignore[] reason: x", "names no rule"),
        ("# boundlint: ignore[unscoped-memory-key] reason: x", "'UNSCOPED-MEMORY-KEY' is not a rule code"),
    ],
)
def test_a_comment_that_is_wrong_silences_nothing_and_is_told(comment: str, problem: str) -> None:
    applied = run(f"x = 1  {comment}\n", finding(1))
    assert len(applied.kept) == 1
    ((code, line, message),) = said(applied)
    assert (code, line) == ("BND001", 1)
    assert problem in message


def test_place_of_the_comment_itself() -> None:
    item = only("x = 'ü'  # pragma  # boundlint: ignore[BND201] reason: x\n")
    assert (item.column, item.end_column) == (20, 57)


@pytest.mark.parametrize(
    ("source", "covered"),
    [
        ("a = 1\nb = 2  # {}\nc = 3\n", {2}),
        ("f(\n    1,  # {}\n    2,\n)\ng()\n", {1, 2, 3, 4}),
        ("f(\n    1,\n)  # {}\ng()\n", {1, 2, 3}),
        ("f(\n    1,\n    # {}\n    2,\n)\ng()\n", {1, 2, 3, 4, 5}),
        ("x = '''\n'''  # {}\ny = 1\n", {1, 2}),
        ("a = 1\n# {}\nb = 2\n", {2}),
        ("def f():  # {}\n    a()\n\n    b()\n\nc()\n", {1, 2, 3, 4}),
        ("@d\n@e\ndef f(\n    a,\n):  # {}\n    b()\nc()\n", {1, 2, 3, 4, 5, 6}),
        ("@d  # {}\ndef f():\n    b()\n", {1}),
        ("class A:  # {}\n    def f(self):\n        a()\n    b = 1\nc()\n", {1, 2, 3, 4}),
        ("class A:\n    async def f(self):  # {}\n        a()\n    b = 1\nc()\n", {2, 3}),
        ("def f(): a()  # {}\nb()\nc()\n", {1}),
        ("if x:  # {}\n    a()\nb()\n", {1}),
        ("def f():  # {}\n    a()", {1, 2}),
        ("def f():\n    a()  # {}", {2}),
        ("def f():\n    def g():  # {}\n        a()\n    b()\nc()\n", {2, 3}),
        ("a = 1; b = 2  # {}\nc()\n", {1}),
        ("a = 1 + \\\n    2  # {}\nb()\n", {1, 2}),
    ],
)
def test_lines_that_a_comment_covers(source: str, covered: set[int]) -> None:
    text = source.replace("{}", "boundlint: ignore[BND201] reason: x")
    item = only(text)
    lines = range(1, text.count("\n") + 2)
    assert {line for line in lines if item.covers(finding(line))} == covered


def test_any_line_of_the_reported_statement_counts() -> None:
    item = only("a()\nb()  # noqa: BND201 -- x\n")
    assert item.covers(finding(1, end_line=3))
    assert not item.covers(finding(3, end_line=4))


@pytest.mark.parametrize(
    "broken",
    [
        "x = (\n",
        "x = '''\n",
        "  x = 1\n y = 2\n",
        "if x:\n        a\n    b\n",
        "x = 'unclosed\n",
        "x = 1 $ 2\n",
        "x = 0777\n",
        "(" * 300 + "\n",
    ],
)
def test_files_that_cannot_be_tokenized_keep_their_comments(broken: str) -> None:
    before = "a()  # boundlint: ignore[BND201] reason: one\n"
    items = parse(before + broken + "c('#')  # boundlint: ignore[BND301] reason: two\n")
    assert items[0].codes == ("BND201",)
    assert items[0].covers(finding(1))
    assert {code for item in items for code in item.codes} <= {"BND201", "BND301"}
    assert len(items) == len({(item.line, item.column) for item in items})


def test_a_string_in_a_broken_file_is_no_comment() -> None:
    assert parse("x = '# noqa: BND201'\ny = (\n") == ()


def test_silenced_findings_keep_their_reason() -> None:
    applied = run(
        """\
        a()  # boundlint: ignore[BND201] reason: one
        b()  # noqa: BND301
        c()
        """,
        finding(1),
        finding(2, "BND301"),
        finding(3),
        finding(1, "BND301"),
    )
    assert [(item.finding.location.line, item.reason) for item in applied.suppressed] == [(1, "one"), (2, "")]
    assert [(item.location.line, item.rule) for item in applied.kept] == [(3, "BND201"), (1, "BND301")]
    assert said(applied) == [("BND002", 2, "the suppression of BND301 gives no reason")]


def test_one_of_two_codes_is_unused() -> None:
    applied = run("a()  # boundlint: ignore[BND201, BND301] reason: x\n", finding(1))
    assert said(applied) == [("BND001", 1, "the suppression of BND301 silences nothing here")]
    assert "remove BND301 from the comment" in applied.problems[0].help


def test_a_rule_that_did_not_run_is_not_judged() -> None:
    source = "a()  # boundlint: ignore[BND301] reason: x\n"
    assert said(run(source, selected=("BND201",))) == []
    assert said(run(source, selected=("BND301",))) != []
    rules = (rule("BND301"), *JUDGES)
    stopped = apply([], {"a.py": parse(source)}, rules, known=KNOWN, ran=("BND001", "BND002"))
    assert said(stopped) == []


def test_an_unknown_code_is_always_told() -> None:
    applied = run("a()  # boundlint: ignore[BND999] reason: x\n", selected=("BND201",))
    assert said(applied) == [("BND001", 1, "no rule has the code BND999")]


def test_without_the_rules_about_comments_nothing_is_said() -> None:
    assert said(run("a()  # boundlint: ignore[BND201]\n", judge=False)) == []


def test_a_comment_of_another_file_is_not_used() -> None:
    applied = run("a()  # noqa: BND201 -- x\n", finding(1, path="b.py"))
    assert len(applied.kept) == 1
    assert [code for code, _, _ in said(applied)] == ["BND001"]


@pytest.mark.parametrize("reason", ["TODO", "n/a", "...", "-", "fixme."])
def test_a_placeholder_is_no_reason(reason: str) -> None:
    applied = run(f"a()  # boundlint: ignore[BND201] reason: {reason}\n", finding(1))
    assert [code for code, _, _ in said(applied)] == ["BND002"]
    assert len(applied.suppressed) == 1


def test_the_rules_about_comments_can_be_silenced_and_judged_themselves() -> None:
    kept_on_purpose = run("a()  # boundlint: ignore[BND201, BND001] reason: only in the nightly run\n")
    assert said(kept_on_purpose) == []
    assert [item.finding.rule for item in kept_on_purpose.suppressed] == ["BND001"]
    for_nothing = run("a()  # boundlint: ignore[BND201, BND002] reason: x\n", finding(1))
    assert said(for_nothing) == [("BND001", 1, "the suppression of BND002 silences nothing here")]


def test_per_file_ignores_are_suppressions_of_the_configuration() -> None:
    def ignored_in(path: str, code: str) -> str | None:
        return "tests/*" if path.startswith("tests/") and code == "BND201" else None

    findings = [finding(1, path="tests/a.py"), finding(1)]
    applied = apply(findings, {}, (rule("BND201"), *JUDGES), known=KNOWN, ignored_in=ignored_in)
    assert [item.location.path for item in applied.kept] == ["a.py"]
    assert [item.reason for item in applied.suppressed] == ["per-file-ignores: tests/*"]


def test_fingerprints_of_problems_survive_line_moves() -> None:
    source = "a()  # boundlint: ignore[BND201] reason: x\n"
    first, moved = (run(text).problems[0].fingerprint for text in (source, "\n\n" + source))
    assert first == moved
    assert len(first) == 16
