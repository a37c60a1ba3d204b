"""The SQLAlchemy seam on sqlite: Core, ORM, sync, async, raw connections; and sqlite3 itself."""

from __future__ import annotations

from textwrap import dedent

from runtime_project import Project, blocks, line_of

APP = """
    import asyncio
    import sqlite3
    from sqlalchemy import ForeignKey, String, create_engine, delete, func, insert, select, text, update
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
    from sqlalchemy.pool import StaticPool

    class Base(DeclarativeBase):
        pass

    class Plan(Base):
        __tablename__ = "plans"
        name: Mapped[str] = mapped_column(primary_key=True)

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[str]

    class Ticket(Base):
        __tablename__ = "tickets"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[str]
        title: Mapped[str] = mapped_column(default="")
        comments: Mapped[list["Comment"]] = relationship(back_populates="ticket")

    class Comment(Base):
        __tablename__ = "comments"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[str]
        ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id"))
        text: Mapped[str] = mapped_column(default="")
        ticket: Mapped[Ticket] = relationship(back_populates="comments")

    engine = create_engine("sqlite://", poolclass=StaticPool)

    def fill(session):
        session.add_all([
            Plan(name="pro"), User(id=1, tenant_id="acme"),
            Ticket(id=1, tenant_id="acme", title="a", comments=[Comment(id=1, tenant_id="acme")]),
            Ticket(id=2, tenant_id="globex", title="b"),
        ])

    def seed():
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            fill(session)
            session.commit()

    def run(statement, parameters=None):
        with Session(engine) as session:
            result = session.execute(statement, parameters or {})
            return result.all() if getattr(result, "returns_rows", True) else None

    def core(statement):
        with engine.connect() as connection:
            return connection.execute(statement).all()

    def get(number):
        with Session(engine) as session:
            return session.get(Ticket, number)

    def own(session):
        return session.scalars(select(Ticket).where(Ticket.tenant_id == "acme")).all()

    def change_own():
        with Session(engine) as session:
            ticket = own(session)[0]
            ticket.title = "changed"
            session.commit()
            assert ticket.title == "changed"
            session.delete(ticket.comments[0])
            session.flush()

    def of_parent(session, ticket_id):
        return session.scalars(select(Comment).where(Comment.ticket_id == ticket_id)).all()

    def of_held_parent(number=1):
        with Session(engine) as session:
            ticket = own(session)[0]
            assert of_parent(session, number)

    def of_made_parent():
        with Session(engine) as session:
            ticket = Ticket(id=1, tenant_id="acme")
            return of_parent(session, ticket.id)

    def lazily():
        with Session(engine) as session:
            return [comment.text for ticket in own(session) for comment in ticket.comments]

    def eagerly():
        with Session(engine) as session:
            query = select(Ticket).where(Ticket.tenant_id == "acme").options(selectinload(Ticket.comments))
            return [len(ticket.comments) for ticket in session.scalars(query)]

    def add(tenant):
        with Session(engine) as session:
            session.add(Ticket(tenant_id=tenant))
            session.commit()

    def raw(statement, *parameters):
        connection = engine.raw_connection()
        return connection.cursor().execute(statement, parameters).fetchall()

    async def async_run(*conditions):
        async_engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        async with AsyncSession(async_engine) as session:
            await session.run_sync(lambda inner: Base.metadata.create_all(inner.connection()))
            return (await session.scalars(select(Ticket).where(*conditions))).all()
"""
SEEDED = """
@pytest.fixture(autouse=True)
def seeded():
    code.seed()
from app.code import *
"""
UNSCOPED = {
    "orm": ("run(select(Ticket))", "BND501"),
    "by id": ("run(select(Ticket).where(Ticket.id == 1))", "BND501"),
    "get": ("get(1)", "BND501"),
    "legacy query": ("Session(engine).query(Ticket).all()", "BND501"),
    "another tenant": ('run(select(Ticket).where(Ticket.tenant_id == "globex"))', "BND501"),
    "or": ('run(select(Ticket).where((Ticket.tenant_id == "acme") | (Ticket.id == 2)))', "BND501"),
    "prefix": ('run(select(Ticket).where(Ticket.tenant_id.like("acme%")))', "BND501"),
    "not": ('run(select(Ticket).where(Ticket.tenant_id != "globex"))', "BND501"),
    "core": ("core(select(Ticket.__table__))", "BND501"),
    "text": ('core(text("SELECT title FROM tickets WHERE id = 1"))', "BND501"),
    "count": ("run(select(func.count()).select_from(Ticket))", "BND501"),
    "outer join": (
        'run(select(Comment).outerjoin(Ticket, (Ticket.id == Comment.ticket_id) & (Ticket.tenant_id == "acme")))',
        "BND501",
    ),
    "bulk update": ('run(update(Ticket).values(title="x"))', "BND506"),
    "bulk delete": ('run(delete(Ticket).where(Ticket.title == "a"))', "BND506"),
    "update by id": ('run(update(Ticket).where(Ticket.id == 1).values(title="x"))', "BND501"),
    "of the id of a parent": ("of_parent(Session(engine), 1)", "BND501"),
    "of a parent that the test holds": (
        "ticket = own(Session(engine))[0]; of_parent(Session(engine), ticket.id)",
        "BND501",
    ),
    "of a made up parent": ("of_made_parent()", "BND501"),
    "of another parent": ("of_held_parent(2)", "BND501"),
    "insert": ('run(insert(Ticket).values(id=9, tenant_id="globex"))', "BND501"),
    "many rows": (
        'run(insert(Ticket), [{"id": 8, "tenant_id": "acme"}, {"id": 9, "tenant_id": "b"}])',
        "BND501",
    ),
    "add": ('add("globex")', "BND501"),
    "raw connection": ('raw("SELECT * FROM tickets WHERE id = ?", 1)', "BND501"),
    "async": ("asyncio.run(async_run(Ticket.id == 1))", "BND501"),
}
SCOPED = {
    "orm": 'run(select(Ticket).where(Ticket.tenant_id == "acme"))',
    "and": 'run(select(Ticket).where(Ticket.id == 1, Ticket.tenant_id == "acme"))',
    "in": 'run(select(Ticket).where(Ticket.tenant_id.in_(["acme"])))',
    "legacy query": 'Session(engine).query(Ticket).filter_by(tenant_id="acme").first()',
    "no owner": "run(select(Plan))",
    "identity": "run(select(User).where(User.id == 1))",
    "core": 'core(select(Ticket.__table__.c.id).where(Ticket.tenant_id == "acme"))',
    "text": "core(text(\"SELECT title FROM tickets WHERE tenant_id = :t\").bindparams(t='acme'))",
    "join": 'run(select(Comment).join(Ticket).where(Ticket.tenant_id == "acme"))',
    "subquery": (
        'run(select(Comment).where(Comment.ticket_id.in_(select(Ticket.id).where(Ticket.tenant_id == "acme"))))'
    ),
    "count": 'run(select(func.count()).select_from(select(Ticket).where(Ticket.tenant_id == "acme").subquery()))',
    "bulk update": 'run(update(Ticket).where(Ticket.tenant_id == "acme").values(title="x"))',
    "add": 'add("acme")',
    "change, refresh and delete": "change_own()",
    "of a parent that a caller holds": "of_held_parent()",
    "lazy load": "lazily()",
    "eager load": "eagerly()",
    "raw connection": 'raw("SELECT * FROM tickets WHERE tenant_id = ?", "acme")',
    "transaction": 'Session(engine).execute(text("SELECT 1"))',
    "async": 'asyncio.run(async_run(Ticket.tenant_id == "acme"))',
}


