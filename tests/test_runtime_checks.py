"""What counts as scoped: SQL statements, keys, filters and rows, without any client."""

from __future__ import annotations

from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boundlint.config import BoundarySettings
from boundlint.sql.parse import NAME, named, parse
from boundlint.sql.tree import Value
from pytest_boundary.active import Active
from pytest_boundary.checks import documents, filters, mongo, where
from pytest_boundary.checks.filters import NOTHING, All, AnyOf, Equals, Filter, Other, judge_filter
from pytest_boundary.checks.keys import has_component, judge_keys, plainly_scoped
from pytest_boundary.checks.payloads import judge_payloads
from pytest_boundary.checks.rows import foreign_in_value, foreign_owner
from pytest_boundary.checks.sql import Sql, judge_sql
from pytest_boundary.checks.sql_verdicts import Verdicts
from pytest_boundary.config import DELIMITERS
from pytest_boundary.levels import Levels, same_id
from pytest_boundary.operations import Missing

LEVELS = Levels(("tenant",), BoundarySettings())
ACME = Active({"tenant": "acme", "user": "kim"})
GLOBEX = Active({"tenant": "globex", "user": "kim"})
TABLES = {
    "ticket": ("id", "tenant_id", "title"),
    "comment": ("id", "ticket_id", "tenant_id", "text"),
    "plan": ("name", "price"),
    "ticket_tags": ("ticket_id", "tag_id"),
    "tag": ("id", "tenant_id", "name"),
    "users": ("id", "tenant_id"),
    "orders": ("id", "tenant_id", "customer_id"),
    "room": ("id", "workspace_id"),
    "note": ("id", "user_id"),
}


def judge(
    text: str, parameters: object = (), style: str = "qmark", dialect: str = "sqlite", many: bool = False
) -> str:
    found = judge_sql(Sql(text, parameters, dialect, style, many), ACME, LEVELS, TABLES.get)
    return (found.rule or "missing") if isinstance(found, Missing) else found


