"""pytest --enforce-boundary itself: modes, marks, fixtures, outcomes, workers. Redis stands for any client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from runtime_project import Project, blocks, line_of

APP = """
    import fakeredis

    store = fakeredis.FakeRedis(decode_responses=True)

    def recall(session_id):
        return store.get(f"session:{session_id}")

    def scoped(tenant):
        return store.get(f"{tenant}:session")

    def careful():
        try:
            return recall(1)
        except Exception:
            return None
"""
RECALL = line_of(APP, "session:{session_id}")


class TestModes:
    def test_strict_raises_at_the_call_and_shows_one_block(self, project: Project) -> None:
        result = project(APP, 'def test_it():\n    code.recall("8842")\n')
        result.assert_outcomes(failed=1)
        expected = f"""\
BND201 unscoped memory read — app/code.py:{RECALL} in recall()
   {RECALL} |   return store.get(f"session:{{session_id}}")
  operation  redis.client.Redis.get  key 'session:8842'
  boundary   tenant 'acme', user 'kim', entered at test_app.py:4
  missing    the key has no component for tenant 'acme'
  fix        scoped_key(boundary, f'session:{{session_id}}')
             or, if this is no customer data: with cross_boundary("…reason…"):
"""
        assert expected in result.stdout.str()
        result.stdout.no_fnmatch_line("*site-packages*")

    def test_a_swallowed_exception_fails_the_test(self, project: Project) -> None:
        result = project(APP, "def test_it():\n    assert code.careful() is None\n")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["*via app/code.py:* careful)", "  note  *caught this exception; the test would have passed"]
        )
        assert blocks(result) == [f"BND201 unscoped memory read — app/code.py:{RECALL} in recall()"]

    def test_a_scoped_access_passes(self, project: Project) -> None:
        result = project(APP, 'def test_it():\n    code.scoped("acme")\n')
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["redis  1 checked"])

    def test_warn_warns_at_the_users_line(self, project: Project) -> None:
        tests = "def test_it():\n    code.recall(1)\n"
        result = project(APP, tests, flag="--enforce-boundary=warn")
        result.assert_outcomes(passed=1, warnings=1)
        result.stdout.fnmatch_lines([f"*app/code.py:{RECALL}: BoundaryWarning: BND201 unscoped memory read*"])

    def test_report_changes_no_outcome(self, project: Project) -> None:
        tests = "def test_it():\n    code.recall(1)\ndef test_other():\n    assert 0\n"
        result = project(APP, tests, flag="--enforce-boundary=report")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["redis  1 checked, 1 unscoped", f"BND201 * app/code.py:{RECALL} *"])

    @pytest.mark.parametrize("flag", ["", "--enforce-boundary=off"])
    def test_off_patches_nothing_and_imports_nothing(self, project: Project, flag: str) -> None:
        tests = """
            import sys
            import redis
            def test_it(boundary, boundary_scope, boundary_ledger):
                code.recall(1)
                assert not hasattr(redis.Redis.execute_command, "__boundlint_patch__")
                assert not [name for name in sys.modules if name.startswith("pytest_boundary.seams")]
                assert "pytest_boundary.run" not in sys.modules and "sqlglot" not in sys.modules
                from boundlint.boundary import current_boundary
                assert current_boundary() is boundary
                assert boundary.tenant == "acme"
        """
        project(APP, tests, flag=flag, subprocess=True).assert_outcomes(passed=1)

    def test_a_run_without_marks_loads_one_module(self, project: Project) -> None:
        tests = """
            import sys
            def test_it():
                mine = sorted(name for name in sys.modules if name.startswith(("pytest_boundary", "boundlint")))
                assert mine == ["pytest_boundary", "pytest_boundary.plugin"]
        """
        project("", tests, flag="", bare=True, subprocess=True).assert_outcomes(passed=1)

    def test_a_path_after_the_flag_is_a_path(self, project: Project) -> None:
        result = project(APP, "def test_it():\n    code.recall(1)\n", "test_app.py")
        result.assert_outcomes(failed=1)

    def test_the_ini_file_turns_it_on(self, project: Project) -> None:
        files = {"pyproject.toml": "[tool.pytest.ini_options]\nboundary_enforce = 'strict'\n"}
        tests = "def test_it():\n    code.recall(1)\n"
        project(APP, tests, flag="", files=files).assert_outcomes(failed=1)
        project(APP, tests, flag="--enforce-boundary=off", files=files).assert_outcomes(passed=1)

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("boundary_enforce = 'loud'", "boundary_enforce must be one of strict, warn, report, not 'loud'"),
            ("boundary_levels = ['planet']", "unknown level 'planet'"),
            ("boundary_delimiters = ':-'", "are part of ids"),
            ("boundary_shared = ['flags:*']", "needs a reason"),
            ("boundary_report = 'report.txt'", "must end in .json or .html"),
            ("boundary_require = ['rediss']", "unknown client or kind 'rediss'"),
        ],
    )
    def test_a_bad_setting_is_a_usage_error(self, project: Project, setting: str, message: str) -> None:
        flag = "" if "enforce" in setting else "--enforce-boundary"
        files = {"pyproject.toml": f"[tool.pytest.ini_options]\n{setting}\n"}
        result = project(APP, "def test_it(): pass\n", flag=flag, files=files)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert message in result.stderr.str() + result.stdout.str()

    def test_a_bad_boundlint_table_is_a_usage_error(self, project: Project) -> None:
        files = {"pyproject.toml": "[tool.boundlint]\nboundery = 1\n"}
        result = project(APP, "def test_it(): pass\n", files=files)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "did you mean 'boundary'" in result.stderr.str() + result.stdout.str()


class TestOutcomes:
    def test_xfail_skip_and_parametrize(self, project: Project) -> None:
        tests = """
            @pytest.mark.xfail
            def test_expected_to_fail():
                code.careful()

            @pytest.mark.xfail(raises=ValueError)
            def test_fails_for_another_reason():
                code.careful()

            def test_skipped_after_a_leak():
                code.careful()
                pytest.skip("later")

            def test_skipped():
                pytest.skip("later")

            @pytest.mark.parametrize("tenant", ["acme", "globex"])
            def test_each(tenant):
                code.scoped(tenant)
        """
        project(APP, tests).assert_outcomes(xfailed=1, failed=3, skipped=1, passed=1)

    def test_another_failure_keeps_its_own_text(self, project: Project) -> None:
        result = project(APP, "def test_it():\n    code.careful()\n    assert 1 == 2\n")
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["E       assert 1 == 2", "*- boundlint -*", "BND201 *"])

    def test_several_findings_of_one_test(self, project: Project) -> None:
        app = (
            APP
            + """
    def other():
        try:
            return store.hgetall("everything")
        except Exception:
            return None