def body_of(calls: dict[str, str]) -> str:
    lines = [SEEDED]
    for number, (name, call) in enumerate(calls.items()):
        lines += [f"def test_{number}_{name.replace(' ', '_').replace(',', '')}():", f"    {call}"]
    return "\n".join(lines) + "\n"


def test_unscoped_statements_fail(project: Project) -> None:
    result = project(APP, body_of({name: call for name, (call, _) in UNSCOPED.items()}))
    result.assert_outcomes(failed=len(UNSCOPED))
    assert [block.split()[0] for block in blocks(result)] == [rule for _, rule in UNSCOPED.values()]


def test_scoped_statements_pass(project: Project) -> None:
    project(APP, body_of(SCOPED)).assert_outcomes(passed=len(SCOPED))


def test_swallowed_in_two_workers(project: Project) -> None:
    body = """
        def test_one():
            try:
                get(1)
            except Exception:
                pass
        def test_two():
            with Session(engine) as session:
                try:
                    session.execute(select(Ticket))
                except Exception:
                    session.rollback()
    """
    result = project(APP, SEEDED + dedent(body), "-n2")
    result.assert_outcomes(failed=2)


def test_the_block_names_the_users_line_through_a_greenlet(project: Project) -> None:
    result = project(APP, body_of({"async": "asyncio.run(async_run(Ticket.id == 1))"}))
    line = line_of(APP, "await session.scalars")
    result.stdout.fnmatch_lines(
        [
            f"BND501 unscoped database read — app/code.py:{line} in async_run()",
            "  operation  sqlalchemy.orm.Session.execute  table tickets: SELECT *",
            "  missing    no predicate binds table 'tickets' to tenant 'acme'",
            "  fix        add tickets.tenant_id = 'acme' (from the boundary) to the predicate",
        ]
    )