SCOPED = [
    ("select * from ticket where tenant_id = ? and id = ?", ("acme", 1)),
    ("select * from ticket t where (t.id = 1) and (t.tenant_id = 'acme')", ()),
    ("select * from ticket where 'acme' = tenant_id", ()),
    ("select * from ticket where (tenant_id = ? and id = 1) or (id = 2 and tenant_id = ?)", ("acme", "acme")),
    ("select * from ticket where tenant_id in (?, ?)", ("acme", "acme")),
    ("select * from ticket where cast(tenant_id as text) = ? and (tenant_id, id) = (?, ?)", ("x", "acme", 1)),
    ("select * from ticket t join comment c on c.ticket_id = t.id where t.tenant_id = ?", ("acme",)),
    ("select * from ticket t left join comment c on c.ticket_id = t.id where t.tenant_id = ?", ("acme",)),
    ("select * from ticket a, comment b where a.id = b.ticket_id and b.tenant_id = ?", ("acme",)),
    (
        (
            "select * from ticket t join ticket_tags l on l.ticket_id = t.id join tag on tag.id = l.tag_id"
            " where t.tenant_id = ?"
        ),
        ("acme",),
    ),
    ("select count(*) from (select id from ticket where tenant_id = ?) x", ("acme",)),
    ("select * from (select * from ticket) x where x.tenant_id = ?", ("acme",)),
    ("select * from comment where ticket_id in (select id from ticket where tenant_id = ?)", ("acme",)),
    (
        "with x as (select id from ticket where tenant_id = ?) select * from comment c join x on x.id = c.ticket_id",
        ("acme",),
    ),
    (
        "with recursive x as (select id from ticket where tenant_id = ? union all select c.id from comment c join x on x.id = c.ticket_id) select * from x",
        ("acme",),
    ),
    (
        "select * from ticket t where t.tenant_id = ? and exists (select 1 from comment c where c.ticket_id = t.id)",
        ("acme",),
    ),
    (
        "select t.id, (select count(*) from comment c where c.ticket_id = t.id) from ticket t where t.tenant_id = ?",
        ("acme",),
    ),
    (
        "select * from ticket where tenant_id = ? union select * from ticket where tenant_id = ?",
        ("acme", "acme"),
    ),
    ("insert into ticket (id, tenant_id) values (?, ?)", (1, "acme")),
    ("insert into ticket values (?, ?, ?)", (1, "acme", "x")),
    (
        "insert into ticket (id, tenant_id) values (?, ?) on conflict (id) do update set title = ?",
        (1, "acme", "x"),
    ),
    ("insert into ticket (id, tenant_id) values (?, ?) returning id", (1, "acme")),
    ("insert into ticket (id, tenant_id) select id, tenant_id from ticket where tenant_id = ?", ("acme",)),
    ("insert into ticket (id, tenant_id) select name, ? from plan", ("acme",)),
    ("insert into ticket (id, tenant_id) select * from unnest(?, ?)", ([1, 2], ["acme", "acme"])),
    ("update ticket set title = ? where tenant_id = ?", ("x", "acme")),
    ("delete from ticket where id = ? and tenant_id = ?", (1, "acme")),
    ("select * from orders where tenant_id = ? and customer_id = ?", ("acme", "other")),
    ("select * from room where workspace_id = ?", ("acme",)),
    ("select * from note where user_id = ?", ("kim",)),
    ("create table copy as select * from ticket where tenant_id = ?", ("acme",)),
]
FREE = [
    "select * from plan",
    "select * from users where id = 1",
    "select 1",
    "PRAGMA foreign_keys = ON",
    "BEGIN",
    "SAVEPOINT x",
    "CREATE TRIGGER t AFTER INSERT ON ticket BEGIN UPDATE ticket SET title = 'x'; END",
    "create table x (id int)",
    "create index i on ticket (id)",
    "",
    " ; ",
]
UNSCOPED = [
    (
        (
            "select c.* from ticket t join plan p on p.id = t.plan_id join comment c on c.plan_id = p.id"
            " where t.tenant_id = ?"
        ),
        ("acme",),
        "BND501",
    ),
    ("select t.* from ticket t join ticket_tags l on l.ticket_id = t.id where l.tag_id = ?", (1,), "BND501"),
    ("select * from ticket", (), "BND501"),
    ("select * from ticket where id = ?", (1,), "BND501"),
    ("select * from ticket where tenant_id = ?", ("globex",), "BND501"),
    ("select * from ticket where tenant_id = ?", ("acme ",), "BND501"),
    ("select * from ticket where tenant_id = ?", (None,), "BND501"),
    ("select * from ticket where tenant_id = ? or public = 1", ("acme",), "BND501"),
    ("select * from ticket where not tenant_id = ?", ("acme",), "BND501"),
    ("select * from ticket where tenant_id <> ?", ("acme",), "BND501"),
    ("select * from ticket where tenant_id like ?", ("acme%",), "BND501"),
    ("select * from ticket where tenant_id in (?, ?)", ("acme", "globex"), "BND501"),
    ("select * from ticket where lower(tenant_id) = ?", ("acme",), "BND501"),
    ("select * from ticket where tenant_id = tenant_id", (), "BND501"),
    (
        "select * from comment c left join ticket t on c.ticket_id = t.id and t.tenant_id = ?",
        ("acme",),
        "BND501",
    ),
    ("select * from comment c join ticket t on c.text = t.title where t.tenant_id = ?", ("acme",), "BND501"),
    (
        "select * from comment where ticket_id not in (select id from ticket where tenant_id = ?)",
        ("acme",),
        "BND501",
    ),
    (
        "select * from comment where id = 1 or ticket_id in (select id from ticket where tenant_id = ?)",
        ("acme",),
        "BND501",
    ),
    ("select * from ticket where tenant_id = ? union select * from ticket", ("acme",), "BND501"),
    ("select (select max(title) from ticket) from plan", (), "BND501"),
    ("insert into ticket (id, tenant_id) values (?, ?)", (1, "globex"), "missing"),
    ("insert into ticket (id, tenant_id) values (?, ?), (?, ?)", (1, "acme", 2, "globex"), "missing"),
    ("insert into ticket (id, title) values (?, ?)", (1, "x"), "missing"),
    ("insert into ticket default values", (), "missing"),
    ("insert into ticket (id, tenant_id) select id, tenant_id from ticket", (), "BND501"),
    ("insert into ticket (id, tenant_id) select name, ? from plan", ("globex",), "missing"),
    (
        "insert into ticket (id, tenant_id) select * from unnest(?, ?)",
        ([1, 2], ["acme", "globex"]),
        "missing",
    ),
    ("insert into ticket (id, tenant_id) select * from unnest(?, ?)", (["acme"], [1]), "missing"),
    ("update ticket set title = ?", ("x",), "BND506"),
    ("update ticket set tenant_id = ? where id = ?", ("acme", 1), "BND501"),
    ("delete from ticket where title = ?", ("x",), "BND506"),
    ("delete from ticket", (), "BND506"),
    ("select * from orders where customer_id = ?", ("acme",), "BND501"),
    ("create table x (id int); select * from ticket", (), "BND501"),
    ("selec * from ticket where", (), "missing"),
]


