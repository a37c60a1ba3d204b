"""The seams of functools, cachetools and aiocache: keys by component, and functions whose results are cached."""

from __future__ import annotations

import functools
import inspect
from importlib import import_module

import pytest

from runtime_project import Project, blocks, line_of, surface_tests, table

# neither has types of its own
aiocache, cachetools = import_module("aiocache"), import_module("cachetools")
for name in ("aiocache.base", "aiocache.decorators", "cachetools.func"):
    import_module(name)

APP = """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import dataclass
    from functools import cache, lru_cache

    import aiocache
    import aiocache.decorators
    import cachetools
    import cachetools.func
    import fakeredis
    from cachetools import TTLCache as Early
    from boundlint.boundary import carry_context, current_boundary, scoped_key

    store = fakeredis.FakeRedis(decode_responses=True)
    memory = Early(100, 60)

    class Sub(cachetools.LRUCache):
        pass

    lru = Sub(100)
    remote = aiocache.SimpleMemoryCache()
    mine = aiocache.SimpleMemoryCache(namespace="acme:")

    def tenant():
        return current_boundary().tenant

    @lru_cache
    def plan():
        return store.get(f"{tenant()}:plan")

    @lru_cache(maxsize=5)
    def document(name):
        return store.get(f"{tenant()}:document:{name}")

    @cache
    def forever(name):
        return store.get(f"{tenant()}:document:{name}")

    @cache
    def of_tenant(tenant, name):
        return store.get(f"{tenant}:document:{name}")

    @cache
    def written(name):
        store.set(f"{tenant()}:seen", name)

    @cache
    def square(number):
        return number * number

    @dataclass(frozen=True)
    class Context:
        tenant_id: str

    @cache
    def of_context(context, name):
        return store.get(f"{context.tenant_id}:document:{name}")

    class Service:
        @cache
        def document(self, name):
            return store.get(f"{tenant()}:document:{name}")

    @cachetools.cached({})
    def table(name):
        return store.get(f"{tenant()}:document:{name}")

    @cachetools.cached(cachetools.LRUCache(9), key=lambda name: cachetools.keys.hashkey(tenant(), name))
    def keyed(name):
        return store.get(f"{tenant()}:document:{name}")

    @cachetools.func.ttl_cache(ttl=60)
    def timed(name):
        return store.get(f"{tenant()}:document:{name}")

    @aiocache.cached()
    async def awaited(name):
        return store.get(f"{tenant()}:document:{name}") or "x"

    @aiocache.cached_stampede(lease=1)
    async def stampede(name):
        return store.get(f"{tenant()}:document:{name}") or "x"

    @aiocache.cached(key_builder=lambda function, name: f"{tenant()}:{name}")
    async def built(name):
        return store.get(f"{tenant()}:document:{name}") or "x"

    @aiocache.cached()
    async def awaited_of(tenant, name):
        return store.get(f"{tenant}:document:{name}") or "x"

    @aiocache.multi_cached("names")
    async def many(names):
        return {name: store.get(f"{tenant()}:document:{name}") or "x" for name in names}

    def report(name):
        return document(name)

    def swallowed():
        try:
            plan()
        except Exception:
            pass

    def in_thread(function, *args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(function), *args).result()

    def put(where, key, value="x"):
        where[key] = value

    run = asyncio.run
"""
FUNCTIONS = {
    "no arguments": "code.plan()",
    "a name": "code.document('a')",
    "through another": "code.report('b')",
    "forever": "code.forever('c')",
    "swallowed": "code.swallowed()",
    "in a thread": "code.in_thread(code.document, 'd')",
    "table": "code.table('a')",
    "timed": "code.timed('a')",
    "awaited": "code.run(code.awaited('a'))",
    "stampede": "code.run(code.stampede('a'))",
    "many": "code.run(code.many(names=['a', 'b']))",
}
KEYS = {
    "set": "code.put(code.memory, 'a')",
    "longer id": "code.put(code.memory, 'acme-2:a')",
    "get": "code.memory.get('a')",
    "item": "code.lru.get('b') or code.lru['b']",
    "pop": "code.lru.pop('b', None)",
    "setdefault": "code.lru.setdefault(('kim', 'a'), 'x')",
    "own key": "code.put(code.lru, code.cachetools.keys.hashkey('a', 1))",
    "async get": "code.run(code.remote.get('a'))",
    "async set": "code.run(code.remote.set('a', 'x'))",
    "async many": "code.run(code.remote.multi_get(['acme:a', 'a']))",
    "async pairs": "code.run(code.remote.multi_set([('acme:a', 1), ('a', 2)]))",
    "async namespace": "code.run(code.remote.set('a', 'x', namespace='kim:'))",
    "async delete": "code.run(code.remote.delete(key='a'))",
}
FINE = {
    "tenant in the arguments": "assert code.of_tenant('acme', 'a') is code.of_tenant('acme', 'a')",
    "context in the arguments": "code.of_context(code.Context('acme'), 'a')",
    "an object of its own": "code.Service().document('a')",
    "writes only": "code.written('a')",
    "no data": "assert code.square(3) == 9",
    "key function": "code.keyed('a')",
    "key builder": "code.run(code.built('a'))",
    "awaited": "code.run(code.awaited_of('acme', 'a'))",
    "wrapped": "assert code.document.__wrapped__.__name__ == 'document' == code.document.__name__",
    "statistics": "code.square(1); assert code.square.cache_info().currsize",
    "key": "code.put(code.memory, 'acme:a'); assert code.memory['acme:a'] == 'x'",
    "tuple": "code.put(code.lru, ('acme', 1)); assert ('acme', 1) in code.lru",
    "built key": "code.put(code.lru, code.scoped_key(code.current_boundary(), 'a'))",
    "async": "code.run(code.remote.set('acme:a', 'x')); assert code.run(code.remote.get('acme:a')) == 'x'",
    "async namespace": "code.run(code.mine.set('a', 'x'))",
    "async pairs": "code.run(code.remote.multi_set([('acme:a', 1)]))",
}


