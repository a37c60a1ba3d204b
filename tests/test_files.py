"""Finding the files of a project, and turning their bytes into text."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from boundlint.config import Settings, load_settings
from boundlint.files import decode, discover, find_root, read_source, relative_name
from boundlint.findings import AnalysisError


def write(root: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def found(root: Path, *paths: Path, settings: Settings | None = None) -> list[str]:
    settings = settings or Settings(root=root)
    files, errors = discover(paths or (root,), settings)
    assert not errors
    return [relative_name(file, root) for file in files]


def test_python_files_in_order_without_the_usual_folders(tmp_path: Path) -> None:
    write(tmp_path, "b.py", "a/z.py", "a/b/c.py", "stub.pyi", "readme.md", "a/build/kept.py", "tool")
    write(tmp_path, ".venv/lib/x.py", "venv/x.py", "node_modules/m/x.py", ".git/hooks/x.py", "build/x.py")
    write(tmp_path, "lib/site-packages/x.py", ".tox/x.py", "pkg.egg-info/x.py", "__pycache__/x.py")
    assert found(tmp_path) == ["a/b/c.py", "a/build/kept.py", "a/z.py", "b.py"]


def test_exclude_and_taking_back_a_default(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", text='[tool.boundlint]\nexclude = ["gen_*.py", "old/**", "!/build"]\n')
    write(tmp_path, "a.py", "gen_a.py", "deep/gen_b.py", "old/x.py", "old/sub/x.py", "build/x.py")
    settings = load_settings(tmp_path)
    assert found(tmp_path, settings=settings) == ["a.py", "build/x.py"]


def test_what_is_named_itself_is_searched(tmp_path: Path) -> None:
    write(tmp_path, "venv/lib/x.py", "venv/lib/site-packages/y.py", "stub.pyi", "script")
    assert found(tmp_path, tmp_path / "venv") == ["venv/lib/x.py"]
    assert found(tmp_path, tmp_path / "stub.pyi", tmp_path / "script") == ["script", "stub.pyi"]
    assert found(tmp_path, tmp_path / "venv/lib/site-packages/y.py") == ["venv/lib/site-packages/y.py"]


def test_a_file_that_is_given_twice_is_checked_once(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py")
    twice = found(tmp_path, tmp_path, tmp_path / "a", tmp_path / "a" / ".." / "a" / "x.py")
    assert twice == ["a/x.py"]


GITIGNORE = """\
# comment
generated/
*_pb2.py
!kept_pb2.py
/only_here.py
docs/*.py
data/**/tmp_?.py
name[0-9].py
trailing.py\x20\x20
\\#odd.py
"""


def test_gitignore_means_what_it_means_to_git(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", text=GITIGNORE)
    write(tmp_path, "sub/.gitignore", text="local.py\n!again_pb2.py\n")
    write(tmp_path, "generated/x.py", "sub/generated/x.py", "generated.py", "a_pb2.py", "kept_pb2.py")
    write(tmp_path, "only_here.py", "sub/only_here.py", "docs/a.py", "docs/deep/a.py", "sub/docs/a.py")
    write(tmp_path, "data/tmp_1.py", "data/x/y/tmp_2.py", "data/tmp_10.py", "name1.py", "namex.py")
    write(tmp_path, "trailing.py", "#odd.py", "local.py", "sub/local.py", "sub/again_pb2.py")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".git/info").mkdir(exist_ok=True)
    (tmp_path / ".git/info/exclude").write_text("namex.py\n", encoding="utf-8")
    command = ["git", "ls-files", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    expected = sorted(listed.split())
    assert len(expected) == 8
    assert found(tmp_path) == expected
    below = [name for name in expected if name.startswith("sub/")]
    assert found(tmp_path, tmp_path / "sub") == below


def test_gitignore_outside_of_a_repository_is_nobodys_business(tmp_path: Path) -> None:
    write(tmp_path, "x.py")
    write(tmp_path, ".gitignore", text="*\n")
    assert found(tmp_path) == ["x.py"]


def test_a_folder_that_git_ignores_is_searched_when_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, "apps/.gitignore", text="*\n")
    write(tmp_path, "apps/one/x.py")
    (tmp_path / ".git").mkdir()
    assert found(tmp_path) == []
    assert found(tmp_path, tmp_path / "apps/one") == ["apps/one/x.py"]


def test_links_do_not_loop_and_broken_ones_are_told(tmp_path: Path) -> None:
    write(tmp_path, "a/x.py")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "self.py").symlink_to("self.py")
    (tmp_path / "gone.py").symlink_to("nowhere.py")
    (tmp_path / ".#lock.py").symlink_to("someone@host.123")
    (tmp_path / "linked.py").symlink_to("a/x.py")
    files, errors = discover([tmp_path], Settings(root=tmp_path))
    assert [relative_name(file, tmp_path) for file in files] == ["a/x.py", "linked.py"]
    assert sorted(error.path for error in errors) == ["gone.py", "self.py"]
    assert found(tmp_path, tmp_path / "a/loop/a") == ["a/x.py"]


def test_paths_that_are_not_there_are_errors(tmp_path: Path) -> None:
    write(tmp_path, "x.py")
    os.mkfifo(tmp_path / "pipe.py")
    names = ["x.py", "gone.py", "x.py/y.py", "pipe.py"]
    files, errors = discover([tmp_path / name for name in names], Settings(root=tmp_path))
    assert [file.name for file in files] == ["x.py"]
    assert [(error.path, error.message) for error in errors] == [
        ("gone.py", "no such file or folder"),
        ("x.py/y.py", "no such file or folder"),
        ("pipe.py", "this is neither a file nor a folder"),
    ]
    assert found(tmp_path) == ["x.py"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "shut/x.py", "x.py")
    (tmp_path / "shut").chmod(0)
    files, errors = discover([tmp_path], Settings(root=tmp_path))
    (tmp_path / "shut").chmod(0o700)
    assert [file.name for file in files] == ["x.py"]
    assert [error.path for error in errors] == ["shut"]


def test_five_thousand_files_are_found_at_once(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
    for folder in range(100):
        path = tmp_path / f"package{folder}"
        path.mkdir()
        for number in range(50):
            (path / f"module{number}.py").touch()
    start = time.perf_counter()
    assert len(found(tmp_path)) == 5000
    assert time.perf_counter() - start < 5  # seconds; half a second on an idle machine


def test_root_is_the_nearest_project(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "service/pyproject.toml", "service/app/x.py", "other/y.py", text="")
    write(tmp_path, "other/lib/site-packages/package/z.py")
    assert find_root(tmp_path / "service/app/x.py") == tmp_path / "service"
    assert find_root(tmp_path / "other") == tmp_path
    installed = tmp_path / "other/lib/site-packages/package"
    assert find_root(installed / "z.py") == installed


def test_root_is_the_repository_where_there_is_no_project_file(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    write(tmp_path, "a/b/x.py")
    assert find_root(tmp_path / "a/b") == tmp_path


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\n", "x = 1\n"),
        (b"", ""),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        ("x = 'é'\n".encode(), "x = 'é'\n"),
        (b"# -*- coding: latin-1 -*-\nx = '\xe9'\n", "# -*- coding: latin-1 -*-\nx = 'é'\n"),
        (b"#!/bin/sh\n# vim: set fileencoding=cp1252 :\nx = '\x80'\n", None),
        (b"a = 1\r\nb = 2\rc = 3\n", "a = 1\nb = 2\nc = 3\n"),
        (b"a = 1\x0c\nb = '\xe2\x80\xa8'\n", "a = 1\x0c\nb = '\u2028'\n"),
    ],
)
def test_sources_are_decoded_as_python_does(data: bytes, text: str | None, tmp_path: Path) -> None:
    expected = text if text is not None else data.decode("cp1252")
    assert decode(data, "x.py") == expected
    (tmp_path / "x.py").write_bytes(data)
    assert read_source(tmp_path / "x.py", "x.py") == expected


@pytest.mark.parametrize(
    ("data", "line", "message"),
    [
        (b"a = 1\nb = '\xe9'\n", 2, "is not valid utf-8 (byte 0xe9)"),
        (b"a = 1\r\n\r\nb = 2\rc = '\xff'\n", 4, "byte 0xff"),
        ("x = 1\n".encode("utf-16"), 1, "null byte"),
        (b"x = 1\ny = '\0'\n", 2, "null byte"),
        (b"# coding: no-such-codec\n", 1, "unknown encoding"),
        (b"# coding: rot13\nk = 1\n", 1, "not a text encoding"),
        (b"# coding: hex\n00\n", 1, "not a text encoding"),
        (b"\xef\xbb\xbf# coding: latin-1\n", 1, "encoding"),
        (b"# coding: ascii\n\nx = '\xe9'\n", 3, "is not valid ascii"),
    ],
)
def test_what_cannot_be_decoded_is_an_error_with_a_line(data: bytes, line: int, message: str) -> None:
    error = decode(data, "odd.py")
    assert isinstance(error, AnalysisError)
    assert (error.path, error.line) == ("odd.py", line)
    assert message in error.message


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    missing = read_source(tmp_path / "gone.py", "gone.py")
    assert missing == AnalysisError("gone.py", 0, "cannot be read: No such file or directory")
    folder = read_source(tmp_path, "folder")
    assert isinstance(folder, AnalysisError)