@pytest.mark.parametrize(("text", "parameters"), SCOPED)
def test_scoped_statements(text: str, parameters: object) -> None:
    assert judge(text, parameters) == "scoped"


@pytest.mark.parametrize("text", FREE)
def test_free_statements(text: str) -> None:
    assert judge(text) == "free"


@pytest.mark.parametrize(("text", "parameters", "rule"), UNSCOPED)
def test_unscoped_statements(text: str, parameters: object, rule: str) -> None:
    assert judge(text, parameters) == rule


@pytest.mark.parametrize(
    ("text", "parameters", "style", "dialect"),
    [
        ("select * from ticket where tenant_id = %s", ("acme",), "format", "microsoft"),  # vendors of Django
        ("select * from ticket where tenant_id = %s", ("acme",), "format", "cockroachdb"),
        ("select * from ticket where tenant_id = %s and title like '%%?'", ("acme",), "format", "mysql"),
        ("select * from ticket where tenant_id = %(t)s", {"t": "acme"}, "pyformat", "postgresql"),
        (
            "select * from ticket where id = $2 and tenant_id = $1::varchar",
            ("acme", 1),
            "dollar",
            "postgresql",
        ),
        ("select * from ticket where tenant_id = any(%s)", (["acme"],), "format", "postgresql"),
        ("select * from ticket where tenant_id = :t and title = '::x:t'", {"t": "acme"}, "named", "sqlite"),
        ("select * from ticket where tenant_id = ?2 and id = ?1", (1, "acme"), "qmark", "sqlite"),
        (
            "select * from ticket where /* id = ? */ title <> '?' and tenant_id = ?",
            ("acme",),
            "qmark",
            "sqlite",
        ),
    ],
)
def test_parameters_are_followed_in_every_style(
    text: str, parameters: object, style: str, dialect: str
) -> None:
    assert judge(text, parameters, style, dialect) == "scoped"
    swapped = (
        {"t": "globex"}
        if isinstance(parameters, dict)
        else tuple(["globex"] if isinstance(v, list) else "globex" if v == "acme" else v for v in parameters)  # type: ignore[attr-defined]
    )
    assert judge(text, swapped, style, dialect) == "BND501"


def test_each_set_of_parameters_counts() -> None:
    text = "insert into ticket (id, tenant_id) values (?, ?)"
    assert judge(text, [(1, "acme"), (2, "acme")], many=True) == "scoped"
    assert judge(text, [(1, "acme"), (2, "globex")], many=True) == "missing"


def test_an_unknown_table_is_known_by_what_the_statement_says() -> None:
    assert judge("select * from unknown where tenant_id = ?", ("globex",)) == "BND501"
    assert judge("select * from unknown where tenant_id = ?", ("acme",)) == "scoped"
    assert judge("select name from unknown where id = 1") == "free"


