"""astroid's answer to "what is this receiver", over shapes of real code."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from boundlint import engine
from boundlint.config import load_settings
from boundlint.flow.infer import Budget, Modules, infer_class
from boundlint.flow.inference import Inference, RunBudget


def ask(source: str, marker: str, receiver: str = "", modules: Modules | None = None) -> str | None:
    """The class of the receiver that starts where `marker` stands in the source."""
    text = textwrap.dedent(source)
    before = text[: text.index(marker)]
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2].encode())
    return infer_class(
        text, "app.store", "app/store.py", line, column, Budget(), modules or Modules(), receiver
    )


HELPER = """
import redis

def get_client():
    return redis.Redis(host="cache")

def read(key):
    client = get_client()
    return client.get(key)
"""

CONDITIONAL = """
try:
    from redis.asyncio import Redis
except ImportError:
    Redis = None

def make():
    if Redis is None:
        return None
    return Redis()

async def read(key):
    store = make()
    return await store.get(key)
"""

OTHER_METHOD = """
from qdrant_client import QdrantClient as Client

class Search:
    def __init__(self):
        self.client = None

    def connect(self, url):
        self.client = Client(url)

    def find(self, vector):
        return self.client.search("documents", vector)
"""

ALIASES = """
import redis.asyncio as aioredis
from redis import asyncio as other

class Pool:
    def __init__(self):
        self._first = aioredis.Redis()
        self._second = other.StrictRedis()

    @property
    def first(self):
        return self._first

    def read(self):
        return self.first.get("a"), self._second.get("b")
"""

INHERITED = """
from chromadb import HttpClient

class Base:
    def open(self):
        self.db = HttpClient()
        return self

class Store(Base):
    def __enter__(self):
        return self.open()
    def __exit__(self, *args):
        pass
    def items(self):
        return {"db": self.db}

def main():
    with Store() as store:
        store.items()["db"].heartbeat()
        [s for s in (store.db,)][0].reset()
"""


@pytest.mark.parametrize(
    ("source", "marker", "expected"),
    [
        (HELPER, "client.get(key)", "redis.Redis"),
        (CONDITIONAL, "store.get(key)", "redis.asyncio.Redis"),
        (OTHER_METHOD, "self.client.search", "qdrant_client.QdrantClient"),
        (ALIASES, "self.first.get", "redis.asyncio.Redis"),
        (ALIASES, "self._second.get", "redis.asyncio.StrictRedis"),
        (INHERITED, "store.items()", "chromadb.HttpClient"),
    ],
)
def test_real_shapes(source: str, marker: str, expected: str) -> None:
    assert ask(source, marker) == expected


def test_a_class_of_the_module_itself() -> None:
    source = (
        "class Store:\n    def get(self, key): ...\n\ndef read(key):\n    return (Store() or 1).get(key)\n"
    )
    assert ask(source, "Store() or") == "app.store.Store"


def test_a_receiver_by_its_text() -> None:
    text = OTHER_METHOD
    line = text[: text.index("self.client.search")].count("\n") + 1
    for receiver, expected in (("self.client", "qdrant_client.QdrantClient"), ("self.other", None)):
        answer = infer_class(text, "app.s", "app/s.py", line, 0, Budget(), Modules(), receiver)
        assert answer == expected


def test_project_modules_come_from_the_caller() -> None:
    project = {"app.clients": "import redis\ndef get_client():\n    return redis.Redis()\n"}
    source = "from .clients import get_client\nvalue = get_client().get('a')\n"
    assert ask(source, "get_client().get", modules=Modules(project.get)) == "redis.Redis"
    assert ask(source, "get_client().get", modules=Modules()) is None


def test_modules_that_import_each_other_end() -> None:
    project = {
        "app.a": "from app.b import make\ndef again():\n    return make()\n",
        "app.b": "from app.a import again\ndef make():\n    return again()\n",
    }
    source = "from app.a import again\nagain().get('a')\n"
    assert ask(source, "again().get", modules=Modules(project.get)) is None


@pytest.mark.parametrize(
    ("source", "marker"),
    [
        ("import redis\nredis.from_url('x').get('a')\n", "redis.from_url"),  # a factory says no class
        ("def f(client):\n    client.get('a')\n", "client.get"),
        ("'text'.join([])\n", "'text'"),
        ("x = None\nx.get()\n", "x.get"),
        ("def f(:\n    x.get()\n", "x.get"),
        ("x = 1\n", "x"),
        ("x = 'nul \0'\nx.get()\n", "x.get"),
    ],
)
def test_what_is_not_known_is_none(source: str, marker: str) -> None:
    assert ask(source, marker) is None


def test_nothing_is_imported_or_executed() -> None:
    code = """
import sys
from boundlint.flow.infer import Budget, Modules, infer_class
source = "import this, sqlite3, antigravity\\nthis.Zen().get()\\nsqlite3.Connection('x').execute('')\\n"
path = list(sys.path)
modules = Modules()
assert infer_class(source, "m", "m.py", 2, 0, Budget(), modules) == "this.Zen"
assert infer_class(source, "m", "m.py", 3, 0, Budget(), modules) == "sqlite3.Connection"
assert not {"this", "sqlite3", "antigravity"} & set(sys.modules), "imported"
assert sys.path == path
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_budgets_hold() -> None:
    steps = "".join(f"def f{n}(x):\n    return f{n + 1}(x) or f{n + 1}(x)\n" for n in range(60))
    source = f"import redis\n{steps}def f60(x):\n    return redis.Redis()\nf0(1).get('a')\n"
    line = source.count("\n")
    for budget in (Budget(nodes=5), Budget(nodes=10**6, seconds=0.0)):
        started = time.monotonic()
        assert infer_class(source, "m", "m.py", line, 0, budget, Modules()) is None
        assert time.monotonic() - started < 5


