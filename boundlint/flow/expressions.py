"""The values of expressions, one function for each kind of node; calls are in `calls`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from boundlint.flow import names
from boundlint.flow.claims import as_part
from boundlint.flow.oddities import short_digest
from boundlint.flow.queries import ended
from boundlint.flow.values import (
    CONSTANT,
    HOLE,
    NONE,
    NOTHING,
    UNKNOWN,
    Value,
    concatenate,
    join,
    marked,
    merge,
    models_of,
    origins,
    without_models,
)
from boundlint.index.extract import path_of

if TYPE_CHECKING:
    from boundlint.flow.interpret import Interpreter


def _constant(run: Interpreter, node: ast.Constant) -> Value:
    if node.value is None:
        return NOTHING
    return Value(text=node.value) if isinstance(node.value, str) else CONSTANT


def _name(run: Interpreter, node: ast.Name) -> Value:
    name = node.id
    run.pending.pop(name, None)
    known = run.env.get(name)
    if known is not None:
        return known
    if run.vocabulary.level(name):
        run.ambient.add(name)
        return Value(frozenset({name}))
    return run.flow.module_variable(run.function.path, name)


def _attribute(run: Interpreter, node: ast.Attribute) -> Value:
    path = path_of(node)
    known = run.env.get(path)
    if known is not None:
        return known
    if path.startswith(("self.", "cls.")) and path.count(".") == 1:
        if run.vocabulary.level(node.attr):
            run.ambient.add(path)
            return Value(frozenset({path}))
        value = run.flow.class_attribute(run.function, node.attr)
        extra = names.marks(node.attr)
        return (
            Value(value.carriers, value.maybe, value.params, value.marks | extra, value.text)
            if extra
            else value
        )
    base = run.value(node.value)
    if models_of(base):
        return Value(marks=base.marks)  # a column: it scopes where a query compares it
    if run.vocabulary.level(node.attr):
        return Value(
            base.carriers | {path if "?" not in path else node.attr},
            base.maybe,
            base.params,
            base.marks - {"none"},
        )
    if base.is_constant and "(" not in path:
        found = run.flow.dotted_variable(run.function, path)
        if found is not None:
            held = names.root_marks(path)
            return marked(found, *held) if len(held) > 1 else found
    extra = names.marks(node.attr) | names.root_marks(path)
    return Value(
        base.carriers, base.maybe, base.params, (base.marks | extra) - {"none"} or frozenset({"unknown"})
    )


def _subscript(run: Interpreter, node: ast.Subscript) -> Value:
    base = run.value(node.value)
    if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
        item = run.env.get(f"{node.value.id}[{node.slice.value!r}]")
        if item is not None:
            return item
        base = run.env.get(f"{node.value.id}[*]", base)
    index = run.value(node.slice)
    if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        label = node.slice.value
        if run.vocabulary.level(label):
            return Value(base.carriers | {f'["{label}"]'}, base.maybe, base.params, base.marks)
        held = names.root_marks(f"{path_of(node.value)}.{label}")
        extra = names.marks(label) | (held if len(held) > 1 else NONE)
        return Value(base.carriers, base.maybe, base.params, base.marks | extra or frozenset({"unknown"}))
    joined = join([base, index])
    if "digest" in base.marks and base.carriers:
        run.note(short_digest(run.vocabulary, node))
    return joined if joined.text is None else marked(joined)


def _joined(run: Interpreter, node: ast.JoinedStr) -> Value:
    return concatenate([run.value(part) for part in node.values])


def _formatted(run: Interpreter, node: ast.FormattedValue) -> Value:
    value = run.value(node.value)
    return (
        value
        if value.text is not None
        else Value(value.carriers, value.maybe, value.params, value.marks, HOLE)
    )


def _binary(run: Interpreter, node: ast.BinOp) -> Value:
    left, right = run.value(node.left), run.value(node.right)
    if run.claims.active and isinstance(node.op, (ast.Sub, ast.BitAnd)):
        run.claims.on_difference([left, right])
    if isinstance(node.op, ast.Add):
        return concatenate([left, right])
    if isinstance(node.op, ast.Mod) and left.text is not None:
        text = re.sub(r"%(\(\w+\))?[-\d.]*[a-zA-Z]", HOLE, left.text)
        return Value(right.carriers, right.maybe, right.params, right.marks, text)
    return join([left, right])


def _boolean(run: Interpreter, node: ast.BoolOp) -> Value:
    values = [run.value(part) for part in node.values]
    if isinstance(node.op, ast.And):
        return join(values)
    if run.claims.active:
        run.claims.on_either(values, [ast.unparse(part) for part in node.values])
    return merge(values)


def _conditional(run: Interpreter, node: ast.IfExp) -> Value:
    test = run.tested(node.test)
    values = [run.value(node.body), run.value(node.orelse)]
    if run.claims.active and run.claims.on_test(node.test, test) == "":
        sources = [ast.unparse(node.body), ast.unparse(node.orelse)]
        run.claims.on_either(values, sources)
        run.claims.on_either(values[::-1], sources[::-1])
    return merge(values)


def _dict(run: Interpreter, node: ast.Dict) -> Value:
    rows = []
    for key, item in zip(node.keys, node.values, strict=False):
        value = run.value(item)
        if key is None:
            rows.append(value)
            continue
        if isinstance(item, ast.Attribute):
            value = without_models(value)  # `{"name": File.name}` is nothing that can be queried
        label = key.value if isinstance(key, ast.Constant) else None
        rows.append(
            as_part(run.labelled(label, value)) if isinstance(label, str) else join([run.value(key), value])
        )
    return join(rows)


def _compare(run: Interpreter, node: ast.Compare) -> Value:
    values = [run.value(node.left), *(run.value(part) for part in node.comparators)]
    run.lookups.on_compare(node, values)
    for value in values:
        if any(row.carriers and row is not value for row in values):
            run.compared |= origins(value)
    if run.claims.active:
        run.claims.on_compare(node, values)
    return join(values)


def _lambda(run: Interpreter, node: ast.Lambda) -> Value:
    before = run.env
    run.env = dict(before)
    for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        run.env[arg.arg] = run.named(arg.arg, UNKNOWN)
    value = run.value(node.body)
    run.env = before
    return value


def _comprehension(
    run: Interpreter, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
) -> Value:
    before = run.env
    run.env = dict(before)
    for generator in node.generators:
        run.bind(generator.target, ended(run.value(generator.iter)))
        run.lookups.on_loop(generator)
        for condition in generator.ifs:
            run.value(condition)
            run.filtering(condition)
    if isinstance(node, ast.DictComp):
        value = join([run.value(node.key), run.value(node.value)])
    else:
        value = marked(run.value(node.elt))
    run.env = before
    return value


def _named_expression(run: Interpreter, node: ast.NamedExpr) -> Value:
    value = run.value(node.value)
    run.bind(node.target, value)
    return value


def _yield(run: Interpreter, node: ast.Yield | ast.YieldFrom) -> Value:
    if node.value is not None:
        run.returns.append(run.value(node.value))
    return UNKNOWN


def _call(run: Interpreter, node: ast.Call) -> Value:
    return run.flow.calls.evaluate(run, node)


EXPRESSIONS: dict[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.JoinedStr: _joined,
    ast.FormattedValue: _formatted,
    ast.BinOp: _binary,
    ast.BoolOp: _boolean,
    ast.IfExp: _conditional,
    ast.Dict: _dict,
    ast.Compare: _compare,
    ast.Lambda: _lambda,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.DictComp: _comprehension,
    ast.NamedExpr: _named_expression,
    ast.Yield: _yield,
    ast.YieldFrom: _yield,
    ast.Call: _call,
}
