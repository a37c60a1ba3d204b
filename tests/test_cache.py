"""The fact cache: what is stored comes back; whatever is wrong with the file is never believed or fatal."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from boundlint.index.cache import DATABASE, Cache, open_cache, remove_cache

ROWS = {f"{number:064x}": json.dumps({"number": number, "text": "ü" * 50}) for number in range(200)}


def filled(directory: Path, stamp: str = "1") -> Path:
    with open_cache(directory, stamp) as cache:
        cache.put_many(ROWS)
        assert cache.problem == ""
    return directory / DATABASE


def read(directory: Path, stamp: str = "1") -> dict[str, str]:
    with open_cache(directory, stamp) as cache:
        return cache.get_many(list(ROWS))


def test_stored_rows_come_back_and_unknown_keys_are_left_out(tmp_path: Path) -> None:
    filled(tmp_path / "cache")
    with open_cache(tmp_path / "cache", "1") as cache:
        assert cache.get_many([*ROWS, "unknown"]) == ROWS
        assert cache.get_many([]) == {}


def test_a_row_is_replaced(tmp_path: Path) -> None:
    filled(tmp_path / "cache")
    with open_cache(tmp_path / "cache", "1") as cache:
        cache.put_many({next(iter(ROWS)): "new"})
    assert read(tmp_path / "cache") == {**ROWS, next(iter(ROWS)): "new"}


@pytest.mark.parametrize("text", ["", "\udcff lone surrogate", "nul \0 inside", "\U0001f600"])
def test_any_text_survives(tmp_path: Path, text: str) -> None:
    with open_cache(tmp_path / "cache", "1") as cache:
        cache.put_many({"key": text})
        assert cache.get_many(["key"]) == {"key": text}


def test_directory_ignores_itself_and_is_tagged(tmp_path: Path) -> None:
    filled(tmp_path / "cache")
    assert "*" in (tmp_path / "cache" / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert (
        (tmp_path / "cache" / "CACHEDIR.TAG")
        .read_text(encoding="utf-8")
        .startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert status.stdout == ""


def test_a_directory_with_other_things_is_not_made_ignored(tmp_path: Path) -> None:
    (tmp_path / "precious.py").write_text("", encoding="utf-8")
    filled(tmp_path)
    assert not (tmp_path / ".gitignore").exists()
    assert read(tmp_path) == ROWS


def test_another_stamp_drops_the_old_rows(tmp_path: Path) -> None:
    filled(tmp_path / "cache", "1")
    assert read(tmp_path / "cache", "2") == {}
    assert read(tmp_path / "cache", "1") == {}


def test_a_late_write_under_an_old_stamp_is_not_believed(tmp_path: Path) -> None:
    with open_cache(tmp_path / "cache", "1") as old, open_cache(tmp_path / "cache", "2") as new:
        old.put_many(ROWS)
        assert new.get_many(list(ROWS)) == {}


def test_prune_keeps_what_it_is_told_to_keep(tmp_path: Path) -> None:
    filled(tmp_path / "cache")
    keep = list(ROWS)[:20]
    with open_cache(tmp_path / "cache", "1") as cache:
        cache.prune([*keep, "never stored"])
    assert read(tmp_path / "cache") == {key: ROWS[key] for key in keep}


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def truncate_hard(file: Path) -> None:
    os.truncate(file, 50)


def garbage(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 400)


def garbage_behind_the_header(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:100] + b"\xa5" * (len(data) - 100))


def foreign_database(file: Path) -> None:
    file.unlink()
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY, payload BLOB, checksum BLOB)")
        connection.executemany("INSERT INTO facts VALUES (?, 'evil', 'evil')", [(key,) for key in ROWS])
    connection.close()


def dropped_table(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE facts")
    connection.close()


def other_columns(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("DROP TABLE facts")
        connection.execute("CREATE TABLE facts (key TEXT PRIMARY KEY)")
    connection.close()


DAMAGES = [
    truncate,
    truncate_hard,
    garbage,
    garbage_behind_the_header,
    foreign_database,
    dropped_table,
    other_columns,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_not_believed_and_is_replaced(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(filled(tmp_path / "cache"))
    survivors = read(tmp_path / "cache")
    assert survivors.items() <= ROWS.items()
    for _ in range(2):  # damage may show itself only while reading; the run after that starts afresh
        with open_cache(tmp_path / "cache", "1") as cache:
            cache.put_many(ROWS)
    assert read(tmp_path / "cache") == ROWS


def test_flipped_payload_bytes_are_not_believed(tmp_path: Path) -> None:
    file = filled(tmp_path / "cache")
    victim = next(iter(ROWS))
    connection = sqlite3.connect(file)
    connection.execute("UPDATE facts SET payload = ? WHERE key = ?", (b'{"number": 1}', victim))
    connection.commit()
    connection.close()
    assert read(tmp_path / "cache") == {key: text for key, text in ROWS.items() if key != victim}


def test_bytes_flipped_on_disk_are_not_believed(tmp_path: Path) -> None:
    file = filled(tmp_path / "cache")
    data = file.read_bytes()
    place = data.index(b'"number": 77')
    file.write_bytes(data[: place + 10] + b"66" + data[place + 12 :])
    found = read(tmp_path / "cache")
    assert found == {key: text for key, text in ROWS.items() if '"number": 77' not in text}


def test_rows_of_odd_types_are_not_believed(tmp_path: Path) -> None:
    file = filled(tmp_path / "cache")
    connection = sqlite3.connect(file)
    connection.execute("UPDATE facts SET payload = NULL, checksum = 7")
    connection.commit()
    connection.close()
    assert read(tmp_path / "cache") == {}


def assert_bypassed(directory: Path) -> None:
    with open_cache(directory, "1") as cache:
        assert cache.problem
        cache.put_many(ROWS)
        assert cache.get_many(list(ROWS)) == {}
        cache.prune([])


def test_a_directory_in_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache" / DATABASE / "inner").mkdir(parents=True)
    assert_bypassed(tmp_path / "cache")
    assert (tmp_path / "cache" / DATABASE / "inner").is_dir()


def test_a_file_in_place_of_the_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine", encoding="utf-8")
    assert_bypassed(tmp_path / "cache")
    assert (tmp_path / "cache").read_text(encoding="utf-8") == "mine"


def test_a_linked_directory_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "elsewhere")
    assert_bypassed(tmp_path / "cache")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_locked_cache_is_bypassed_and_kept(tmp_path: Path) -> None:
    file = filled(tmp_path / "cache")
    lock = sqlite3.connect(file, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    started = time.monotonic()
    assert_bypassed(tmp_path / "cache")
    assert time.monotonic() - started < 20
    lock.execute("ROLLBACK")
    lock.close()
    assert read(tmp_path / "cache") == ROWS


def as_plain_user(action: Callable[[], str]) -> str:
    """Run the action in a child without root's power over file modes; return what it returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            os.write(writer, action().encode())
        except BaseException as error:
            os.write(writer, f"raised {error!r}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_directory_is_read_and_never_written(exists: bool) -> None:
    base = Path(tempfile.mkdtemp())
    try:
        base.chmod(0o755)
        directory = base / "cache"
        directory.mkdir()
        if exists:
            filled(directory).chmod(0o444)
        directory.chmod(0o555)

        def use() -> str:
            with open_cache(directory, "1") as cache:
                cache.put_many({"new": "row"})
                return f"{len(cache.get_many([*ROWS, 'new']))} rows"

        assert as_plain_user(use) == ("200 rows" if exists else "0 rows")
        assert (directory / DATABASE).exists() == exists
    finally:
        (base / "cache").chmod(0o755)
        shutil.rmtree(base)


WRITER = """
import sys
from pathlib import Path
from boundlint.index.cache import open_cache
name = sys.argv[2]
with open_cache(Path(sys.argv[1]), "1") as cache:
    for round in range(10):
        rows = {f"{name}-{round}-{n}": f"{name} {round} {n} " + "x" * 2000 for n in range(40)}
        rows["shared"] = "one of the writers " + "y" * 100
        cache.put_many(rows)
        found = cache.get_many(list(rows))
        assert found == rows, (len(found), cache.problem)
    assert not cache.problem, cache.problem
"""


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "cache")]
    running = [
        subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in ("a", "b", "c", "d")
    ]
    for process in running:
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 0, complaint
    keys = [f"{name}-{round}-{number}" for name in "abcd" for round in range(10) for number in range(40)]
    with open_cache(tmp_path / "cache", "1") as cache:
        assert len(cache.get_many([*keys, "shared"])) == len(keys) + 1


