"""No source kills a run, and none disappears: files in = files analyzed + errors."""

from __future__ import annotations

import os
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from boundlint import engine
from boundlint.config import load_settings
from boundlint.findings import Report
from boundlint.index.parse import ParseError, parse_module

SKIPPED = {"site-packages", "dist-packages", "__pycache__", "venv", "build", "dist", "_build"}  # by default

LEAK = """\
import redis

store = redis.Redis()


class Memory:
    def __init__(self, tenant_id, user_id):
        self.tenant_id = tenant_id
        self.user_id = user_id

    def recall(self, name):
        return store.get(f"{self.tenant_id}/{self.user_id}/{name}")

    def remember(self, name, value):
        store.set(f"{self.tenant_id}/{self.user_id}/{name}", value)

    def remember_format(self, value):
        store.set("preferred_report_format", value)
"""

# The standard library calls no data clients.  With these as operations the flow and the rules have work in
# it: built-in modules, because a module that is part of the checked tree is not a client.
CALLS = (
    *("sys.exit", "sys.exc_info", "sys.getrefcount", "sys.getsizeof", "sys.intern", "sys._getframe"),
    *("time.time", "time.sleep", "time.monotonic", "time.strftime", "itertools.chain", "itertools.count"),
    *("itertools.product", "itertools.islice", "gc.collect", "math.sqrt", "math.isnan", "array.array"),
    *("zlib.compress", "binascii.hexlify", "marshal.dumps", "select.select", "_thread.allocate_lock"),
)
KINDS = (
    ("memory", "write", "key"),
    ("retrieval", "read", "filter"),
    ("cache", "read", "key"),
    ("database", "write", "where"),
    ("queue", "enqueue", "payload"),
)


