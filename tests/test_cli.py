"""The command line as a user meets it: a process, its output and its exit status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from boundlint import __version__

LEAK = """\
import redis

store = redis.Redis()


class Memory:
    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id

    def remember(self, value: str) -> None:
        store.set("preferred_report_format", value)

    def recall(self) -> bytes:
        return store.get(f"{self.tenant_id}:format")
"""
COMMENT = "# boundlint: ignore[BND201] reason: the same for all tenants"
SILENCED = LEAK.replace('format", value)', f'format", value)  {COMMENT}')
CLEAN = LEAK.replace('"preferred_report_format"', 'f"{self.tenant_id}:format"')


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[tool.boundlint]\n", encoding="utf-8")
    (folder / "app/memory.py").write_text(LEAK, encoding="utf-8")
    (folder / "app/clean.py").write_text(
        "def add(a: int, b: int) -> int:\n    return a + b\n", encoding="utf-8"
    )
    return folder


def run(
    folder: Path, *arguments: str, stdin: str | bytes | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "boundlint", *arguments],
        cwd=folder,
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        check=False,
        env={**kept, **environment},
        timeout=120,
    )
    assert b"Traceback" not in done.stderr
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def found(folder: Path, *arguments: str, **options: str) -> list[tuple[str, str, int]]:
    done = run(folder, "check", "--output-format", "json", *arguments, **options)
    document = json.loads(done.stdout)
    assert done.returncode == (2 if document["errors"] else 1 if document["findings"] else 0)
    return [(item["rule"], item["path"], item["line"]) for item in document["findings"]]


def test_findings_exit_with_one_and_are_shown(project: Path) -> None:
    done = run(project, "check")
    assert done.returncode == 1
    assert done.stdout.startswith("app/memory.py:11:9 BND201 unscoped-memory-key\n   ")
    assert '11 |         store.set("preferred_report_format", value)\n   |         ^^^' in done.stdout
    assert "   = help: " in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == "1 finding (1 error) in 2 files\n"


def test_no_findings_exit_with_zero(project: Path) -> None:
    (project / "app/memory.py").write_text(CLEAN, encoding="utf-8")
    done = run(project, "check", ".")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no findings in 2 files\n")


def test_the_script_is_installed() -> None:
    script = Path(sys.executable).parent / "boundlint"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"boundlint {__version__}\n"


def test_given_files_report_only_for_those_files(project: Path) -> None:
    assert found(project, "app/clean.py") == []
    assert found(project, "app/clean.py", "app/memory.py") == [("BND201", "app/memory.py", 11)]


def test_paths_are_relative_to_the_working_directory(project: Path) -> None:
    assert found(project / "app") == [("BND201", "memory.py", 11)]
    (project / "docs").mkdir()
    assert found(project / "docs", "../app") == [("BND201", "../app/memory.py", 11)]
    assert found(project.parent, str(project)) == [("BND201", "project/app/memory.py", 11)]


def test_exit_zero_forgives_findings_and_no_errors(project: Path) -> None:
    done = run(project, "check", "--exit-zero")
    assert (done.returncode, "BND201" in done.stdout) == (0, True)
    (project / "app/broken.py").write_text("def f(:\n", encoding="utf-8")
    assert run(project, "check", "--exit-zero").returncode == 2


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"x = 1\ndef f(:\n", "app/broken.py:2: ", "syntax"),
        (b"x = 1\ny = '\xff'\n", "app/broken.py:2: ", "is not valid utf-8"),
        (b"# coding: nonsense\n", "app/broken.py:1: ", "unknown encoding"),
        (b"x = '\0'\n", "app/broken.py:1: ", "null byte"),
    ],
)
def test_a_file_that_cannot_be_analyzed_is_never_a_pass(
    project: Path, content: bytes, place: str, message: str
) -> None:
    (project / "app/broken.py").write_bytes(content)
    done = run(project, "check", "--output-format", "concise")
    assert done.returncode == 2
    assert "app/memory.py:11:9: BND201 [error] " in done.stdout  # every other file is still checked
    assert f"boundlint: error: {place}" in done.stderr
    assert message in done.stderr
    assert "the result is not complete" in done.stderr
    document = json.loads(run(project, "check", "--output-format", "json", "--quiet").stdout)
    assert [(error["path"], error["line"]) for error in document["errors"]] == [
        ("app/broken.py", int(place.split(":")[1]))
    ]


def test_a_broken_file_that_was_not_asked_for_is_not_reported(project: Path) -> None:
    (project / "app/broken.py").write_text("def f(:\n", encoding="utf-8")
    assert run(project, "check", "app/clean.py").returncode == 0


def test_a_path_that_does_not_exist(project: Path) -> None:
    done = run(project, "check", "gone.py", "app", "--output-format", "concise")
    assert done.returncode == 2
    assert "boundlint: error: gone.py: no such file or folder\n" in done.stderr
    assert "app/memory.py:11:9: BND201" in done.stdout


def test_no_python_files_is_said(project: Path) -> None:
    (project / "docs").mkdir()
    done = run(project, "check", "docs")
    assert done.returncode == 0
    assert "warning: no Python files were found under the given paths" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--select", "BND9"], "--select: no rule has the code 'BND9'"),
        (["check", "--output-format", "xml"], "--output-format: 'xml' is not one of rich, concise, json"),
        (["check", "--persona", "nobody"], "invalid choice: 'nobody'"),
        (["check", "--jobs", "0"], "'0' is not a number of processes"),
        (["check", "--config", "gone.toml"], "gone.toml:1: cannot be read: No such file"),
        (["check", "--root", "gone"], "--root: gone does not exist"),
        (["check", "-", "app"], "standard input cannot be checked together with other paths"),
        (["check", "--statistics", "--output-format", "sarif"], "--statistics cannot be written as sarif"),
        (["check", "--output-file", "no/such/folder/x"], "cannot be written: No such file"),
        (["check", "--unsafe-fixes"], "unrecognized arguments: --unsafe-fixes"),
        (["check", "--output-f", "json"], "unrecognized arguments: --output-f"),
        (["explain", "BND999"], "no rule is called 'BND999'; did you mean BND"),
        (["catalog", "list", "rediss"], "the catalog has no family 'rediss'; did you mean 'redis'?"),
        (["nothing"], "invalid choice: 'nothing'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_usage_exits_with_two(project: Path, arguments: list[str], message: str) -> None:
    done = run(project, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_bad_configuration_exits_with_two(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.boundlint]\n\nselekt = []\n", encoding="utf-8")
    done = run(project, "check")
    assert done.returncode == 2
    assert done.stderr == (
        f"boundlint: error: {project / 'pyproject.toml'}:3: unknown key 'selekt'; did you mean 'select'?\n"
    )


def test_selection(project: Path) -> None:
    leak = [("BND201", "app/memory.py", 11)]
    assert found(project, "--select", "BND2") == leak
    assert found(project, "--select", "BND001,BND002") == []
    assert found(project, "--ignore", "BND2") == []
    assert found(project, "--select", "BND0", "--extend-select", "BND201") == leak


def test_persona_and_confidence_hide_and_the_summary_counts(project: Path) -> None:
    (project / "app/memory.py").write_text(LEAK.replace("preferred_report_format", "x"), encoding="utf-8")
    everything = run(project, "check", "--output-format", "json", "--persona", "auditor")
    document = json.loads(everything.stdout)
    assert document["summary"]["hidden"] == 0
    total = len(document["findings"])
    confidences = [item["confidence"] for item in document["findings"]]
    done = run(
        project, "check", "--output-format", "json", "--persona", "auditor", "--min-confidence", "high"
    )
    narrowed = json.loads(done.stdout)
    assert len(narrowed["findings"]) == confidences.count("high")
    assert narrowed["summary"]["hidden"] == total - confidences.count("high")


def test_suppressions(project: Path) -> None:
    (project / "app/memory.py").write_text(SILENCED, encoding="utf-8")
    done = run(project, "check", "--output-format", "json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["findings"]) == (0, [])
    (item,) = document["suppressed"]
    assert (item["rule"], item["reason"]) == ("BND201", "the same for all tenants")
    assert done.stderr == "no findings in 2 files; 1 suppressed\n"
    assert found(project, "--no-suppressions") == [("BND201", "app/memory.py", 11)]


def test_per_file_ignores_are_relative_to_the_root(project: Path) -> None:
    text = '[tool.boundlint.per-file-ignores]\n"app/*" = ["BND2"]\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert found(project / "app") == []


@pytest.mark.parametrize(
    "arguments", [("-",), ("--stdin-filename", "app/new.py"), ("-", "--stdin-filename", "x.py")]
)
def test_standard_input(project: Path, arguments: tuple[str, ...]) -> None:
    done = run(project, "check", *arguments, "--quiet", stdin=LEAK)
    assert done.returncode == 1
    name = arguments[-1]
    assert done.stdout.startswith(f"{name}:11:9 BND201 ")
    assert '11 |         store.set("preferred_report_format", value)' in done.stdout
    clean = run(project, "check", *arguments, "--quiet", stdin=CLEAN)
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, "", "")


def test_standard_input_stands_in_for_the_file_of_its_name(project: Path) -> None:
    done = run(project, "check", "--stdin-filename", "app/memory.py", stdin=CLEAN)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("data", [b"x = '\xff'\n", b"def f(:\n"])
def test_standard_input_that_is_broken(project: Path, data: bytes) -> None:
    done = run(project, "check", "--stdin-filename", "app/new.py", stdin=data)
    assert done.returncode == 2
    assert "boundlint: error: app/new.py:1: " in done.stderr


def test_output_file(project: Path) -> None:
    done = run(project, "check", "--output-format", "sarif", "--output-file", "out.sarif", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    log = json.loads((project / "out.sarif").read_text(encoding="utf-8"))
    assert log["runs"][0]["results"][0]["ruleId"] == "BND201"


@pytest.mark.parametrize("name", ["rich", "concise", "json", "sarif", "github", "gitlab", "junit"])
def test_every_format_names_the_finding(project: Path, name: str) -> None:
    done = run(project, "check", "--output-format", name)
    assert done.returncode == 1
    assert "BND201" in done.stdout
    assert "app/memory.py" in done.stdout


def test_statistics(project: Path) -> None:
    done = run(project, "check", "--statistics")
    assert (done.returncode, done.stdout) == (1, "     1  BND201  unscoped-memory-key\n")
    rows = json.loads(run(project, "check", "--statistics", "--output-format", "json").stdout)
    assert rows == [{"rule": "BND201", "name": "unscoped-memory-key", "count": 1}]


def test_show_settings(project: Path) -> None:
    text = '[tool.boundlint]\nselect = ["BND2"]\nboundary.names = ["shop_id"]\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    done = run(project, "check", "--show-settings", "--persona", "auditor")
    assert done.returncode == 0
    assert f'# root = "{project}"\n' in done.stdout
    assert 'select = ["BND2"]\n' in done.stdout
    assert 'persona = "auditor"\n' in done.stdout
    assert 'boundary.names = ["shop_id"]\n' in done.stdout


def test_what_show_settings_prints_is_a_configuration(project: Path) -> None:
    text = '[tool.boundlint]\nselect = ["BND2"]\nunscoped = { "app.flags.*" = "shared" }\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    first = run(project, "check", "--show-settings").stdout
    (project / "again.toml").write_text(first, encoding="utf-8")
    second = run(project, "check", "--show-settings", "--config", "again.toml").stdout

    def keys(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if not line.startswith(("# conf", "exclude"))]

    assert keys(first) == keys(second)


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ((), {}, False),
        (("--color", "always"), {}, True),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colors(
    project: Path, arguments: tuple[str, ...], environment: dict[str, str], colored: bool
) -> None:
    done = run(project, "check", *arguments, **environment)
    assert ("\x1b[" in done.stdout) is colored


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
@pytest.mark.parametrize(("environment", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colors_on_a_terminal(project: Path, environment: dict[str, str], colored: bool) -> None:
    import pty

    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "boundlint", "check"],
        cwd=project,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**kept, "TERM": "xterm-256color", **environment},
    )
    os.close(follower)
    data = b""
    try:
        while chunk := os.read(leader, 65536):
            data += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(leader)
    assert process.wait(timeout=60) == 1
    assert b"unscoped-memory-key" in data
    assert (b"\x1b[" in data) is colored


def test_a_reader_that_leaves_is_no_crash(project: Path) -> None:
    body = "".join(f"    def m{n}(self, value):\n        store.set('k', value)\n" for n in range(300))
    (project / "app/memory.py").write_text(LEAK + body, encoding="utf-8")
    command = f"{sys.executable} -m boundlint check --output-format json | head -c 10"
    done = subprocess.run(command, shell=True, cwd=project, capture_output=True, check=False, timeout=120)
    assert len(done.stdout) == 10
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_odd_names_do_not_break_the_output(project: Path) -> None:
    name = os.fsencode(project / "app") + b"/m\xff\n\x1b[31m.py"
    try:
        shutil.copy(os.fsencode(project / "app/memory.py"), name)
    except OSError:
        pytest.skip("the file system takes no such name")
    for form in ("rich", "concise", "json", "sarif", "github", "gitlab", "junit"):
        done = run(project, "check", "--output-format", form, "--no-cache")
        assert done.returncode == 1, done.stderr
        assert "\x1b" not in done.stdout
    assert run(project, "check", "--output-format", "concise").stdout.count("\n") == 2


def test_source_that_looks_like_markup_or_commands_is_escaped(project: Path) -> None:
    source = LEAK.replace("preferred_report_format", "[red]a[/red]\x1b[31m\r::error::x%0A")
    (project / "app/memory.py").write_text(source, encoding="utf-8", newline="")
    for form in ("rich", "concise", "github", "junit"):
        done = run(project, "check", "--output-format", form, "--persona", "auditor")
        assert "\x1b" not in done.stdout
        assert not re.search(r"^::error::x", done.stdout, re.MULTILINE)


def test_the_cache_ignores_itself_and_clean_deletes_it(project: Path) -> None:
    assert run(project, "check", "--no-cache").returncode == 1
    assert not (project / ".boundlint_cache").exists()
    assert run(project, "check").returncode == 1
    assert (project / ".boundlint_cache/.gitignore").read_text(encoding="utf-8").endswith("*\n")
    again = run(project, "check")
    assert (again.returncode, "BND201" in again.stdout) == (1, True)
    done = run(project / "app", "clean")
    assert (done.returncode, done.stdout) == (0, f"deleted {project / '.boundlint_cache'}\n")
    assert not (project / ".boundlint_cache").exists()
    assert run(project, "clean").stdout.startswith("there is no cache in ")
    run(project, "check", "--cache-dir", "elsewhere")
    assert (project / "elsewhere").is_dir()
    assert not (project / ".boundlint_cache").exists()


def test_clean_keeps_what_is_not_a_cache(project: Path) -> None:
    done = run(project, "clean", "--cache-dir", "app")
    assert done.stdout.startswith("there is no cache in app")
    assert (project / "app/memory.py").exists()


def test_nothing_of_the_project_is_imported_or_executed(project: Path) -> None:
    trap = "open('trapped', 'w').close()\n"
    for name in ("conftest.py", "sitecustomize.py", "app/__init__.py", "rich.py", "libcst.py"):
        (project / name).write_text(trap, encoding="utf-8")
    done = run(project, "check")
    assert "BND201" in done.stdout
    assert not (project / "trapped").exists()


def test_explain_by_code_and_name(project: Path) -> None:
    by_code = run(project, "explain", "bnd001")
    by_name = run(project, "explain", "unused-suppression")
    assert by_code.returncode == 0
    assert by_code.stdout == by_name.stdout
    assert by_code.stdout.startswith("# unused-suppression (BND001)\n")
    rendered = run(project, "explain", "BND001", "--color", "always")
    assert "\x1b[" in rendered.stdout


def test_rules_are_listed_and_all_can_be_explained(project: Path) -> None:
    rows = json.loads(run(project, "rules", "--output-format", "json").stdout)
    codes = [row["code"] for row in rows]
    assert codes == sorted(codes)
    assert {"BND001", "BND002", "BND201"} <= set(codes)
    table = run(project, "rules").stdout.splitlines()
    assert table[0].split() == ["CODE", "NAME", "SEVERITY", "IT", "REPORTS"]
    assert [line.split()[0] for line in table[1:]] == codes


def test_catalog_list(project: Path) -> None:
    table = run(project, "catalog", "list").stdout.splitlines()
    assert "redis" in [line.split()[0] for line in table]
    operations = run(project, "catalog", "list", "redis").stdout
    assert re.search(r"^redis\.client\.Redis\.get +memory +read ", operations, re.MULTILINE)
    (family,) = json.loads(run(project, "catalog", "list", "redis", "--output-format", "json").stdout)
    assert family["name"] == "redis"


def test_catalog_lists_the_projects_own_operations(project: Path) -> None:
    text = '[[tool.boundlint.operation]]\ntarget = "app.kv.Store.put"\nkind = "memory"\neffect = "write"\n'
    (project / "pyproject.toml").write_text(text, encoding="utf-8")
    assert "app.kv.Store.put" in run(project, "catalog", "list", "project").stdout


def test_catalog_verify(project: Path) -> None:
    done = run(project, "catalog", "verify", "sqlite", "--output-format", "json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["passed"], result["problems"]) == (True, [])


def test_a_bug_in_boundlint_exits_with_two_and_says_so(project: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom boundlint import cli, engine\n"
        "def broken(*a): raise ZeroDivisionError('oh')\n"
        "engine.check = broken\nsys.exit(cli.main(['check']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("boundlint: internal error: ZeroDivisionError: oh (")
    assert "Please report it" in done.stderr


def test_starting_up_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom boundlint.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'libcst', 'astroid', 'rich', 'pluggy', 'sqlglot', 'asyncio'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