def test_cached_functions_that_read_for_one_tenant(project: Project) -> None:
    result = project(APP, table(FUNCTIONS), "-n2")
    result.assert_outcomes(failed=len(FUNCTIONS))
    found = blocks(result)
    assert {block.split(" —")[0] for block in found} == {"BND401 unscoped cache write"}
    assert (
        f"BND401 unscoped cache write — app/code.py:{line_of(APP, 'return document(name)')} in report()"
        in found
    )
    for line in (
        "  operation  functools.lru_cache  result of plan()*",
        "  operation  cachetools.cached  result of table()*",
        "  operation  aiocache.decorators.cached  result of awaited()*",
        "*document() has read data of tenant 'acme', and its key names no tenant: *",
        "*caught this exception; the test would have passed",
    ):
        result.stdout.fnmatch_lines([line])


def test_keys_without_the_tenant(project: Project) -> None:
    result = project(APP, table(KEYS))
    result.assert_outcomes(failed=len(KEYS))
    assert {block.split(" —")[0] for block in blocks(result)} == {
        f"BND401 unscoped cache {effect}" for effect in ("read", "write", "delete")
    }
    result.stdout.fnmatch_lines(["*cachetools.Cache.__setitem__  key 'acme-2:a'*"])


def test_what_is_fine(project: Project) -> None:
    result = project(APP, table(FINE), "--boundary-require=functools,cachetools,aiocache")
    result.assert_outcomes(passed=len(FINE))


def test_foreign_values_and_surfaces(project: Project) -> None:
    body = table(
        {
            "foreign": "code.memory.get('acme:x')",
            "foreign async": "code.run(code.remote.get('acme:x'))",
        },
        head="""
            @pytest.fixture(autouse=True)
            def seeded():
                code.memory["acme:x"] = {"tenant_id": "globex"}
                code.run(code.remote.set("acme:x", {"tenant_id": "globex"}))
        """,
    )
    result = project(APP, body)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*the result names the tenant 'globex', not tenant 'acme'*"] * 2)
    uses = {
        "cachetools": "code.put(code.memory, (first.id, 'a'), value)",
        "aiocache": "code.run(code.remote.set(f'{first.id}:a', [value]))",
    }
    result = project(APP, surface_tests(uses), bare=True)
    result.assert_outcomes(failed=2)
    titles = [block.split(" —")[0] for block in blocks(result)]
    assert titles == ["BND201 another tenant's data in the cache write"] * 2
    result.stdout.no_fnmatch_line("*may churn*")
    project(APP, surface_tests(uses, whose="first"), bare=True).assert_outcomes(passed=2)


def test_caches_of_libraries_are_not_asked(project: Project, pytester: pytest.Pytester) -> None:
    """A library's own cache holds tokens and schemas, whose keys name no tenant of ours."""
    library = """
import functools
import cachetools
tokens = cachetools.LRUCache(9)
@functools.lru_cache
def read(store, key):
    return store.get(key)
def token(name):
    tokens[name] = "x"
    return tokens[name]
"""
    app = """
        import site
        import sys
        site.addsitedir("site-packages")
        import library
        import fakeredis
        store = fakeredis.FakeRedis()
        def both():
            library.token("a")
            return library.read(store, "acme:x")
    """
    files = {"site-packages/library.py": library}
    project(app, "def test_it():\n    code.both()\n", files=files).assert_outcomes(passed=1)


def test_contract(project: Project) -> None:
    """What the seams replace exists, is what they were written for, and is back after a run."""
    assert list(inspect.signature(functools.lru_cache).parameters) == ["maxsize", "typed"]
    assert "lru_cache(maxsize=None)" in inspect.getsource(functools.cache)
    assert list(inspect.signature(cachetools.cached).parameters)[:2] == ["cache", "key"]
    for method in ("get", "multi_get", "set", "add", "multi_set", "delete"):
        assert inspect.iscoroutinefunction(vars(aiocache.base.BaseCache)[method])
        assert method not in vars(aiocache.SimpleMemoryCache)
    assert issubclass(aiocache.decorators.cached_stampede, aiocache.decorators.cached)
    owners = (
        aiocache.base.BaseCache,
        aiocache.decorators.cached,
        aiocache.decorators.multi_cached,
        cachetools.Cache,
        cachetools.LRUCache,
        cachetools.TTLCache,
    )
    before = [dict(vars(owner)) for owner in owners] + [functools.lru_cache, cachetools.cached]
    project("import aiocache, cachetools", "def test_it():\n    assert code\n").assert_outcomes(passed=1)
    assert [dict(vars(owner)) for owner in owners] + [functools.lru_cache, cachetools.cached] == before


def test_changed_internals_end_the_run(project: Project) -> None:
    files = {"aiocache/__init__.py": "", "aiocache/base.py": "class BaseCache: ...\n"}
    result = project("import aiocache.base", "def test_it(): ...\n", files=files, subprocess=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*aiocache *BaseCache.get not found; enforcement would be incomplete*"])
