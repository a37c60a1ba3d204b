"""The runtime kit: boundaries, scopes, keys, snapshots, guards and audit events."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boundlint.boundary import (
    AgentBoundary,
    BoundaryError,
    InvalidBoundary,
    Issuer,
    Level,
    NoBoundary,
    OutsideBoundary,
    assert_in_boundary,
    audit_event,
    boundary_scope,
    carry_context,
    cross_boundary,
    current_boundary,
    current_scope,
    lost_rights,
    scoped_key,
    still_allowed,
    take_snapshot,
)

SERVER = Issuer("session cookie")


def make(tenant: str = "acme", **levels: Any) -> AgentBoundary:
    return AgentBoundary(issued_by=SERVER, tenant=tenant, **levels)


ACME = make(workspace="main", user="kim", role="member", allowed_tools=frozenset({"search", "close"}))


def tenant_here() -> str | None:
    scope = current_scope()
    return scope.boundary.tenant if scope and scope.boundary else None


def test_imports_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import boundlint.boundary;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new - sys.stdlib_module_names - {'boundlint'}))"
    )
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


class TestBoundary:
    def test_holds_everything_and_is_frozen(self) -> None:
        boundary = make(
            workspace="main",
            user="kim",
            role="owner",
            plan="pro",
            region="eu",
            allowed_tools={"search"},
            allowed_sources=["notes"],
            trace_id="tr_1",
        )
        assert boundary.ids == {"tenant": "acme", "workspace": "main", "user": "kim"}
        assert boundary.allowed_tools == {"search"}
        assert boundary.allowed_sources == frozenset({"notes"})
        with pytest.raises(dataclasses.FrozenInstanceError):
            boundary.tenant = "other"  # type: ignore[misc]
        assert hash(boundary) != hash(dataclasses.replace(boundary, tenant="other"))

    def test_a_request_body_cannot_make_one(self) -> None:
        body = json.loads('{"tenant": "acme", "user": "kim"}')
        with pytest.raises(TypeError, match="issued_by"):
            AgentBoundary(**body)
        for forged in ("session cookie", {"name": "session cookie"}, None, True):
            with pytest.raises(InvalidBoundary, match="must be an Issuer"):
                AgentBoundary(**{**body, "issued_by": forged})
        with pytest.raises(TypeError):
            AgentBoundary("acme")  # type: ignore[call-arg, arg-type]

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("", "empty"),
            (" acme", "space"),
            ("acme\n", "space"),
            ("ac\x00me", "control"),
            ("ac\u200bme", "invisible"),
            ("ac\ud800me", "surrogate"),
            ("ａcme", "NFKC"),
            ("x" * 257, "256"),
            (7, "a string, not a int"),
            (None, "a string"),
            (["acme"], "a string, not a list"),
        ],
    )
    def test_an_id_is_checked(self, value: Any, problem: str) -> None:
        with pytest.raises(InvalidBoundary, match=problem):
            make(tenant=value)
        if value is not None:
            with pytest.raises(InvalidBoundary, match=problem):
                make(user=value)

    def test_a_string_is_no_set_of_tools(self) -> None:
        with pytest.raises(InvalidBoundary, match="allowed_tools must be a set of names, not a str"):
            make(allowed_tools="search")
        with pytest.raises(InvalidBoundary, match="allowed_sources"):
            make(allowed_sources=[""])

    def test_memory_namespaces_differ(self) -> None:
        assert make().memory_namespace != make(tenant="acme2").memory_namespace
        assert make(memory_namespace="ns").memory_namespace == "ns"


class TestScope:
    def test_is_entered_and_left(self) -> None:
        with pytest.raises(NoBoundary, match="boundary_scope"):
            current_boundary()
        with boundary_scope(ACME) as entered:
            assert entered is current_boundary() is ACME
            scope = current_scope()
            assert scope is not None
            assert (scope.path, scope.reason) == (__file__, "")
            with boundary_scope(make("other")):
                assert tenant_here() == "other"
            assert tenant_here() == "acme"
        assert current_scope() is None

    def test_is_left_when_the_block_raises(self) -> None:
        with pytest.raises(ZeroDivisionError), boundary_scope(ACME):
            _ = 1 // 0
        assert current_scope() is None

    def test_takes_a_boundary_and_nothing_else(self) -> None:
        with pytest.raises(InvalidBoundary, match="not a dict"):
            boundary_scope({"tenant": "acme"})  # type: ignore[arg-type]

    def test_crossing_needs_a_reason_and_keeps_the_boundary(self) -> None:
        for reason in ("", "  ", None):
            with pytest.raises(BoundaryError, match="reason"):
                cross_boundary(reason)  # type: ignore[arg-type]
        with cross_boundary("invoice run"), pytest.raises(NoBoundary):
            current_boundary()
        with boundary_scope(ACME), cross_boundary("price list"):
            scope = current_scope()
            assert scope is not None
            assert scope.reason == "price list"
            assert current_boundary() is ACME

    def test_tasks_have_their_own(self) -> None:
        async def one(tenant: str) -> str | None:
            with boundary_scope(make(tenant)):
                await asyncio.sleep(0)
                inner = await asyncio.create_task(asyncio.sleep(0, result=tenant_here()))
                return inner if await asyncio.to_thread(tenant_here) == tenant_here() else "lost"

        async def all_of_them() -> list[str | None]:
            return await asyncio.gather(*(one(f"t{number}") for number in range(20)))

        assert asyncio.run(all_of_them()) == [f"t{number}" for number in range(20)]

    def test_leaving_elsewhere_is_an_error(self) -> None:
        scope = boundary_scope(ACME)
        with ThreadPoolExecutor(1) as executor:
            executor.submit(scope.__enter__).result()
        with pytest.raises(BoundaryError, match="left in the thread or task"):
            scope.__exit__(None, None, None)

    def test_threads_and_executors_lose_it_unless_carried(self) -> None:
        seen: list[str | None] = []

        def note() -> None:
            seen.append(tenant_here())

        with ThreadPoolExecutor(2) as executor, boundary_scope(ACME):
            assert executor.submit(tenant_here).result() is None
            carried = carry_context(tenant_here)
            assert list(executor.map(lambda _: carried(), range(8))) == ["acme"] * 8
            thread = threading.Thread(target=carry_context(note))
        thread.start()  # after the scope was left: the work still belongs to it
        thread.join()
        assert seen == ["acme"]
        assert carried.__name__ == "tenant_here"

    def test_run_in_executor(self) -> None:
        async def both() -> tuple[str | None, str | None]:
            loop = asyncio.get_running_loop()
            with boundary_scope(ACME):
                bare = await loop.run_in_executor(None, tenant_here)
                return bare, await loop.run_in_executor(None, carry_context(tenant_here))

        assert asyncio.run(both()) == (None, "acme")


IDS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=4)
LEVELS = st.one_of(st.none(), IDS)
PARTS = st.lists(st.one_of(st.text(max_size=4), st.sampled_from(["", ":", "a:b", "%3A", "*"])), max_size=3)


class TestScopedKey:
    def test_shape(self) -> None:
        assert scoped_key(ACME, "format") == "acme:main:kim:format"
        assert scoped_key(ACME, "session", 7) == "acme:main:kim:session:7"
        assert scoped_key(ACME, "a:b*") == "acme:main:kim:a%3Ab%2A"
        assert scoped_key(ACME, "plan", level="tenant") == "acme:::plan"
        assert scoped_key(make(), "format") == "acme:::format"

    def test_the_delimiter_in_an_id(self) -> None:
        assert scoped_key(make("a", user="b"), "c") != scoped_key(make("a:b"), "c")
        assert scoped_key(make("a"), "b:c") != scoped_key(make("a:b"), "c")

    @given(IDS, LEVELS, LEVELS, PARTS, IDS, LEVELS, LEVELS, PARTS)
    def test_two_boundaries_or_two_lists_of_parts_never_meet(
        self,
        tenant: str,
        workspace: str | None,
        user: str | None,
        parts: list[str],
        other_tenant: str,
        other_workspace: str | None,
        other_user: str | None,
        other_parts: list[str],
    ) -> None:
        one = make(tenant, workspace=workspace, user=user)
        other = make(other_tenant, workspace=other_workspace, user=other_user)
        same = (one.ids, parts) == (other.ids, other_parts)
        assert (scoped_key(one, *parts) == scoped_key(other, *other_parts)) is same

    @given(PARTS, st.sampled_from(["tenant", "workspace", "user"]))
    def test_a_key_names_its_tenant_as_its_first_component(self, parts: list[str], level: Level) -> None:
        key = scoped_key(ACME, *parts, level=level)
        assert key.split(":")[0] == "acme"
        assert len(key.split(":")) == 3 + len(parts)

    def test_other_parts_are_refused(self) -> None:
        for part in (None, True, b"x", ["x"]):
            with pytest.raises(BoundaryError, match="a part of a key"):
                scoped_key(ACME, part)  # type: ignore[arg-type]
        with pytest.raises(BoundaryError, match="level"):
            scoped_key(ACME, "x", level="role")  # type: ignore[arg-type]


class TestSnapshot:
    def test_travels_as_json(self) -> None:
        snapshot = json.loads(json.dumps(take_snapshot(ACME, valid_for=60)))
        assert snapshot["tenant"] == "acme"
        assert snapshot["allowed_tools"] == ["close", "search"]
        assert still_allowed(snapshot, ACME)
        assert still_allowed(snapshot, dataclasses.replace(ACME, trace_id="another"))

    def test_more_rights_than_then_are_fine(self) -> None:
        more = dataclasses.replace(ACME, allowed_tools=ACME.allowed_tools | {"refund"})
        assert still_allowed(take_snapshot(ACME), more)

    @pytest.mark.parametrize(
        ("change", "lost"),
        [
            ({"tenant": "acme2"}, "tenant"),
            ({"user": "sam"}, "user"),
            ({"workspace": None}, "workspace"),
            ({"role": "viewer"}, "role"),
            ({"plan": "free"}, "plan"),
            ({"region": "us"}, "region"),
            ({"allowed_tools": frozenset({"search"})}, "allowed_tools"),
        ],
    )
    def test_a_lost_right_blocks(self, change: dict[str, Any], lost: str) -> None:
        current = dataclasses.replace(ACME, **change)
        assert not still_allowed(take_snapshot(ACME), current)
        assert lost in lost_rights(take_snapshot(ACME), current)

    def test_a_subject_that_is_gone_blocks(self) -> None:
        assert lost_rights(take_snapshot(ACME), None) == ("subject",)

    @pytest.mark.parametrize("missing", ["tenant", "user", "role", "allowed_tools", "memory_namespace"])
    def test_what_the_snapshot_does_not_say_is_lost(self, missing: str) -> None:
        snapshot = take_snapshot(ACME)
        del snapshot[missing]
        assert missing in lost_rights(snapshot, ACME)
        assert not still_allowed({}, ACME)

    def test_it_expires(self) -> None:
        snapshot = take_snapshot(ACME, valid_for=60)
        snapshot["expires_at"] -= 61
        assert lost_rights(snapshot, ACME) == ("expires_at",)
        assert lost_rights({**snapshot, "expires_at": "never"}, ACME) == ("expires_at",)
        with pytest.raises(InvalidBoundary):
            take_snapshot(ACME, valid_for=0)

    def test_it_cannot_become_a_boundary(self) -> None:
        with pytest.raises(InvalidBoundary, match="Issuer"):
            AgentBoundary(**take_snapshot(ACME))


class TestGuard:
    def test_gives_the_record_back(self) -> None:
        record = SimpleNamespace(tenant_id="acme", workspace_id="main")
        assert assert_in_boundary(record, ACME, workspace="workspace_id") is record
        row = {"org": "acme"}
        with boundary_scope(ACME):
            assert assert_in_boundary(row, tenant="org") is row

    @pytest.mark.parametrize(
        "record",
        [None, {"tenant_id": "acme2"}, {"tenant_id": None}, {}, SimpleNamespace(), {"tenant_id": "ACME"}],
    )
    def test_everything_else_is_outside(self, record: Any) -> None:
        with pytest.raises(OutsideBoundary):
            assert_in_boundary(record, ACME)

    def test_a_level_that_the_boundary_lacks_is_outside(self) -> None:
        with pytest.raises(OutsideBoundary, match="current user"):
            assert_in_boundary({"tenant_id": "acme", "user_id": "kim"}, make(), user="user_id")

    def test_the_message_shows_no_content(self) -> None:
        with pytest.raises(OutsideBoundary) as raised:
            assert_in_boundary({"tenant_id": "globex", "note": "may churn"}, ACME)
        assert "globex" not in str(raised.value)
        assert "churn" not in str(raised.value)

    def test_without_a_boundary_it_raises(self) -> None:
        with pytest.raises(NoBoundary):
            assert_in_boundary({"tenant_id": "acme"})


class TestAuditEvent:
    def test_says_who_and_what(self) -> None:
        boundary = dataclasses.replace(ACME, trace_id="tr_1")
        event = audit_event("ticket.update", boundary, tools=["ticket.search"], blocked=1, run="r-7")
        assert event.pop("time") > 0
        assert event == {
            "action": "ticket.update",
            "trace_id": "tr_1",
            "tenant_id": "acme",
            "workspace_id": "main",
            "user_id": "kim",
            "tools": ["ticket.search"],
            "blocked": 1,
            "run": "r-7",
        }
        json.dumps(event)

    @pytest.mark.parametrize(
        "content",
        [
            "Northstar renews on March 12",
            "x" * 129,
            "a\nb",
            {"note": "text"},
            ["fine", "not fine"],
            [{"a": 1}],
            None,
            b"bytes",
        ],
    )
    def test_content_is_refused(self, content: Any) -> None:
        with pytest.raises(BoundaryError):
            audit_event("ticket.update", ACME, note=content)

    def test_the_subject_cannot_be_overwritten(self) -> None:
        with pytest.raises(BoundaryError, match="comes from the boundary"):
            audit_event("ticket.update", ACME, tenant_id="other")