def test_foreign_rows(project: Project) -> None:
    """A row of another tenant is found although the statement looks bound: through a join that lies."""
    app = (
        APP
        + """
    def foreign():
        with Session(engine) as session:
            session.execute(text("UPDATE comments SET ticket_id = 2 WHERE tenant_id = 'acme'"))
            query = select(Ticket).join(Comment).where(Comment.tenant_id == "acme")
            return session.scalars(query).all()
"""
    )
    result = project(app, body_of({"foreign": "foreign()"}))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND501 another tenant's data from a database read*"])
    result.stdout.fnmatch_lines(["*result names the tenant 'globex', not tenant 'acme'"])


def test_changing_a_loaded_object_of_another_tenant(project: Project) -> None:
    body = """
        from boundlint.boundary import cross_boundary
        def test_it():
            with Session(engine) as session:
                with cross_boundary("loaded elsewhere"):
                    ticket = session.get(Ticket, 2)
                ticket.title = "stolen"
                session.commit()
    """
    result = project(APP, SEEDED + dedent(body))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND501 another tenant's data*", "*sqlalchemy.orm.Session.flush  Ticket*"])


def test_an_engine_made_before_is_watched_and_events_are_removed(project: Project) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import cursor
    from sqlalchemy.orm import Session

    before = (Session.flush, cursor.CursorFetchStrategy.fetchall)
    project(APP, body_of({"orm": "run(select(Ticket))"})).assert_outcomes(failed=1)
    assert (Session.flush, cursor.CursorFetchStrategy.fetchall) == before
    assert not hasattr(Session.flush, "__boundlint_patch__")
    assert not list(create_engine("sqlite://").dispatch.before_cursor_execute)
    assert not list(Session().dispatch.do_orm_execute)