def check(root: Path, *more: Path, config: str = "", jobs: int = 1, cache: Path | None = None) -> Report:
    """Check a folder, and more files with it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "boundlint.toml")
        file.write_text(config, encoding="utf-8")
        chosen = load_settings(root, file, root)
    return engine.check(engine.Request((root, *more), chosen, jobs, cache))


def python_files(root: Path) -> Iterator[Path]:
    """What a run over `root` has to account for."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED and not Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def compiles(path: Path) -> bool:
    """Whether the running interpreter accepts the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
    return True


def assert_accounted_for(report: Report, expected: int) -> None:
    failed = {error.path for error in report.errors}
    assert report.summary.files + len(failed) == expected
    assert all(error.message for error in report.errors)
    assert not [error for error in report.errors if "boundlint failed" in error.message]


def test_the_standard_library_with_its_tests_passes_through(tmp_path: Path) -> None:
    root = Path(sysconfig.get_path("stdlib"))
    rows = []
    for number, call in enumerate(CALLS):
        kind, effect, role = KINDS[number % len(KINDS)]
        rows.append(
            f'[[operation]]\ntarget = "{call}"\nform = "function"\nkind = "{kind}"\neffect = "{effect}"\n'
            f'args = [{{ role = "{role}", position = 0, keyword = "argument" }}]\nscoped = "it is"\n'
        )
    config = '[boundary]\nnames = ["self", "name", "user"]\n' + "".join(rows)
    leak = tmp_path / "memory.py"
    leak.write_text(LEAK, encoding="utf-8")
    report = check(root, leak, config=config, jobs=2)
    files = list(python_files(root))
    assert len(files) > 500
    assert_accounted_for(report, len(files) + 1)
    # Only what Python itself refuses, too, is an error.
    for error in report.errors:
        assert not compiles(root / error.path), error
    assert "remember_format" in {finding.function.rpartition(".")[2] for finding in report.findings}


ODD: dict[str, bytes] = {
    "empty.py": b"",
    "only_bom.py": b"\xef\xbb\xbf",
    "no_newline.py": b"x = 1",
    "old_mac_lines.py": b"import redis\rx = redis.Redis().get('a')\r",
    "form_feed.py": b"import redis\n\x0c\ndef f():\n\x0c    return redis.Redis().get('a')\n",
    "separators.py": "import redis\nx = '\u2028\u2029\x1c\x85'\nredis.Redis().get('a')\n".encode(),
    "latin.py": b"# -*- coding: latin-1 -*-\nimport redis\nredis.Redis().get('\xe9')\n",
    "wide_literal.py": b"x = [\n" + b"    {'a': -1, 'b': (2, 3)},\n" * 30_000 + b"]\n",
    "long_line.py": b"import redis\nredis.Redis().get('" + b"a" * 2_000_000 + b"')\n",
    "many_functions.py": b"import redis\n"
    + b"".join(b"def f%d(k):\n    return redis.Redis().get(k)\n" % number for number in range(800)),
    "call_chain.py": b"import redis\ndef f0(k):\n    return redis.Redis().get(k)\n"
    + b"".join(b"def f%d(k):\n    return f%d(k)\n" % (number + 1, number) for number in range(300)),
    "call_circle.py": b"import redis\n"
    + b"".join(
        b"def f%d(k):\n    redis.Redis().get(k)\n    return f%d(k)\n" % (number, (number + 1) % 40)
        for number in range(40)
    ),
    "nested_functions.py": b"import redis\n"
    + b"".join(b" " * level + b"def f%d(k):\n" % level for level in range(90))
    + b" " * 90
    + b"return redis.Redis().get(k)\n",
    "long_chain.py": b"import redis\ndef f(k):\n    return redis.Redis().get('a' + k"
    + b" + k" * 300
    + b")\n",
    "many_branches.py": b"import redis\ndef f(k):\n    if k: pass\n"
    + b"    elif k == 1: redis.Redis().get(k)\n" * 300,
    "self_reference.py": b"import redis\nclass A(A):\n    x = x\n    def f(self):\n        self.y = self.y\n"
    b"        a = b = a\n        return redis.Redis().get(self.y, a, b)\n",
    "own_base.py": b"import redis\nclass A(B): pass\nclass B(A):\n    def f(self): return self.c.get('a')\n",
    "star.py": b"from .star import *\nfrom . import *\nimport redis\nredis.Redis().get(*a, **b)\n",
    "surrogate_escape.py": b"import redis\nredis.Redis().get('\\ud800')\n",
    "newer_syntax.py": b"import redis\ntype T = int\ndef f[T](k: T):\n  redis.Redis().get(f'{k['a']}')\n",
}
BROKEN: dict[str, bytes] = {
    "null.py": b"x = '\0'\n",
    "utf16.py": "x = 1\n".encode("utf-16"),
    "not_utf8.py": b"x = '\xe9'\n",
    "wrong_coding.py": b"# coding: nonsense\nx = 1\n",
    "syntax.py": b"def f(:\n",
    "python2.py": b"print 'hello'\n",
    "conflict.py": b"<<<<<<< ours\nx = 1\n=======\nx = 2\n>>>>>>> theirs\n",
    "deep_brackets.py": b"import redis\nredis.Redis().get(" + b"(" * 5_000 + b")" * 5_000 + b")\n",
    "deep_sum.py": b"import redis\nredis.Redis().get(1" + b"+1" * 50_000 + b")\n",
    "deep_attribute.py": b"import redis\nredis.Redis().get(a" + b".b" * 50_000 + b")\n",
    "deep_elif.py": b"if a: pass\n" + b"elif a: pass\n" * 20_000,
    "binary.py": bytes(range(1, 256)) * 40,
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_odd_files_pass_and_broken_ones_are_errors(tmp_path: Path, jobs: int) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for name, content in {**ODD, **BROKEN, "memory.py": LEAK.encode()}.items():
        (root / name).write_bytes(content)
    report = check(root, jobs=jobs)
    assert {error.path: error.message for error in report.errors}.keys() == BROKEN.keys()
    assert_accounted_for(report, len(ODD) + len(BROKEN) + 1)
    assert "memory.py" in {finding.location.path for finding in report.findings}


NAMES = st.sampled_from(
    ["tenant_id", "user_id", "key", "store", "client", "self", "cls", "query", "item", "redis", "Store", "x"]
)
TEXTS = st.sampled_from(["", "a", "tenant:", "{", "%s", "user/*", "é\n", "\\"])


def expressions() -> st.SearchStrategy[str]:
    """Expressions in the shapes that the flow follows."""
    leaves = st.one_of(NAMES, TEXTS.map(repr), st.sampled_from(["None", "0", "...", "()", "{}", "[]"]))

    def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, inner)
        return st.one_of(
            st.tuples(NAMES, inner).map(lambda t: f"{t[0]}.get({t[1]})"),
            st.tuples(inner, NAMES).map(lambda t: f"({t[0]}).{t[1]}"),
            st.tuples(NAMES, inner, inner).map(lambda t: f"{t[0]}.search({t[1]}, filter={t[2]})"),
            pair.map(lambda t: f"redis.Redis().set({t[0]}, *{t[1]}, **{t[1]})"),
            pair.map(lambda t: f"({t[0]} + {t[1]})"),
            pair.map(lambda t: f"({t[0]} % {t[1]})"),
            pair.map(lambda t: f"({t[0]} or {t[1]})"),
            pair.map(lambda t: f"({t[0]} if {t[1]} else {t[0]})"),
            pair.map(lambda t: f"({t[0]})[{t[1]}]"),
            pair.map(lambda t: f"{{{t[0]}: {t[1]}, **({t[1]})}}"),
            st.tuples(NAMES, inner, inner).map(lambda t: f"[{t[1]} for {t[0]} in {t[2]} if {t[1]}]"),
            st.tuples(NAMES, inner).map(lambda t: f"(lambda {t[0]}=None: {t[1]})"),
            st.tuples(NAMES, inner).map(lambda t: f"({t[0]} := {t[1]})"),
            st.tuples(NAMES, NAMES).map(lambda t: f"f'{{{t[0]}}}:{{{t[1]}!r:>4}}:{{{{}}}}'"),
            inner.map(lambda t: f"':'.join([{t}, *({t})])"),
            inner.map(lambda t: f"'{{}}:{{a}}'.format({t}, a={t})"),
        )

    return st.recursive(leaves, grow, max_leaves=8)


def statements() -> st.SearchStrategy[str]:
    """Blocks of statements, without indentation of their own."""
    inner = expressions()
    simple = st.one_of(
        inner,
        st.tuples(NAMES, inner).map(lambda t: f"{t[0]} = {t[1]}"),
        st.tuples(NAMES, NAMES, inner).map(lambda t: f"{t[0]}.{t[1]} = {t[2]}"),
        st.tuples(NAMES, NAMES, inner).map(lambda t: f"{t[0]}, *{t[1]} = {t[2]}"),
        st.tuples(NAMES, inner).map(lambda t: f"{t[0]} += {t[1]}"),
        st.tuples(NAMES, inner, inner).map(lambda t: f"{t[0]}: {t[1]} = {t[2]}"),
        inner.map(lambda t: f"return {t}"),
        inner.map(lambda t: f"yield {t}"),
        inner.map(lambda t: f"assert {t}"),
        st.tuples(NAMES, NAMES).map(lambda t: f"from .{t[0]} import {t[1]} as {t[0]}"),
        NAMES.map(lambda t: f"global {t}"),
        st.sampled_from(["pass", "import redis", "raise", "del x", "break", "from app import *"]),
    )

    def block(text: str) -> str:
        return "\n".join(f"    {line}" for line in text.split("\n"))

    def grow(bodies: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(bodies, bodies).map("\n".join),
            st.tuples(inner, bodies, bodies).map(
                lambda t: f"if {t[0]}:\n{block(t[1])}\nelse:\n{block(t[2])}"
            ),
            st.tuples(NAMES, inner, bodies).map(lambda t: f"for {t[0]} in {t[1]}:\n{block(t[2])}"),
            st.tuples(NAMES, inner, bodies).map(lambda t: f"with {t[1]} as {t[0]}:\n{block(t[2])}"),
            st.tuples(bodies, bodies).map(
                lambda t: f"try:\n{block(t[0])}\nexcept (A, B) as x:\n{block(t[1])}\nfinally:\n{block(t[0])}"
            ),
            st.tuples(NAMES, NAMES, inner, bodies).map(
                lambda t: (
                    f"@x.tool({t[2]})\nasync def {t[0]}(self, tenant_id, *, {t[1]}={t[2]}):\n{block(t[3])}"
                )
            ),
            st.tuples(NAMES, NAMES, bodies).map(lambda t: f"def {t[0]}({t[1]}, /, *a, **k):\n{block(t[2])}"),
            st.tuples(NAMES, NAMES, bodies).map(lambda t: f"class {t[0]}({t[1]}):\n{block(t[2])}"),
            st.tuples(inner, bodies).map(
                lambda t: f"match {t[0]}:\n    case {{'a': x, **key}} | [x, *key]:\n{block(block(t[1]))}"
            ),
        )

    return st.recursive(simple, grow, max_leaves=12)


def assert_property(sources: list[str]) -> list[bool]:
    """Every file is analyzed or an error, the parseable ones are analyzed, and the cache changes nothing.

    Gives which sources were parseable.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "app")
        root.mkdir()
        broken = set()
        for number, source in enumerate([LEAK, *sources]):
            data = source.encode("utf-8", "surrogatepass")
            Path(root, f"m{number}.py").write_bytes(data)
            try:
                parse_module(data.decode().replace("\r\n", "\n").replace("\r", "\n"))
            except (ParseError, UnicodeDecodeError):
                broken.add(f"m{number}.py")
        cache = Path(folder, "cache")
        report = check(root, cache=cache)
        assert {error.path for error in report.errors} == broken
        assert_accounted_for(report, len(sources) + 1)
        assert "m0.py" in {finding.location.path for finding in report.findings}
        again = check(root, cache=cache)
        assert again == report
        return [f"m{number}.py" not in broken for number in range(1, len(sources) + 1)]


COMMON = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def test_programs_in_the_shapes_that_the_flow_follows() -> None:
    parsed: list[bool] = []

    @settings(COMMON, max_examples=80)
    @given(st.lists(statements(), min_size=1, max_size=8))
    def run(sources: list[str]) -> None:
        programs = [f"import redis\nstore = redis.Redis()\n{source}\n" for source in sources]
        parsed.extend(assert_property(programs))

    run()
    assert sum(parsed) > len(parsed) / 2  # else nearly nothing was tried


@settings(COMMON, max_examples=6)
@given(st.data())
def test_programs_of_pythons_grammar(data: st.DataObject) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from hypothesmith import from_grammar

        sources = data.draw(st.lists(from_grammar(), min_size=1, max_size=2))
    assert_property(sources)


@settings(COMMON, max_examples=25)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=10))
def test_any_text(sources: list[str]) -> None:
    assert_property(sources)
