"""The seams of Django's ORM and cache, on sqlite and locmem, with pytest-django's own fixtures.

Each run is a process of its own: a process can set up Django once.
"""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

import pytest

from runtime_project import Project, blocks, line_of

SETTINGS = """
from sqlite3 import connect  # the application's early import
SECRET_KEY = "x"
INSTALLED_APPS = ["app"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "unused.sqlite3"}}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "ours": {"BACKEND": "app.backend.Ours", "KEY_FUNCTION": "app.backend.key"},
}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
ROOT_URLCONF = "app.urls"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
"""
MODELS = """
from django.db import models
from app.settings import connect

class Plan(models.Model):
    name = models.CharField(max_length=20)

class Account(models.Model):  # a table of owners themselves, app_account
    tenant_id = models.CharField(max_length=20)

class Workspace(models.Model):
    id = models.CharField(max_length=20, primary_key=True)
    slug = models.CharField(max_length=20)

class Board(models.Model):
    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.CASCADE)
    user_id = models.CharField(max_length=20, null=True)

class Invitation(models.Model):
    tenant_id = models.CharField(max_length=20)
    token = models.CharField(max_length=20)

class Ticket(models.Model):
    tenant_id = models.CharField(max_length=20)
    title = models.CharField(max_length=20, default="")
    plan = models.ForeignKey(Plan, null=True, on_delete=models.SET_NULL, related_name="tickets")

class Comment(models.Model):
    tenant_id = models.CharField(max_length=20)
    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="comments")
    text = models.CharField(max_length=20, default="")

class Attachment(models.Model):  # its ticket alone says whose it is
    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="attachments")
"""
WITH_REDIS = """
from fakeredis import FakeConnection
for name, backend in (("redis", "django.core.cache.backends.redis.RedisCache"), ("third", "django_redis.cache.RedisCache")):
    CACHES[name] = {"BACKEND": backend, "LOCATION": f"redis://{name}:1/0", "OPTIONS": {}}
CACHES["redis"]["OPTIONS"]["connection_class"] = FakeConnection
CACHES["third"]["OPTIONS"]["CONNECTION_POOL_KWARGS"] = {"connection_class": FakeConnection}
"""
BACKEND = """
from django.core.cache.backends.locmem import LocMemCache

class Ours(LocMemCache):
    def get(self, key, default=None, version=None):
        return super().get(key, default, version)

def key(key, prefix, version):
    return f"v{version}:{key}"
"""
APP = """
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from django.core.management.color import no_style
    from django.db import connection, transaction
    from django.db.models import Count, F, Q
    from django.shortcuts import get_object_or_404
    from boundlint.boundary import carry_context, cross_boundary
    from app.models import Account, Attachment, Board, Comment, Invitation, Plan, Ticket, Workspace, connect

    def seed():
        plan = Plan.objects.create(name="pro")
        Account.objects.create(tenant_id="acme")
        Invitation.objects.create(tenant_id="acme", token="s3cret")
        for number, tenant in enumerate(("acme", "globex"), 1):
            ticket = Ticket.objects.create(id=number, tenant_id=tenant, title=tenant, plan=plan)
            Comment.objects.create(id=number, tenant_id=tenant, ticket=ticket)
            Attachment.objects.create(id=number, ticket=ticket)
            Board.objects.create(workspace=Workspace.objects.create(id=tenant, slug=f"{tenant}-inc"))
        for statement in connection.ops.sequence_reset_sql(no_style(), [Ticket, Comment, Attachment]):
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def own():
        return Ticket.objects.filter(tenant_id="acme")

    def raw(sql, parameters=None):
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor) if "ORDER" in sql else cursor.fetchall()

    def many(sql, rows):
        with connection.cursor() as cursor:
            cursor.executemany(sql, rows)

    def change_own():
        with transaction.atomic():
            ticket = own().get(id=1)
            ticket.title = "changed"
            ticket.full_clean()
            ticket.save()
            ticket.save(update_fields=["title"])
            ticket.refresh_from_db()
        deferred = own().only("title").get(id=1)
        assert deferred.tenant_id == "acme"
        deferred.save()
        Ticket.objects.bulk_update([ticket], ["title"])
        ticket.delete()
        assert not Comment.objects.filter(tenant_id="acme").exists()

    def of_parent(ticket_id):
        return Comment.objects.filter(ticket_id=ticket_id, text="").count()

    def of_own_parent():
        ticket = own().get(id=1)
        assert of_parent(ticket.id) == Comment.objects.filter(ticket=ticket).update(text="x") == 1

    def of_foreign_parent():
        ticket = load_foreign()
        return of_parent(ticket.id)

    def of_made_parent():
        ticket = Ticket(id=2, tenant_id="acme")
        return of_parent(ticket.id)

    def of_another_parent():
        ticket = own().get(id=1)
        return of_parent(ticket.id + 1)

    def of_own_parent_or():
        ticket = own().get(id=1)
        return Comment.objects.filter(Q(ticket=ticket) | Q(text="")).count()

    def of_parent_by_another_key():
        ticket = own().get(id=1)
        return Ticket.objects.filter(plan_id=ticket.id).count()

    def load_foreign():
        with cross_boundary("found elsewhere"):
            return Ticket.objects.get(id=2)

    def change_foreign(how):
        ticket = load_foreign()
        ticket.title = "stolen"
        getattr(ticket, how)()

    def bulk_foreign():
        ticket = load_foreign()
        Ticket.objects.bulk_update([ticket], ["title"])

    def save_own():
        ticket = own().get(id=1)
        for _ in range(3):
            ticket.save()

    def save_over(number):
        Ticket(id=number, tenant_id="acme", title="stolen").save()

    def lazily():
        ticket = own().get(id=1)
        found = [comment.text for comment in ticket.comments.all()]
        ticket.comments.filter(text="").update(text="x")
        ticket.comments.create(tenant_id="acme")
        assert ticket.comments.count() == 2
        comment = Comment.objects.filter(tenant_id="acme").first()
        attachment = ticket.attachments.get()
        attachment.ticket = None
        attachment = Attachment.objects.get(id=attachment.id)
        assert comment.ticket.plan.name == "pro" and attachment.ticket.title == "acme"
        return found

    def eagerly():
        tickets = own().prefetch_related("comments", "attachments__ticket").select_related("plan")
        return [len(ticket.comments.all()) for ticket in tickets]

    def foreign_row():
        with cross_boundary("the data is broken"):
            Comment.objects.filter(tenant_id="acme").update(ticket_id=2)
        return list(Ticket.objects.filter(comments__tenant_id="acme"))

    def foreign_lazily():
        with cross_boundary("the data is broken"):
            Comment.objects.filter(tenant_id="acme").update(ticket_id=2)
        return Comment.objects.filter(tenant_id="acme").first().ticket

    def swallowed():
        try:
            return Ticket.objects.count()
        except Exception:
            return 0

    def in_thread(function):
        with ThreadPoolExecutor() as executor:
            executor.submit(function).result()

    def count():
        try:
            return Ticket.objects.count()
        finally:
            connection.close()

    async def acount(**filters):
        return await Ticket.objects.filter(**filters).acount()

    async def aiterate(**filters):
        return [ticket.title async for ticket in Ticket.objects.filter(**filters)]

    async def asave():
        ticket = await own().aget(id=1)
        ticket.title = "changed"
        await ticket.asave()
        await ticket.arefresh_from_db()
        await ticket.comments.acreate(tenant_id="acme")
        await ticket.adelete()

    async def aforeign():
        async for ticket in Ticket.objects.raw("SELECT id, 'globex' AS tenant_id FROM app_plan"):
            return ticket
"""
UNSCOPED = {
    "all": ("list(Ticket.objects.all())", "BND501", "QuerySet.iterator"),
    "by id": ("Ticket.objects.get(pk=1)", "BND501", "QuerySet.get"),
    "first": ("Ticket.objects.filter(title='acme').first()", "BND501", "QuerySet.first"),
    "or 404": ("get_object_or_404(Ticket, pk=1)", "BND501", "shortcuts.get_object_or_404"),
    "another tenant": ('len(Ticket.objects.filter(tenant_id="globex"))', "BND501", "QuerySet.iterator"),
    "or": ('Ticket.objects.filter(Q(tenant_id="acme") | Q(id=2)).exists()', "BND501", "QuerySet.exists"),
    "prefix": ('Ticket.objects.filter(tenant_id__startswith="acme").count()', "BND501", "QuerySet.count"),
    "exclude": ('Ticket.objects.exclude(tenant_id="globex").count()', "BND501", "QuerySet.count"),
    "values": ('list(Ticket.objects.values("title").annotate(n=Count("id")))', "BND501", "iterator"),
    "through a shared parent": ("Plan.objects.get().tickets.count()", "BND501", "QuerySet.count"),
    "prefetch of a shared parent": (
        'list(Plan.objects.prefetch_related("tickets"))',
        "BND501",
        "QuerySet.iterator",
    ),
    "bulk update": ('Ticket.objects.update(title="x")', "BND506", "QuerySet.update"),
    "update by id": ('Ticket.objects.filter(id=1).update(title="x")', "BND501", "QuerySet.update"),
    "delete": ("Attachment.objects.all().delete(); Comment.objects.all().delete()", "BND506", "delete"),
    "delete with children": ('Ticket.objects.filter(title="acme").delete()', "BND501", "QuerySet.delete"),
    "create": ('Ticket.objects.create(tenant_id="globex")', "BND501", "QuerySet.create"),
    "get or create": ('Ticket.objects.get_or_create(title="acme")', "BND501", "QuerySet.get_or_create"),
    "bulk create": (
        'Ticket.objects.bulk_create([Ticket(tenant_id="acme"), Ticket(tenant_id="globex")])',
        "BND501",
        "QuerySet.bulk_create",
    ),
    "raw queryset": ('list(Ticket.objects.raw("SELECT * FROM app_ticket"))', "BND501", "iterator"),
    "cursor": ('raw("SELECT title FROM app_ticket WHERE id = %s", [1])', "BND501", "CursorWrapper.execute"),
    "named": ('raw("SELECT title FROM app_ticket WHERE id = %(id)s", {"id": 1})', "BND501", "execute"),
    "many": (
        'many("UPDATE app_ticket SET title = %s WHERE id = %s", iter([("x", 1)]))',
        "BND501",
        "CursorWrapper.executemany",
    ),
    "over another row": ("save_over(2)", "BND501", "Model.save"),
    "deleted by hand": ("Ticket(id=2, tenant_id='acme').delete()", "BND501", "Model.delete"),
    "bulk by hand": (
        "Ticket.objects.bulk_update([Ticket(id=2, tenant_id='acme')], ['title'])",
        "BND501",
        "QuerySet.bulk_update",
    ),
    "saved foreign": ('change_foreign("save")', "BND501", "Model.save"),
    "saved foreign after own": ('save_own(); change_foreign("save")', "BND501", "Model.save"),
    "over another row after own": ("save_own(); save_over(2)", "BND501", "Model.save"),
    "deleted foreign": ('change_foreign("delete")', "BND501", "Model.delete"),
    "refreshed foreign": ('change_foreign("refresh_from_db")', "BND501", "Model.refresh_from_db"),
    "bulk foreign": ("bulk_foreign()", "BND501", "QuerySet.bulk_update"),
    "comments of a foreign": ("load_foreign().comments.count()", "BND501", "QuerySet.count"),
    "of a parent's id": ("of_parent(1)", "BND501", "QuerySet.count"),
    "of a parent that the test holds": ("ticket = own().get(id=1); of_parent(1)", "BND501", "QuerySet.count"),
    "of a foreign parent": ("of_foreign_parent()", "BND501", "QuerySet.count"),
    "of a made-up parent": ("of_made_parent()", "BND501", "QuerySet.count"),
    "of another parent": ("of_another_parent()", "BND501", "QuerySet.count"),
    "of a parent or": ("of_own_parent_or()", "BND501", "QuerySet.count"),
    "another key of the same value": ("of_parent_by_another_key()", "BND501", "QuerySet.count"),
    "foreign row": ("foreign_row()", "BND501", "QuerySet.iterator"),
    "foreign lazily": ("foreign_lazily()", "BND501", "QuerySet.get"),
    "foreign from a cursor": ("raw(\"SELECT 'globex' AS tenant_id ORDER BY 1\")", "BND501", "execute"),
    "slug of another": ('list(Board.objects.filter(workspace__slug="globex-inc"))', "BND501", "iterator"),
    "slug of nobody": ('Board.objects.filter(workspace__slug="x").exists()', "BND501", "exists"),
    "slug or": (
        'Board.objects.filter(Q(workspace__slug="acme-inc") | Q(user_id="kim")).count()',
        "BND501",
        "count",
    ),
    "no slug": ("Board.objects.filter(workspace__slug__contains='acme').count()", "BND501", "count"),
    "nobody's row of another user": ('Board.objects.create(user_id="lee")', "BND501", "create"),
    "no secret": ("Invitation.objects.filter(id=1).exists()", "BND501", "QuerySet.exists"),
    "foreign of a new object": ("Comment(tenant_id='acme', ticket_id=2).ticket", "BND501", "QuerySet.get"),
    "comments of a made-up object": ("Ticket(id=2, tenant_id='acme').comments.count()", "BND501", "count"),
    "swallowed": ("swallowed()", "BND501", "QuerySet.count"),
    "early connect": (
        'connect(":memory:").execute("SELECT \'globex\' AS tenant_id").fetchall()',
        "BND501",
        "sqlite3.Connection.execute",
    ),
}
SCOPED = {
    "filter": "assert [ticket.title for ticket in own()] == ['acme']",
    "and": 'Ticket.objects.filter(Q(id=1) & Q(tenant_id="acme")).get()',
    "or 404": 'get_object_or_404(Ticket, pk=1, tenant_id="acme")',
    "join": 'list(Comment.objects.filter(ticket__tenant_id="acme", tenant_id="acme"))',
    "subquery": "list(Attachment.objects.filter(ticket__in=own()))",
    "no owner": "Plan.objects.get()",
    "pattern": 'Ticket.objects.filter(title__contains="a", tenant_id="acme", id__gte=0).count()',
    "identity": "Account.objects.get()",
    "slug": 'assert Board.objects.filter(workspace__slug="acme-inc").count() == 1',
    "slug beside another condition": 'Board.objects.get(workspace__slug="acme-inc", user_id=None)',
    "the user's own": 'Board.objects.create(user_id="kim")',
    "secret": 'Invitation.objects.get(token="s3cret")',
    "parent of a new object": "assert Comment(tenant_id='acme', ticket_id=1).ticket.title == 'acme'",
    "values": 'list(own().values("tenant_id").annotate(n=Count("comments")).order_by("n"))',
    "aggregate": 'own().aggregate(n=Count("id"))',
    "distinct": "own().distinct()[:5].count()",
    "update": 'own().update(title=F("tenant_id"))',
    "delete": "own().delete()",
    "create": 'Ticket.objects.create(tenant_id="acme").delete()',
    "own key": "save_over(7)",
    "get or create": 'Ticket.objects.update_or_create(tenant_id="acme", title="acme", defaults={"title": "x"})',
    "bulk create": 'Ticket.objects.bulk_create([Ticket(tenant_id="acme"), Ticket(tenant_id="acme")])',
    "change, refresh and delete": "change_own()",
    "of a parent that a caller holds": "of_own_parent()",
    "lazy load": "lazily()",
    "eager load": "eagerly()",
    "iterator": "list(own().iterator(chunk_size=1))",
    "raw": 'list(Ticket.objects.raw("SELECT * FROM app_ticket WHERE tenant_id = %s", ["acme"]))',
    "named": 'raw("SELECT title FROM app_ticket WHERE tenant_id = %(t)s", {"t": "acme"})',
    "a percent sign": "assert raw(\"SELECT strftime('%s', 'now') > 0\") == [(1,)]",
    "many": 'many("INSERT INTO app_ticket (tenant_id, title) VALUES (%s, %s)", [("acme", "x"), ("acme", "y")])',
    "another wrapper": "with connection.execute_wrapper(lambda e, *a: e(*a)): own().count()",
}


