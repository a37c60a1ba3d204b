"""Source text to tree: newer grammars keep names and lines, errors say where, hostile depth never kills."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
import warnings

import pytest

from boundlint.index.parse import MOST_LEVELS, ParseError, parse_module


def names(tree: ast.AST) -> dict[str, int]:
    """Every name that is read or bound, with its first line."""
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.setdefault(node.id, node.lineno)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.setdefault(node.name, node.lineno)
    return found


def test_plain_source_is_what_cpython_says() -> None:
    source = "import os\n\ndef f(a, *, b=1):\n    return os.path.join(a, f'{b!r:>4}')\n"
    assert ast.dump(parse_module(source), include_attributes=True) == ast.dump(
        ast.parse(source), include_attributes=True
    )


def test_type_parameters_and_type_statements() -> None:
    source = (
        "class Box[T: int, *Ts, **P](Base):\n"
        "    def get[U](self, key: U) -> U:\n"
        "        return self.store.get(key)\n"
        "type Alias[T = int] = list[T]\n"
        "type Plain = int\n"
        "after = Alias\n"
    )
    tree = parse_module(source)
    box, alias, plain, after = tree.body
    assert isinstance(box, ast.ClassDef)
    assert ast.unparse(box.bases[0]) == "Base"
    (get,) = box.body
    assert isinstance(get, ast.FunctionDef)
    assert [argument.arg for argument in get.args.args] == ["self", "key"]
    assert [statement.lineno for statement in (box, get, alias, plain, after)] == [1, 2, 4, 5, 6]
    if sys.version_info < (3, 12):
        assert ast.unparse(alias) == "Alias = list[T]"
        assert ast.unparse(plain) == "Plain = int"


def test_type_parameters_over_several_lines_keep_the_lines_below() -> None:
    source = (
        "class Box[\n    T,  # first\n\n    U: (int, str),\n](Base):\n  def get(self):\n    return here\n"
    )
    tree = parse_module(source)
    found = names(tree)
    assert (found["Box"], found["Base"], found["get"], found["here"]) == (1, 5, 6, 7)


def test_exception_groups() -> None:
    source = "try:\n    work()\nexcept* (OSError, ValueError) as error:\n    repair(error)\n"
    assert names(parse_module(source))["repair"] == 4


def test_except_without_parentheses() -> None:
    for star in ("", "*"):
        source = (
            f"try:\n    work()\nexcept{star} OSError, ValueError: repair(f'{{a['b']}}')\nelse:\n    fine()\n"
        )
        tree = parse_module(source)
        handler = tree.body[0].handlers[0]  # type: ignore[attr-defined]
        assert [ast.unparse(item) for item in handler.type.elts] == ["OSError", "ValueError"]
        assert isinstance(handler.body[0].value.args[0], ast.JoinedStr)
        assert (names(tree)["repair"], names(tree)["fine"], names(tree)["a"]) == (3, 5, 3)


@pytest.mark.parametrize(
    ("source", "older"),
    [
        ('f"{d["a"]}"', "f\"{d['a']}\""),
        ('f"{d["a"]!r:>{w["b"]}} end"', "f\"{d['a']!r:>{w['b']}} end\""),
        ('rf"{d["a"]}\\d{{2}}"', "rf\"{d['a']}\\d{{2}}\""),
        ('f"{d["a"]}\\t\\"\\N{BULLET}"', 'f"{d[\'a\']}\\t\\"\\N{BULLET}"'),
        ('"pre" f"{d["a"]}" \'post\'', "f\"pre{d['a']}post\""),
        ('f"{d["a"]} {b=} {c = !s}"', "f\"{d['a']} {b=} {c = !s}\""),
        ('t"{d["a"]} {b!r}"', "f\"{d['a']} {b!r}\""),
        ('f"{x:{"a" if b else "c"}}"', "f\"{x:{'a' if b else 'c'}}\""),
        ('f"{*a, *d["b"]}"', "f\"{(*a, *d['b'])}\""),
        ('f"{( (d["a"]) )!r}"', "f\"{d['a']!r}\""),
        ('f"{(lambda: d["a"])()}"', "f\"{(lambda: d['a'])()}\""),
    ],
)
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this interpreter knows the syntax itself")
def test_templates_equal_their_older_spelling(source: str, older: str) -> None:
    assert ast.dump(parse_module(f"x = {source}")) == ast.dump(ast.parse(f"x = {older}"))


def test_a_template_may_hold_a_call_over_many_lines_in_an_indented_block() -> None:
    source = """\
def show(order):
    if order.total:
        with cell():
            text(
                f"-{
                    money(  # the whole
                        order["total"],
                        order.currency,
                    )
                }: {
                    (order.name)
                }"
            )
    return after
