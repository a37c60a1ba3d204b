"""The lancedb seam, on a database in a folder: SQL filters, sync and async tables, hybrid queries in threads."""

from __future__ import annotations

import inspect
from importlib import import_module
from textwrap import dedent

import pytest

from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Other
from pytest_boundary.checks.where import translate
from runtime_project import Project, changed, table
from vector_stores import all_are_foreign, all_are_told, all_pass, swallowed_is_told

for name in ("lancedb", "pyarrow", "pandas", "lancedb.remote.table"):
    import_module(name)  # before pytester looks: see runtime_project
query, tables = import_module("lancedb.query"), import_module("lancedb.table")
merge, db = import_module("lancedb.merge"), import_module("lancedb.db")

APP = """
    import asyncio
    import tempfile
    from concurrent.futures import ThreadPoolExecutor
    import lancedb
    import pyarrow
    from lancedb.expr import col, lit
    from lancedb.table import LanceTable
    from boundlint.boundary import carry_context

    folder = tempfile.mkdtemp()
    db = lancedb.connect(folder)
    AT = [1.0, 0.0]

    def row(tenant, text="a", **more):
        return {"vector": AT, "tenant_id": tenant, "text": text, "meta": {"tenant_id": tenant}, **more}

    notes, own, longer = (db.create_table(name, [row("acme")]) for name in ("notes", "acme_notes", "acme-2_notes"))

    def seed():
        for held, tenants in ((notes, ("acme", "globex")), (own, ("acme",))):
            held.delete("true")
            held.add([row(tenant) for tenant in tenants])

    def search(where=None, table=None, **options):
        query = (table or notes).search(AT)
        return (query.where(where, **options) if where is not None else query).to_list()

    def rows(where=None):
        query = notes.search()
        return (query.where(where) if where else query).to_arrow()

    def swallow(where=None):
        try:
            search(where)
        except Exception:
            return []

    def in_thread(where):
        with ThreadPoolExecutor() as executor:
            return executor.submit(carry_context(search), where).result()

    def hybrid(where):
        notes.create_fts_index("text", replace=True)
        query = notes.search(query_type="hybrid").vector(AT).text("a")
        return (query.where(where) if where else query).to_list()

    def upsert(*tenants, delete=None):
        builder = notes.merge_insert("text").when_not_matched_insert_all()
        if delete is not None:
            builder = builder.when_not_matched_by_source_delete(delete)
        builder.execute([row(tenant, "new") for tenant in tenants])

    async def opened(name="notes"):
        return await (await lancedb.connect_async(folder)).open_table(name)

    async def async_query(where=None):
        query = (await opened()).query()
        return await (query.where(where) if where is not None else query).to_list()

    async def async_batches(name, where=None, at_once=False):
        query = (await opened(name)).query()
        reader = await (query.where(where) if where is not None else query).to_batches()
        return await reader.read_all() if at_once else [batch async for batch in reader]

    async def async_search(where=None):
        query = await (await opened()).search(AT)
        return await (query.where(where) if where is not None else query).to_pandas()

    async def async_call(method, *args, **kwargs):
        return await getattr(await opened(), method)(*args, **kwargs)
"""
HEAD = """
    import asyncio
    from app.code import *
    @pytest.fixture(autouse=True)
    def seeded():
        seed()
"""
OWN = "\"tenant_id = 'acme'\""
UNSCOPED = {
    "no filter": "search()",
    "another column": "search(\"text = 'a'\")",
    "another tenant": "search(\"tenant_id = 'globex'\")",
    "or": "search(\"tenant_id = 'acme' OR text = 'public'\")",
    "not": "search(\"NOT tenant_id = 'globex'\")",
    "one of two": "search(\"tenant_id IN ('acme', 'globex')\")",
    "like": "search(\"tenant_id LIKE 'acme%'\")",
    "expression": 'search(col("tenant_id") != lit("globex"))',
    "a longer table": "search(table=longer)",
    "rows": "rows()",
    "pandas": "notes.search(AT).to_pandas()",
    "batches": "notes.search(AT).to_batches()",
    "whole table": "notes.to_pandas()",
    "whole table as arrow": "notes.to_arrow()",
    "head": "notes.head()",
    "count": "notes.count_rows()",
    "by offset": "notes.take_offsets([0]).to_list()",
    "add for another": "notes.add([row('acme'), row('globex')])",
    "add a table": "notes.add(pyarrow.table({'vector': [AT], 'text': ['x']}))",
    "add an iterator": "notes.add(iter([row('acme')]))",
    "update": "notes.update(values={'text': 'x'})",
    "update by a column": "notes.update(\"text = 'a'\", {'text': 'x'})",
    "delete": "notes.delete(\"text = 'a'\")",
    "upsert for another": "upsert('globex')",
    "upsert that deletes": "upsert('acme', delete=\"text = 'a'\")",
    "upsert that deletes by an expression": 'upsert("acme", delete=col("text") == lit("a"))',
    "new table": "db.create_table('more', [{'text': 'x'}])",
    "hybrid": "hybrid(None)",
    "thread": "in_thread(None)",
    "async query": "asyncio.run(async_query())",
    "async search": "asyncio.run(async_search())",
    "async count": "asyncio.run(async_call('count_rows'))",
    "async delete": "asyncio.run(async_call('delete', \"text = 'a'\"))",
    "async update": "asyncio.run(async_call('update', {'text': 'x'}))",
    "async add": "asyncio.run(async_call('add', [row('globex')]))",
}
SCOPED = {
    "filter": f"assert [r['tenant_id'] for r in search({OWN})] == ['acme']",
    "and": "search(\"tenant_id == 'acme' AND array_length(vector) > 1 AND NOT text = 'b'\")",
    "nested": "assert search(\"meta.tenant_id = 'acme'\")",
    "in a record": "assert search(\"meta['tenant_id'] = 'acme'\")",
    "quoted": "search(\"`tenant_id` = 'acme'\")",
    "chained": f"notes.search(AT).where({OWN}).where(\"text = 'a'\").limit(3).to_list()",
    "expression": 'assert search(col("tenant_id") == lit("acme"))',
    "table": "assert search(table=own)",
    "rows": f"assert rows({OWN}).num_rows == 1",
    "pandas": f"notes.search(AT).where({OWN}).to_pandas()",
    "batches": f"notes.search(AT).where({OWN}).to_batches().read_all()",
    "async batches": f"assert sum(len(b) for b in asyncio.run(async_batches('notes', {OWN}))) == 1",
    "own table": "own.to_pandas(); own.head(); own.count_rows()",
    "count": f"assert notes.count_rows({OWN}) == 1",
    "add": "notes.add([row('acme')])",
    "add a table": "notes.add(pyarrow.Table.from_pylist([row('acme')]))",
    "update": f"notes.update({OWN}, {{'text': 'x'}})",
    "update by keyword": f"notes.update(where={OWN}, values={{'text': 'x'}})",
    "delete": f"notes.delete({OWN})",
    "upsert": f"upsert('acme', delete={OWN})",
    "upsert with an expression": 'upsert("acme", delete=col("tenant_id") == lit("acme"))',
    "new table": "db.create_table('more', [row('acme')], mode='overwrite')",
    "new empty table": "db.create_table('empty', schema=notes.schema, mode='overwrite')",
    "hybrid": f"assert hybrid({OWN})",
    "thread": f"in_thread({OWN})",
    "async query": f"assert asyncio.run(async_query({OWN}))",
    "async expression": 'assert asyncio.run(async_query(col("tenant_id") == lit("acme")))',
    "async search": f"assert len(asyncio.run(async_search({OWN}))) == 1",
    "async count": f"asyncio.run(async_call('count_rows', {OWN}))",
    "async update": f"asyncio.run(async_call('update', {{'text': 'x'}}, where={OWN}))",
    "async add": "asyncio.run(async_call('add', [row('acme')]))",
    "tables": "db.table_names(); notes.schema",
}