def run(project: Project, tests: str, *arguments: str, app: str = APP, **options: Any) -> pytest.RunResult:
    settings = SETTINGS + options.pop("settings", "")
    files = {"app/settings.py": settings, "app/models.py": MODELS, "app/backend.py": BACKEND}
    files |= options.pop("files", {})
    if options.pop("judge_tests", True):  # the tables call the ORM themselves
        arguments = ("-oboundary_judge_tests=true", *arguments)
    return project(app, tests, "--ds=app.settings", *arguments, files=files, subprocess=True, **options)


SEEDED = """
from app.code import *
@pytest.fixture(autouse=True)
def seeded(db):
    seed()
"""


def body_of(calls: dict[str, str], head: str = SEEDED) -> str:
    lines = [head]
    for number, (name, call) in enumerate(calls.items()):
        plain = "".join(letter if letter.isalnum() else "_" for letter in name)
        lines += [f"def test_{number}_{plain}(request):", indent(dedent(call), "    ")]
    return "\n".join(lines) + "\n"


def test_unscoped_queries_fail(project: Project) -> None:
    result = run(project, body_of({name: call for name, (call, _, _) in UNSCOPED.items()}))
    result.assert_outcomes(failed=len(UNSCOPED))
    assert [block.split()[0] for block in blocks(result)] == [rule for _, rule, _ in UNSCOPED.values()]
    shown = [line.split()[1] for line in result.outlines if line.startswith("  operation ")]
    for operation, (call, _, expected) in zip(shown, UNSCOPED.values(), strict=True):
        assert operation.endswith(expected), call
    line = line_of(APP, "return Ticket.objects.count()")
    result.stdout.fnmatch_lines(
        [
            f"BND501 unscoped database read — app/code.py:{line} in swallowed()",
            f"   {line} |   return Ticket.objects.count()",
            "  operation  django.db.models.QuerySet.count  table app_ticket: SELECT COUNT(*) AS *",
            "  boundary   tenant 'acme', user 'kim', entered at test_app.py:*",
            "  missing    no predicate binds table 'app_ticket' to tenant 'acme'",
            "  note       the application caught this exception; the test would have passed",
            "  fix        add app_ticket.tenant_id = 'acme' (from the boundary) to the predicate",
        ]
    )


