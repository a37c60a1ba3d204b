"""The rq and arq seams: real queues over fakeredis, with workers in the test's own process."""

from __future__ import annotations

import inspect

import arq.connections
import arq.worker
import pytest
import rq.job
import rq.queue
import rq.worker

from runtime_project import Project, blocks, line_of, surface_tests, table

APP = """
    import asyncio
    import logging
    from concurrent.futures import ThreadPoolExecutor
    from datetime import datetime, timedelta, timezone

    import arq.worker
    import fakeredis
    from arq.connections import ArqRedis
    from rq import Queue, SimpleWorker
    from rq.job import Job as Early
    from boundlint.boundary import boundary_scope, carry_context, current_boundary, take_snapshot
    from pytest_boundary.fixtures import make

    class Sub(Early):
        pass

    server = fakeredis.FakeServer()
    connection = fakeredis.FakeStrictRedis(server=server)
    store = fakeredis.FakeRedis(decode_responses=True)
    later = Queue(connection=connection)
    now = Queue(connection=connection, is_async=False)
    others = Queue(connection=connection, job_class=Sub)
    soon = datetime(2040, 1, 1, tzinfo=timezone.utc)

    def index(document, tenant=None):
        return document

    def clean():
        return 1

    def lose(document, tenant):
        return store.get(f"document:{document}")

    def careful(document, tenant):
        try:
            store.get(f"document:{document}")
        except Exception:
            return "nothing"

    def explicit(document, tenant):
        return store.get(f"{tenant}:document:{document}")

    def enter(document, tenant):
        with boundary_scope(make(tenant=tenant)):
            return store.get(f"{current_boundary().tenant}:document:{document}")

    def fan_out(documents, tenant):
        for document in documents:
            later.enqueue(index, document)

    def enqueue(queue, *args, **kwargs):
        return queue.enqueue(*args, **kwargs)

    def swallowed():
        try:
            later.enqueue(index, "d1")
        except Exception:
            pass

    def in_thread(*args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(enqueue), *args).result()

    def work(job, *args):
        later.enqueue(job, *args)
        SimpleWorker([later], connection=connection).work(burst=True, logging_level="CRITICAL")

    async def alose(ctx, document, tenant):
        return lose(document, tenant)

    async def acareful(ctx, document, tenant):
        return careful(document, tenant)

    async def aexplicit(ctx, document, tenant):
        return explicit(document, tenant)

    async def aenter(ctx, document, tenant):
        await asyncio.sleep(0)
        return enter(document, tenant)

    async def afan_out(ctx, documents, tenant):
        for document in documents:
            await ctx["redis"].enqueue_job("aexplicit", document)

    async def no_information(redis, log):
        pass

    arq.worker.log_redis_info = no_information  # it asks the server for INFO, which fakeredis has not

    def pool():
        return ArqRedis(fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer()).connection_pool)

    async def aenqueue(*args, **kwargs):
        return await pool().enqueue_job(*args, **kwargs)

    async def awork(job, *args):
        redis = pool()
        made = await redis.enqueue_job("a" + job, *args)
        functions = [alose, acareful, aexplicit, aenter, afan_out]
        worker = arq.worker.Worker(
            functions, redis_pool=redis, burst=True, poll_delay=0.01, max_tries=1, handle_signals=False
        )
        await worker.main()
        try:
            return await made.result(timeout=3)
        finally:
            await worker.close()

    run = asyncio.run
"""
UNSCOPED = {
    "enqueue": 'code.enqueue(code.later, code.index, "d1")',
    "keyword": 'code.enqueue(code.later, code.index, document="d1")',
    "by name": 'code.enqueue(code.later, "app.code.index", "d1")',
    "another tenant": 'code.enqueue(code.later, code.index, "d1", "globex")',
    "call": 'code.later.enqueue_call(code.index, args=("d1",))',
    "in": 'code.later.enqueue_in(code.timedelta(hours=1), code.index, "d1")',
    "at": 'code.later.enqueue_at(code.soon, code.index, "d1")',
    "many": 'code.later.enqueue_many([code.Queue.prepare_data(code.index, ("d1",))])',
    "by hand": 'code.later.enqueue_job(code.Early.create(code.index, ("d1",), connection=code.connection))',
    "subclass": 'code.enqueue(code.others, code.index, "d1")',
    "run at once": 'code.enqueue(code.now, code.index, "d1")',
    "swallowed": "code.swallowed()",
    "in a thread": 'code.in_thread(code.later, code.index, "d1")',
    "arq": 'code.run(code.aenqueue("index", "d1"))',
    "arq keyword": 'code.run(code.aenqueue("index", document="d1"))',
    "arq another tenant": 'code.run(code.aenqueue("index", "acme", tenant="globex"))',
    "arq control argument": 'code.run(code.aenqueue("index", "d1", _job_id="acme:d1"))',
}
SCOPED = {
    "argument": 'code.enqueue(code.later, code.index, "d1", "acme")',
    "keyword": 'code.enqueue(code.later, code.index, "d1", tenant="acme")',
    "meta": 'code.enqueue(code.later, code.index, "d1", meta={"tenant_id": "acme"})',
    "snapshot": "code.enqueue(code.later, code.index, code.take_snapshot(code.current_boundary()))",
    "no payload": "code.enqueue(code.later, code.clean)",
    "in": 'code.later.enqueue_in(code.timedelta(hours=1), code.index, "d1", "acme")',
    "run at once": 'assert code.enqueue(code.now, code.index, "d1", "acme").return_value() == "d1"',
    "looked up": "code.Early.fetch(code.enqueue(code.later, code.clean).id, connection=code.connection).get_status()",
    "arq": 'code.run(code.aenqueue("index", "d1", "acme"))',
    "arq keyword": 'code.run(code.aenqueue("index", "d1", tenant="acme"))',
    "arq no payload": 'code.run(code.aenqueue("clean"))',
}
JOBS = {
    "lost": "run('lose', 'd1', 'acme')",
    "swallowed": "run('careful', 'd1', 'acme')",
    "fan out": "run('fan_out', ['a'], 'acme')",
    "explicit": "run('explicit', 'd1', 'acme')",
    "entered": "run('enter', 'd1', 'acme')",
}
RUN = {
    "at once": "code.enqueue(code.now, getattr(code, job), *args)",
    "worker": "code.work(getattr(code, job), *args)",
    "arq": "code.run(code.awork(job, *args))",
}