@given(st.text(max_size=60))
def test_naming_placeholders_touches_nothing_else(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    assert named(f"select {quoted}, ?", "qmark") == f"select {quoted}, :{NAME}0"
    escaped = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    assert named(f"select {escaped}, ?", "qmark", "mysql") == f"select {escaped}, :{NAME}0"
    assert named(f"select e{escaped}, ?", "qmark", "postgresql") == f"select e{escaped}, :{NAME}0"


def test_a_backslash_in_a_string_ends_nothing() -> None:
    """As Django and SQLAlchemy write it for sqlite and PostgreSQL."""
    text = "select * from ticket where title like ? escape '\\' and tenant_id = ?"
    for dialect in ("sqlite", "postgresql", "oracle"):
        assert judge(text, ("x%", "acme"), dialect=dialect) == "scoped"
        assert judge(text, ("acme", "globex"), dialect=dialect) == "BND501"
    assert judge(text.replace("'\\'", "'\\\\'"), ("x%", "acme"), dialect="mysql") == "scoped"


class TestKeys:
    @pytest.mark.parametrize(
        "key",
        ["acme", "acme:x", "x:acme", "a/acme/b", "{acme}x:1", "tenant=acme;x", "v1|acme|x", "x%3A:acme"],
    )
    def test_a_whole_component(self, key: str) -> None:
        assert judge_keys([key], ACME, LEVELS, DELIMITERS) == "scoped"

    @pytest.mark.parametrize(
        "key", ["", "acme2", "acme-2:x", "xacme:1", "ACME:x", "acme_x", "acme*", "ac:me"]
    )
    def test_a_part_of_a_component_is_none(self, key: str) -> None:
        assert isinstance(judge_keys([key], ACME, LEVELS, DELIMITERS), Missing)

    def test_no_key_at_all(self) -> None:
        assert isinstance(judge_keys([], ACME, LEVELS, DELIMITERS), Missing)

    def test_a_boundary_without_the_required_level_must_carry_what_it_has(self) -> None:
        user = Active({"user": "kim"})
        assert judge_keys(["kim:x"], user, LEVELS, DELIMITERS) == "scoped"
        assert isinstance(judge_keys(["x"], user, LEVELS, DELIMITERS), Missing)
        assert isinstance(judge_keys(["x"], Active({}), LEVELS, DELIMITERS), Missing)

    def test_uuids_with_and_without_dashes(self) -> None:
        uuid = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
        assert has_component(f"x:{uuid.replace('-', '')}", uuid, DELIMITERS)
        assert same_id(uuid.upper(), uuid)
        assert not same_id("8" + uuid[1:], uuid)


class TestFilters:
    OWN = Equals("tenant_id", ("acme",))
    FOREIGN = Equals("tenant_id", ("globex",))

    @pytest.mark.parametrize(
        "condition",
        [
            OWN,
            All((Other(), OWN)),
            All((All((OWN,)), AnyOf((Other(), Other())))),
            AnyOf((OWN, All((OWN, Other())))),
            Equals("metadata.tenant_id", ("acme",)),
            Equals("organizationId", ("acme",)),
        ],
    )
    def test_scoped(self, condition: Filter) -> None:
        assert judge_filter(condition, ACME, LEVELS) == "scoped"

    @pytest.mark.parametrize(
        "condition",
        [
            NOTHING,
            Other(),
            FOREIGN,
            AnyOf((OWN, Other())),
            AnyOf(()),
            AnyOf((OWN, FOREIGN)),
            Equals("tenant_id", ("acme", "globex")),
            Equals("tenant_id", ()),
            Equals("title", ("acme",)),
            All((Other(), AnyOf((OWN, Other())))),
        ],
    )
    def test_unscoped(self, condition: Filter) -> None:
        assert isinstance(judge_filter(condition, ACME, LEVELS), Missing)


class TestRows:
    def test_an_owner_in_the_record(self) -> None:
        assert foreign_owner({"tenant_id": "globex"}, ACME, LEVELS) == "tenant 'globex'"
        for own in (
            {"tenant_id": "acme"},
            {"tenant_id": None},
            {"title": "x"},
            {"tenant_id": "acme", "customer_id": 7},
        ):
            assert foreign_owner(own, ACME, LEVELS) == ""

    def test_documents_inside_of_values(self) -> None:
        assert foreign_in_value(b'{"a": [{"tenantId": "globex"}]}', ACME, LEVELS)
        assert foreign_in_value({b"tenant_id": b"globex"}, ACME, LEVELS)
        for own in (b'{"tenantId": "acme"}', "plain", b"{broken", 7, None, "[1, 2]", '{"tenant_id": 7'):
            assert foreign_in_value(own, ACME, LEVELS) == ""

    def test_what_is_shown_of_a_foreign_owner_is_short(self) -> None:
        assert len(foreign_owner({"tenant_id": "g" * 500}, ACME, LEVELS)) < 40


REMEMBERED = (
    "SELECT * FROM ticket WHERE tenant_id = ? AND id = ?",
    "SELECT * FROM ticket WHERE id = ? AND (tenant_id = ? OR ? = 1)",
    "SELECT * FROM ticket WHERE tenant_id IN (?, ?)",
    "SELECT * FROM ticket WHERE (tenant_id = ? AND id = 1) OR (tenant_id = ? AND id = 2)",
    "INSERT INTO ticket (id, tenant_id) VALUES (?, ?)",
    "INSERT INTO ticket (id, tenant_id) VALUES (1, ?), (2, ?)",
    "UPDATE ticket SET title = ? WHERE tenant_id = ?",
    "DELETE FROM ticket WHERE tenant_id = 'acme'",
    "SELECT * FROM plan WHERE name = ?",
    "SELECT FROM WHERE",
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(REMEMBERED),
            st.sampled_from((ACME, Active({"tenant": "1"}))),
            st.lists(st.sampled_from(["acme", "globex", 1, True, 1.0, None, ["acme"]]), max_size=3),
        ),
        max_size=30,
    )
)
def test_a_remembered_judgement_is_the_one_that_would_be_made(
    runs: list[tuple[str, Active, list[object]]],
) -> None:
    verdicts = Verdicts()
    for text, active, parameters in runs:
        sql = Sql(text, parameters, "sqlite")
        again = judge_sql(sql, active, LEVELS, TABLES.get, verdicts=verdicts)
        assert again == judge_sql(sql, active, LEVELS, TABLES.get)
        known = verdicts.recall(text, parameters, active, False)
        assert known is None or known == again