def test_scoped_queries_pass(project: Project) -> None:
    result = run(project, body_of(SCOPED))
    result.assert_outcomes(passed=len(SCOPED))


NOT_JUDGED = {
    "create": 'Ticket.objects.create(tenant_id="globex")',
    "read": "assert len(Ticket.objects.filter(id__gte=0)) == 2 and Ticket.objects.count() == 2",
    "get": "assert Ticket.objects.get(id=2).tenant_id == 'globex'",
    "change": "t = Ticket.objects.get(id=2); t.title = 'x'; t.save(); t.refresh_from_db(); t.delete()",
    "bulk": "Ticket.objects.update(title='x'); Comment.objects.all().delete()",
    "related": "assert Plan.objects.get().tickets.count() == 2",
    "own manager": "assert Board.ours.count() == 2",
}
JUDGED = {
    "application": "swallowed()",
    "query of the application": "list(everybodys())",
    "query of the application, narrowed": "everybodys().filter(id=1).get()",
    "view": 'request.getfixturevalue("client").get("/tickets/")',
    "cursor": 'raw("SELECT title FROM app_ticket")',
    "cursor of the test": 'connection.cursor().execute("SELECT title FROM app_ticket")',
    "scope": 'with request.getfixturevalue("boundary_scope")(tenant="acme"): Ticket.objects.count()',
}