def test_unscoped_payloads_fail(project: Project) -> None:
    result = project(APP, table(UNSCOPED), "-n2")
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert {block.split(" —")[0] for block in found} == {"BND601 unscoped queue job"}
    where = (
        f"BND601 unscoped queue job — app/code.py:{line_of(APP, 'return queue.enqueue(*args')} in enqueue()"
    )
    assert found.count(where) == 7
    for line in (
        "  operation  rq.Queue.enqueue  job 'app.code.index'*",
        "  operation  arq.ArqRedis.enqueue_job  job 'index'*",
        "*nothing in the payload says tenant 'acme'",
        "*the payload names the tenant 'globex', not tenant 'acme'*",
        "*caught this exception; the test would have passed",
    ):
        result.stdout.fnmatch_lines([line])


def test_scoped_payloads_pass(project: Project) -> None:
    result = project(APP, table(SCOPED), "--boundary-require=rq,arq,queue")
    result.assert_outcomes(passed=len(SCOPED))


@pytest.mark.parametrize("how", RUN)
def test_a_job_has_nothing_of_its_callers_context(project: Project, how: str) -> None:
    head = f"""
        def run(job, *args):
            try:
                {RUN[how]}
            except Exception:
                pass
    """
    result = project(APP, table(JOBS, head))
    result.assert_outcomes(passed=2, failed=3)
    found = [block.split(" in ")[0] for block in blocks(result)]
    what = "BND603 boundary lost on the way into a job, before a"
    read = line_of(APP, 'return store.get(f"document:{document}")')
    sends = 'ctx["redis"].enqueue_job' if how == "arq" else "later.enqueue(index, document)"
    assert found == [
        f"{what} memory read — app/code.py:{read}",
        f"{what} memory read — app/code.py:{read + 4}",
        f"{what} queue job — app/code.py:{line_of(APP, sends)}",
    ]
    result.stdout.fnmatch_lines(
        ["*this job has no boundary, and the key has no component for tenant 'acme'*", "*take_snapshot*"]
    )


def test_surfaces(project: Project) -> None:
    uses = {
        "rq": "code.enqueue(code.later, code.index, value, first.id)",
        "rq meta": "code.enqueue(code.later, code.index, 'd1', first.id, meta={'note': value})",
        "arq": "code.run(code.aenqueue('index', [value], first.id))",
    }
    result = project(APP, surface_tests(uses), bare=True)
    result.assert_outcomes(failed=len(uses))
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == ["BND201 another tenant's data in the job payload"] * len(uses)
    result.stdout.no_fnmatch_line("*may churn*")
    project(APP, surface_tests(uses, whose="first"), bare=True).assert_outcomes(passed=len(uses))


def test_contract(project: Project) -> None:
    """What the seams replace exists, is what they were written for, and is back after a run."""
    job = rq.job.Job
    assert isinstance(vars(job)["create"], classmethod)
    assert list(inspect.signature(job.create).parameters)[:3] == ["func", "args", "kwargs"]
    assert "meta" in inspect.signature(job.create).parameters
    assert inspect.isfunction(vars(job)["perform"])
    assert "job_class.create(" in inspect.getsource(rq.queue.Queue.create_job)
    assert vars(arq.worker)["ArqRedis"] is arq.connections.ArqRedis
    assert inspect.iscoroutinefunction(vars(arq.connections.ArqRedis)["enqueue_job"])
    assert list(inspect.signature(arq.worker.Worker.run_job).parameters)[1] == "job_id"
    assert "create_task(self.run_job(" in inspect.getsource(arq.worker.Worker)
    owners = (job, arq.connections.ArqRedis, arq.worker.Worker)
    before = [dict(vars(owner)) for owner in owners]
    project("import rq, arq", "def test_it():\n    assert code\n").assert_outcomes(passed=1)
    assert [dict(vars(owner)) for owner in owners] == before


@pytest.mark.parametrize(
    ("name", "module", "text"),
    [
        ("rq", "job", "class Job: ...\n"),
        ("arq", "worker", "class ArqRedis: ...\nclass Worker: ...\n"),
    ],
)
def test_changed_internals_end_the_run(project: Project, name: str, module: str, text: str) -> None:
    files = {f"{name}/__init__.py": "", f"{name}/{module}.py": text}
    result = project(f"import {name}.{module}", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{name} * not found; enforcement would be incomplete*"])