def test_a_judgement_asks_for_the_parameters_of_owners_alone() -> None:
    verdicts = Verdicts()
    text = "SELECT * FROM ticket WHERE tenant_id = ? AND id = ?"
    judge_sql(Sql(text, ("acme", 1), "sqlite"), ACME, LEVELS, TABLES.get, verdicts=verdicts)
    assert verdicts.recall(text, ("acme", 2), ACME, False) == "scoped"
    assert verdicts.recall(text, ("globex", 1), ACME, False) is None
    assert verdicts.recall(text, ("acme", 1), GLOBEX, False) is None


def test_a_judgement_is_not_kept_while_a_table_is_not_there() -> None:
    verdicts = Verdicts()
    sql = Sql("SELECT * FROM later WHERE id = ?", (1,), "sqlite")
    assert judge_sql(sql, ACME, LEVELS, lambda _table: None, verdicts=verdicts) == "free"
    columns = {"later": ("id", "tenant_id")}
    assert isinstance(judge_sql(sql, ACME, LEVELS, columns.get, verdicts=verdicts), Missing)


class Id(str, Enum):
    ACME = "acme"


def test_a_member_of_an_enumeration_is_what_it_holds() -> None:
    assert judge("select * from ticket where tenant_id = ?", (Id.ACME,)) == "scoped"
    assert same_id(Id.ACME, "acme")


@given(
    st.text("ac:/% -*", max_size=12), st.sampled_from(["a", "ac", "a:c", "a c"]), st.sampled_from([":/", ":"])
)
def test_the_quick_look_at_a_key_never_says_more(key: str, wanted: str, delimiters: str) -> None:
    if plainly_scoped([key], Active({"tenant": wanted}), LEVELS, delimiters):
        assert has_component(key, wanted, delimiters)


