"""Keys made of `name=value` pairs: without escaping, a value that holds the delimiter names another scope."""

from __future__ import annotations

import ast
import re

from boundlint.flow.values import Oddity
from boundlint.index.facts import FunctionFacts

KEYED = re.compile(r"(?:^|_)(?:scope|key|namespace|partition|cache_id|session_id|thread_id|identity)(?:_|$)")
OTHER = re.compile(
    r"url|uri|query|header|cookie|param|filter|expr|where|sql|command|arg|label|tag|log|message|prompt"
)
ESCAPES = re.compile(
    r"quote|escape|encode|replace|dumps|hash|digest|hex|b64|safe|sanitiz|normaliz|slug|uuid|int\("
)
DELIMITERS = frozenset("& ; | , : / # +".split())
PAIR = re.compile(r"^\W*(?:\w|\{\})+[=:]\{\}$")


class Joins:
    """The lists of pairs that one function collects, and where it joins them."""

    def __init__(self, facts: FunctionFacts) -> None:
        name = facts.name.lower()
        self.makes_key = (
            bool(KEYED.search(name))
            and not OTHER.search(name)
            and not any(ESCAPES.search(path.rpartition(".")[2].lower()) for path in facts.calls)
        )
        self.pairs: set[str] = set()

    def on_append(self, node: ast.Call) -> None:
        """`parts.append(f"{name}={value}")`."""
        function = node.func
        if not self.makes_key or not isinstance(function, ast.Attribute) or function.attr != "append":
            return
        if isinstance(function.value, ast.Name) and node.args and _is_raw_pair(node.args[0]):
            self.pairs.add(function.value.id)

    def on_join(self, node: ast.Call) -> Oddity | None:
        """`"&".join(parts)`, where a part is a pair with nothing escaped in it."""
        if not self.makes_key or not isinstance(node.func, ast.Attribute) or node.func.attr != "join":
            return None
        delimiter = node.func.value
        if (
            not isinstance(delimiter, ast.Constant)
            or delimiter.value not in DELIMITERS
            or len(node.args) != 1
        ):
            return None
        given = node.args[0]
        collected = isinstance(given, ast.Name) and given.id in self.pairs
        made = isinstance(given, (ast.GeneratorExp, ast.ListComp)) and _is_raw_pair(given.elt)
        if not collected and not made:
            return None
        return Oddity(
            "unescaped-pairs",
            node.lineno,
            node.col_offset,
            node.end_lineno or node.lineno,
            node.end_col_offset or node.col_offset,
            ast.unparse(node)[:80],
        )


def _is_raw_pair(node: ast.expr) -> bool:
    """An f-string of the form `name=value` whose value is inserted as it is."""
    if not isinstance(node, ast.JoinedStr):
        return False
    text = "".join(
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"
        for part in node.values
    )
    last = node.values[-1]
    if "len(" in ast.unparse(node):
        return False  # a length in front of each part leaves nothing ambiguous
    raw = isinstance(last, ast.FormattedValue) and not ESCAPES.search(ast.unparse(last.value).lower())
    return bool(PAIR.match(text)) and raw