"""
        )
        result = project(app, "def test_it():\n    code.careful()\n    code.other()\n    code.careful()\n")
        result.assert_outcomes(failed=1)
        assert len(blocks(result)) == 2

    def test_fixtures_may_seed_before_any_boundary(self, project: Project) -> None:
        tests = """
            @pytest.fixture(scope="session", autouse=True)
            def seeded():
                code.store.set("session:1", "x")
                yield
                code.store.flushall()
            @pytest.fixture(scope="class")
            def more():
                code.recall(1)
            class TestIt:
                def test_it(self, more):
                    code.scoped("acme")
        """
        result = project(APP, tests)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["redis  1 checked", "not judged: 2 calls of fixtures and 0 of tests*"])

    def test_a_fixture_that_enters_a_boundary_is_judged(self, project: Project) -> None:
        tests = """
            @pytest.fixture
            def used(boundary_scope):
                with boundary_scope(tenant="acme"):
                    code.careful()
            def test_it(used):
                pass
        """
        project(APP, tests, bare=False).assert_outcomes(errors=1)

    def test_doctests(self, project: Project) -> None:
        app = (
            APP
            + '''
    def documented():
        """
        >>> from boundlint.boundary import *
        >>> with boundary_scope(AgentBoundary(issued_by=Issuer("doc"), tenant="acme")):
        ...     careful()
        """
'''
        )
        result = project(app, "def test_it(): pass\n", "--doctest-modules", bare=True)
        result.assert_outcomes(failed=1, passed=1)
        assert blocks(result)[0].startswith("BND201")

    def test_unittest(self, project: Project) -> None:
        tests = """
            import unittest
            class Case(unittest.TestCase):
                def test_leaks(self):
                    code.careful()
                def test_does_not(self):
                    code.scoped("acme")
        """
        project(APP, tests).assert_outcomes(failed=1, passed=1)

    def test_a_finding_in_a_loop_is_one_and_counts_each_time(self, project: Project) -> None:
        tests = """
            def test_it(boundary_ledger):
                for _ in range(50):
                    code.recall(1)
                boundary_ledger.accept("BND201", count=1)
                code.recall(1)
                boundary_ledger.accept("BND201", count=1)
                code.recall(2)
                assert len(boundary_ledger.findings) == 1
        """
        result = project(APP, tests, flag="--enforce-boundary=report")
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["redis  52 checked, 52 unscoped"])

    def test_reruns_begin_with_an_empty_ledger(self, project: Project) -> None:
        conftest = """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    for attempt in range(2):
        item.funcargs = {}
        item._initrequest()
        item.config.attempt = attempt
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
        tests = """
            def test_it(request):
                if request.config.attempt == 0:
                    code.careful()
        """
        project(APP, tests, files={"conftest.py": conftest}).assert_outcomes(passed=1)

    def test_the_original_objects_are_back_after_the_run(self, project: Project) -> None:
        import redis
        import redis.asyncio

        names = ("execute_command",)
        owners = (redis.Redis, redis.client.Pipeline, redis.asyncio.Redis)
        before = [vars(owner)[name] for owner in owners for name in names]
        project(APP, "def test_it():\n    code.recall(1)\n").assert_outcomes(failed=1)
        assert [vars(owner)[name] for owner in owners for name in names] == before

    def test_junit(self, project: Project, pytester: pytest.Pytester) -> None:
        project(APP, "def test_it():\n    code.careful()\n", "--junitxml=out.xml")
        tree = ET.parse(pytester.path / "out.xml")
        found = {item.get("name"): item.get("value") for item in tree.iter("property")}
        assert found == {"boundary.BND201": f"app/code.py:{RECALL} redis.client.Redis.get"}


