"""The stored verdicts on real findings can be counted: well formed, and each finding once."""

from pathlib import Path

import pytest

from benchmarks.accuracy import STORE, BadVerdict, load


def test_every_stored_verdict_is_well_formed_and_there_once() -> None:
    assert load(STORE)


def test_a_finding_that_is_judged_in_two_files_is_refused(tmp_path: Path) -> None:
    line = next(iter((STORE / "unseen.jsonl").read_text(encoding="utf-8").splitlines()))
    for name in ("first.jsonl", "second.jsonl"):
        (tmp_path / name).write_text(line + "\n", encoding="utf-8")
    with pytest.raises(BadVerdict, match="is there twice"):
        load(tmp_path)
