from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from boundlint.catalog.loader import load_catalog, load_family
from boundlint.catalog.model import Family
from boundlint.catalog.verify import Verification, verify
from boundlint.catalog.versions import installed_version, satisfies, split_requirement

CATALOG = """
family = "fakeshop"
title = "Fake shop"
requires = ["fakeshop>=1"]

[[client]]
types = ["fakeshop.client.Client", "fakeshop.Client", "fakeshop.AsyncClient"]
factories = ["fakeshop.connect"]
instances = ["fakeshop.default"]
returns = { pipeline = "fakeshop.client.Client" }

[[operation]]
target = "fakeshop.client.Client.put"
twin = "fakeshop.AsyncClient.put"
kind = "memory"
effect = "write"
args = [
    { role = "key", position = 0, keyword = "name", required = true },
    { role = "value", position = 1, keyword = "value", required = true },
    { role = "ttl", keyword = "ttl" },
]

[[operation]]
target = "fakeshop.client.Client.many"
kind = "memory"
effect = "read"
args = [
    { role = "key", position = 0, variadic = true },
    { role = "filter", keyword = "where", through_kwargs = true },
]

[[operation]]
target = "fakeshop.memoize"
form = "decorator"
kind = "cache"
effect = "read"
"""
CLIENT = """
class Client:
    def put(self, name, value, *, ttl=None): ...
    def many(self, *names, **options): ...
    def pipeline(self): return Client()
class AsyncClient(Client):
    async def put(self, name, value, *, ttl=None): ...
def connect(): return Client()
default = Client()
def memoize(function): return function
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution `fakeshop` 1.4.0, importable for the time of one test."""
    package = tmp_path / "fakeshop"
    package.mkdir()
    (package / "__init__.py").write_text("from fakeshop.client import *\n")
    (package / "client.py").write_text(CLIENT)
    (tmp_path / "fakeshop-1.4.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: fakeshop\nVersion: 1.4.0\n"
    (tmp_path / "fakeshop-1.4.0.dist-info" / "METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "fakeshop"]:
        del sys.modules[name]


def _family(tmp_path: Path, *changes: tuple[str, str]) -> Family:
    text = CATALOG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "fakeshop.toml"
    path.write_text(text)
    return load_family(path)


def _verify(tmp_path: Path, *changes: tuple[str, str]) -> Verification:
    (result,) = verify([_family(tmp_path, *changes)])
    return result


def test_what_is_as_described_is_verified(site: Path) -> None:
    result = _verify(site)
    assert (result.verified, result.operations) == (3, 3)
    assert (result.problems, result.unverified, result.missing) == ((), (), ())
    assert result.installed == {"fakeshop": "1.4.0"}
    assert result.passed


PUT = "def put(self, name, value, *"
CHANGES = {
    (PUT, "def put(self, key, value, *"): "argument name (key) does not exist (there are: key, value, ttl)",
    (PUT, "def put(self, value, name, *"): "argument name (key) is at position 1, not 0",
    (PUT, "def put(self, name, value, /, *"): "argument name (key) is positional-only",
    (PUT, "def put(self, *, name, value"): "argument name (key) is keyword-only",
    ("value, *, ttl=None", "value, ttl=None"): "argument ttl (ttl) can be passed by position 2 too",
    ("(self, *names", "(self, names"): "takes further positional arguments, but there is no *args",
    ("*names, **options", "*names"): "argument where (filter) does not exist",
    ("def put(", "def store("): "target fakeshop.client.Client.put: fakeshop.client.Client has no 'put'",
    ("async def put", "def put"): "twin fakeshop.AsyncClient.put is neither a coroutine function nor",
    ("def connect", "def open"): "factory fakeshop.connect: fakeshop has no 'connect'",
    ("def pipeline", "def batch"): "'returns' names 'pipeline', which no type of the client has",
    ("default =", "standard ="): "instance fakeshop.default: fakeshop has no 'default'",
    ("def memoize", "def remember"): "target fakeshop.memoize: fakeshop has no 'memoize'",
    (
        "class AsyncClient(",
        "class AClient(",
    ): "client type fakeshop.AsyncClient: fakeshop has no 'AsyncClient'",
}


@pytest.mark.parametrize(("change", "problem"), CHANGES.items(), ids=lambda value: str(value)[:40])
def test_a_client_that_changed_is_a_problem_with_the_entrys_place(
    site: Path, change: tuple[str, str], problem: str
) -> None:
    changed = CLIENT.replace(*change)
    assert changed != CLIENT
    swap = []
    if "async" in change[0]:
        # a class that is called async counts as asynchronous whatever its methods look like
        changed, problem = changed.replace("AsyncClient", "Twin"), problem.replace("AsyncClient", "Twin")
        swap = [("fakeshop.AsyncClient", "fakeshop.Twin")]
    (site / "fakeshop" / "client.py").write_text(changed)
    result = _verify(site, *swap)
    assert any(problem in line for line in result.problems), result.problems
    assert all(line.startswith(f"{site}/fakeshop.toml:") for line in result.problems)
    assert not result.passed


def test_an_import_that_fails_is_a_problem(site: Path) -> None:
    (site / "fakeshop" / "client.py").write_text("raise RuntimeError('no licence')")
    result = _verify(site)
    assert result.verified == 0
    assert "cannot be imported: RuntimeError: no licence" in result.problems[0]


def test_what_needs_another_package_is_unverified_and_not_counted(site: Path) -> None:
    extra = "import package_that_nobody_has\nclass Client:\n    def get(self, key): ...\n"
    (site / "fakeshop" / "extra.py").write_text(extra)
    client = '[[client]]\ntypes = ["fakeshop.extra.Client"]\n\n'
    entry = '[[operation]]\ntarget = "fakeshop.{}"'
    result = _verify(
        site,
        (entry.format("memoize"), client + entry.format("extra.Client.get")),
        ('form = "decorator"\n', ""),
    )
    assert (result.verified, result.operations, result.problems) == (2, 3, ())
    assert any(
        "fakeshop.extra.Client.get" in note and "package_that_nobody_has" in note
        for note in result.unverified
    )


def test_a_client_that_is_not_installed_is_unverified_and_never_passed(tmp_path: Path) -> None:
    result = _verify(tmp_path, ("fakeshop", "fakeshop_nowhere"))
    assert (result.verified, len(result.unverified), result.missing) == (0, 3, ("fakeshop_nowhere",))
    assert result.problems == ()
    assert not result.passed


def test_what_another_distribution_adds_to_a_namespace_is_unverified(site: Path) -> None:
    (site / "fakeshop_space" / "store" / "memory").mkdir(parents=True)
    (site / "fakeshop_space" / "store" / "memory" / "__init__.py").write_text(CLIENT)
    space = "fakeshop_space.store"
    client = f'[[client]]\ntypes = ["{space}.memory.Client", "{space}.postgres.Store"]\n'
    client += f'returns = {{ from_text = "{space}.memory.Client" }}\n\n'
    entry = '[[operation]]\ntarget = "fakeshop.memoize"'
    result = _verify(site, (entry, client + entry))
    assert (result.verified, result.problems) == (3, ())
    assert any("'from_text'" in note for note in result.unverified)


def test_an_entry_about_another_version_is_unverified(site: Path) -> None:
    result = _verify(site, ('form = "decorator"\n', 'form = "decorator"\nversions = "fakeshop>=2"\n'))
    assert result.verified == 2
    assert result.unverified == ("fakeshop.memoize: the entry is about fakeshop>=2, here is 1.4.0",)


def test_a_family_about_another_major_version_is_unverified_as_a_whole(site: Path) -> None:
    result = _verify(site, ('requires = ["fakeshop>=1"]', 'requires = ["fakeshop>=2"]'))
    assert (result.verified, result.problems, result.passed) == (0, (), False)
    assert (
        result.unverified[0] == "fakeshop.client.Client.put: the family is about fakeshop>=2, here is 1.4.0"
    )
    assert len(result.unverified) == result.operations == 3


def test_the_shipped_catalog_agrees_with_what_is_installed_here() -> None:
    results = {result.family: result for result in verify(load_catalog())}
    assert [problem for result in results.values() for problem in result.problems] == []
    # the standard library is always there
    assert results["sqlite"].verified > 0
    assert results["caches"].verified >= 3
    assert {
        name for name, result in results.items() if not result.verified and not result.unverified
    } == set()


@pytest.mark.parametrize(
    ("version", "specifier", "expected"),
    [
        ("5.0", ">=5", True),
        ("4.9.9", ">=5", False),
        ("8.1.0", ">=5,<8", False),
        ("1.10", ">1.9", True),
        ("2.0.0", "==2", True),
        ("2.0.1", "==2.0.*", True),
        ("2.1", "==2.0.*", False),
        ("2.1", "!=2.0", True),
        ("1.4.9", "~=1.4.2", True),
        ("1.5.0", "~=1.4.2", False),
        ("3.0.0rc1", ">=3", True),
        ("3", "", True),
    ],
)
def test_versions_compare_by_release_number(version: str, specifier: str, expected: bool) -> None:
    assert satisfies(version, specifier) is expected


def test_a_requirement_has_a_name_and_a_specifier() -> None:
    assert split_requirement("redis>=5, <8") == ("redis", ">=5, <8")
    assert split_requirement("mem0ai[graph]") == ("mem0ai", "")
    assert installed_version("python") == ".".join(map(str, sys.version_info[:3]))
    with pytest.raises(ValueError, match="is not a requirement"):
        split_requirement(">=5")