def test_answers_do_not_depend_on_earlier_questions() -> None:
    modules = Modules(most=1)
    for _ in range(3):
        assert ask(HELPER, "client.get(key)", modules=modules) == "redis.Redis"
        assert ask(OTHER_METHOD, "self.client.search", modules=modules) == "qdrant_client.QdrantClient"
        assert ask(HELPER.replace("Redis", "Valkey"), "client.get(key)", modules=modules) == "redis.Valkey"


def test_bottomless_source_is_none() -> None:
    assert ask("x = a" + ".b" * 50_000 + "\nx.get()\n", "x.get") is None
    assert ask("x = " + "f(" * 90 + "1" + ")" * 90 + "\nx.get()\n", "x.get") is None


SHOP = """
import redis
from app.pools import CLIENTS, make_pair

primary, replica = make_pair()


class Memory:
    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.first, self.second = make_pair()

    def remember(self, value: str) -> None:
        redis.Redis().hset(f"{self.tenant_id}/prefs", "format", value)

    def unpacked(self) -> None:
        primary.hset("prefs", "format", self.tenant_id)

    def attribute(self) -> None:
        self.first.hset("prefs", "format", self.tenant_id)

    def mapping(self) -> None:
        store = CLIENTS["main"]
        store.hset("prefs", "format", self.tenant_id)

    def loop(self) -> None:
        for store in (redis.Redis(), redis.Redis()):
            store.hset("prefs", "format", self.tenant_id)

    def other(self) -> None:
        for store in ({}, {}):
            store.hset("prefs", "format", self.tenant_id)
"""
POOLS = """
import redis

CLIENTS = {"main": redis.Redis(), "other": redis.Redis()}


def make_pair():
    return redis.Redis(), redis.Redis()
"""


def findings_in(folder: Path) -> list[tuple[str, str]]:
    """Function and confidence of what BND201 finds."""
    report = engine.check(engine.Request((folder,), load_settings(folder)))
    assert not report.errors
    return [(row.function, row.confidence) for row in report.findings if row.rule == "BND201"]


def shop(folder: Path) -> Path:
    for name, source in (("memory", SHOP), ("pools", POOLS)):
        path = folder / "app" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return folder


def test_a_run_finds_receivers_that_no_cheaper_step_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = findings_in(shop(tmp_path))
    assert [name for name, _ in found] == [
        f"Memory.{name}" for name in ("unpacked", "attribute", "mapping", "loop")
    ]
    assert {confidence for _, confidence in found} == {"medium"}, "an inferred receiver is less certain"
    monkeypatch.setattr(Inference, "__call__", lambda *arguments: None)
    assert findings_in(tmp_path) == [], "cheaper steps found them too: this test proves nothing"


def test_a_run_asks_within_its_budget(tmp_path: Path) -> None:
    shop(tmp_path)
    known = engine.understand(engine.Request((tmp_path,), load_settings(tmp_path)))
    memory = known.project.functions("app/memory.py")
    names = ("unpacked", "loop")

    def answers(budget: RunBudget) -> list[str | None]:
        ask = Inference(
            known.project, known.receivers.lookup, lambda path: (tmp_path / path).read_text(), budget
        )
        receivers = {"unpacked": "primary", "loop": "store"}
        return [ask(memory[f"Memory.{name}"], receivers[name], "hset") for name in names]

    lines = known.project.files["app/memory.py"].lines + known.project.files["app/pools.py"].lines
    assert answers(RunBudget()) == ["redis.Redis"] * 2
    assert answers(RunBudget(lines=lines)) == ["redis.Redis"] * 2, "a file is paid for once"
    assert answers(RunBudget(questions=1)) == ["redis.Redis", None]
    assert answers(RunBudget(lines=lines - 1))[0] is None, "the module that defines it is not read any more"
    assert answers(RunBudget(lines=5)) == [None, None]
    assert answers(RunBudget(seconds=0.0)) == [None, None]


def test_answers_are_remembered_until_a_module_behind_them_changes(tmp_path: Path) -> None:
    shop(tmp_path)
    asked: list[str] = []
    memory: dict[str, str] = {}

    def answer() -> str | None:
        known = engine.understand(engine.Request((tmp_path,), load_settings(tmp_path)))

        def read(path: str) -> str:
            asked.append(path)
            return (tmp_path / path).read_text(encoding="utf-8")

        ask = Inference(known.project, known.receivers.lookup, read, remembered=memory.get)
        found = ask(known.project.functions("app/memory.py")["Memory.unpacked"], "primary", "hset")
        memory.update(ask.memory())
        return found

    assert answer() == "redis.Redis"
    assert asked == ["app/memory.py", "app/pools.py"]
    asked.clear()
    assert answer() == "redis.Redis"
    assert asked == [], "it was remembered"
    pools = tmp_path / "app/pools.py"
    pools.write_text(POOLS.replace("return redis.Redis(), ", "return 1, "), encoding="utf-8")
    assert answer() is None
    assert asked == ["app/memory.py", "app/pools.py"]


def test_a_warm_run_says_the_same(tmp_path: Path) -> None:
    shop(tmp_path)
    request = engine.Request((tmp_path,), load_settings(tmp_path), 1, tmp_path / ".boundlint_cache")
    first = engine.check(request)
    (tmp_path / "app/other.py").write_text("x = 1\n", encoding="utf-8")
    second = engine.check(request)
    assert second.findings == first.findings
    assert "BND201" in {row.rule for row in first.findings}