def test_a_closed_cache_answers_nothing(tmp_path: Path) -> None:
    cache: Cache = open_cache(tmp_path / "cache", "1")
    cache.put_many(ROWS)
    cache.close()
    assert cache.get_many(list(ROWS)) == {}
    cache.close()


def test_remove_cache_deletes_only_what_boundlint_made(tmp_path: Path) -> None:
    filled(tmp_path / "cache")
    (tmp_path / "cache" / "note.txt").write_text("mine", encoding="utf-8")
    assert remove_cache(tmp_path / "cache") is True
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["note.txt"]
    filled(tmp_path / "other")
    assert remove_cache(tmp_path / "other") is True
    assert not (tmp_path / "other").exists()
    assert remove_cache(tmp_path / "other") is False


def test_ten_megabytes_are_read_in_a_moment(tmp_path: Path) -> None:
    rows = {f"{number:064x}": f"{number} " + "x" * 3400 for number in range(3000)}
    with open_cache(tmp_path / "cache", "1") as cache:
        cache.put_many(rows)
    best = 9.0
    for _ in range(3):
        with open_cache(tmp_path / "cache", "1") as cache:
            started = time.perf_counter()
            found = cache.get_many(list(rows))
            best = min(best, time.perf_counter() - started)
        assert found == rows
    assert best < 0.5  # some 0.05 s on an idle machine


def test_the_stamp_is_the_same_in_every_process() -> None:
    code = "from boundlint import engine, registry\nprint(engine._stamp(registry.load_registry()))\n"
    stamps = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }
    assert len(stamps) == 1, "a cache would be thrown away by every other run"
