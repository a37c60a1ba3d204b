from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import boundlint
from boundlint.catalog.loader import (
    CatalogError,
    catalog_digest,
    load_catalog,
    load_family,
    parse_operation,
    shipped_files,
    table_places,
)
from boundlint.catalog.model import Argument, Catalog, Operation

HEAD = 'family = "shop"\ntitle = "Shop"\nrequires = ["shop>=1"]\n'
CLIENT = '\n[[client]]\ntypes = ["shop.Client", "shop.AsyncClient"]\n'
OPERATION = '\n[[operation]]\ntarget = "shop.Client.get"\nkind = "memory"\neffect = "read"\n'
GOOD = HEAD + CLIENT + OPERATION  # the operation's header is line 8

BROKEN = {
    "unknown family key": (
        "familly = 1\n" + GOOD,
        1,
        "unknown key 'familly' in this family file, did you mean 'family'?",
    ),
    "missing title": (GOOD.replace('title = "Shop"\n', ""), 1, "'title' is missing"),
    "requires is no list": (GOOD.replace('["shop>=1"]', '"shop"'), 3, "'requires' must be a list"),
    "requires is no requirement": (GOOD.replace('"shop>=1"', '"shop>>1"'), 3, "is not a requirement"),
    "unknown client key": (
        GOOD.replace("types = ", "type = "),
        6,
        "unknown key 'type' in this client, did you mean 'types'?",
    ),
    "client type is no path": (
        GOOD.replace('"shop.AsyncClient"', '"AsyncClient"'),
        6,
        "must be dotted paths",
    ),
    "one type of two clients": (GOOD + CLIENT, 14, "'shop.Client' is a type of two clients"),
    "returns is no path": (
        GOOD.replace("\n[[op", 'returns = { pipe = "Pipe" }\n\n[[op'),
        7,
        "'returns.pipe' must be",
    ),
    "unknown operation key": (
        GOOD + 'effects = "x"\n',
        12,
        "unknown key 'effects' in this operation, did you mean 'effect'?",
    ),
    "missing effect": (GOOD.replace('effect = "read"\n', ""), 8, "'effect' is missing"),
    "unknown kind": (
        GOOD.replace('"memory"', '"memoryy"'),
        10,
        "unknown kind 'memoryy', did you mean 'memory'?",
    ),
    "unknown effect": (GOOD.replace('"read"', '"reads"'), 11, "unknown effect 'reads', did you mean 'read'?"),
    "unknown form": (GOOD + 'form = "methods"\n', 12, "unknown form 'methods', did you mean 'method'?"),
    "unknown place of the work": (
        GOOD + 'runs = "threads"\n',
        12,
        "unknown runs 'threads', did you mean 'thread'?",
    ),
    "unknown layer": (GOOD + 'layer = "clients"\n', 12, "unknown layer 'clients', did you mean 'client'?"),
    "unknown binder": (
        GOOD + 'binders = ["chain"]\n',
        12,
        "unknown binders 'chain', did you mean 'chained'?",
    ),
    "versions is no requirement": (GOOD + 'versions = ">=2"\n', 12, "is not a requirement"),
    "target is no path": (GOOD.replace('"shop.Client.get"', '"get"'), 9, "'target' must be a dotted path"),
    "target without client": (
        GOOD.replace("shop.Client.get", "shop.Clint.get"),
        9,
        "no client has the type 'shop.Clint', did you",
    ),
    "twin without client": (
        GOOD + 'twin = "shop.AsynClient.get"\n',
        12,
        "the twin's class 'shop.AsynClient' is no client's",
    ),
    "duplicate target": (GOOD + OPERATION, 14, "'shop.Client.get' is described twice"),
    "duplicate, one without versions": (
        GOOD + OPERATION + 'versions = "shop<2"\n',
        14,
        "give both their 'versions'",
    ),
    "args is no list": (GOOD + 'args = "key"\n', 12, "'args' must be a list"),
    "argument is no table": (GOOD + 'args = ["key"]\n', 12, "each of 'args' must be a table"),
    "argument without role": (GOOD + "args = [{ position = 0 }]\n", 12, "an argument needs a 'role'"),
    "unknown role": (
        GOOD + 'args = [\n  { role = "key" },\n  { role = "kei" },\n]\n',
        14,
        "unknown role 'kei', did you mean 'key'?",
    ),
    "unknown argument key": (
        GOOD + 'args = [{ role = "key", positon = 0 }]\n',
        12,
        "did you mean 'position'?",
    ),
    "position is text": (
        GOOD + 'args = [{ role = "key", position = "0" }]\n',
        12,
        "'position' must be an integer",
    ),
    "position is a truth value": (
        GOOD + 'args = [{ role = "key", position = true }]\n',
        12,
        "'position' must be an integer",
    ),
    "negative position": (
        GOOD + 'args = [{ role = "key", position = -1 }]\n',
        12,
        "'position' counts from 0",
    ),
    "keyword is no name": (
        GOOD + 'args = [{ role = "key", keyword = "a b" }]\n',
        12,
        "'keyword' must be a parameter name",
    ),
    "unscoped holds a number": (
        GOOD + 'args = [{ role = "key", unscoped = [1] }]\n',
        12,
        "'unscoped' must be a list of strings",
    ),
    "not TOML": (GOOD + "kind = = 1\n", 12, "is not valid TOML"),
    "client is no table": (HEAD + 'client = ["x"]\n', 4, "must be written as [[client]] tables"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_names_file_line_and_what_is_wrong(name: str, tmp_path: Path) -> None:
    text, line, message = BROKEN[name]
    path = tmp_path / "shop.toml"
    path.write_text(text)
    with pytest.raises(CatalogError) as caught:
        load_family(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert message in caught.value.message
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_good_family_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(
        GOOD + 'twin = "shop.AsyncClient.get"\nargs = [\n'
        '  { role = "key", position = 0, keyword = "name", required = true },\n'
        '  { role = "filter", keyword = "where", path = "[].filter", unscoped = ["None"] },\n]\n'
    )
    family = load_family(path)
    assert (family.name, family.title, family.requires, family.quick) == ("shop", "Shop", ("shop>=1",), False)
    assert family.clients[0].types == ("shop.Client", "shop.AsyncClient")
    assert family.clients[0].source == f"{path}:5"
    operation = family.operations[0]
    assert (operation.target, operation.twin, operation.kind) == (
        "shop.Client.get",
        "shop.AsyncClient.get",
        "memory",
    )
    assert operation.args == (
        Argument("key", 0, "name", required=True),
        Argument("filter", None, "where", path="[].filter", unscoped=("None",)),
    )
    assert operation.source == f"{path}:8"


def test_windows_line_ends_keep_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes((GOOD + "extra = 1\n").replace("\n", "\r\n").encode())
    with pytest.raises(CatalogError) as caught:
        load_family(path)
    assert caught.value.line == 12


def test_a_file_that_is_not_utf8_or_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(GOOD.encode() + b"# \xff\n")
    with pytest.raises(CatalogError, match="is not UTF-8 text") as caught:
        load_family(path)
    assert caught.value.line == 12
    with pytest.raises(CatalogError, match="cannot be read"):
        load_catalog([tmp_path / "none.toml"])


def test_a_project_operation_is_read_from_pyproject_with_its_line() -> None:
    good = 'target = "app.store.get"\nkind = "memory"\neffect = "read"\nform = "function"\n'
    bad = 'target = "app.store.put"\nkind = "memory"\nefect = "write"\n'
    header = "\n[[tool.boundlint.operation]]\n"
    text = f'[project]\nname = "x"\n{header}{good}{header}{bad}'
    first, second = table_places(text, "pyproject.toml", "tool.boundlint.operation")
    operation = parse_operation(
        {"target": "app.store.get", "kind": "memory", "effect": "read", "form": "function"}, first
    )
    assert operation.source == "pyproject.toml:4"
    message = r"pyproject\.toml:13: unknown key 'efect' in this operation, did you mean 'effect'"
    with pytest.raises(CatalogError, match=message):
        parse_operation({"target": "app.store.put", "kind": "memory", "efect": "write"}, second)


def test_the_shipped_catalog_loads_and_every_operation_has_an_owner() -> None:
    catalog = load_catalog()
    assert len(catalog.families) == len(shipped_files())
    assert {"redis", "caches", "qdrant", "sqlalchemy"} <= {family.name for family in catalog.families}
    types = {path for client in catalog.clients for path in client.types}
    assert all(o.target.rpartition(".")[0] in types for o in catalog.operations if o.form == "method")


def test_a_projects_operations_come_first_with_a_client_of_their_own() -> None:
    mine = (
        Operation("app.store.Store.recall", "memory", "read", source="pyproject.toml:3"),
        Operation("redis.client.Redis.get", "cache", "read", source="pyproject.toml:9"),
    )
    catalog = load_catalog(extra_operations=mine)
    assert catalog.families[0].name == "project"
    assert catalog.families[0].operations == mine
    assert [client.types for client in catalog.families[0].clients] == [("app.store.Store",)]
    assert next(o for o in catalog.operations if o.target == "redis.client.Redis.get").kind == "cache"


def test_two_files_may_not_describe_one_family_or_one_operation(tmp_path: Path) -> None:
    first, second = tmp_path / "one.toml", tmp_path / "two.toml"
    first.write_text(GOOD)
    second.write_text(GOOD)
    with pytest.raises(CatalogError, match="the family 'shop' is already described"):
        load_catalog([first, second])
    second.write_text(GOOD.replace('"shop"', '"shop2"', 1))
    with pytest.raises(CatalogError, match=r"'shop\.Client\.get' is described twice") as caught:
        load_catalog([first, second])
    assert (caught.value.path, caught.value.line) == (str(second), 8)
    versions = ('versions = "shop<2"\n', 'versions = "shop>=2"\n')
    first.write_text(GOOD + versions[0])
    second.write_text(GOOD.replace('"shop"', '"shop2"', 1) + versions[1])
    targets = [operation.target for operation in load_catalog([first, second]).operations]
    assert targets.count("shop.Client.get") == 2


def test_the_digest_follows_the_data(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(GOOD)
    shipped, extended = load_catalog(), load_catalog([path])
    path.write_text(GOOD.replace('"read"', '"write"'))
    changed = load_catalog([path])
    mine = load_catalog(extra_operations=[Operation("app.get", "memory", "read", form="function")])
    digests = [catalog_digest(catalog) for catalog in (shipped, extended, changed, mine)]
    assert len(set(digests)) == 4
    assert catalog_digest(load_catalog()) == digests[0]
    assert catalog_digest(Catalog(shipped.families)) != catalog_digest(Catalog(changed.families))


SHOW = """
import sys
from boundlint.catalog.loader import load_catalog
print(repr(load_catalog()))
print(bool({"tomllib", "tomli"} & set(sys.modules)))
"""


def _start(root: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = (
        [sys.executable, "-S", "-c", SHOW] if sys.version_info >= (3, 11) else [sys.executable, "-c", SHOW]
    )
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_compiled_copy_says_the_same_and_a_damaged_one_is_discarded(tmp_path: Path) -> None:
    package = Path(boundlint.__file__).parent
    shutil.copytree(
        package, tmp_path / "boundlint", ignore=shutil.ignore_patterns("__pycache__", "catalog.json")
    )
    parsed = _start(tmp_path)
    (copy,) = (tmp_path / "boundlint" / "catalog" / "__pycache__").glob("catalog.json")
    assert parsed[1] == "True"
    assert _start(tmp_path) == [parsed[0], "False"]

    content = copy.read_bytes()
    header, _, body = content.partition(b"\n")
    families = json.loads(body)
    families[0]["title"] = "forged"
    for damaged in (content[:-500], b"", b"\x00\xff" * 99, header + b"\n" + json.dumps(families).encode()):
        copy.write_bytes(damaged)
        assert _start(tmp_path) == parsed

    data = tmp_path / "boundlint" / "catalog" / "redis.toml"
    data.write_text(data.read_text().replace('title = "Redis"', 'title = "Another"'))
    assert "title='Another'" in _start(tmp_path)[0]