class TestScopes:
    def test_a_loop_of_its_own_has_none(self, project: Project) -> None:
        result = project(APP, "def test_it():\n    code.recall(1)\n", bare=True)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(
            ["BND101 memory read with no boundary — app/code.py:*", "*boundary*none is active"]
        )

    def test_the_tests_own_calls_are_free_while_no_boundary_is_active(self, project: Project) -> None:
        tests = """
            def test_it(boundary_scope):
                code.store.set("session:1", "seeded")
                with boundary_scope(tenant="acme"):
                    code.scoped("acme")
        """
        result = project(APP, tests, bare=True)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["not judged: 0 calls of fixtures and 1 of tests*"])

    def test_the_tests_own_calls_are_judged_in_a_boundary(self, project: Project) -> None:
        result = project(APP, 'def test_it():\n    code.store.get("session:1")\n')
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["BND201 unscoped memory read — test_app.py:5 in test_it()"])

    def test_the_fixture_and_the_scope_of_the_kit(self, project: Project) -> None:
        tests = """
            import pytest
            from boundlint.boundary import boundary_scope, cross_boundary, scoped_key
            def test_fixture(boundary):
                code.scoped(boundary.tenant)
                with pytest.raises(Exception, match="BND201"):
                    code.recall(1)
            def test_scope(boundary_scope):
                with boundary_scope(tenant="globex"):
                    code.scoped("globex")
                    code.scoped("acme")
            def test_crossing(boundary):
                with cross_boundary("invoice run"):
                    code.recall(1)
        """
        result = project(APP, tests, bare=True)
        result.assert_outcomes(failed=2, passed=1)

    def test_expected_findings_are_taken_out_of_the_ledger(self, project: Project) -> None:
        tests = """
            def test_expected(boundary_ledger):
                with pytest.raises(Exception, match="BND201"):
                    code.recall(1)
                (finding,) = boundary_ledger.accept("BND201")
                assert finding.site.path == "app/code.py"
            def test_expected_and_absent(boundary_ledger):
                boundary_ledger.accept("BND301")
        """
        result = project(APP, tests)
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*AssertionError: expected some findings of BND301*"])

    def test_cross_boundary_marks(self, project: Project) -> None:
        tests = """
            @pytest.mark.cross_boundary(reason="invoice run")
            def test_needed():
                code.recall(1)
            @pytest.mark.cross_boundary(reason="left over")
            def test_not_needed():
                code.scoped("acme")
        """
        result = project(APP, tests)
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(
            ["redis  2 checked, 2 crossed on purpose", "cross_boundary was not needed: *::test_not_needed"]
        )
        result.stdout.no_fnmatch_line("*not needed: *::test_needed")

    @pytest.mark.parametrize("mark", ["cross_boundary", "cross_boundary(reason=' ')", "boundary('acme')"])
    def test_a_mark_that_says_too_little_is_an_error(self, project: Project, mark: str) -> None:
        tests = f"import pytest\n@pytest.mark.{mark}\ndef test_it():\n    pass\n"
        result = project(APP, tests, bare=True)
        assert result.ret != 0
        assert "required" in result.stdout.str() or "name the levels" in result.stdout.str()

    @pytest.mark.parametrize("named", ["app.context.get_current", "app.context:get_current"])
    def test_the_applications_own_context(self, project: Project, named: str) -> None:
        files = {
            "app/context.py": "class Context:\n    org_id = 7\n    user_id = 'u'\ncurrent = Context()\n"
            "def get_current():\n    return current\n",
            "pyproject.toml": f"[tool.boundlint.boundary]\ncurrent = ['{named}']\n",
        }
        tests = """
            from app import context
            def test_scoped():
                code.scoped("7")
            def test_not():
                code.scoped("8")
            def test_none():
                context.current = None
                code.scoped("7")
        """
        result = project(APP, tests, bare=True, files=files)
        result.assert_outcomes(passed=1, failed=2)
        result.stdout.fnmatch_lines(["*boundary * tenant '7', user 'u', from app.context.get_current"])
        assert blocks(result)[1].startswith("BND101")

    def test_kinds_of_application_contexts(self, project: Project) -> None:
        context = """
from dataclasses import dataclass
class Plain:
    def __init__(self, tenant): self.tenant_id = tenant
@dataclass(frozen=True)
class Frozen:
    tenant_id: str
class Slots:
    __slots__ = ("tenant_id",)
class Asked:
    @property
    def user_id(self): raise RuntimeError("outside of a request")
    @property
    def tenant_id(self): return "acme"
class Proxy:
    def __init__(self, inner): object.__setattr__(self, "inner", inner)
    def __getattr__(self, name): return getattr(self.inner, name)
    def __dir__(self): return dir(self.inner)
slots = Slots()
slots.tenant_id = "acme"
current = None
def get_current(): return current
"""
        files = {
            "app/context.py": context,
            "pyproject.toml": "[tool.boundlint.boundary]\ncurrent = ['app.context:get_current']\n",
        }
        tests = """
            import pytest
            from app import context as c
            @pytest.mark.parametrize(
                "value",
                [c.Plain("acme"), c.Frozen("acme"), c.slots, c.Asked(), c.Proxy(c.Frozen("acme")), {"tenant": "acme"}],
                ids=lambda value: type(value).__name__,
            )
            def test_scoped_then_another_of_the_same_class(value, monkeypatch):
                monkeypatch.setattr(c, "current", value)
                code.scoped("acme")
                monkeypatch.setattr(c, "current", c.Plain("globex"))
                with pytest.raises(Exception, match="tenant 'globex'"):
                    code.scoped("acme")
        """
        result = project(APP, tests, bare=True, files=files, flag="--enforce-boundary=strict")
        result.assert_outcomes(failed=6)
        assert {text.partition(" —")[0] for text in blocks(result)} == {"BND201 unscoped memory read"}
        result.stdout.fnmatch_lines(["redis  12 checked, 6 unscoped"])

    def test_shared_keys_and_unscoped_code_are_declared_with_a_reason(self, project: Project) -> None:
        files = {
            "pyproject.toml": "[tool.pytest.ini_options]\nboundary_shared = ['session:* # one for all']\n"
            "[tool.boundlint.unscoped]\n'app.code.flags*' = 'feature flags'\n"
        }
        app = APP + "\n    def flags():\n        return store.get('flags')\n"
        result = project(app, "def test_it():\n    code.recall(1)\n    code.flags()\n", files=files)
        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["redis  2 checked, 2 declared as shared"])

    def test_further_levels(self, project: Project) -> None:
        files = {"pyproject.toml": "[tool.pytest.ini_options]\nboundary_levels = ['tenant', 'user']\n"}
        app = APP + '\n    def own():\n        return store.get("acme:kim:notes")\n'
        tests = 'def test_own():\n    code.own()\ndef test_tenant_alone():\n    code.scoped("acme")\n'
        result = project(app, tests, files=files)
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["*no component for user 'kim'"])

    def test_a_boundary_lost_in_a_thread(self, project: Project) -> None:
        app = (
            APP
            + """
    from concurrent.futures import ThreadPoolExecutor
    from boundlint.boundary import carry_context

    def in_executor():
        with ThreadPoolExecutor() as executor:
            return executor.submit(scoped, "acme").result()

    def carried():
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(scoped), "acme").result()
"""
        )
        tests = "def test_lost():\n    code.in_executor()\ndef test_carried():\n    code.carried()\n"
        result = project(app, tests)
        result.assert_outcomes(failed=1, passed=1)
        result.stdout.fnmatch_lines(
            [
                "BND603 boundary lost in a thread before a memory read — app/code.py:*",
                "*thread 'ThreadPoolExecutor-*",
                "*carry_context*",
            ]
        )

    def test_without_lost_scopes_a_thread_of_the_test_is_just_bare(self, project: Project) -> None:
        tests = """
            import threading
            def test_it():
                thread = threading.Thread(target=code.careful)
                thread.start()
                thread.join()
        """
        result = project(APP, tests, bare=True)
        result.assert_outcomes(failed=1)
        assert blocks(result)[0].startswith("BND101")