def test_unscoped_calls_fail(project: Project) -> None:
    all_are_told(
        project,
        APP,
        HEAD,
        UNSCOPED,
        line="return (query.where(where, **options)",
        operation="lancedb.query.LanceQueryBuilder.to_list  collection 'notes'",
    )


def test_scoped_calls_pass(project: Project) -> None:
    all_pass(project, APP, HEAD, SCOPED, "lancedb")


def test_swallowed_in_two_workers(project: Project) -> None:
    swallowed_is_told(project, APP, HEAD, OWN)


def test_a_filter_after_the_ranking_is_no_scope(project: Project) -> None:
    result = project(APP, table({"late": f"search({OWN}, prefilter=False)"}, HEAD))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["BND302 filter after the ranking — app/code.py:*"])


def test_foreign_rows_are_found_however_right_the_filter_looks(project: Project) -> None:
    calls = {
        "list": "search(table=own)",
        "arrow": "own.search(AT).to_arrow()",
        "pandas": "own.search(AT).to_pandas()",
        "whole table": "own.to_pandas()",
        "batches": "list(own.search(AT).to_batches())",
        "batches at once": "own.search(AT).to_batches().read_all()",
        "async batches": "asyncio.run(async_batches('acme_notes'))",
        "batches read at once": "asyncio.run(async_batches('acme_notes', at_once=True))",
        "in a record": "own.search().select(['meta']).to_list()",
    }
    head = dedent(HEAD).replace("    seed()", "    seed()\n    own.add([row('globex')])")
    all_are_foreign(project, APP, head, calls)


