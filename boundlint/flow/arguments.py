"""What a call hands over: its arguments, the parameters they are bound to, and results with them put in."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from boundlint.catalog.model import Argument
from boundlint.flow.values import CONSTANT, HOLE, NONE, NOTHING, UNKNOWN, Passed, Value, join
from boundlint.index.facts import FunctionFacts
from boundlint.index.nodes import source_of

if TYPE_CHECKING:
    from boundlint.flow.interpret import Interpreter


class Arguments(NamedTuple):
    """The evaluated arguments of one call; `open_ended` when a `*` or `**` may hold more."""

    positional: tuple[tuple[Value, ast.expr], ...]
    keywords: Mapping[str, tuple[Value, ast.expr]]
    spread: Value
    open_ended: bool
    starred: bool

    @property
    def first(self) -> Value:
        """The value of the first argument without a name."""
        return self.positional[0][0] if self.positional else CONSTANT

    def joined(self) -> Value:
        """All argument values in one."""
        return join([*(v for v, _ in self.positional), *(v for v, _ in self.keywords.values()), self.spread])


def arguments_of(run: Interpreter, node: ast.Call) -> Arguments:
    """The arguments of a call, each evaluated."""
    positional: list[tuple[Value, ast.expr]] = []
    spread: list[Value] = []
    starred = open_ended = False
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            spread.append(run.value(argument.value))
            starred = True
        elif starred:
            spread.append(run.value(argument))
        else:
            positional.append((run.value(argument), argument))
    keywords: dict[str, tuple[Value, ast.expr]] = {}
    for keyword in node.keywords:
        value = run.value(keyword.value)
        if keyword.arg is None:
            spread.append(value)
            open_ended = True
        else:
            keywords[keyword.arg] = (value, keyword.value)
    return Arguments(tuple(positional), keywords, join(spread), open_ended, starred)


def passed_to(argument: Argument, given: Arguments) -> Passed | None:
    """The value that a call gives to one catalog argument; None when it gives none."""
    if argument.keyword is not None and argument.keyword in given.keywords:
        value, node = given.keywords[argument.keyword]
    elif argument.position is not None and argument.position < len(given.positional):
        rest = given.positional[argument.position :]
        value, node = (join([v for v, _ in rest]), rest[0][1]) if argument.variadic else rest[0]
    elif given.open_ended or (given.starred and argument.position is not None):
        return Passed(argument, join([given.spread, UNKNOWN]), "")
    else:
        return None
    if argument.role in ("thread", "session", "user") and not _holds(node, argument):
        return None
    source = source_of(node)
    if source in argument.unscoped:
        return Passed(argument, NOTHING, source)
    return Passed(argument, value, source)


def _holds(node: ast.expr, argument: Argument) -> bool:
    """Whether a value may have something at the argument's path; a dictionary written out shows that it has not."""
    keys = argument.path.split(".")
    for key in keys[1:] if keys[0] == argument.keyword else keys:
        if not isinstance(node, ast.Dict) or not key.isidentifier():
            return True
        inside = None
        for name, value in zip(node.keys, node.values, strict=True):
            if not isinstance(name, ast.Constant):
                return True  # `**rest`, or a computed key
            if name.value == key:
                inside = value
        if inside is None:
            return False
        node = inside
    return True


def bind(facts: FunctionFacts, given: Arguments) -> dict[str, Value]:
    """The values that a call gives to the parameters of a function."""
    params = list(facts.params)
    if facts.owner and params and not any("staticmethod" in decorator for decorator in facts.decorators):
        params = params[1:]
    found: dict[str, Value] = {}
    positional = [value for value, _ in given.positional]
    for param in params:
        if param.kind == "pos" and positional and param.name not in given.keywords:
            found[param.name] = positional.pop(0)
        elif param.kind == "var":
            found[param.name] = join(positional)
            positional = []
        elif param.kind == "varkw":
            named = {row.name for row in params}
            rest = [value for name, (value, _) in given.keywords.items() if name not in named]
            found[param.name] = join([*rest, given.spread])
        elif param.name in given.keywords:
            found[param.name] = given.keywords[param.name][0]
        elif given.open_ended or given.starred:
            found[param.name] = join([given.spread, UNKNOWN])
        elif param.default is not None:
            found[param.name] = _default(param.default)
        else:
            found[param.name] = UNKNOWN
    return found


def handed_in(facts: FunctionFacts, given: Arguments) -> dict[str, ast.expr]:
    """What a call gives to each parameter."""
    params = [row.name for row in facts.params if row.kind in ("pos", "kw")]
    if facts.owner and params and not any("staticmethod" in decorator for decorator in facts.decorators):
        params = params[1:]
    found = {name: node for name, (_, node) in zip(params, given.positional, strict=False)}
    found.update((name, node) for name, (_, node) in given.keywords.items())
    return found


def _default(source: str) -> Value:
    if source == "None":
        return NOTHING
    try:
        constant = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return UNKNOWN
    return Value(text=constant) if isinstance(constant, str) else CONSTANT


def substitute(value: Value, bound: Mapping[str, Value]) -> Value:
    """A callee's value with the caller's arguments in the place of its parameters."""
    if not value.params and not value.carriers and not value.maybe:
        return value
    if (
        len(value.params) == 1
        and value.text in (None, HOLE)
        and not value.marks - {"id", "secret", "digest", "time", "lock"}
    ):
        (only,) = value.params
        if only in bound and not value.carriers - {only}:
            return bound[only]
    parts = [Value(_rebound(value.carriers, bound), _rebound(value.maybe, bound), NONE, value.marks)]
    parts += [bound.get(param, UNKNOWN) for param in sorted(value.params)]
    joined = join(parts)
    return joined._replace(text=_filled(value.text, [bound.get(p, UNKNOWN) for p in value.params]))


def _rebound(carriers: frozenset[str], bound: Mapping[str, Value]) -> frozenset[str]:
    """Carriers that are parameters of the callee, named after what the caller passes; None passes nothing."""
    kept: set[str] = set()
    for carrier in carriers:
        root = carrier.partition(".")[0]
        if root not in bound:
            kept.add(carrier)
        elif bound[root].carriers:
            kept |= bound[root].carriers
        elif not bound[root].is_constant:
            kept.add(carrier)
    return frozenset(kept)


def _filled(text: str | None, values: list[Value]) -> str | None:
    if text is None or text.count(HOLE) != 1 or len(values) != 1 or values[0].text is None:
        return text
    return text.replace(HOLE, values[0].text)