def test_what_tests_themselves_do_is_not_judged(project: Project) -> None:
    models = MODELS + dedent("""
        class Ours(models.Manager):
            def get_queryset(self):
                return super().get_queryset().filter(user_id=None)

        Board.add_to_class("ours", Ours())
    """)
    app = (
        APP
        + """
    def everybodys():
        return Ticket.objects.all()
"""
    )
    urls = """
from django.urls import path
from django.views.generic import ListView
from app.models import Ticket

class Tickets(ListView):  # asks Django alone for its objects
    model = Ticket
    allow_empty = False

urlpatterns = [path("tickets/", Tickets.as_view())]
"""
    files = {"app/urls.py": urls, "app/models.py": models}
    result = run(project, body_of(NOT_JUDGED | JUDGED), app=app, files=files, judge_tests=False)
    result.assert_outcomes(passed=len(NOT_JUDGED), failed=len(JUDGED))
    assert len(blocks(result)) == len(JUDGED)
    result.stdout.re_match_lines(
        [r"not judged: \d+ calls of fixtures and \d\d of tests themselves.*through an ORM.*"]
    )


TRANSACTIONAL = """
from app.code import *
pytestmark = [pytestmark, pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
@pytest.fixture(autouse=True)
def seeded(transactional_db):
    seed()
"""


