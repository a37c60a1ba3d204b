"""The celery seam: eager jobs, the memory broker, and a worker in a thread of the test's own process."""

from __future__ import annotations

import inspect
from importlib import import_module
from textwrap import dedent

import pytest

from runtime_project import Project, blocks, line_of, surface_tests, table

celery, task_module, signals, messaging = map(
    import_module, ("celery", "celery.app.task", "celery.signals", "kombu.messaging")
)
for name in (
    "celery.app.amqp",
    "celery.backends.cache",
    "celery.contrib.testing.worker",
    "kombu.transport.memory",
):
    import_module(name)

APP = """
    from concurrent.futures import ThreadPoolExecutor
    from uuid import uuid4
    import fakeredis
    from celery import Celery, Task, chain, group
    from celery.contrib.testing.worker import start_worker
    from boundlint.boundary import boundary_scope, carry_context, current_boundary, take_snapshot
    from pytest_boundary.fixtures import make

    store = fakeredis.FakeRedis(decode_responses=True)
    eager = Celery("eager", broker="memory://", backend="cache+memory://", set_as_current=False)
    eager.conf.task_always_eager = True
    broker = Celery("broker", broker="memory://", backend="cache+memory://", set_as_current=False)
    broker.conf.update(task_default_queue=str(uuid4()), worker_hijack_root_logger=False)

    class Sub(Task):
        pass

    def jobs(app):
        class Jobs:
            @app.task(name="index", shared=False, base=Sub)
            def index(document, tenant=None):
                return document

            @app.task(name="lose", shared=False)
            def lose(document, tenant):
                return store.get(f"document:{document}")

            @app.task(name="careful", shared=False)
            def careful(document, tenant):
                try:
                    store.get(f"document:{document}")
                except Exception:
                    return "nothing"

            @app.task(name="explicit", shared=False)
            def explicit(document, tenant):
                return store.get(f"{tenant}:document:{document}")

            @app.task(name="enter", shared=False)
            def enter(document, tenant):
                with boundary_scope(make(tenant=tenant)):
                    return store.get(f"{current_boundary().tenant}:document:{document}")

            @app.task(name="fan_out", shared=False)
            def fan_out(documents, tenant):
                for document in documents:
                    Jobs.index.delay(document)

            @app.task(name="clean", shared=False, bind=True)
            def clean(self):
                return self.request.id

        return Jobs

    now = jobs(eager)
    later = jobs(broker)

    def enqueue(job, *args, **kwargs):
        return job.delay(*args, **kwargs)

    def swallowed():
        try:
            now.index.delay("d1")
        except Exception:
            pass

    def in_thread(job, *args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(job.delay), *args).result()

"""
UNSCOPED = {
    "delay": 'code.enqueue(code.now.index, "d1")',
    "keywords": 'code.enqueue(code.now.index, document="d1")',
    "apply async": 'code.now.index.apply_async(args=("d1",))',
    "another tenant": 'code.enqueue(code.now.index, "d1", "globex")',
    "another tenant by keyword": 'code.enqueue(code.now.index, "d1", tenant="globex")',
    "longer id": 'code.enqueue(code.now.index, "d1", "acme-2")',
    "signature": 'code.now.index.s("d1").delay()',
    "chain": 'code.chain(code.now.index.s("d1"), code.now.index.s()).delay()',
    "one of a group": 'code.group(code.now.index.s("a", "acme"), code.now.index.s("b")).delay()',
    "swallowed": "code.swallowed()",
    "in a thread": 'code.in_thread(code.now.index, "d1")',
    "broker": 'code.enqueue(code.later.index, "d1")',
    "broker keywords": 'code.enqueue(code.later.index, document="d1")',
    "broker other tenant": 'code.enqueue(code.later.index, "d1", tenant="globex")',
    "broker by name": 'code.broker.send_task("somewhere.else", ("d1",))',
    "broker chain": 'code.chain(code.later.index.s("d1"), code.later.index.s()).delay()',
    "broker in a thread": 'code.in_thread(code.later.index, "d1")',
}
SCOPED = {
    "argument": 'code.enqueue(code.now.index, "d1", "acme")',
    "keyword": 'code.enqueue(code.now.index, document="d1", tenant="acme")',
    "header": 'code.now.index.apply_async(("d1",), headers={"tenant_id": "acme"})',
    "snapshot": 'code.enqueue(code.now.index, {"text": "x", "for": code.take_snapshot(code.current_boundary())})',
    "key": 'code.enqueue(code.now.index, "acme:d1")',
    "long text": 'code.enqueue(code.now.index, "x" * 5000, "acme")',
    "no payload": "code.enqueue(code.now.clean)",
    "chain": 'code.chain(code.now.index.s("d1", "acme"), code.now.index.s()).delay()',
    "group": 'code.group(code.now.index.s(n, "acme") for n in "ab").delay()',
    "thread": 'code.in_thread(code.now.index, "d1", "acme")',
    "run here": 'assert code.now.index.apply(("d1",)).get() == "d1"',
    "broker argument": 'code.enqueue(code.later.index, "d1", "acme")',
    "broker header": 'code.later.index.apply_async(("d1",), headers={"tenant_id": "acme"})',
    "broker by name": 'code.broker.send_task("somewhere.else", ("d1",), {"tenant": "acme"})',
    "broker chain": 'code.chain(code.later.index.s("d1", "acme"), code.later.index.s()).delay()',
    "broker no payload": "code.enqueue(code.later.clean)",
}


