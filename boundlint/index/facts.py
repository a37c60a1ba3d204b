"""What the index remembers of one file: plain tuples that JSON carries, with no syntax tree behind them.

Expressions are kept as *paths*, a text that holds names, attributes, calls and subscripts and nothing else:
`self.store.set`, `get_client().get`, `pool[].query`; any other expression in a path is `?`.
"""

from __future__ import annotations

import json
from typing import NamedTuple


class Param(NamedTuple):
    """One parameter; `kind` is one of `pos`, `kw`, `var`, `varkw`; annotation and default are source text."""

    name: str
    kind: str
    annotation: str
    default: str | None


class FunctionFacts(NamedTuple):
    """One function or method; the code outside of functions is the function with the name ``.

    `qualname` is dotted without `<locals>`; `owner` is the qualname of the class it is a method of, `parent`
    that of the function around it. `start` counts the decorators in. `assigned` pairs a local name with the
    paths or `:annotation`s it was given, and with `?path` where it got a part of that by unpacking; `returned`
    holds the paths of returned and yielded values; `calls` and `call_lines` run in parallel; `names` are all
    identifiers in the body, separated by blanks; `columns` pairs a class name (`Report`, `models.Report`) with the attributes
    read from it and the keywords of calls on it, `()` where it is handed to a call that may query it. `stored` are
    the names it declares `global` and the paths of the attributes and items that it assigns, `texts` the kinds
    of the texts in it (see `boundlint.index.texts`). `keys` are the constant keys it reads (`data["key"]`,
    `data.get("key")`), separated by blanks; `given` pairs a keyword of a call that may name a boundary
    (`workspace__slug`) with the plain names given to it, where they differ; `logged` are the names that its log
    calls mention; `statements` are its SQL texts, cut down to words (see `boundlint.index.statements`).
    """

    qualname: str
    owner: str
    parent: str
    start: int
    line: int
    end: int
    is_async: bool
    params: list[Param]
    decorators: list[str]
    annotation: str
    calls: list[str]
    call_lines: list[int]
    assigned: dict[str, list[str]]
    returned: list[str]
    names: str
    columns: dict[str, str]
    stored: list[str]
    texts: list[str]
    keys: str
    given: dict[str, str]
    logged: str = ""
    statements: list[str] = []  # noqa: RUF012 -- never filled in place

    @property
    def name(self) -> str:
        """The name behind `def`."""
        return self.qualname.rpartition(".")[2]


class Field(NamedTuple):
    """One assignment in a class body; annotation and value are source text."""

    name: str
    annotation: str
    value: str


class ClassFacts(NamedTuple):
    """One class; `attributes` pairs an attribute set through `self` with paths or `:annotation`s.

    `keywords` are the arguments in its head that are no bases: `table=True`.
    """

    qualname: str
    line: int
    end: int
    bases: list[str]
    keywords: list[str]
    decorators: list[str]
    fields: list[Field]
    attributes: dict[str, list[str]]


class FileFacts(NamedTuple):
    """One file. `path` is root-relative with `/`; `assigned` are module variables as in `FunctionFacts`.

    `joins` are the comparisons of two models' columns, `Task.doc_id==Document.id`; in a class about one model
    that is `TaskService.model`.
    """

    path: str
    digest: str
    lines: int
    imports: dict[str, str]
    stars: list[str]
    functions: list[FunctionFacts]
    classes: list[ClassFacts]
    assigned: dict[str, list[str]]
    joins: list[str]


def dump(facts: FileFacts) -> str:
    """The facts as JSON text, without path and digest, which the cache's key holds."""
    return json.dumps(facts[2:], separators=(",", ":"), ensure_ascii=True)


def load(path: str, digest: str, text: str) -> FileFacts:
    """Facts back from `dump`'s text; raises ValueError or TypeError when the text is not what `dump` writes."""
    lines, imports, stars, functions, classes, assigned, joins = json.loads(text)
    return FileFacts(
        path,
        digest,
        lines,
        imports,
        stars,
        [FunctionFacts._make([*row[:7], [Param(*param) for param in row[7]], *row[8:]]) for row in functions],
        [ClassFacts._make([*row[:6], [Field(*item) for item in row[6]], row[7]]) for row in classes],
        assigned,
        joins,
    )