def test_asynchronous_queries_and_threads(project: Project) -> None:
    """`acount()` runs in a worker thread, where no line of the user is on the stack."""
    calls = {
        "count": "await acount(id=1)",
        "iterate": "await aiterate()",
        "get": "await Ticket.objects.aget(id=1)",
        "foreign": "await aforeign()",
        "scoped count": 'assert await acount(tenant_id="acme") == 1',
        "scoped iterate": 'assert await aiterate(tenant_id="acme") == ["acme"]',
        "scoped save": "await asave()",
        "lost": "in_thread(count)",
        "carried": "in_thread(carry_context(count))",
    }
    body = body_of(calls, TRANSACTIONAL).replace("def test", "async def test")
    result = run(project, body)
    result.assert_outcomes(failed=6, passed=3)
    count, iterate, get, foreign, lost, carried = blocks(result)
    assert lost.startswith("BND603")
    assert carried.startswith("BND501")
    assert f"app/code.py:{line_of(APP, '.acount()')} in acount()" in count
    assert f"app/code.py:{line_of(APP, 'async for ticket in Ticket.objects.filter')}" in iterate
    assert "test_app.py" in get
    assert "another tenant's data" in foreign
    assert f"app/code.py:{line_of(APP, 'Ticket.objects.raw(')}" in foreign
    result.stdout.fnmatch_lines(["*thread 'ThreadPoolExecutor*async*"])