SQLITE = """
    import sqlite3
    import asyncio
    import threading
    import aiosqlite
    from sqlite3 import connect
    from boundlint.boundary import AgentBoundary, Issuer, boundary_scope, carry_context

    class Mine(sqlite3.Connection):
        pass

    class Logged(sqlite3.Connection):
        said = []

        def execute(self, statement, *parameters):
            self.said.append(statement)
            return super().execute(statement, *parameters)

    class ByName(sqlite3.Connection):
        def execute(self, statement, *parameters):
            return sqlite3.Connection.execute(self, statement, *parameters)

    TABLES = "CREATE TABLE notes (id, tenant_id, text); CREATE TABLE plans (name); INSERT INTO notes VALUES (1, 'globex', 'x');"

    def database(**options):
        found = connect(":memory:", check_same_thread=False, **options)
        sqlite3.Cursor(found).executescript(TABLES)
        return found

    def run(statement, parameters=(), **options):
        return database(**options).execute(statement, parameters).fetchall()

    def again(statement, *several):
        found = database()
        for parameters in several:
            found.execute(statement, parameters).fetchall()

    def for_another(statement, parameters):
        found = database()
        for _ in range(2):
            found.execute(statement, parameters).fetchall()
        with boundary_scope(AgentBoundary(tenant="globex", issued_by=Issuer("test"))):
            found.execute(statement, parameters).fetchall()

    def many(statement, rows):
        database().executemany(statement, rows)

    def cursor(statement, parameters=()):
        return [row for row in database().cursor().execute(statement, parameters)]

    def in_thread(statement):
        found = []
        thread = threading.Thread(target=carry_context(lambda: found.append(run(statement))))
        thread.start()
        thread.join()

    async def async_run(statement, parameters=()):
        async with aiosqlite.connect(":memory:") as db:
            await db.executescript(TABLES.replace("INSERT INTO notes VALUES (1, 'globex', 'x');", ""))
            async with db.execute(statement, parameters) as found:
                return await found.fetchall()

    async def async_foreign():
        async with aiosqlite.connect(":memory:") as db:
            async with db.execute("SELECT 'globex' AS tenant_id") as found:
                return await found.fetchone()
"""


def test_sqlite3(project: Project) -> None:
    scoped = {
        "parameter": 'code.run("SELECT text FROM notes WHERE tenant_id = ?", ("acme",))',
        "name": 'code.run("SELECT text FROM notes WHERE tenant_id = :t", {"t": "acme"})',
        "free": 'code.run("SELECT name FROM plans")',
        "factory": 'code.run("SELECT text FROM notes WHERE tenant_id = ?", ("acme",), factory=code.Mine)',
        "row": "code.database().execute('PRAGMA user_version').fetchone()",
        "again": 'code.again("SELECT text FROM notes WHERE tenant_id = ?", *[("acme",)] * 3)',
        "subclass": "code.run('SELECT 1', factory=code.Logged); assert code.Logged.said == ['SELECT 1']",
        "many": 'code.many("INSERT INTO notes VALUES (?, ?, ?)", [(1, "acme", "a"), (2, "acme", "b")])',
        "async": 'asyncio.run(code.async_run("SELECT text FROM notes WHERE tenant_id = ?", ("acme",)))',
    }
    unscoped = {
        "parameter": 'code.run("SELECT text FROM notes WHERE id = ?", (1,))',
        "factory": 'code.run("SELECT text FROM notes", (), factory=code.Mine)',
        "again": 'code.again("SELECT text FROM notes WHERE tenant_id = ?", *[("acme",)] * 3, ("globex",))',
        "another boundary": 'code.for_another("SELECT text FROM notes WHERE tenant_id = ?", ("acme",))',
        "subclass": 'code.run("SELECT text FROM notes", (), factory=code.Logged)',
        "by name": 'code.run("SELECT text FROM notes", (), factory=code.ByName)',
        "foreign of subclass": "code.run(\"SELECT 'globex' AS tenant_id\", factory=code.Logged)",
        "cursor": 'code.cursor("SELECT text FROM notes WHERE id = ?", (1,))',
        "many": 'code.many("INSERT INTO notes VALUES (?, ?, ?)", [(1, "acme", "a"), (2, "b", "b")])',
        "thread": 'code.in_thread("SELECT * FROM notes")',
        "async": 'asyncio.run(code.async_run("SELECT text FROM notes WHERE id = 1"))',
        "foreign": "code.run(\"SELECT 'globex' AS tenant_id\")",
        "async foreign": "asyncio.run(code.async_foreign())",
        "unreadable": 'code.run("SELECT text FROM notes WHERE ((")',
    }
    lines = ["import asyncio", "import sqlite3"]
    for kind, calls in (("good", scoped), ("bad", unscoped)):
        for name, call in calls.items():
            lines += [f"def test_{kind}_{name.replace(' ', '_')}():", f"    {call}"]
    result = project(SQLITE, "\n".join(lines) + "\n")
    result.assert_outcomes(passed=len(scoped), failed=len(unscoped))
    assert len(blocks(result)) == len(unscoped)
    result.stdout.no_fnmatch_line("*_ test_good_*")