def test_marks_in_rows_are_read_and_written(project: Project) -> None:
    body = """
        def test_read(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            own.add([row(first.id, second.text("Renews in June."))])
            with boundary_scope(first.boundary):
                own.search().where(f"tenant_id = '{first.id}'").to_arrow()
        def test_written(lookalike_tenants, bleed, boundary_scope):
            first, second = lookalike_tenants
            text = second.text("Renews in March.")
            bleed.read(text)
            with boundary_scope(first.boundary):
                notes.add([row(first.id, text)])
    """
    result = project(APP, "import pytest\n" + dedent(HEAD) + dedent(body), bare=True)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["BND302 another tenant's data from a retrieval read*", "*another tenant's data in the vector write*"]
    )


def test_original_objects_are_back(project: Project) -> None:
    owners = [query.LanceQueryBuilder, query.LanceVectorQueryBuilder, query.AsyncQueryBase]
    owners += [tables.LanceTable, tables.AsyncTable, merge.LanceMergeInsertBuilder, db.LanceDBConnection]
    before = {owner: dict(vars(owner)) for owner in owners}
    executor = query.ThreadPoolExecutor
    project(APP, table({"own": f"search({OWN})"}, HEAD)).assert_outcomes(passed=1)
    assert changed(before) == []
    assert query.ThreadPoolExecutor is executor


def test_a_method_that_is_gone_breaks_the_seam(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tables.LanceTable, "count_rows")
    result = project("import lancedb", "def test_it(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*lancedb *: LanceTable.count_rows not found; enforcement would be*"])


def test_contract() -> None:
    for builder in (
        query.LanceVectorQueryBuilder,
        query.LanceEmptyQueryBuilder,
        query.LanceHybridQueryBuilder,
    ):
        assert issubclass(builder, query.LanceQueryBuilder)
        assert inspect.isfunction(vars(builder)["to_arrow"])
    assert inspect.iscoroutinefunction(query.AsyncQueryBase.to_list)
    for method in ("add", "update", "delete", "count_rows", "head", "to_arrow"):
        assert inspect.isfunction(vars(tables.LanceTable)[method])
        assert inspect.iscoroutinefunction(vars(tables.AsyncTable)[method])
    assert "ThreadPoolExecutor()" in inspect.getsource(query.LanceHybridQueryBuilder)


def test_predicates_as_filters() -> None:
    own = Equals("tenant_id", ("a",))
    assert translate(None) == translate("") == NOTHING
    assert translate("tenant_id = 'a'") == own
    assert translate("(tenant_id = 'a') AND year > 2000") == All((own, Other()))
    assert translate("tenant_id = 'a' OR x IS NULL") == AnyOf((own, Other()))
    assert translate("tenant_id IN ('a', 'b')") == Equals("tenant_id", ("a", "b"))
    assert translate("meta['tenant_id'] = 'a'") == Equals("meta.tenant_id", ("a",))
    assert translate("tenant_id = owner_id") == Other()
    assert translate("tenant_id = 'a'; DROP TABLE t") == Other()
    assert translate("this is no predicate") == Other()