def test_two_workers_and_no_boundary(project: Project) -> None:
    body = """
        from app import code
        @pytest.fixture(autouse=True)
        def seeded(db):
            code.seed()
        def test_seen():
            code.swallowed()
        def test_also_seen():
            code.swallowed()
        def test_own():
            assert code.Ticket.objects.count() == 2
    """
    result = run(project, "import pytest" + dedent(body), "-n2", bare=True)
    result.assert_outcomes(failed=2, passed=1)
    assert all(block.startswith("BND101") for block in blocks(result))


def test_the_test_cases_of_django(project: Project) -> None:
    """What Django's own test cases load and flush is nobody's access, what a view does is."""
    fixture = '[{"model": "app.ticket", "pk": 5, "fields": {"tenant_id": "globex"}}]'
    urls = """
from django.http import HttpResponse
from django.urls import path
from app.models import Ticket

def count(request):
    return HttpResponse(Ticket.objects.count())

urlpatterns = [path("count", count)]
"""
    body = """
        from django.test import TestCase, TransactionTestCase
        from app.code import *
        @pytest.mark.boundary(tenant="acme")
        class TestFlushed(TransactionTestCase):
            fixtures = ["tickets.json"]
            serialized_rollback = True
            def test_own(self):
                assert own().count() == 0
        @pytest.mark.boundary(tenant="acme")
        class TestRolledBack(TestCase):
            fixtures = ["tickets.json"]
            @classmethod
            def setUpTestData(cls):
                Ticket.objects.create(tenant_id="globex")
            def test_view(self):
                assert self.client.get("/count").content == b"2"
            def test_own(self):
                with self.assertNumQueries(1):
                    own().count()
        def test_fixtures(client, django_assert_num_queries, transactional_db):
            with django_assert_num_queries(1):
                own().count()
        def test_no_database():
            Ticket.objects.count()
    """
    files = {"app/fixtures/tickets.json": fixture, "app/urls.py": urls}
    result = run(project, body, files=files)
    result.assert_outcomes(failed=2, passed=3)
    assert [block.split(" —")[1] for block in blocks(result)] == [" app/urls.py:7 in count()"]
    result.stdout.fnmatch_lines(["*Database access not allowed*"])


