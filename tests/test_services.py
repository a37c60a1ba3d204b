"""The seams against real servers: a redis-server and a PostgreSQL, each started here on a free loopback port.

`make test-services` runs this; there a missing server is a failure. `make test` skips it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime_project import Project, blocks

pytestmark = pytest.mark.skipif(
    not os.environ.get("BOUNDLINT_SERVICES"), reason="needs real servers: make test-services"
)
POSTGRES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        for pattern in POSTGRES:
            found = next((str(path) for path in sorted(Path("/").glob(f"{pattern[1:]}/{name}"))), found)
    assert found is not None, f"{name} is not installed (Debian: apt-get install redis-server postgresql)"
    return found


def wait_for(port: int, process: subprocess.Popen[Any]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server does not answer")


def stopped(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGINT)  # PostgreSQL waits for its clients after SIGTERM
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command: list[str] = [
        program("redis-server"),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        stopped(process)


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A PostgreSQL with a role `app` that is neither superuser nor may bypass row-level security."""
    import tempfile

    port = free_port()
    as_user: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="boundlint-pg-"))
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data = folder / "data"
    init = [program("initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(init, check=True, capture_output=True, cwd=folder, **as_user)
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-F"]
    process = subprocess.Popen(
        [program("postgres"), "-D", str(data), *options], stderr=subprocess.DEVNULL, cwd=folder, **as_user
    )
    try:
        wait_for(port, process)
        import psycopg

        for _ in range(100):
            try:
                admin = psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", autocommit=True)
                break
            except psycopg.OperationalError:  # still starting up
                time.sleep(0.1)
        with admin:
            admin.execute("CREATE ROLE app LOGIN NOSUPERUSER NOBYPASSRLS")
            admin.execute("CREATE DATABASE app OWNER app")
        yield f"postgresql://app@127.0.0.1:{port}/app"
    finally:
        stopped(process)
        shutil.rmtree(folder, ignore_errors=True)


def cases(unscoped: dict[str, str], scoped: dict[str, str], head: str = "") -> str:
    lines = [head]
    for kind, calls in (("bad", unscoped), ("good", scoped)):
        for number, call in enumerate(calls.values()):
            lines += [f"def test_{kind}_{number}():", f"    {call}"]
    return "\n".join(lines) + "\n"


def check(result: pytest.RunResult, unscoped: dict[str, str], scoped: dict[str, str]) -> None:
    result.assert_outcomes(failed=len(unscoped), passed=len(scoped))
    assert len(blocks(result)) == len(unscoped)
    result.stdout.no_fnmatch_line("*_ test_good_*")


def test_redis(project: Project, redis_url: str) -> None:
    app = f"""
        import asyncio
        import redis
        import redis.asyncio

        store = redis.Redis.from_url({redis_url!r}, decode_responses=True)

        def pipeline(*keys):
            with store.pipeline() as pipe:
                for key in keys:
                    pipe.set(key, "x")
                return pipe.execute()

        async def get(key):
            async with redis.asyncio.Redis.from_url({redis_url!r}) as client:
                return await client.get(key)
    """
    unscoped = {
        "get": 'code.store.get("session:1")',
        "scan": 'list(code.store.scan_iter("session:*"))',
        "lua": 'code.store.eval("return redis.call(\'get\', KEYS[1])", 1, "session:1")',
        "pipeline": 'code.pipeline("acme:1", "session:1")',
        "async": 'asyncio.run(code.get("session:1"))',
        "foreign": "code.store.hgetall('acme:foreign')",
    }
    scoped = {
        "get": 'code.store.get("acme:1")',
        "scan": 'list(code.store.scan_iter("acme:*"))',
        "lua": 'code.store.eval("return redis.call(\'get\', KEYS[1])", 1, "acme:1")',
        "pipeline": 'code.pipeline("acme:1", "acme:2")',
        "async": 'asyncio.run(code.get("acme:1"))',
        "lock": 'assert code.store.lock("report", timeout=5).acquire()',
    }
    head = "import asyncio\n@pytest.fixture(autouse=True)\ndef seeded():\n    code.store.flushall()\n"
    head += "    code.store.hset('acme:foreign', mapping={'tenant_id': 'globex'})\n"
    check(project(app, cases(unscoped, scoped, head)), unscoped, scoped)


DATABASE = """
    import asyncio
    import psycopg
    from psycopg import sql
    from psycopg.rows import dict_row
    from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, select
    from sqlalchemy.ext.asyncio import create_async_engine

    URL = {url!r}
    engine = create_engine(URL.replace("postgresql:", "postgresql+psycopg:"))
    notes = Table("notes", MetaData(), Column("id", Integer), Column("tenant_id", String), Column("text", String))

    def seed():
        with psycopg.connect(URL) as connection:
            connection.execute("DROP TABLE IF EXISTS notes, secured")
            for table in ("notes", "secured"):
                connection.execute(f"CREATE TABLE {{table}} (id int, tenant_id text, text text)")
                connection.execute(f"INSERT INTO {{table}} VALUES (1, 'acme', 'a'), (2, 'globex', 'b')")
            connection.execute("ALTER TABLE secured ENABLE ROW LEVEL SECURITY")
            connection.execute("ALTER TABLE secured FORCE ROW LEVEL SECURITY")
            connection.execute("CREATE POLICY own ON secured USING (tenant_id = current_setting('app.tenant', true))")

    def run(statement, parameters=None, **options):
        with psycopg.connect(URL, **options) as connection:
            return connection.execute(statement, parameters).fetchall()

    def many(statement, rows):
        with psycopg.connect(URL) as connection:
            connection.cursor().executemany(statement, rows)

    def server(statement, parameters=None):
        with psycopg.connect(URL) as connection, connection.cursor("named") as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    async def async_run(statement, parameters=None):
        async with await psycopg.AsyncConnection.connect(URL) as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall()

    def core(statement):
        with engine.connect() as connection:
            return connection.execute(statement).all()

    async def async_core(statement):
        engine = create_async_engine(URL.replace("postgresql:", "postgresql+psycopg:"))
        async with engine.connect() as connection:
            found = (await connection.execute(statement)).all()
        await engine.dispose()
        return found

    def secured(tenant):
        with psycopg.connect(URL) as connection:
            connection.execute("SELECT set_config('app.tenant', %s, true)", (tenant,))
            return connection.execute("SELECT * FROM secured").fetchall()

    def role():
        with psycopg.connect(URL) as connection:
            found = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
            return connection.execute(found).fetchone()
"""


def test_postgresql(project: Project, database_url: str) -> None:
    unscoped = {
        "execute": 'code.run("SELECT text FROM notes WHERE id = %s", (1,))',
        "name": 'code.run("SELECT text FROM notes WHERE id = %(id)s", {"id": 1})',
        "composed": 'code.run(code.sql.SQL("SELECT * FROM {}").format(code.sql.Identifier("notes")))',
        "another tenant": 'code.run("SELECT text FROM notes WHERE tenant_id = %s", ("globex",))',
        "many": 'code.many("INSERT INTO notes VALUES (%s, %s, %s)", [(3, "acme", "x"), (4, "globex", "x")])',
        "server-side": 'code.server("SELECT text FROM notes")',
        "async": 'asyncio.run(code.async_run("SELECT text FROM notes WHERE id = %s", (1,)))',
        "core": "code.core(code.select(code.notes))",
        "async core": "asyncio.run(code.async_core(code.select(code.notes)))",
        "foreign row": "code.run(\"SELECT 'globex' AS tenant_id\")",
        "foreign row as a mapping": "code.run(\"SELECT 'globex' AS tenant_id\", row_factory=code.dict_row)",
        "security that shows another tenant": 'code.secured("globex")',
    }
    scoped = {
        "execute": 'code.run("SELECT text FROM notes WHERE tenant_id = %s AND id = %s", ("acme", 1))',
        "any": 'code.run("SELECT text FROM notes WHERE tenant_id = ANY(%s)", (["acme"],))',
        "catalog": 'code.run("SELECT relname FROM pg_class LIMIT 1")',
        "many": 'code.many("INSERT INTO notes VALUES (%s, %s, %s)", [(3, "acme", "x"), (4, "acme", "x")])',
        "server-side": 'code.server("SELECT text FROM notes WHERE tenant_id = %s", ("acme",))',
        "async": 'asyncio.run(code.async_run("SELECT text FROM notes WHERE tenant_id = %s", ("acme",)))',
        "core": 'code.core(code.select(code.notes).where(code.notes.c.tenant_id == "acme"))',
        "async core": 'asyncio.run(code.async_core(code.select(code.notes).where(code.notes.c.tenant_id == "acme")))',
        "row-level security": 'assert [row[1] for row in code.secured("acme")] == ["acme"]',
        "the role is bound by it": "assert code.role() == (False, False)",
    }
    head = "import asyncio\n@pytest.fixture(autouse=True)\ndef seeded():\n    code.seed()\n"
    app = DATABASE.format(url=database_url)
    check(project(app, cases(unscoped, scoped, head)), unscoped, scoped)


def test_a_role_that_bypasses_row_level_security_is_not_bound(project: Project, database_url: str) -> None:
    app = DATABASE.format(url=database_url)
    tests = """
        import os
        @pytest.fixture(autouse=True)
        def seeded():
            code.seed()
            code.URL = code.URL.replace("app@", "postgres@")
        def test_it():
            assert code.role() == (True, True)
            code.secured("acme")
    """
    result = project(app, tests)
    result.assert_outcomes(failed=1)
    assert "BND501 unscoped database read" in blocks(result)[0]


def test_psycopg_contract() -> None:
    import inspect

    import psycopg

    for owner, is_async in ((psycopg.Cursor, False), (psycopg.AsyncCursor, True)):
        for method in ("execute", "executemany", "fetchone", "fetchmany", "fetchall"):
            assert inspect.iscoroutinefunction(vars(owner)[method]) is is_async
    assert issubclass(psycopg.ClientCursor, psycopg.Cursor)
    assert "execute" not in vars(psycopg.ClientCursor)


PSYCOPG2 = """
    import threading
    import psycopg2
    from concurrent.futures import ThreadPoolExecutor
    from psycopg2 import connect, sql
    from psycopg2.extensions import connection as Connection, cursor as Cursor
    from psycopg2.extras import DictCursor, NamedTupleCursor, RealDictConnection, RealDictCursor, execute_batch, execute_values
    from psycopg2.pool import SimpleConnectionPool
    from sqlalchemy import create_engine, text
    from boundlint.boundary import carry_context

    URL = {url!r}
    engine = create_engine(URL.replace("postgresql:", "postgresql+psycopg2:"))

    class Mine(Connection):
        pass

    class MyCursor(Cursor):
        def execute(self, query, vars=None):
            return super().execute(query, vars)

    def seed():
        with connect(URL) as connection, connection.cursor() as cursor:
            cursor.execute("DROP TABLE IF EXISTS notes, secured, plans")
            cursor.execute("CREATE TABLE plans (name text)")
            for table in ("notes", "secured"):
                cursor.execute(f"CREATE TABLE {{table}} (id int, tenant_id text, text text)")
                cursor.execute(f"INSERT INTO {{table}} VALUES (1, 'acme', 'a'), (2, 'globex', 'b')")
            cursor.execute("ALTER TABLE secured ENABLE ROW LEVEL SECURITY")
            cursor.execute("ALTER TABLE secured FORCE ROW LEVEL SECURITY")
            cursor.execute("CREATE POLICY own ON secured USING (tenant_id = current_setting('app.tenant', true))")

    def run(statement, parameters=None, name=None, factory=None, **options):
        with connect(URL, **options) as connection, connection.cursor(name, cursor_factory=factory) as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def loop(statement, parameters=None, **options):
        connection = connect(URL, **options)
        cursor = connection.cursor()
        cursor.execute(statement, parameters)
        found = [row for row in cursor]
        assert cursor.fetchone() is None
        connection.close()
        return found

    def many(function, statement, rows):
        with connect(URL) as connection, connection.cursor() as cursor:
            function(cursor, statement, rows)

    def pooled(statement):
        pool = SimpleConnectionPool(1, 1, URL)
        connection = pool.getconn()
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchmany(5)
        finally:
            pool.putconn(connection)
            pool.closeall()

    def copied(statement):
        import io
        with connect(URL) as connection, connection.cursor() as cursor:
            out = io.StringIO()
            cursor.copy_expert(statement, out)
            return out.getvalue()

    def core(statement):
        with engine.connect() as connection:
            return connection.execute(text(statement)).all()

    def in_thread(function, *args):
        with ThreadPoolExecutor() as executor:
            return executor.submit(function, *args).result()

    def swallowed(statement):
        try:
            return run(statement)
        except Exception:
            return []

    def secured(tenant):
        with connect(URL) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.tenant', %s, true)", (tenant,))
            cursor.execute("SELECT * FROM secured")
            return cursor.fetchall()
"""


def test_psycopg2(project: Project, database_url: str) -> None:
    insert = "INSERT INTO notes VALUES (%s, %s, %s)"
    foreign = "SELECT 'globex' AS tenant_id"
    unscoped = {
        "execute": 'code.run("SELECT text FROM notes WHERE id = %s", (1,))',
        "name": 'code.run("SELECT text FROM notes WHERE id = %(id)s", {"id": 1})',
        "bytes": 'code.run(b"SELECT text FROM notes")',
        "composed": 'code.run(code.sql.SQL("SELECT * FROM {}").format(code.sql.Identifier("notes")))',
        "another tenant": 'code.run("SELECT text FROM notes WHERE tenant_id = %s", ("globex",))',
        "many": f'code.many(lambda c, s, r: c.executemany(s, r), "{insert}", [(3, "b", "x")])',
        "batch": f'code.many(code.execute_batch, "{insert}", [(3, "acme", "x"), (4, "globex", "x")])',
        "values": 'code.many(code.execute_values, "INSERT INTO notes VALUES %s", [(3, "globex", "x")])',
        "server-side": 'code.run("SELECT text FROM notes", name="named")',
        "mapping": 'code.run("SELECT text FROM notes", factory=code.RealDictCursor)',
        "default factory": 'code.run("SELECT text FROM notes", cursor_factory=code.DictCursor)',
        "connection class": 'code.run("SELECT text FROM notes", connection_factory=code.RealDictConnection)',
        "own classes": 'code.run("SELECT text FROM notes", factory=code.MyCursor, connection_factory=code.Mine)',
        "pool": 'code.pooled("SELECT text FROM notes")',
        "copy": 'code.copied("COPY notes (text) TO STDOUT")',
        "copied query": 'code.copied("COPY (SELECT text FROM notes) TO STDOUT")',
        "core": 'code.core("SELECT text FROM notes")',
        "swallowed": 'code.swallowed("SELECT text FROM notes")',
        "thread": 'code.in_thread(code.carry_context(code.run), "SELECT text FROM notes")',
        "lost": 'code.in_thread(code.run, "SELECT text FROM notes")',
        "foreign row": f'code.run("{foreign}")',
        "foreign row in a loop": f'code.loop("{foreign}")',
        "foreign row as a list": f'code.loop("{foreign}", cursor_factory=code.DictCursor)',
        "foreign row as a mapping": f'code.loop("{foreign}", connection_factory=code.RealDictConnection)',
        "foreign row as a tuple with names": f'code.run("{foreign}", factory=code.NamedTupleCursor)',
        "foreign row of a server-side cursor": f'code.run("{foreign}", name="named")',
        "security that shows another tenant": 'code.secured("globex")',
    }
    scoped = {
        "execute": 'assert code.run("SELECT text FROM notes WHERE tenant_id = %s", ("acme",)) == [("a",)]',
        "any": 'code.run("SELECT text FROM notes WHERE tenant_id = ANY(%s)", (["acme"],))',
        "no owner": 'code.run("SELECT name FROM plans")',
        "percent": "assert code.run(\"SELECT '%'\") == [('%',)]",
        "many": f'code.many(lambda c, s, r: c.executemany(s, iter(r)), "{insert}", [(3, "acme", "x")])',
        "batch": f'code.many(code.execute_batch, "{insert}", [(3, "acme", "x"), (4, "acme", "x")])',
        "values": 'code.many(code.execute_values, "INSERT INTO notes VALUES %s", [(3, "acme", "x")])',
        "server-side": 'code.run("SELECT text FROM notes WHERE tenant_id = %s", ("acme",), name="named")',
        "mapping": """row = code.loop("SELECT text, tenant_id FROM notes WHERE tenant_id = %s", ("acme",),
                         connection_factory=code.RealDictConnection)[0]
    assert row["text"] == "a" and type(row).__name__ == "RealDictRow\"""",
        "list": """row = code.run("SELECT text FROM notes WHERE tenant_id = %s", ("acme",), factory=code.DictCursor)[0]
    assert row["text"] == row[0] == "a\"""",
        "pool": "code.pooled(\"SELECT text FROM notes WHERE tenant_id = 'acme'\")",
        "copy": "assert code.copied(\"COPY (SELECT text FROM notes WHERE tenant_id = 'acme') TO STDOUT\")",
        "core": "code.core(\"SELECT text FROM notes WHERE tenant_id = 'acme'\")",
        "row-level security": 'assert [row[1] for row in code.secured("acme")] == ["acme"]',
    }
    head = "@pytest.fixture(autouse=True)\ndef seeded():\n    code.seed()\n"
    result = project(PSYCOPG2.format(url=database_url), cases(unscoped, scoped, head))
    check(result, unscoped, scoped)
    result.stdout.fnmatch_lines(["*psycopg2.extras.execute_values  table notes: INSERT INTO notes VALUES*"])
    assert sum(block.startswith("BND603") for block in blocks(result)) == 1


ASYNCPG = """
    import asyncio
    import asyncpg
    from asyncpg import connect
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    URL = {url!r}

    class Mine(asyncpg.Connection):
        async def fetch(self, query, *args, **options):
            return await super().fetch(query, *args, **options)

    async def seed():
        connection = await connect(URL)
        await connection.execute("DROP TABLE IF EXISTS notes, secured, plans; CREATE TABLE plans (name text)")
        for table in ("notes", "secured"):
            await connection.execute(f"CREATE TABLE {{table}} (id int, tenant_id text, text text)")
            await connection.execute(f"INSERT INTO {{table}} VALUES (1, 'acme', 'a'), (2, 'globex', 'b')")
        await connection.execute("ALTER TABLE secured ENABLE ROW LEVEL SECURITY")
        await connection.execute("ALTER TABLE secured FORCE ROW LEVEL SECURITY")
        await connection.execute(
            "CREATE POLICY own ON secured USING (tenant_id = current_setting('app.tenant', true))"
        )
        await connection.close()

    async def run(method, *args, **options):
        options = {{"connection_class": options.pop("connection_class", asyncpg.Connection)}} | options
        connection = await connect(URL, connection_class=options.pop("connection_class"))
        try:
            return await getattr(connection, method)(*args, **options)
        finally:
            await connection.close()

    async def pooled(method, *args):
        async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
            await pool.fetch("SELECT name FROM plans")
            return await getattr(pool, method)(*args)

    async def acquired(method, *args):
        async with asyncpg.create_pool(URL, min_size=1, max_size=1) as pool:
            async with pool.acquire() as connection:
                return await getattr(connection, method)(*args)

    async def prepared(method, query, *args):
        connection = await connect(URL)
        statement = await connection.prepare(query)
        found = await getattr(statement, method)(*args)
        await connection.close()
        return found

    async def iterated(query, *args):
        connection = await connect(URL)
        async with connection.transaction():
            found = [record async for record in connection.cursor(query, *args, prefetch=1)]
        await connection.close()
        return found

    async def cursor(query, *args):
        connection = await connect(URL)
        async with connection.transaction():
            statement = await connection.prepare(query)
            opened = await statement.cursor(*args)
            found = [await opened.fetchrow(), *await opened.fetch(5)]
        await connection.close()
        return [record for record in found if record]

    async def copied(method, *args, **options):
        import io
        out = io.BytesIO()
        await run(method, *args, output=out, **options)
        return out.getvalue()

    async def core(statement, stream=False):
        engine = create_async_engine(URL.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.connect() as connection:
            if stream:
                found = [row async for row in await connection.stream(text(statement))]
            else:
                found = (await connection.execute(text(statement))).all()
        await engine.dispose()
        return found

    async def in_task(*args):
        return await asyncio.create_task(run(*args))

    async def swallowed(statement):
        try:
            return await run("fetch", statement)
        except Exception:
            return []

    async def secured(tenant):
        connection = await connect(URL)
        async with connection.transaction():
            await connection.execute("SELECT set_config('app.tenant', $1, true)", tenant)
            found = await connection.fetch("SELECT * FROM secured")
        await connection.close()
        return found
"""


def test_django_on_postgresql(project: Project, database_url: str) -> None:
    """The same calls as on sqlite, in a database that pytest-django makes."""
    import test_runtime_django as django

    host = database_url.partition("@")[2].partition("/")[0]
    address, _, port = host.partition(":")
    settings = f"""
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres",
                         "HOST": {address!r}, "PORT": {port!r}}}}}
"""
    on_sqlite = {"early connect", "a percent sign"}
    calls = {f"bad {name}": call for name, (call, _, _) in django.UNSCOPED.items() if name not in on_sqlite}
    calls |= {f"good {name}": call for name, call in django.SCOPED.items() if name not in on_sqlite}
    result = django.run(project, django.body_of(calls), settings=settings)
    bad = sum(name.startswith("bad ") for name in calls)
    result.assert_outcomes(failed=bad, passed=len(calls) - bad)
    result.stdout.no_fnmatch_line("psycopg *")  # one access is one event
    rules = [rule for name, (_, rule, _) in django.UNSCOPED.items() if name not in on_sqlite]
    assert [block.split()[0] for block in blocks(result)] == rules
    waiting = {"bad": "await acount(id=1)", "foreign": "await aforeign()", "scoped": "await asave()"}
    body = django.body_of(waiting, django.TRANSACTIONAL).replace("def test", "async def test")
    result = django.run(project, body, settings=settings)
    result.assert_outcomes(failed=2, passed=1)
    assert all("app/code.py" in block for block in blocks(result))


def test_asyncpg(project: Project, database_url: str) -> None:
    insert = "INSERT INTO notes VALUES ($1, $2, $3)"
    by_id, by_tenant = "SELECT text FROM notes WHERE id = $1", "SELECT text FROM notes WHERE tenant_id = $1"
    foreign = "SELECT 'globex' AS tenant_id FROM generate_series(1, 3)"
    bad, good = '[(3, "acme", "x"), (4, "globex", "x")]', '[(3, "acme", "x"), (4, "acme", "x")]'
    unscoped = {
        "fetch": f'code.run("fetch", "{by_id}", 1)',
        "row": f'code.run("fetchrow", "{by_id}", 1)',
        "value": f'code.run("fetchval", "{by_id}", 1)',
        "another tenant": f'code.run("fetch", "{by_tenant}", "globex")',
        "execute": "code.run('execute', \"UPDATE notes SET text = 'x'\")",
        "execute with arguments": "code.run('execute', 'DELETE FROM notes WHERE id = $1', 1)",
        "many": f'code.run("executemany", "{insert}", {bad})',
        "iterator of many": f'code.run("executemany", "{insert}", iter({bad}))',
        "fetch many": f'code.run("fetchmany", "{insert} RETURNING id", {bad})',
        "records": f'code.run("copy_records_to_table", "notes", records={bad}, columns=["id", "tenant_id", "text"])',
        "records of all columns": f'code.run("copy_records_to_table", "notes", records=iter({bad}))',
        "copied table": 'code.copied("copy_from_table", "notes", columns=["text"])',
        "copied query": f'code.copied("copy_from_query", "{by_id}", 1)',
        "prepared": f'code.prepared("fetch", "{by_id}", 1)',
        "prepared many": f'code.prepared("executemany", "{insert}", {bad})',
        "iterated": f'code.iterated("{by_id}", 1)',
        "cursor": f'code.cursor("{by_id}", 1)',
        "pool": f'code.pooled("fetch", "{by_id}", 1)',
        "acquired": f'code.acquired("fetchrow", "{by_id}", 1)',
        "subclass": f'code.run("fetch", "{by_id}", 1, connection_class=code.Mine)',
        "task": f'code.in_task("fetch", "{by_id}", 1)',
        "core": 'code.core("SELECT text FROM notes")',
        "swallowed": 'code.swallowed("SELECT text FROM notes")',
        "foreign row": f'code.run("fetch", "{foreign}")',
        "one foreign row": f'code.run("fetchrow", "{foreign}")',
        "prepared foreign row": f'code.prepared("fetchrow", "{foreign}")',
        "foreign row of an iteration": f'code.iterated("{foreign}")',
        "foreign row of a cursor": f'code.cursor("{foreign}")',
        "security that shows another tenant": 'code.secured("globex")',
    }
    scoped = {
        "fetch": f'code.run("fetch", "{by_tenant}", "acme")',
        "any": 'code.run("fetch", "SELECT text FROM notes WHERE tenant_id = ANY($1)", ["acme"])',
        "no owner": 'code.run("fetch", "SELECT name FROM plans")',
        "value": f'code.run("fetchval", "{by_tenant}", "acme")',
        "many": f'code.run("executemany", "{insert}", iter({good}))',
        "records": f'code.run("copy_records_to_table", "notes", records=iter({good}))',
        "copied": f'code.copied("copy_from_query", "{by_tenant}", "acme")',
        "prepared": f'code.prepared("fetch", "{by_tenant}", "acme")',
        "iterated": f'code.iterated("{by_tenant}", "acme")',
        "cursor": f'code.cursor("{by_tenant}", "acme")',
        "pool": f'code.pooled("fetch", "{by_tenant}", "acme")',
        "acquired": f'code.acquired("fetchrow", "{by_tenant}", "acme")',
        "core": "code.core(\"SELECT text FROM notes WHERE tenant_id = 'acme'\")",
        "stream": "code.core(\"SELECT text FROM notes WHERE tenant_id = 'acme'\", stream=True)",
        "row-level security": 'code.secured("acme")',
    }
    head = "import asyncio\n@pytest.fixture(autouse=True)\ndef seeded():\n    asyncio.run(code.seed())\n"
    unscoped = {name: f"asyncio.run({call})" for name, call in unscoped.items()}
    scoped = {name: f"asyncio.run({call})" for name, call in scoped.items()}
    result = project(ASYNCPG.format(url=database_url), cases(unscoped, scoped, head))
    check(result, unscoped, scoped)
    result.stdout.fnmatch_lines(["*asyncpg.Pool.fetch  table notes: SELECT text FROM notes*"])
    assert all(" — app/code.py:" in block for block in blocks(result))