BATCHES = """
    from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, func, insert, select
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", poolclass=StaticPool, insertmanyvalues_page_size=2)
    metadata = MetaData()
    tickets = Table("tickets", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", String))
    newest = select(func.max(tickets.c.id) + 1).scalar_subquery()
    notes = Table(
        "notes", metadata, Column("id", Integer, primary_key=True, default=newest), Column("tenant_id", String),
        implicit_returning=False,
    )
    metadata.create_all(engine)

    def add(*tenants):
        rows = [{"tenant_id": tenant} for tenant in tenants]
        with engine.begin() as connection:
            return connection.scalars(insert(tickets).returning(tickets.c.id), rows).all()

    def add_without_ids(*tenants):
        with engine.begin() as connection:
            connection.execute(insert(tickets), [{"tenant_id": tenant} for tenant in tenants])

    def add_note():
        with engine.begin() as connection:
            connection.execute(insert(notes), {"tenant_id": "acme"})

    def first():
        with engine.connect() as connection:
            return connection.execute(select(tickets.c.id)).first()
"""
BATCH_TESTS = """
    def test_batches():
        assert code.add("acme", "acme", "acme") == [1, 2, 3]
    def test_batch_with_another_tenant():
        code.add("acme", "acme", "globex")
    def test_many():
        code.add_without_ids("acme", "acme")
    def test_many_with_another_tenant():
        code.add_without_ids("acme", "globex")
    def test_default_of_a_column():
        code.add_note()
    def test_refused_connections_can_be_used_again():
        for _ in range(3):
            with pytest.raises(Exception, match="BND501"):
                code.first()
        code.add("acme")
"""


def test_batches_of_new_rows_and_defaults(project: Project) -> None:
    result = project(BATCHES, BATCH_TESTS)
    result.assert_outcomes(passed=2, failed=4)
    assert [text.split(" in ")[1] for text in blocks(result)] == [
        "add()",
        "add_without_ids()",
        "add_note()",
        "first()",
    ]
    result.stdout.no_fnmatch_line("sqlite3 *checked*")  # one access is one event


def test_another_sqlalchemy_is_watched_by_its_events(project: Project) -> None:
    """Where the methods of a connection have other names; the real events, on the real engine."""
    conftest = """
import pytest_boundary.seams.sqlalchemy as seam
seam.EXECUTIONS = ("_no_such_method",)
"""
    tests = """
    def test_scoped():
        code.add_without_ids("acme", "acme")
    def test_with_another_tenant():
        code.add_without_ids("acme", "globex")
    def test_unscoped():
        code.first()
    def test_the_events_are_listened_to():
        from sqlalchemy.engine import Connection
        assert len(list(code.engine.dispatch.before_cursor_execute)) == 1
        assert not hasattr(Connection._exec_single_context, "__boundlint_patch__")
    """
    result = project(BATCHES, tests, files={"conftest.py": conftest}, subprocess=True)
    result.assert_outcomes(passed=2, failed=2)
    assert [text.split(" in ")[1] for text in blocks(result)] == ["add_without_ids()", "first()"]


def test_what_is_replaced(project: Project) -> None:
    from sqlalchemy.engine import Connection

    from pytest_boundary.seams.sqlalchemy import EXECUTIONS

    before = [vars(Connection)[name] for name in EXECUTIONS]
    tests = """
    def test_it():
        from sqlalchemy.engine import Connection
        from pytest_boundary.seams.sqlalchemy import EXECUTIONS
        assert all(hasattr(vars(Connection)[name], "__boundlint_patch__") for name in EXECUTIONS)
    """
    project(BATCHES, tests).assert_outcomes(passed=1)
    assert [vars(Connection)[name] for name in EXECUTIONS] == before