CACHED = """
    from concurrent.futures import ThreadPoolExecutor
    from django.core.cache import cache, caches
    from django.core.cache.backends.locmem import LocMemCache
    from django.template import engines
    from boundlint.boundary import carry_context
    from app.models import Ticket
    ours, redis, third = caches["ours"], caches["redis"], caches["third"]

    def fragment(text, **names):
        tags = "{% load cache %}{% cache 60 " + text + " %}x{% endcache %}"
        return engines["django"].from_string(tags).render(names)

    def in_thread(key):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(cache.get), key).result()

    def swallowed(key):
        try:
            return cache.get(key)
        except Exception:
            return None

    async def aget(key):
        return await cache.aget(key)

    def session():
        from django.contrib.sessions.backends.cache import SessionStore
        session = SessionStore()
        session["tenant_id"] = "acme"
        session.save()
        return SessionStore(session.session_key)["tenant_id"]
"""
UNSCOPED_KEYS = {
    "get": 'cache.get("report")',
    "longer id": 'cache.get("acme2:report")',
    "set": 'cache.set("report", 1)',
    "add": 'cache.add("report", 1)',
    "delete": 'cache.delete("report")',
    "get or set": 'cache.get_or_set("report", lambda: 1)',
    "default of get or set": 'cache.get_or_set("acme:report", lambda: Ticket.objects.count())',
    "queryset": 'cache.set("acme:report", [Ticket.objects.all()])',
    "one of many": 'cache.get_many(["acme:report", "report"])',
    "set many": 'cache.set_many({"acme:report": 1, "report": 1})',
    "delete many": 'cache.delete_many(["acme:report", "report"])',
    "subclass": 'ours.get("report")',
    "another version": 'cache.get("report", version="acme2")',
    "redis": 'redis.get("report")',
    "many of redis": 'redis.set_many({"acme:a": 1, "report": 1})',
    "django-redis": 'third.get("report")',
    "many of django-redis": 'third.get_many(["acme:a", "report"])',
    "foreign of redis": 'redis.get("acme:foreign")',
    "foreign of django-redis": 'third.get("acme:foreign")',
    "made by hand": 'LocMemCache("x", {}).get("report")',
    "template": 'fragment("sidebar plan", plan="pro")',
    "thread": 'in_thread("report")',
    "async": "import asyncio; asyncio.run(aget('report'))",
    "swallowed": 'swallowed("report")',
    "foreign": 'cache.get("acme:foreign")',
    "foreign of many": 'cache.get_many(["acme:foreign"])',
    "foreign object": 'cache.get("acme:object")',
    "foreign of a subclass": 'ours.get("acme:foreign")',
}
SCOPED_KEYS = {
    "get": 'cache.get("acme:report")',
    "another component": 'cache.set("report/acme/1", 1)',
    "many": 'cache.set_many({"acme:report": 1, "acme:x": 1})',
    "get or set": 'assert cache.get_or_set("acme:report", lambda: Ticket.objects.filter(tenant_id="acme")) is not None',
    "version": 'cache.get("report", version="acme")',
    "counter": 'cache.add("acme:hits", 0); cache.incr("acme:hits")',
    "present": '"report" in cache',
    "lock": 'cache.add("lock:report", 1, 30)',
    "rate": 'cache.set("throttle_user_1", [])',
    "template": 'fragment("sidebar tenant", tenant="acme")',
    "session": 'assert session() == "acme"',
    "thread": 'in_thread("acme:report")',
    "async": "import asyncio; asyncio.run(aget('acme:report'))",
    "clear": "cache.clear()",
    "time to live of django-redis": 'third.ttl("report")',
    "one access is one event": """
        ledger = request.getfixturevalue("boundary_ledger")
        cache.get_or_set("acme:x", lambda: Ticket.objects.filter(tenant_id="acme").count())
        for store in (redis, third):
            store.set("acme:x", 1)
            store.get_many(["acme:x", "acme:y"])
        seen = collections.Counter()
        for access, n in ledger.operations:
            seen[access.client, access.verdict] += n
        assert {key: n for key, n in seen.items() if key[1] == "scoped"} == {
            ("django-cache", "scoped"): 7, ("django", "scoped"): 1}, seen
        assert ("redis", "scoped") not in seen""",
}
CACHE_SEEDED = """
import collections
from app.code import *
@pytest.fixture(autouse=True)
def seeded(db):
    for store in (cache, ours, redis, third):
        store.set("acme:foreign", {"tenant_id": "globex"})
        store.set("acme:object", [Ticket(tenant_id="globex")])
"""