NAMED = {"acme-inc": "acme", "globex-inc": "globex"}


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("o.slug = ?", ("acme-inc",), "scoped"),
        ("o.slug = ? and t.id = 1", ("acme-inc",), "scoped"),
        ("o.id = ?", ("acme",), "scoped"),
        ("o.slug = ?", ("globex-inc",), "BND501"),
        ("o.slug = ?", ("nobody",), "BND501"),
        ("o.slug = ? or t.id = 1", ("acme-inc",), "BND501"),
        ("o.slug != ?", ("acme-inc",), "BND501"),
        ("o.slug like ?", ("acme-inc",), "BND501"),
    ],
)
def test_a_tenant_by_another_name(text: str, parameters: tuple[object, ...], expected: str) -> None:
    """The row of the table of tenants is looked up: where it is the boundary's, what joins it is bound."""
    asked: list[tuple[str, str]] = []

    def named(table: str, column: str, value: str) -> object:
        asked.append((table, column))
        return NAMED.get(value)

    sql = f"select * from ticket t join organizations o on o.id = t.tenant_id where {text}"
    columns = {**TABLES, "organizations": ("id", "slug")}.get
    found = judge_sql(Sql(sql, parameters), ACME, LEVELS, columns, named=named)
    assert (found.rule if isinstance(found, Missing) else found) == expected
    assert set(asked) <= {("organizations", "slug")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from invite where token = ?", "free"),
        ("select * from invite where token_hash = ? and used = 0", "free"),
        ("delete from invite where api_key = ?", "free"),
        ("select * from invite where token is not null", "BND501"),
        ("select * from invite where token = ? or id = 1", "BND501"),
        ("select * from invite where token_count = ?", "BND501"),
        ("select * from invite i join ticket t on t.title = i.token where i.token = ?", "BND501"),
    ],
)
def test_rows_that_a_secret_finds(text: str, expected: str) -> None:
    columns = {**TABLES, "invite": ("id", "tenant_id", "token", "token_hash", "api_key", "token_count")}.get
    found = judge_sql(Sql(text, ("s3cret",)), ACME, LEVELS, columns)
    assert (found.rule if isinstance(found, Missing) else found) == expected


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO ticket (id, tenant_id) VALUES (?, ?), (?, ?) , (?,?)",
        "insert or replace into ticket(id, tenant_id) values(?, ?),\n(?, ?),(?, ?) RETURNING id",
        "INSERT INTO ticket (id, tenant_id) VALUES (?, ?), (?, ?), (?, ?) ON CONFLICT (id) DO UPDATE SET title = 'x'",
        "REPLACE INTO ticket (id, tenant_id) VALUES (?, ?), (?, ?), (?, ?);",
    ],
)
def test_each_of_many_new_rows_is_judged(text: str) -> None:
    assert judge(text, (1, "acme", 2, "acme", 3, "acme")) == "scoped"
    for parameters in (
        (1, "x", 2, "acme", 3, "acme"),
        (1, "acme", 2, "x", 3, "acme"),
        (1, "acme", 2, "acme", 3, "x"),
    ):
        assert judge(text, parameters) == "missing"


def test_thousands_of_new_rows_are_parsed_like_one() -> None:
    one, many = "INSERT INTO ticket (id, tenant_id) VALUES (?, ?)", 5000
    (part,) = parse(one + ", (?, ?)" * (many - 1)).parts
    (alone,) = parse(one).parts
    assert part.values is not None
    assert len(part.values) == many
    assert part.values[0] == alone.values[0] if alone.values else False
    assert part.values[-1] == (Value("parameter", str(2 * many - 2)), Value("parameter", str(2 * many - 1)))
    mixed = parse("INSERT INTO ticket (id, tenant_id) VALUES (1, ?), (?, ?), (?, 'b')").parts[0]
    assert [len(row) for row in mixed.values or ()] == [2, 2, 2]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"tenant_id": "acme", "text": "x"}, "scoped"),
        ({"org_id": "acme", "customer_id": "7"}, "scoped"),
        ({"tenant_id": "globex"}, "does not say tenant_id = 'acme'"),
        ({"text": "x"}, "names no owner"),
        ({}, "names no owner"),
        (object(), "names no owner"),
    ],
)
def test_what_is_written_names_its_owner(payload: object, expected: str) -> None:
    found = judge_payloads([{"tenant_id": "acme"}, payload], ACME, LEVELS)
    assert expected in (found.text if isinstance(found, Missing) else found)
    assert isinstance(judge_payloads([payload], Active({}), LEVELS), Missing)


