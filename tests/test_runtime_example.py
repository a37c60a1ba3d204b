"""The example agent under the plugin: one clear failure for each leak, none on the repaired twin."""

from __future__ import annotations

import re
import subprocess
import sys

from conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
QUIET = ("pytest", "--quiet", "-W", "ignore", "-p", "no:cacheprovider")
LEAKS = {
    "test_report_format_is_written": "BND201 unscoped memory write — support_agent/memory.py",
    "test_report_format_is_read": "BND201 unscoped memory read — support_agent/memory.py",
    "test_a_tenant_leaves": "BND205 ambiguous pattern — support_agent/memory.py",
    "test_similar_tickets": "BND301 unscoped retrieval read — support_agent/retrieval.py",
    "test_suggested_replies": "BND301 unscoped retrieval read — support_agent/retrieval.py",
    "test_a_document_by_id": "BND501 unscoped database read — support_agent/records.py",
    "test_passages_are_cached": "BND401 unscoped cache read — support_agent/agent.py",
    "test_the_greeting": "BND501 another tenant's data in the prompt — tests/test_isolation.py",
    "test_the_conversation_is_the_customers_own": "BND501 another tenant's data in the prompt — tests/test_isolation.py",
    "test_the_model_names_the_other_tenant[search_tickets-arguments0]": (
        "BND501 unscoped database read — support_agent/tools.py"
    ),
    "test_the_model_names_the_other_tenant[close_ticket-arguments1]": (
        "BND501 unscoped database read — support_agent/tools.py"
    ),
    "test_a_summary_is_scheduled": "BND601 unscoped queue job — support_agent/jobs.py",
    "test_conversation_starters": "BND501 unscoped database read — support_agent/jobs.py",
    "test_what_the_planner_noted_is_not_remembered": (
        "BND203 the tenant's data in the memory write — support_agent/memory.py"
    ),
    "test_a_failure_is_logged_without_content": "BND701 the tenant's data in the log — support_agent/audit.py",
    "test_previews_of_two_customers": "BND801 another tenant's data in the file — tests/test_isolation.py",
}


def test_each_leak_is_one_clear_failure() -> None:
    command = [sys.executable, "-m", *QUIET, "--enforce-boundary", "tests/test_isolation.py"]
    run = subprocess.run(command, cwd=EXAMPLES / "support_agent", capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    shown = re.split(r"^_{3,} (test_\S+) _{3,}$", run.stdout, flags=re.MULTILINE)
    found = {
        name: [line.rpartition(":")[0] for line in text.splitlines() if line.startswith("BND")]
        for name, text in zip(shown[1::2], shown[2::2], strict=True)
    }
    assert found == {name: [headline] for name, headline in LEAKS.items()}


def test_the_repaired_agent_passes_with_the_flag_and_without() -> None:
    for flags in ((), ("--enforce-boundary", "--boundary-require=redis,sqlalchemy,qdrant,diskcache")):
        command = [sys.executable, str(EXAMPLES / "repaired.py"), *QUIET, *flags]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


def test_the_linter_finds_nothing_in_the_repaired_agent() -> None:
    command = [sys.executable, str(EXAMPLES / "repaired.py"), "boundlint", "check", "--no-cache", "."]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