class TestAsync:
    APP = """
        import asyncio
        import fakeredis

        def store():
            return fakeredis.FakeAsyncRedis()

        async def recall(session_id):
            return await store().get(f"session:{session_id}")

        async def scoped(tenant):
            return await asyncio.create_task(store().get(f"{tenant}:session"))
    """

    @pytest.mark.parametrize("mark", ["asyncio", "anyio"])
    def test_async_tests(self, project: Project, mark: str) -> None:
        tests = f"""
            @pytest.fixture
            def anyio_backend():
                return "asyncio"
            @pytest.mark.{mark}
            async def test_leaks():
                await code.recall(1)
            @pytest.mark.{mark}
            async def test_does_not():
                from boundlint.boundary import current_boundary
                await code.scoped(current_boundary().tenant)
        """
        result = project(self.APP, tests)
        result.assert_outcomes(failed=1, passed=1)
        line = line_of(self.APP, "session:{session_id}")
        assert blocks(result) == [f"BND201 unscoped memory read — app/code.py:{line} in recall()"]
        result.stdout.fnmatch_lines(["*(async)*"])


class TestWorkers:
    TESTS = """
        @pytest.mark.parametrize("number", range(4))
        def test_leaks(number):
            code.careful()
        @pytest.mark.parametrize("number", range(4))
        def test_does_not(number):
            code.scoped("acme")
        @pytest.mark.cross_boundary(reason="left over")
        def test_marked():
            pass
    """

    def test_the_summary_is_that_of_all_workers(self, project: Project, pytester: pytest.Pytester) -> None:
        arguments = ("-n2", "--boundary-report=report.json", "--boundary-require=redis,memory")
        result = project(APP, self.TESTS, *arguments)
        result.assert_outcomes(failed=4, passed=5)
        result.stdout.fnmatch_lines(
            ["BND201 *", "redis  8 checked, 4 unscoped", "cross_boundary was not needed: *test_marked"]
        )
        data = json.loads((pytester.path / "report.json").read_text())
        assert len(data["findings"]) == 4

    def test_a_crashed_worker_is_said(self, project: Project) -> None:
        tests = "import os\ndef test_crash():\n    os._exit(3)\ndef test_other(): pass\n"
        result = project(APP, tests, "-n1", "--max-worker-restart=0")
        assert result.ret != 0
        result.stdout.fnmatch_lines(["*worker gw0 did not report what it saw*"])


