"""The plugin beside what else a suite uses: reruns, workers, async plugins, doctests, fixtures of every scope."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from runtime_project import Project, blocks, line_of

APP = """
    import fakeredis

    store = fakeredis.FakeRedis(decode_responses=True)
    attempts = {}

    def recall(session_id):
        return store.get(f"session:{session_id}")

    def scoped(tenant):
        return store.get(f"{tenant}:session")

    def careful():
        try:
            return recall(1)
        except Exception:
            return None

    def leaks_at_first(name, times=1):
        attempts[name] = attempts.get(name, 0) + 1
        return careful() if attempts[name] <= times else scoped("acme")
"""
RECALL = line_of(APP, "session:{session_id}")
HEADLINE = f"BND201 unscoped memory read — app/code.py:{RECALL} in recall()"
RERUNS = """
    def test_recovers():
        code.leaks_at_first("recovers")
    def test_never_does():
        code.leaks_at_first("never", 9)
    def test_without_a_leak():
        code.scoped("acme")
"""


class TestReruns:
    """An attempt begins with an empty ledger; what a failed one has seen stays in the report of the run."""

    @pytest.mark.parametrize("workers", [(), ("-n2",)])
    def test_rerunfailures(
        self, project: Project, pytester: pytest.Pytester, workers: tuple[str, ...]
    ) -> None:
        options = ("-ppytest_rerunfailures", "--reruns=2", "--boundary-report=report.json", *workers)
        result = project(APP, RERUNS, *options, subprocess=True)
        assert result.parseoutcomes() == {"passed": 2, "failed": 1, "rerun": 3}
        assert blocks(result) == [HEADLINE]
        result.stdout.fnmatch_lines(["redis  6 checked, 4 unscoped"])
        data = json.loads((pytester.path / "report.json").read_text())
        counted = {(row["site"]["line"], row["verdict"]): row["count"] for row in data["operations"]}
        assert counted == {(RECALL, "unscoped"): 4, (line_of(APP, "{tenant}:session"), "scoped"): 2}
        tests = {finding["nodeid"].rpartition("::")[2] for finding in data["findings"]}
        assert tests == {"test_never_does", "test_recovers"}

    def test_flaky(self, project: Project) -> None:
        options = ("-pflaky.flaky_pytest_plugin", "--force-flaky", "--max-runs=3")
        result = project(APP, RERUNS, *options, subprocess=True)  # it replaces functions of pytest
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["redis  6 checked, 4 unscoped", "test_recovers passed 1 out of *"])
        assert blocks(result) == [HEADLINE]


class TestFixtures:
    def test_a_class_fixture_enters_a_boundary_for_its_tests(self, project: Project) -> None:
        tests = """
            import pytest
            from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
            @pytest.fixture(scope="class")
            def globex():
                with boundary_scope(AgentBoundary(issued_by=Issuer("tests"), tenant="globex")):
                    code.scoped("globex")
                    yield
                    code.scoped("globex")
            @pytest.mark.usefixtures("globex")
            class TestIt:
                def test_scoped(self):
                    code.scoped("globex")
                def test_of_another(self):
                    code.scoped("acme")
            def test_after():
                code.scoped("acme")
        """
        result = project(APP, tests, bare=True)
        result.assert_outcomes(passed=1, failed=2)
        assert [text.split(" ")[0] for text in blocks(result)] == ["BND201", "BND101"]
        result.stdout.fnmatch_lines(["*boundary   tenant 'globex', entered at test_app.py:7"])

    def test_a_session_fixture_that_leaks_in_its_boundary_is_an_error_of_its_first_test(
        self, project: Project
    ) -> None:
        tests = """
            from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
            @pytest.fixture(scope="session")
            def seeded():
                with boundary_scope(AgentBoundary(issued_by=Issuer("tests"), tenant="globex")):
                    code.careful()
            def test_first(seeded): pass
            def test_second(seeded): pass
        """
        result = project(APP, tests)
        result.assert_outcomes(errors=1, passed=1)
        assert blocks(result) == [HEADLINE]

    def test_a_leak_of_a_teardown_is_an_error_of_the_test(self, project: Project) -> None:
        tests = """
            @pytest.fixture(scope="module")
            def seeded(boundary_scope):
                yield
            @pytest.fixture
            def cleared(boundary_scope):
                yield
                with boundary_scope(tenant="acme"):
                    code.careful()
            def test_it(cleared): pass
        """
        result = project(APP, tests)
        result.assert_outcomes(passed=1, errors=1)
        assert blocks(result) == [HEADLINE]

    def test_what_a_module_and_a_unittest_class_set_up_is_not_judged_but_set_up_is(
        self, project: Project
    ) -> None:
        tests = """
            import unittest
            def setup_module():
                code.recall(1)
            class Case(unittest.TestCase):
                @classmethod
                def setUpClass(cls):
                    code.recall(2)
                def test_it(self):
                    code.scoped("acme")
            class PartOfTheTest(unittest.TestCase):
                def setUp(self):
                    code.careful()
                def test_it(self):
                    code.scoped("acme")
        """
        result = project(APP, tests)
        result.assert_outcomes(passed=1, failed=1)
        assert blocks(result) == [HEADLINE]
        result.stdout.fnmatch_lines(["redis  3 checked, 1 unscoped", "not judged: 2 calls of fixtures*"])


class TestAsync:
    APP = """
        import asyncio
        import fakeredis

        async def recall(session_id):
            return await fakeredis.FakeAsyncRedis().get(f"session:{session_id}")

        async def scoped(tenant):
            return await fakeredis.FakeAsyncRedis().get(f"{tenant}:session")
    """
    LINE = line_of(APP, "session:{session_id}")
    FIXTURES = """
        from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        @FIXTURE
        async def seeded():
            await code.recall(1)  # no boundary yet
        @FIXTURE
        async def globex(seeded):
            with boundary_scope(AgentBoundary(issued_by=Issuer("tests"), tenant="globex")):
                await code.recall(2)
                yield
    """

    @pytest.mark.parametrize(
        ("mark", "fixture"), [("asyncio", "pytest_asyncio.fixture"), ("anyio", "pytest.fixture")]
    )
    def test_async_fixtures(self, project: Project, mark: str, fixture: str) -> None:
        tests = (
            "\nimport pytest_asyncio\n"
            + dedent(self.FIXTURES.replace("FIXTURE", fixture))
            + dedent(f"""
            @pytest.mark.{mark}
            async def test_seeds(seeded):
                await code.scoped("acme")
            @pytest.mark.{mark}
            async def test_leaks_in_its_fixture(globex):
                pass
            """)
        )
        result = project(self.APP, tests)
        result.assert_outcomes(passed=1, errors=1)
        assert blocks(result) == [f"BND201 unscoped memory read — app/code.py:{self.LINE} in recall()"]
        result.stdout.fnmatch_lines(["*boundary   tenant 'globex'*"])

    def test_one_loop_for_a_class(self, project: Project) -> None:
        tests = """
            import asyncio
            @pytest.mark.asyncio(loop_scope="class")
            class TestIt:
                async def test_scoped(self):
                    await asyncio.gather(*(code.scoped("acme") for _ in range(3)))
                async def test_one_of_several_leaks(self):
                    await asyncio.gather(
                        code.scoped("acme"), code.recall(1), return_exceptions=True
                    )
                async def test_after_a_task_of_another_test(self):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(code.scoped("acme"))
        """
        result = project(self.APP, tests)
        result.assert_outcomes(passed=2, failed=1)
        result.stdout.fnmatch_lines(["redis  6 checked, 1 unscoped"])

    def test_a_task_keeps_the_boundary_that_it_was_started_in(self, project: Project) -> None:
        tests = """
            import asyncio
            from boundlint.boundary import AgentBoundary, Issuer, boundary_scope
            @pytest.mark.asyncio
            async def test_it():
                with boundary_scope(AgentBoundary(issued_by=Issuer("tests"), tenant="globex")):
                    task = asyncio.create_task(code.scoped("globex"))
                await task
        """
        project(self.APP, tests).assert_outcomes(passed=1)


class TestDoctests:
    TEXT = """
        The session of a customer:

        >>> from boundlint.boundary import *
        >>> from app import code
        >>> with boundary_scope(AgentBoundary(issued_by=Issuer("doc"), tenant="acme")):
        ...     code.careful()
    """

    def test_a_doctest_in_a_text_file(self, project: Project) -> None:
        result = project(
            APP,
            "def test_it(): pass\n",
            "--doctest-glob=*.txt",
            bare=True,
            files={"guide.txt": dedent(self.TEXT)},
        )
        result.assert_outcomes(failed=1, passed=1)
        assert blocks(result) == [HEADLINE]

    def test_a_doctest_without_a_boundary_is_a_test(self, project: Project) -> None:
        text = ">>> from app import code\n>>> code.store.get('session:1')\n"
        result = project(
            APP, "def test_it(): pass\n", "--doctest-glob=*.txt", bare=True, files={"guide.txt": text}
        )
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(["not judged: 0 calls of fixtures and 1 of tests*"])
