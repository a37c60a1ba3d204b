"""Bleed detection: marks in seeded data, found wherever they surface for another tenant."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boundlint.boundary import scoped_key
from pytest_boundary.bleed.canaries import Canaries
from pytest_boundary.bleed.matching import Stream, tokens_in
from pytest_boundary.bleed.prompts import PROMPTS
from pytest_boundary.bleed.tenants import TWINS, Lookalikes
from pytest_boundary.bleed.watcher import Watcher, encodings
from runtime_project import Project, blocks

MARK = Canaries().make("acme", "tickets", "1", "body").token


class TestMatching:
    @pytest.mark.parametrize(
        ("name", "value"), list(encodings(MARK)), ids=[name for name, _ in encodings(MARK)]
    )
    def test_encodings(self, name: str, value: Any) -> None:
        assert MARK in tokens_in(value), name

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_base64_at_every_place(self, before: bytes, after: bytes) -> None:
        data = before + MARK.encode() + after
        assert MARK in tokens_in(base64.b64encode(data).decode())
        assert MARK in tokens_in(base64.urlsafe_b64encode(data))
        assert MARK in tokens_in(data.hex().upper())

    @given(st.text(max_size=40), st.integers(1, 30))
    def test_streams_in_chunks_of_any_size(self, text: str, size: int) -> None:
        whole = f"{text} {MARK} {text}"
        stream = Stream()
        found: set[str] = set()
        for start in range(0, len(whole), size):
            found |= stream.feed(whole[start : start + size])
        assert MARK in found

    @given(st.one_of(st.text(max_size=300), st.binary(max_size=300)))
    def test_other_data_holds_none_and_breaks_nothing(self, value: Any) -> None:
        assert not [token for token in tokens_in(value) if token.startswith("qzcny")]

    def test_nested_objects(self) -> None:
        class Message:
            def __init__(self) -> None:
                self.parts = [{"text": MARK}]
                self.me = self

        assert MARK in tokens_in(Message())
        assert MARK in tokens_in(ValueError("no answer", {"document": MARK}))
        assert MARK in tokens_in(json.dumps({"a": [json.dumps({"b": MARK})]}))
        assert MARK in tokens_in(gzip.compress(quote(MARK).encode()))


class TestTenants:
    def test_two_that_are_easy_to_confuse(self) -> None:
        first, second = Lookalikes(Canaries())
        assert second.id.startswith(first.id)
        assert first.name.split()[0] == second.name.split()[0]
        assert (first.local_id, first.session_id, first.email) == (
            second.local_id,
            second.session_id,
            second.email,
        )
        assert first.boundary != second.boundary

    @pytest.mark.parametrize("kind", TWINS)
    def test_every_kind_of_twins_has_boundaries_and_keys_of_its_own(self, kind: str) -> None:
        one, two = Lookalikes(Canaries()).twins(kind)
        assert one.id != two.id
        assert scoped_key(one.boundary, "x") != scoped_key(two.boundary, "x")

    def test_a_naive_key_of_delimiter_twins_is_the_same(self) -> None:
        one, two = Lookalikes(Canaries()).twins("delimiter")
        assert f"{one.id}:{one.user}" == f"{two.id}:{two.user}"

    def test_as_many_as_asked_for(self) -> None:
        tenants = Lookalikes(Canaries()).more(5)
        assert len({tenant.id for tenant in tenants}) == 5
        with pytest.raises(ValueError, match="choose of prefix"):
            Lookalikes(Canaries()).twins("colour")

    def test_records_carry_marks_at_both_ends_of_each_text(self) -> None:
        tenant = Lookalikes(Canaries())[0]
        record = tenant.record(
            "tickets", "t-1", id="t-1", tenant_id=tenant.id, title="Renewal", body="late", seats=3
        )
        assert (record["id"], record["tenant_id"], record["seats"]) == ("t-1", tenant.id, 3)
        for field in ("title", "body"):
            first, *_, last = record[field].split()
            for token in (first, last):
                canary = tenant.canaries.known[token]
                assert (canary.tenant, canary.store, canary.record, canary.field) == (
                    tenant.id,
                    "tickets",
                    "t-1",
                    field,
                )

    def test_ids_addresses_and_names(self) -> None:
        tenant = Lookalikes(Canaries())[0]
        for made in (
            tenant.marked_id(),
            tenant.marked_email(),
            tenant.file_name("a.b.pdf"),
            str(tenant.point_id()),
        ):
            assert any(token in tenant.canaries.known for token in tokens_in(made)), made
        assert tenant.file_name("report.pdf").endswith(".pdf")


APP = """
    import logging
    import fakeredis

    store = fakeredis.FakeRedis(decode_responses=True)
    log = logging.getLogger("app")
    log.propagate = False

    def seed(*tenants):
        for tenant in tenants:
            store.set(f"{tenant.id}:note", tenant.text("may churn", store="memory", field="note"))
            # what an earlier bug left behind: the second tenant's data under a shared key
            store.set("latest", tenant.text("latest", store="memory", record="latest"))