def test_unscoped_payloads_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED), "-n2")
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert {block.split(" —")[0] for block in found} == {"BND601 unscoped queue job"}
    assert (
        len(
            [
                block
                for block in found
                if f"app/code.py:{line_of(APP, 'return job.delay')} in enqueue" in block
            ]
        )
        == 8
    )
    for line in (
        "  operation  celery.Task.apply_async  job 'index'*",
        "*nothing in the payload says tenant 'acme'",
        "*the payload names the tenant 'globex', not tenant 'acme'*",
        "*caught this exception; the test would have passed",
    ):
        result.stdout.fnmatch_lines([line])


def test_scoped_payloads_pass(project: Project) -> None:
    result = project(APP, table(SCOPED), "--boundary-require=celery,queue")
    result.assert_outcomes(passed=len(SCOPED))


JOBS = {
    "lost": "run('lose', 'd1', 'acme')",
    "swallowed": "run('careful', 'd1', 'acme')",
    "fan out": "run('fan_out', ['a'], 'acme')",
    "explicit": "run('explicit', 'd1', 'acme')",
    "entered": "run('enter', 'd1', 'acme')",
}
EAGER = """
    def run(job, *args):
        return getattr(code.now, job).delay(*args)
"""
WORKER = """
    @pytest.fixture(autouse=True, scope="module")
    def worker():
        with code.start_worker(code.broker, perform_ping_check=False):
            yield

    def run(job, *args):
        try:
            getattr(code.later, job).delay(*args).get(timeout=20)
        except Exception:
            pass
"""


@pytest.mark.parametrize("how", [EAGER, WORKER], ids=["eager", "worker"])
def test_a_job_has_nothing_of_its_callers_context(project: Project, how: str) -> None:
    result = project(APP, dedent(how) + table(JOBS))
    result.assert_outcomes(passed=2, failed=3)
    found = [block.split(" in ")[0] for block in blocks(result)]
    what = "BND603 boundary lost on the way into a job, before a"
    read = line_of(APP, 'return store.get(f"document:{document}")')
    assert found == [
        f"{what} memory read — app/code.py:{read}",
        f"{what} memory read — app/code.py:{read + 5}",
        f"{what} queue job — app/code.py:{line_of(APP, 'Jobs.index.delay(document)')}",
    ]
    result.stdout.fnmatch_lines(
        ["*this job has no boundary, and the key has no component for tenant 'acme'*", "*take_snapshot*"]
    )


def test_the_projects_own_signals_count(project: Project) -> None:
    """The boundary travels in a header: what many projects have in place of an argument."""
    app = """
        from contextlib import ExitStack
        import fakeredis
        from celery import Celery
        from celery.signals import before_task_publish, task_postrun, task_prerun
        from boundlint.boundary import boundary_scope, current_boundary
        from pytest_boundary.fixtures import make

        store = fakeredis.FakeRedis()
        eager = Celery("eager", set_as_current=False)
        eager.conf.update(task_always_eager=True, task_eager_propagates=True)
        broker = Celery("broker", broker="memory://", set_as_current=False)
        scopes = ExitStack()

        @before_task_publish.connect
        def hand_over(headers=None, **_):
            headers["tenant_id"] = current_boundary().tenant

        @task_prerun.connect
        def enter(task=None, **_):
            scopes.enter_context(boundary_scope(make(tenant=task.request.tenant_id)))

        @task_postrun.connect
        def leave(**_):
            scopes.close()

        @eager.task
        def index(document):
            return store.get(f"{current_boundary().tenant}:{document}")

        @broker.task
        def publish(document): ...
    """
    body = """
        from boundlint.boundary import current_boundary
        def test_eager():
            assert code.index.delay("d1").get() is None
            assert current_boundary().tenant == "acme"
        def test_published():
            code.publish.delay("d1")
    """
    project(app, body).assert_outcomes(passed=2)