def test_cache_keys_and_values(project: Project) -> None:
    calls = {f"bad {name}": call for name, call in UNSCOPED_KEYS.items()}
    calls |= {f"good {name}": call for name, call in SCOPED_KEYS.items()}
    result = run(project, body_of(calls, CACHE_SEEDED), app=CACHED, settings=WITH_REDIS)
    result.assert_outcomes(failed=len(UNSCOPED_KEYS), passed=len(SCOPED_KEYS))
    rules = [block.split()[0] for block in blocks(result)]
    assert rules == ["BND501" if "Ticket" in call else "BND401" for call in UNSCOPED_KEYS.values()]
    line = line_of(CACHED, "await cache.aget")
    assert any(f"app/code.py:{line} in aget()" in block for block in blocks(result))
    result.stdout.no_fnmatch_line("*_ test_*_good_*")


CHECKS = """
import django, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "app.settings"
{before}
django.setup()
from django.core.cache import cache
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management.commands import flush
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.utils import CursorWrapper
from django.db.models import Model, QuerySet, base, query
from django.db.models.manager import BaseManager
from django.db.models.fields import related_descriptors
from django.core.cache.backends import base as cache_base
"""


def test_original_objects_are_back(project: Project) -> None:
    """A run inside of a process that has Django already: all is as it was after it."""
    script = (
        CHECKS.format(before="")
        + """
import pytest
connection.ensure_connection()
cache.get("x")
def state():
    owners = [(CursorWrapper, "__getattr__"), (CursorWrapper, "__iter__"), (flush.Command, "handle")]
    owners += [(BaseManager, "get_queryset"), (Model, "_do_update")]
    added = [name for name in ("fetchone", "fetchmany", "fetchall") if name in vars(CursorWrapper)]
    owners += [(module, "sync_to_async") for module in (base, query, related_descriptors, cache_base)]
    owners += [(BaseCache, "make_and_validate_key"), (BaseCache, "__init__"), (LocMemCache, "get")]
    found = [vars(owner)[name] for owner, name in owners]
    return found, added, list(connection.execute_wrappers), len(connection_created.receivers)
before = state()
result = pytest.main(["-p", "no:hypothesispytest", "-p", "no:cacheprovider", "--enforce-boundary", "-oboundary_judge_tests=true", "-q"])
assert result == 1, result
assert state() == before
assert not before[1], before
"""
    )
    body = body_of({"count": "Ticket.objects.count()"})
    run(project, body, files={"script.py": script})
    import subprocess
    import sys

    environment = {"PYTHONPATH": "."}
    found = subprocess.run([sys.executable, "script.py"], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "BND501 unscoped database read" in found.stdout


def test_an_internal_that_moved_is_said_at_the_start(project: Project) -> None:
    early = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "app.settings"
from django.core.cache.backends import base as caches
from django.db.backends.base import base as databases
from django.db.models import query
del databases.BaseDatabaseWrapper.execute_wrapper, query.sync_to_async
del caches.BaseCache.make_and_validate_key
"""
    result = run(project, "def test_it():\n    pass\n", "-p", "early", app="", files={"early.py": early})
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    names = ("execute_wrapper", "query.sync_to_async", "make_and_validate_key")
    lines = [f"*django *{name} not found; enforcement would be incomplete" for name in names]
    result.stderr.fnmatch_lines(lines)