class TestRequireAndReport:
    def test_a_client_that_is_never_observed_fails_the_run(self, project: Project) -> None:
        tests = """
            from unittest.mock import Mock
            def test_it(monkeypatch):
                monkeypatch.setattr(code, "store", Mock())
                code.recall(1)
        """
        result = project(APP, tests, "--boundary-require=redis,database")
        result.assert_outcomes(passed=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            ["*redis was never observed (mocked away, or not imported)", "*database was never observed*"]
        )

    def test_a_run_that_saw_nothing_says_so(self, project: Project) -> None:
        result = project("", "def test_it(): pass\n")
        assert result.ret == 0
        result.stdout.fnmatch_lines(["no operation of a known client was checked*"])

    def test_json(self, project: Project, pytester: pytest.Pytester) -> None:
        tests = 'def test_it():\n    code.scoped("acme")\n    code.scoped("acme")\n    code.careful()\n'
        project(APP, tests, "--boundary-report=out/report.json")
        data = json.loads((pytester.path / "out" / "report.json").read_text())
        assert data["version"] == 1
        seen = [
            (row["site"]["line"], row["operation"], row["verdict"], row["shown"], row["count"])
            for row in data["operations"]
        ]
        assert seen == [
            (RECALL, "redis.client.Redis.get", "unscoped", "key 'session:1'", 1),
            (line_of(APP, "{tenant}:session"), "redis.client.Redis.get", "scoped", "key 'acme:session'", 2),
        ]
        assert data["findings"][0]["rule"] == "BND201"

    def test_html_escapes_what_it_shows(self, project: Project, pytester: pytest.Pytester) -> None:
        tests = "def test_it():\n    code.recall('<script>alert(1)</script>')\n"
        project(APP, tests, "--boundary-report=report.html")
        page = (pytester.path / "report.html").read_text(encoding="utf-8")
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert page.count("<tr") == 2
        assert "http://" not in page
        assert "https://" not in page
        assert re.search(
            r"default-src 'none'; style-src 'sha256-[\w+/=]+'; script-src 'sha256-[\w+/=]+'", page
        )


