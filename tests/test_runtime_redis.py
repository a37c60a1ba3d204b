"""The redis seam, with fakeredis in front of the real client classes."""

from __future__ import annotations

import pytest

from runtime_project import Project, blocks

APP = """
    import asyncio
    import threading
    from concurrent.futures import ThreadPoolExecutor
    import fakeredis
    from redis import Redis as Early
    from boundlint.boundary import carry_context

    class Sub(fakeredis.FakeRedis):
        pass

    store = fakeredis.FakeRedis(decode_responses=True)
    raw = fakeredis.FakeRedis()

    def pipeline(*keys):
        with store.pipeline() as pipe:
            for key in keys:
                pipe.set(key, "x")
            return pipe.execute()

    def in_thread(key):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(store.get), key).result()

    async def async_get(key):
        async with fakeredis.FakeAsyncRedis() as client:
            return await client.get(key)

    async def async_pipeline(key):
        async with fakeredis.FakeAsyncRedis() as client:
            async with client.pipeline() as pipe:
                pipe.get(key)
                return await pipe.execute()
"""

UNSCOPED = {
    "get": 'code.store.get("session:1")',
    "substring": 'code.store.get("acme2:session")',
    "longer id": 'code.store.get("acme-2:session")',
    "set": 'code.store.set("format", "weekly")',
    "bytes": 'code.raw.get(b"session:1")',
    "one of many": 'code.store.mget("acme:a", "globex:a")',
    "mset": 'code.store.mset({"acme:a": 1, "b": 2})',
    "delete": 'code.store.delete("session:1")',
    "hash": 'code.store.hgetall("sessions")',
    "hash field": 'code.store.hget("sessions", "globex:1")',
    "one field of many": 'code.store.hset("sessions", mapping={"acme:1": "a", "2": "b"})',
    "list": 'code.store.lpush("inbox", "x")',
    "scan": "list(code.store.scan_iter())",
    "scan pattern": 'list(code.store.scan_iter("session:*"))',
    "keys": 'code.store.keys("*")',
    "rename": 'code.store.rename("acme:a", "b")',
    "stream": 'code.store.xread({"events": 0})',
    "union": 'code.store.zunionstore("acme:all", ["acme:a", "globex:a"])',
    "lua": 'code.store.eval("return 1", 1, "session:1")',
    "lua without keys": 'code.store.eval("return 1", 0)',
    "pipeline": 'code.pipeline("acme:a", "session:1")',
    "subclass": 'code.Sub().get("session:1")',
    "command": 'code.store.execute_command("GET", "session:1")',
    "thread": 'code.in_thread("session:1")',
    "async": 'asyncio.run(code.async_get("session:1"))',
    "async pipeline": 'asyncio.run(code.async_pipeline("session:1"))',
    "bit": 'code.store.getdel("session:1")',
    "publish": 'code.store.publish("updates", "x")',
    "registered script": 'code.store.register_script("return 1")(keys=["session:1"])',
}
SCOPED = {
    "first component": 'code.store.get("acme:session:1")',
    "another component": 'code.store.get("session:acme:1")',
    "slashes": 'code.store.get("v1/acme/session")',
    "hash tag": 'code.store.get("{acme}:session")',
    "bytes": 'code.raw.set(b"acme:session", b"x")',
    "the key builder": 'code.store.set(scoped_key(current_boundary(), "a:b"), "x")',
    "many": 'code.store.mset({"acme:a": 1, "acme:b": 2})',
    "hash field": 'code.store.hset("sessions", "acme:1", "x")',
    "hash fields": 'code.store.hmget("sessions", ["acme:1", "acme:2"])',
    "scan": 'list(code.store.scan_iter("acme:*"))',
    "lua": 'code.store.eval("return 1", 1, "acme:1")',
    "lua argument": 'code.store.eval("return 1", 0, "acme")',
    "pipeline": 'code.pipeline("acme:a", "acme:b")',
    "stream": 'code.store.xread({"acme:events": 0})',
    "counter": 'code.store.incr("hits")',
    "lock": 'code.store.lock("migration").locked()',
    "lock by hand": 'code.store.set("lock:report", "1", nx=True, ex=30)',
    "time to live": 'code.store.ttl("session:1")',
    "ping": "code.store.ping()",
    "thread": 'code.in_thread("acme:1")',
    "async": 'asyncio.run(code.async_get("acme:1"))',
    "async pipeline": 'asyncio.run(code.async_pipeline("acme:1"))',
}