"""
    tree = parse_module(source)
    found = {node.id: node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert (found["money"], found["after"]) == (6, 14)
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Subscript)] == [7]


def test_templates_nest() -> None:
    assert names(parse_module('x = f"{f"{f"{deep["x"]}"}"}"\n'))["deep"] == 1


def test_a_backslash_inside_a_template() -> None:
    tree = parse_module('x = f"{"\\n".join(rows)}"\n')
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert isinstance(call.func, ast.Attribute)
    assert isinstance(call.func.value, ast.Constant)
    assert call.func.value.value == "\n"


def test_a_template_over_lines_keeps_lines_and_columns() -> None:
    source = 'key = f"é{\n    tenant["id"]  # whose\n}:{\n    name}" + suffix(f"{d["a"]}", last)\nafter = 1\n'
    tree = parse_module(source)
    found = names(tree)
    assert (found["key"], found["tenant"], found["name"], found["suffix"], found["after"]) == (1, 2, 4, 4, 5)
    lines = source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            text = lines[node.lineno - 1].encode()
            assert text[node.col_offset : node.end_col_offset].decode() == node.id


def test_lazy_imports_and_unpacking_in_comprehensions() -> None:
    source = (
        "lazy import json.tool as j\nlazy from a.b import c\nx = [*r for r in rows]\ny = g(*p for p in q)\n"
    )
    try:
        tree = parse_module(source)
    except ParseError:
        pytest.skip("the installed LibCST does not know this syntax")
    lazy, source_import, *_ = tree.body
    assert isinstance(lazy, ast.Import)
    assert (lazy.names[0].name, lazy.names[0].asname, lazy.lineno) == ("json.tool", "j", 1)
    assert isinstance(source_import, ast.ImportFrom)
    assert (source_import.module, source_import.lineno) == ("a.b", 2)
    assert names(tree)["q"] == 4


def test_everything_at_once_with_windows_line_ends() -> None:
    source = "\ufeff# one\r\ntype A = int\r\nx = f'{d['a']}'\r\ndef f[T]():\r\n    return here\r\n"
    found = names(parse_module(source))
    assert (found["x"], found["d"], found["f"], found["here"]) == (3, 3, 4, 5)


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = 1\ny = = 2\n", 2, "invalid syntax"),
        ("def f(:\n    pass\n", 1, "invalid syntax"),
        ("if x:\npass\n", 2, "expected an indented block"),
        ("ok = 1\nbad = 'a\0b'\n", 2, "null"),
        ("ok = 1\nbad = '\udcff'\n", 2, "surrogate"),
        ("print 'hello'\n", 1, "Missing parentheses"),
    ],
)
def test_errors_name_line_and_reason(source: str, line: int, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_module(source)
    assert caught.value.line == line or "\0" in source  # Python 3.12 counts zero bytes as a syntax error
    assert message.lower() in caught.value.message.lower()
    assert "\n" not in caught.value.message


def test_an_error_crosses_a_process_pool() -> None:
    error = pickle.loads(pickle.dumps(ParseError(3, "no")))
    assert (error.line, error.message) == (3, "no")


def test_no_warning_reaches_the_user() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parse_module("x = '\\d'\ny = 1 is 1\nz = f'{d['\\d']}'\nassert (x, 'a')\n")
    assert [str(row.message) for row in caught] == []


def test_libcst_is_not_imported_for_plain_source() -> None:
    code = (
        "import sys\nfrom boundlint.index.parse import parse_module\nparse_module('x = 1')\n"
        "assert 'libcst' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


DEEP = {
    "parentheses": "'x = ' + '(' * n + '1' + ')' * n",
    "minus": "'x = ' + '-' * n + '1'",
    "not": "'x = ' + 'not ' * n + '1'",
    "sum": "'x = 1' + '+1' * n",
    "sum over lines": "'x = (1' + '\\n+ 1' * n + ')'",
    "attributes": "'x = a' + '.b' * n",
    "calls": "'x = a' + '()' * n",
    "power": "'x = 1' + '**1' * n",
    "conditions": "'x = ' + '1 if a else ' * n + '1'",
    "lambdas": "'x = ' + 'lambda: ' * n + '1'",
    "elif": "'if a: pass\\n' + 'elif a: pass\\n' * n",
    "decorator": "'@a' + '.b' * n + '\\ndef f(): pass'",
    "header": "'if a' + '.b' * n + ':\\n    pass'",
    "default": "'def f(a=b' + '.b' * n + '):\\n    pass'",
    "match": "'match a:\\n  case ' + '[' * n + ']' * n + ': pass'",
    "templates": "'x = ' + 'f\\\"{' * n + '1' + '}\\\"' * n",
}


@pytest.mark.parametrize("newer", ["", "type T = int\n"], ids=["plain", "with newer syntax"])
@pytest.mark.parametrize("shape", DEEP)
def test_deep_nesting_is_an_error_and_no_crash(shape: str, newer: str) -> None:
    """In a process of its own, under the recursion limit of the engine: a crash there is a failure here."""
    code = f"""
import sys
sys.setrecursionlimit(12_000)
from boundlint.index.parse import ParseError, parse_module
for n in (800, 3_000, 20_000, 100_000):
    try:
        parse_module({newer!r} + {DEEP[shape]} + "\\n")
    except ParseError as error:
        assert error.line >= 1 and error.message
    else:
        raise SystemExit(f"{{n}} levels were accepted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_people_write_is_not_too_deep() -> None:
    levels = MOST_LEVELS // 3
    parse_module("x = 'a'" + " + 'b'" * levels + "\n")
    parse_module("if a:\n    pass\n" + "elif a:\n    pass\n" * levels)
    parse_module("x = " + "[" * 50 + "]" * 50 + "\n")


@pytest.mark.parametrize("newer", ["", "type T = int\n"], ids=["plain", "with newer syntax"])
def test_long_flat_literals_are_accepted(newer: str) -> None:
    size = 100_000 if not newer else 2_000
    tree = parse_module(newer + "x = [\n" + "    (-1),\n" * size + "]\nafter = 1\n")
    assert names(tree)["after"] == size + 3 + bool(newer)
