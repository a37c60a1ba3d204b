"""The example agent: boundlint names exactly the leaks of the table in its README."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from boundlint.registry import load_registry

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPT = REPOSITORY / "examples" / "compare.py"
EXAMPLE = REPOSITORY / "examples" / "support_agent"


def compare(example: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, example], capture_output=True, text=True, check=False)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_findings_are_the_table() -> None:
    run = compare(EXAMPLE)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert "leaks of the table" in run.stdout


def test_a_mended_leak_is_missed_by_the_comparison(tmp_path: Path) -> None:
    example = tmp_path / "support_agent"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    memory = example / "support_agent" / "memory.py"
    source = memory.read_text(encoding="utf-8")
    mended = source.replace(
        '.set("preferred_report_format"', '.set(scoped_key(self._context, "report_format")'
    )
    assert mended != source
    memory.write_text(mended, encoding="utf-8")
    run = compare(example)
    assert run.returncode == 1
    assert run.stdout.splitlines() == ["missing:    memory.py CustomerMemory.remember_report_format BND201"]


def test_the_table_names_rules_that_exist() -> None:
    today, pedantic = script().leaks(EXAMPLE)
    assert len(today) >= 10
    assert {rule for *_, rule in today | pedantic} <= load_registry().codes
