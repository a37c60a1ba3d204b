"""The formats for programs: each is read back by the parser of its consumer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import reports

from boundlint.findings import Finding, Location, Report, TraceStep
from boundlint.output import Context, github, gitlab, junit, sarif
from boundlint.output import json as json_format

# The schema of SARIF 2.1.0 as the package sarif-om (MIT) carries it.
SCHEMA = Path(__file__).parent / "data" / "sarif-2.1.0-rtm.4.json"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return reports.project(tmp_path)


def sarif_of(report: Report, context: Context) -> dict:  # type: ignore[type-arg]
    log = json.loads(sarif.render(report, context))
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(log)
    (run,) = log["runs"]
    return dict(run)


def test_json_is_the_contract(context: Context) -> None:
    document = json.loads(json_format.render(reports.REPORT, context))
    assert list(document) == ["version", "findings", "suppressed", "errors", "summary"]
    assert document["version"] == 1
    assert document["findings"][0] == {
        "rule": "BND201",
        "name": "unscoped-memory-key",
        "severity": "error",
        "confidence": "high",
        "message": reports.FIRST.message,
        "help": reports.FIRST.help,
        "path": "app/memory.py",
        "line": 13,
        "column": 9,
        "end_line": 13,
        "end_column": 52,
        "function": "Memory.remember_format",
        "operation": "redis.client.Redis.set",
        "trace": [],
        "fix": None,
        "url": reports.FIRST.url,
        "fingerprint": "0123456789abcdef",
    }
    second = document["findings"][1]
    assert second["message"] == reports.SECOND.message
    assert second["trace"][0] == {"path": "app/memory.py", "line": 12, "note": "value: comes from the caller"}
    assert second["fix"]["safe"] is True
    assert second["fix"]["edits"][0]["text"] == "put"
    assert document["findings"][2]["end_line"] == 7
    assert [item["reason"] for item in document["suppressed"]] == [
        "shared feature flags",
        "per-file-ignores: gone.py",
        "",
    ]
    assert document["errors"][0] == {"path": "broken.py", "line": 3, "message": "invalid syntax"}
    assert document["summary"] == {
        "files": 3,
        "lines": 40,
        "findings": 3,
        "suppressed": 3,
        "errors": 2,
        "hidden": 2,
        "notes": ["a note"],
    }


def test_json_carries_any_file_name(context: Context) -> None:
    name = os.fsdecode(b"app/\xff\n\x1b.py")
    odd = replace(reports.FIRST, location=Location(name, 1))
    text = json_format.render(Report(findings=(odd,)), context)
    assert text.isascii()
    assert json.loads(text)["findings"][0]["path"] == name


def test_sarif_is_valid_and_holds_the_rules_that_spoke(context: Context) -> None:
    run = sarif_of(reports.REPORT, context)
    driver = run["tool"]["driver"]
    assert [rule["id"] for rule in driver["rules"]] == ["BND001", "BND201", "BND301"]
    assert driver["rules"][0]["shortDescription"]["text"] == "a suppression that matches nothing"
    assert driver["rules"][1]["helpUri"] == reports.FIRST.url
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert sarif_of(reports.CLEAN, context)["tool"]["driver"]["rules"] == []


def test_sarif_results(context: Context) -> None:
    run = sarif_of(reports.REPORT, context)
    first, second, note = run["results"][:3]
    assert [item["level"] for item in (first, second, note)] == ["error", "warning", "note"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "app/memory.py", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 13, "startColumn": 9, "endLine": 13, "endColumn": 52}
    assert first["partialFingerprints"] == {"boundlint/v1": "0123456789abcdef"}
    assert first["properties"]["confidence"] == "high"
    assert "codeFlows" not in first
    uri = second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert " " not in uri
    assert unquote(uri) == "app/odd, name:1.py"
    flow = second["codeFlows"][0]["threadFlows"][0]["locations"]
    assert [step["location"]["physicalLocation"]["region"]["startLine"] for step in flow] == [12, 1, 2]
    assert [item["message"]["text"] for item in second["relatedLocations"]] == [
        "value: comes from the caller",
        "名前 is handed on",
    ]
    assert "partialFingerprints" not in note


def test_sarif_marks_what_is_suppressed(context: Context) -> None:
    results = sarif_of(reports.REPORT, context)["results"]
    assert [item.get("suppressions") for item in results] == [
        None,
        None,
        None,
        [{"kind": "inSource", "justification": "shared feature flags"}],
        [{"kind": "external", "justification": "per-file-ignores: gone.py"}],
        [{"kind": "inSource"}],
    ]


def test_sarif_says_when_the_analysis_failed(context: Context) -> None:
    (invocation,) = sarif_of(reports.REPORT, context)["invocations"]
    assert invocation["executionSuccessful"] is False
    notes = invocation["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == ["invalid syntax", "no such folder"]
    assert sarif_of(reports.CLEAN, context)["invocations"][0]["executionSuccessful"] is True


def test_sarif_paths_outside_of_the_working_directory_are_absolute(context: Context) -> None:
    beside = replace(context, cwd=context.root / "docs")
    run = sarif_of(Report(findings=(reports.FIRST,)), beside)
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": (context.root / "app/memory.py").as_uri()}


def unescape(text: str) -> str:
    for code, char in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, char)
    return text


def test_github_commands(context: Context) -> None:
    lines = github.render(reports.REPORT, context).splitlines()
    assert len(lines) == 5
    commands = []
    for line in lines:
        _, head, message = line.split("::", 2)
        name, _, rest = head.partition(" ")
        pairs = (pair.split("=", 1) for pair in rest.split(","))
        commands.append((name, {key: unescape(value) for key, value in pairs}, unescape(message)))
    first, second, note, broken, gone = commands
    assert first[:2] == (
        "error",
        {
            "title": "BND201 unscoped-memory-key",
            "file": "app/memory.py",
            "line": "13",
            "col": "9",
            "endColumn": "52",
        },
    )
    assert first[2].startswith("app/memory.py:13:9: BND201 redis.Redis.set writes")
    assert first[2].endswith(f"\nhelp: {reports.FIRST.help}")
    assert second[1] == {
        "title": "BND301 unfiltered-retrieval",
        "file": "app/odd, name:1.py",
        "line": "2",
        "endLine": "4",
    }
    escaped = "with \\x1b]0;title\\x07, 100%, \\u202e and\na second line <&>"
    assert second[2].endswith(escaped)
    assert (note[0], broken[0], gone[0]) == ("notice", "error", "error")
    assert broken[1] == {"title": "boundlint", "file": "broken.py", "line": "3"}
    assert "line" not in gone[1]


def test_gitlab_report(context: Context) -> None:
    twice = replace(reports.REPORT, findings=(*reports.REPORT.findings, reports.FIRST))
    issues = json.loads(gitlab.render(twice, context))
    assert issues[0] == {
        "description": f"BND201 unscoped-memory-key: {reports.FIRST.message}",
        "check_name": "BND201",
        "fingerprint": issues[0]["fingerprint"],
        "severity": "major",
        "location": {"path": "app/memory.py", "lines": {"begin": 13, "end": 13}},
    }
    severities = [issue["severity"] for issue in issues]
    assert severities == ["major", "minor", "info", "major", "blocker", "blocker"]
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    assert json.loads(gitlab.render(twice, context)) == issues
    assert json.loads(gitlab.render(reports.CLEAN, context)) == []


def test_junit_xml(context: Context) -> None:
    text = junit.render(reports.REPORT, context)
    root = ET.fromstring(text)
    (suite,) = root
    assert (root.tag, suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "testsuites",
        "5",
        "3",
        "2",
    )
    first, second, _, broken, _ = suite
    assert first.get("name") == "BND201 unscoped-memory-key 13:9"
    failure = first.find("failure")
    assert failure is not None
    assert failure.get("message") == reports.FIRST.message
    assert reports.FIRST.help in (failure.text or "")
    assert second.get("classname") == "app/odd, name:1.py"
    error = broken.find("error")
    assert error is not None
    assert error.get("message") == "invalid syntax"


def test_junit_without_findings_has_a_test_that_passed(context: Context) -> None:
    root = ET.fromstring(junit.render(reports.CLEAN, context))
    (case,) = root.iter("testcase")
    assert list(case) == []
    assert root.get("failures") == "0"


@pytest.mark.parametrize("character", [chr(code) for code in (*range(32), 0x85, 0xD800, 0xFFFE, 0xFFFF)])
def test_junit_stays_readable_with_any_character(context: Context, character: str) -> None:
    text = f"x{character}y"
    odd = Finding(
        *("BND201", "n", "error", "high", "regular", text, text, Location(text, 1)),
        facts=(text,),
        trace=(TraceStep(text, 1, text),),
    )
    document = junit.render(Report(findings=(odd,)), context).encode("utf-8")
    assert len(list(ET.fromstring(document).iter("failure"))) == 1