class TestFaults:
    def test_a_client_whose_internals_changed_ends_the_run(self, project: Project) -> None:
        client = "class Redis:\n    def send(self, *args):\n        return 1\nclass Pipeline(Redis): pass\n"
        files = {"redis/__init__.py": "from redis.client import Redis\n", "redis/client.py": client}
        result = project(
            "import redis\n", "def test_it():\n    redis.Redis().send()\n", files=files, subprocess=True
        )
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        text = result.stderr.str() + result.stdout.str()
        assert "Redis.execute_command not found; enforcement would be incomplete" in text

    def test_a_client_that_breaks_in_a_test_fails_the_run(self, project: Project) -> None:
        client = "class Redis: pass\n"
        files = {"redis/__init__.py": "from redis.client import Redis\n", "redis/client.py": client}
        result = project("", "def test_it():\n    import redis\n", files=files, subprocess=True)
        result.assert_outcomes(passed=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["enforcement is incomplete: redis *execute_command not found*"])

    def test_our_own_error_is_ours_and_keeps_the_tests_result(self, project: Project) -> None:
        conftest = """
import pytest
@pytest.fixture(autouse=True)
def broken(monkeypatch):
    from pytest_boundary.seams import redis
    def fail(*args, **kwargs):
        raise RuntimeError("a bug of ours")
    monkeypatch.setattr(redis, "plainly_scoped", fail)
"""
        tests = """
            def test_passes():
                code.store.set("acme:session", "x")
                assert code.scoped("acme") == "x"
            def test_fails():
                code.scoped("acme")
                assert 0
        """
        result = project(APP, tests, files={"conftest.py": conftest})
        result.assert_outcomes(passed=1, failed=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(
            ["error of pytest_boundary itself in the seam 'redis'*", "*a bug of ours*"]
        )

    def test_early_imports_are_watched(self, project: Project) -> None:
        files = {"conftest.py": "from redis import Redis\nfrom sqlite3 import connect\n"}
        app = """
            from conftest import connect
            def leak():
                database = connect(":memory:")
                database.execute("CREATE TABLE notes (id, tenant_id, text)")
                return database.execute("SELECT text FROM notes").fetchall()
        """
        result = project(app, "def test_it():\n    code.leak()\n", files=files, subprocess=True)
        result.assert_outcomes(failed=1)
        assert "BND501" in blocks(result)[0]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the qualified name of a function is new in 3.11")
def test_methods_are_named_with_their_class(project: Project) -> None:
    app = APP + "\n    class Memory:\n        def recall(self):\n            return store.get('x')\n"
    result = project(app, "def test_it():\n    code.Memory().recall()\n")
    assert blocks(result)[0].endswith("in Memory.recall()")


EVERYTHING = """
import warnings
from importlib import import_module
from pathlib import Path
warnings.simplefilter("ignore")
from boundlint.config import BoundarySettings
from pytest_boundary.config import PluginSettings
from pytest_boundary.frames import Frames
from pytest_boundary.levels import Levels
from pytest_boundary.monitor import Monitor
from pytest_boundary.seams import Seams, load

import django
from django.conf import settings
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
django.setup()
known = set()
for seam in load():
    for name in seam.modules:
        try:
            import_module(name)
            known.add(seam.name)
        except ImportError:
            pass
monitor = Monitor(PluginSettings(mode="strict", root=Path(".")), Frames(Path("."), ()), Levels(("tenant",), BoundarySettings()))

def armed_once():
    seams = Seams(monitor)
    seams.arm()
    patched = [change for patcher in seams.patchers.values() for change in patcher.patched]
    seams.restore()
    assert [(owner, name) for owner, name, original in patched if vars(owner)[name] is not original] == []
    return [owner for owner, _, _ in patched]

owners = armed_once()
before = [(owner, dict(vars(owner))) for owner in owners]
armed_once()
for owner, held in before:
    now = dict(vars(owner))
    assert list(now) == list(held) or set(now) == set(held), (owner, set(now) ^ set(held))
    different = [name for name in held if now[name] is not held[name] and not name.startswith("_abc")]
    assert different == [], (owner, different)
assert not monitor.broken, monitor.broken
print(len(owners), "owners", len(known), "clients")
"""


def test_all_clients_are_as_they_were_once_the_seams_are_taken_back() -> None:
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    owners, _, clients, _ = done.stdout.split()[-4:]
    assert int(owners) > 150
    assert int(clients) > 20