NAMES = st.sampled_from(
    ["tenant_id", "user_id", "org_id", "text", "$and", "$or", "$nor", "AND", "meta.tenant_id"]
)
IDS = st.sampled_from(["acme", "globex", "kim", 1, None])
DOCUMENTS = st.recursive(
    st.dictionaries(NAMES.filter(lambda name: name[0] not in "$A"), IDS, max_size=3),
    lambda inner: st.dictionaries(
        NAMES,
        IDS
        | st.dictionaries(st.sampled_from(["$eq", "$ne", "$in", "$gt"]), IDS, min_size=1, max_size=2)
        | st.lists(inner, max_size=3),
        max_size=3,
    ),
    max_leaves=6,
)


@given(DOCUMENTS)
def test_a_first_look_at_a_document_never_says_more_than_the_whole(document: dict[str, object]) -> None:
    if filters.plainly_scoped(documents.equalities(document), ACME, LEVELS):
        assert judge_filter(documents.translate(document), ACME, LEVELS) == "scoped"


PREDICATES = st.recursive(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["tenant_id", "org_id", "kind"]),
        st.sampled_from(["=", "==", "!=", ">", "LIKE"]),
        st.sampled_from(["'acme'", "'globex'", "1", "NULL", "kind"]),
    )
    | st.sampled_from(["tenant_id IN ('acme')", "tenant_id IN ('acme', 'globex')", "tenant_id IS NULL", "("]),
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner)
        | inner.map("NOT ({})".format)
    ),
    max_leaves=5,
)


@given(PREDICATES)
def test_a_first_look_at_a_predicate_never_says_more_than_the_whole(text: str) -> None:
    if filters.plainly_scoped(where.equalities(text), ACME, LEVELS):
        assert judge_filter(where.translate(text), ACME, LEVELS) == "scoped"


@given(
    st.dictionaries(
        st.sampled_from(["tenant_id", "user_id", "org_id", "text", "$where"]),
        IDS | st.dictionaries(st.sampled_from(["$eq", "$ne", "$gt"]), IDS, min_size=1, max_size=1),
        max_size=4,
    ),
    st.frozensets(st.sampled_from(["tenant_id", "user_id", "org_id", "workspace_id", "text"])),
    st.booleans(),
)
def test_a_first_look_at_a_search_of_mongo_never_says_more(
    query: dict[str, object], known: frozenset[str], sampled: bool
) -> None:
    active = Active(dict(ACME.ids))  # what was seen with other fields is not remembered
    if mongo.plainly_scoped("app.notes", query, active, LEVELS, known, sampled):
        part = mongo.Part("app.notes", mongo.condition(query))
        assert mongo.judge_parts([part], active, LEVELS, {"app.notes": known}) == "scoped"


def test_a_first_look_passes_what_is_plain() -> None:
    plain: list[dict[str, object]] = [
        {"tenant_id": "acme"},
        {"tenant_id": {"$eq": "acme"}},
        {"$and": [{"year": 1}, {"tenant_id": "acme"}]},
    ]
    for document in plain:
        assert filters.plainly_scoped(documents.equalities(document), ACME, LEVELS)
    for text in ("tenant_id = 'acme'", "kind > 1 AND tenant_id == 'acme'"):
        assert filters.plainly_scoped(where.equalities(text), ACME, LEVELS)
    for text in ("tenant_id = 'globex'", "tenant_id = 'acme' OR kind = 1", "NOT tenant_id = 'acme'"):
        assert not filters.plainly_scoped(where.equalities(text), ACME, LEVELS)
    loose: list[dict[str, object]] = [
        {},
        {"tenant_id": "globex"},
        {"$or": [{"tenant_id": "acme"}]},
        {"tenant_id": {"$ne": "acme"}},
    ]
    for document in loose:
        assert not filters.plainly_scoped(documents.equalities(document), ACME, LEVELS)
    assert mongo.plainly_scoped(
        "app.notes", {"tenant_id": "acme"}, Active({"tenant": "acme"}), LEVELS, ["tenant_id"], False
    )
    # nothing is known of the collection yet: its documents are looked at first
    assert not mongo.plainly_scoped(
        "app.notes", {"tenant_id": "acme"}, Active({"tenant": "acme"}), LEVELS, [], False
    )