def test_report_mode_changes_no_outcome(project: Project) -> None:
    app = """
        from contextvars import ContextVar
        from celery import Celery
        import fakeredis
        store = fakeredis.FakeRedis()
        language = ContextVar("language", default="en")
        eager = Celery("eager", set_as_current=False)
        eager.conf.update(task_always_eager=True, task_eager_propagates=True)
        @eager.task
        def told(document, tenant):
            store.get(document)
            return language.get()
    """
    body = """
        def test_it():
            code.language.set("de")
            assert code.told.delay("d1", "acme").get() == "de"
    """
    result = project(app, body, flag="--enforce-boundary=report")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["BND603 boundary lost on the way into a job, before a memory read*"])
    project(app, body.replace('"de"\n        ', '"en"\n')).assert_outcomes(failed=1)


def test_surfaces(project: Project) -> None:
    uses = {
        "argument": "code.enqueue(code.now.index, value, first.id)",
        "header": "code.now.index.apply_async(('d1', first.id), headers={'note': value})",
        "broker": "code.enqueue(code.later.index, [value], first.id)",
        "broker header": "code.later.index.apply_async(('d1', first.id), headers={'note': value})",
    }
    result = project(APP, surface_tests(uses), bare=True)
    result.assert_outcomes(failed=len(uses))
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == ["BND201 another tenant's data in the job payload"] * len(uses)
    result.stdout.no_fnmatch_line("*may churn*")
    project(APP, surface_tests(uses, whose="first"), bare=True).assert_outcomes(passed=len(uses))


def test_a_job_that_is_declared_goes_without(project: Project) -> None:
    app = """
        import sqlite3
        from celery import Celery
        from boundlint.boundary import boundary_scope, cross_boundary
        from pytest_boundary.fixtures import make

        database = sqlite3.connect(":memory:")
        eager = Celery("eager", set_as_current=False)
        eager.conf.update(task_always_eager=True, task_eager_propagates=True)
        LOAD = "SELECT id, tenant_id, total FROM invoices WHERE id = ?"

        @eager.task(name="send")
        def send(invoice):
            with cross_boundary("whose job this is"):
                _, tenant, total = database.execute(LOAD, (invoice,)).fetchone()
            with boundary_scope(make(tenant=tenant)):
                return total

        @eager.task(name="send_at_once")
        def send_at_once(invoice):
            return database.execute(LOAD, (invoice,)).fetchone()
    """
    body = """
        @pytest.fixture(autouse=True, scope="module")
        def seeded():
            code.database.execute("CREATE TABLE invoices (id, tenant_id, total)")
            code.database.execute("INSERT INTO invoices VALUES (1, 'acme', 9)")
        def test_it():
            assert code.send.delay(1).get() == 9
        def test_the_record_is_looked_up_without_a_word():
            code.send_at_once.delay(1)
    """
    ini = '[tool.pytest.ini_options]\nasyncio_default_fixture_loop_scope = "function"\nboundary_shared = ["send* # the record says whose it is"]\n'
    result = project(app, body, files={"pyproject.toml": ini})
    result.assert_outcomes(passed=1, failed=1)
    assert blocks(result)[0].startswith(
        "BND603 boundary lost on the way into a job, before a database read — app/code.py:"
    )


def test_no_boundary(project: Project) -> None:
    body = """
        def test_it():
            code.enqueue(code.now.index, "d1")
        def test_nothing_in_it():
            code.enqueue(code.now.clean)
    """
    result = project(APP, body, bare=True)
    result.assert_outcomes(failed=1, passed=1)
    assert blocks(result)[0].startswith("BND101 queue job with no boundary — app/code.py:")


def test_contract(project: Project) -> None:
    """What the seam replaces exists, is what it was written for, and is back after a run."""
    task, producer = task_module.Task, messaging.Producer
    assert list(inspect.signature(task.apply).parameters)[:3] == ["self", "args", "kwargs"]
    assert {"body", "headers"} <= set(inspect.signature(producer.publish).parameters)
    app = celery.Celery("app", broker="memory://", set_as_current=False)
    message = app.amqp.as_task_v2("1", "name", ("a",), {"b": "c"})
    assert message.headers["task"] == "name"
    assert message.body[:2] == (("a",), {"b": "c"})
    watched = (signals.task_prerun, signals.task_postrun)
    before = [vars(task)["apply"], vars(producer)["publish"], *(list(s.receivers) for s in watched)]
    project("import celery", 'def test_it():\n    code.celery.Celery("x").task\n').assert_outcomes(passed=1)
    after = [vars(task)["apply"], vars(producer)["publish"], *(list(s.receivers) for s in watched)]
    assert after == before


def test_changed_internals_end_the_run(project: Project) -> None:
    files = {
        "celery/__init__.py": "",
        "celery/app/__init__.py": "",
        "celery/app/task.py": "class Task: ...\n",
        "celery/signals.py": "",
    }
    result = project("import celery.app.task", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*celery *Task.apply not found; enforcement would be incomplete*"])