def body_of(cases: dict[str, str]) -> str:
    lines = ["import asyncio", "from boundlint.boundary import current_boundary, scoped_key"]
    for number, (name, call) in enumerate(cases.items()):
        lines += [f"def test_{number}_{name.replace(' ', '_')}():", f"    {call}"]
    return "\n".join(lines) + "\n"


def test_unscoped_calls_fail(project: Project) -> None:
    result = project(APP, body_of(UNSCOPED))
    result.assert_outcomes(failed=len(UNSCOPED))
    found = blocks(result)
    assert len(found) == len(UNSCOPED)
    assert all(block.startswith(("BND201 unscoped memory", "BND601 unscoped queue")) for block in found)


def test_scoped_calls_pass(project: Project) -> None:
    result = project(APP, body_of(SCOPED))
    result.assert_outcomes(passed=len(SCOPED))


def test_swallowed_in_two_workers(project: Project) -> None:
    swallowed = {
        name: f"exec('try: {call}\\nexcept Exception: pass')"
        for name, call in UNSCOPED.items()
        if name in ("get", "pipeline", "lua", "scan") and "'" not in call
    }
    result = project(APP, body_of(swallowed), "-n2")
    result.assert_outcomes(failed=len(swallowed))


def test_ambiguous_keys_have_their_own_rule(project: Project) -> None:
    body = """
        def test_prefix():
            list(code.store.scan_iter("acme*"))
        @pytest.mark.boundary(tenant="a:b")
        def test_delimiter():
            code.store.get("a:b:c")
        @pytest.mark.boundary(tenant="a:b")
        def test_escaped():
            code.store.get("a%3Ab:c")
    """
    result = project(APP, body)
    result.assert_outcomes(failed=2, passed=1)
    assert [block.split(" —")[0] for block in blocks(result)[:2]] == [
        "BND205 ambiguous pattern",
        "BND205 ambiguous key",
    ]


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ('code.store.set("acme:1", json.dumps({"tenant_id": "globex"}))', 'code.store.get("acme:1")'),
        ('code.raw.set("acme:1", b\'{"orgId": "globex"}\')', 'code.raw.get("acme:1")'),
        (
            'code.store.hset("acme:h", mapping={"tenant_id": "globex", "x": "y"})',
            'code.store.hgetall("acme:h")',
        ),
        (
            'code.store.rpush("acme:l", json.dumps([{"tenant": "globex"}]))',
            'code.store.lrange("acme:l", 0, -1)',
        ),
    ],
)
def test_a_value_of_another_tenant_is_foreign(project: Project, stored: str, read: str) -> None:
    body = f"""
        import json
        @pytest.fixture(autouse=True)
        def seeded():
            {stored}
        def test_it():
            {read}
        def test_own(boundary_scope):
            with boundary_scope(tenant="globex"):
                {read.replace("acme:", "globex:")}
    """
    result = project(APP, body)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "BND201 another tenant's data from a memory read*",
            "*result names the tenant 'globex', not tenant 'acme'*",
        ]
    )


def test_contract() -> None:
    """What the seam replaces exists, and every command passes it."""
    import inspect

    import redis.asyncio.client
    import redis.asyncio.cluster
    import redis.client
    import redis.cluster

    for owner, is_async in (
        (redis.client.Redis, False),
        (redis.client.Pipeline, False),
        (redis.cluster.RedisCluster, False),
        (redis.cluster.ClusterPipeline, False),
        (redis.asyncio.client.Redis, True),
        (redis.asyncio.client.Pipeline, False),
        (redis.asyncio.cluster.RedisCluster, True),
        (redis.asyncio.cluster.ClusterPipeline, False),
    ):
        method = vars(owner)["execute_command"]
        assert inspect.iscoroutinefunction(method) is is_async, owner
    import fakeredis

    assert "execute_command" not in vars(fakeredis.FakeRedis)
    assert issubclass(fakeredis.FakeRedis, redis.client.Redis)
    assert issubclass(fakeredis.FakeAsyncRedis, redis.asyncio.client.Redis)