"""
TESTS = """
    import logging
    @pytest.fixture
    def tenants(lookalike_tenants):
        code.seed(*lookalike_tenants)
        return lookalike_tenants
"""


def run(project: Project, body: str, *arguments: str) -> pytest.RunResult:
    from textwrap import dedent

    tests = "import pytest\n" + dedent(TESTS) + dedent(body)
    files = {
        "pyproject.toml": "[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = 'function'\nboundary_shared = ['latest # a test of ours']\n"
    }
    return project(APP, tests, *arguments, bare=True, files=files)


def test_a_value_of_another_tenant_is_found_when_it_is_read(project: Project) -> None:
    body = """
        def test_foreign(tenants, boundary_scope):
            first, second = tenants
            with boundary_scope(first.boundary):
                code.store.get(f"{second.id}:note:{first.id}")
                code.store.mget(f"{first.id}:note")
        def test_written_under_the_wrong_key(tenants, boundary_scope):
            first, second = tenants
            code.store.set(f"{first.id}:cache", second.text("hello", store="memory", field="cache"))
            with boundary_scope(first.boundary):
                code.store.get(f"{first.id}:cache")
    """
    result = run(project, body)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "BND201 another tenant's data from a memory read*",
            "*data of memory record-1 cache of tenant 'northstar-dental-2'*",
        ]
    )


SURFACES = {
    "answer": "bleed.check(value)",
    "chunks": "list(bleed.chunks([value[:20], value[20:]]))",
    "log message": "code.log.warning(f'answer {value}')",
    "log argument": "code.log.warning('answer %s', value)",
    "log extra": "code.log.warning('answer', extra={'document': value})",
    "log exception": "logging.getLogger('x').error('failed', exc_info=ValueError(value))",
    "memory write": "code.store.set(f'{first.id}:summary', value)",
    "pipeline write": "code.store.pipeline().set(f'{first.id}:summary', value)",
    "nested write": "code.store.hset(f'{first.id}:h', mapping={'a': value})",
}


def test_every_surface(project: Project) -> None:
    lines = []
    for number, (name, use) in enumerate(SURFACES.items()):
        lines += [
            f"def test_{number}_{name.replace(' ', '_')}(tenants, bleed, boundary_scope):",
            "    first, second = tenants",
            "    value = code.store.get(f'{second.id}:note')",
            "    bleed.read(value, 'memory')",
            "    with boundary_scope(first.boundary):",
            f"        {use}",
        ]
    result = run(project, "\n".join(lines) + "\n")
    result.assert_outcomes(failed=len(SURFACES))
    found = blocks(result)
    assert len(found) == len(SURFACES)
    assert {block.split(" —")[0] for block in found} == {
        "BND201 another tenant's data in the answer",
        "BND701 another tenant's data in the log",
        "BND201 another tenant's data in the memory write",
    }
    result.stdout.fnmatch_lines(["*it holds a value of memory record-1 note of tenant 'northstar-dental-2'*"])
    result.stdout.no_fnmatch_line("*may churn*")


def test_what_is_no_bleed(project: Project) -> None:
    body = """
        def test_own(tenants, bleed, boundary_scope):
            first, _ = tenants
            with boundary_scope(first.boundary):
                bleed.check(code.store.get(f"{first.id}:note"))
        def test_typed_by_the_test(tenants, bleed, boundary_scope):
            first, second = tenants
            with boundary_scope(first.boundary):
                bleed.check(second.text("never stored"))
        def test_read_by_an_earlier_test_only(tenants, bleed, boundary_scope):
            first, second = tenants
            with boundary_scope(first.boundary):
                bleed.check([canary for canary in bleed.canaries.known])
        def test_crossing(tenants, bleed, boundary_scope):
            from boundlint.boundary import cross_boundary
            first, second = tenants
            with boundary_scope(first.boundary), cross_boundary("support export"):
                bleed.check(code.store.get(f"{second.id}:note"))
    """
    run(project, body).assert_outcomes(passed=4)


def test_the_tenants_own_data_is_kept_out_where_a_test_says_so(project: Project) -> None:
    body = """
        @pytest.fixture
        def note(tenants, boundary_scope):
            first, _ = tenants
            with boundary_scope(first.boundary):
                yield code.store.get(f"{first.id}:note")
        def test_log(tenants, note, bleed):
            bleed.keep_out("log")
            code.log.warning("no answer for %s", note)
        def test_memory(tenants, note, bleed):
            bleed.keep_out("memory")
            code.store.set(f"{tenants[0].id}:plan", note)
        def test_file(tenants, note, bleed):
            bleed.keep_out("file")
            bleed.check(note, "file")
        def test_another_place(tenants, note, bleed):
            bleed.keep_out("log")
            code.store.set(f"{tenants[0].id}:plan", note)
        def test_typed_by_the_test(tenants, boundary_scope, bleed):
            bleed.keep_out("log")
            with boundary_scope(tenants[0].boundary):
                code.log.warning("%s", tenants[0].text("never stored"))
        def test_not_asked_for(tenants, note, bleed):
            code.log.warning("no answer for %s", note)
        def test_no_such_place(bleed):
            bleed.keep_out("logs")
    """
    result = run(project, body)
    result.assert_outcomes(passed=3, failed=4)
    assert [line.partition(" — ")[0] for line in blocks(result)] == [
        "BND701 the tenant's data in the log",
        "BND203 the tenant's data in the memory write",
        "BND801 the tenant's data in the file",
    ]
    result.stdout.fnmatch_lines(["E *ValueError: keep_out: unknown kind 'logs' (known: *memory*"])


def test_a_swallowed_bleed_fails_the_test(project: Project) -> None:
    body = """
        def test_it(tenants, bleed, boundary_scope):
            first, second = tenants
            bleed.read(code.store.get(f"{second.id}:note"), "memory")
            with boundary_scope(first.boundary):
                try:
                    code.log.warning("%s", code.store and second.canaries.read)
                except Exception:
                    pass
    """
    result = run(project, body, "-n2")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND701 another tenant's data in the log*", "*caught this exception*"])


def test_a_blind_run_is_inconclusive_and_fails(project: Project) -> None:
    body = """
        import logging
        def test_it(monkeypatch, request):
            monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
            request.getfixturevalue("bleed")
        def test_other():
            pass
    """
    result = run(project, body)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "inconclusive: the leaky self-check was not noticed by log records*",
            "the leaky self-check was not noticed, *",
        ]
    )


def test_the_attack_prompts_parametrize(project: Project) -> None:
    body = """
        def test_it(bleed_prompts, bleed):
            assert "{" not in bleed_prompts
            bleed.check(bleed_prompts)
    """
    run(project, body).assert_outcomes(passed=len(PROMPTS))


def test_without_the_flag_the_fixtures_work_and_find_nothing(project: Project) -> None:
    body = """
        def test_it(lookalike_tenants, bleed, bleed_prompts):
            first, second = lookalike_tenants
            assert bleed.check(second.text("x"))
    """
    project("", body, bare=True, flag="").assert_outcomes(passed=len(PROMPTS))


def test_the_self_check_needs_no_run() -> None:
    assert Watcher(Canaries(), None).self_check() == ()
