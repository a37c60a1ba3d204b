"""Positions taken from CPython's tree are those that LibCST computes by itself."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import libcst as cst
import pytest
from libcst.metadata import MetadataWrapper, PositionProvider

from boundlint.findings import Location
from boundlint.flow import places
from boundlint.flow.places import PAIRED, Positions

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
MODULES = "argparse ast asyncio/base_events dataclasses difflib enum functools inspect logging/__init__ typing".split()
ODD = '''
@decorate(a.b, c[0])(d)
@other
async def f(p: A.b = x.y, /, q=g(1), *args: T[0], k: int = h(), m=-1, **kwargs) -> R[int]:
    """Text."""
    first: A[b] = c if d(e) else f(g) if h(i) else j(k)
    x = y = {a(1): b(2), **c(3), d.e: -f[0]}
    call(a, *b(c), key=d(e), **h(i))
    return (a) and (b or c.d) and not e and f(g)(h)[i].j(k)


class C(Base[T], *more(), metaclass=Meta.of(x)):
    def method(self, *, only: bool = True): return lambda a=b(1), *c: a(c) < b <= d.e
    名前 = "日本" + f(名前, "é").g; other = [x.y(z) for x in f(y) if x.z if not w(x)]


def g():
    import os.path as name
    from a.b import c
    try:
        with open(a.b) as f, (lock(c)) as d[0]: pass
    except (A.b, c(D)) as error:
        raise E(error) from f(error)
    else:
        a[1:b(2):c.d], *rest = yield from d(e)
    finally:
        del a.b, c[d]
    match h(i):
        case K(x=1, y=[A.b, *_]) if j(k): pass
        case {"a": A.b, **rest}: await l(m)
    while (n := o(p)) is not None and q not in r: assert s(t), u(v)
    print(f"{w(x)!r:>{y.z}} {a[b]} {'c' if d(e) else f.g}", "s" "t")
'''


def assert_same(source: str) -> int:
    """Compare all paired nodes of a source; answers with how many there were."""
    tree = cst.parse_module(source)
    expected = MetadataWrapper(tree, unsafe_skip_copy=True).resolve(PositionProvider)
    found = Positions(tree, source, "m.py", 10)
    rows = [node for node in found.nodes if type(node).__name__ in PAIRED]
    for node in rows:
        place = expected[node]
        known = found[node]
        starts = (place.start.line + 10, place.start.column + 1)
        assert (known.line, known.column) == starts, tree.code_for_node(node)
        if not isinstance(node, cst.BooleanOperation):  # where parentheses end an inner one, the trees differ
            ends = (place.end.line + 10, place.end.column + 1)
            assert (known.end_line, known.end_column) == ends, tree.code_for_node(node)
    assert found._asked is None, "LibCST was asked: this proves nothing"
    inside_imports = {"Attribute"}
    for kind in PAIRED - inside_imports:
        wanted = sum(type(node).__name__ == kind for node in expected)
        assert sum(type(node).__name__ == kind for node in rows) == wanted, kind
    return len(rows)


def test_odd_code() -> None:
    assert assert_same(ODD) > 100


@pytest.mark.parametrize("name", MODULES)
def test_the_standard_library(name: str) -> None:
    assert assert_same((LIBRARY / f"{name}.py").read_text(encoding="utf-8")) > 300


def test_other_nodes_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "value = 'text' + other\n"
    tree = cst.parse_module(source)
    found = Positions(tree, source, "m.py", 0)
    (text,) = (node for node in found.nodes if isinstance(node, cst.SimpleString))
    assert found[text] == Location("m.py", 1, 9, 1, 15)
    with pytest.raises(KeyError):
        found[cst.Name("elsewhere")]


def test_where_the_trees_disagree_libcst_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f(a):\n    return a(b(1))\n"
    tree = cst.parse_module(source)
    expected = dict(Positions(tree, source, "m.py", 0))
    monkeypatch.setitem(places.CHILDREN, __import__("ast").Call, lambda node: [])  # it loses the inner call
    again = Positions(tree, source, "m.py", 0)
    assert dict(again) == expected
    assert again._asked is not None


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="there the syntax is known")
def test_syntax_that_is_newer_than_the_interpreter() -> None:
    source = "type A = B\nx = c(d)\n" if sys.version_info < (3, 12) else "x = c(d)\n"
    tree = cst.parse_module(source)
    found = Positions(tree, source, "m.py", 0)
    (call,) = (node for node in found.nodes if isinstance(node, cst.Call))
    assert found[call].column == 5
