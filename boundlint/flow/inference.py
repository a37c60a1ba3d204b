"""When astroid is asked for a receiver, and what all its answers in one run may cost.

It is asked seldom: the method must be one of the catalog that no builtin type has too, nothing cheaper may
have answered, the receiver must come from an expression that the facts cannot hold (unpacking, a subscript,
a loop), and a client must be imported in the file or in one that it imports.  Without the first condition
there were 2,397 sites in three applications of 445,000 lines, most of them `append` and `get` on lists and
dicts, and none of them was a client.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from boundlint.catalog.lookup import Lookup
from boundlint.index.project import Function, Project, last_name

COMMON_METHODS = frozenset(
    name
    for kind in (dict, list, set, str, bytes, tuple, int)
    for name in dir(kind)
    if not name.startswith("_")
) | {"close", "read", "write", "flush", "open", "seek"}


@dataclass
class RunBudget:
    """What is left for one run: questions (of at most 400 inferred nodes each), lines to parse, and seconds.

    Seconds are the last resort, for they differ from run to run; the other two are reached first.
    """

    questions: int = 200
    lines: int = 12_000
    seconds: float = 2.0
    spent: float = field(default=0.0, init=False)

    def take(self, lines: int) -> bool:
        """Whether one more question about a file of this many lines is allowed; if so it is paid for."""
        if self.questions <= 0 or self.lines < lines or self.spent >= self.seconds:
            return False
        self.questions -= 1
        self.lines -= lines
        return True


@dataclass
class _Row:
    """The answers about one file ("" for none) and the modules that were read for them, with their digests."""

    answers: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)

    def dump(self) -> str:
        return json.dumps([self.answers, self.modules])


def key(path: str, digest: str) -> str:
    """The key of a file's answers: the path is in it, for the same text elsewhere imports other modules."""
    return f"infer:{digest}:{path}"


def _load(text: str | None) -> _Row:
    if text is None:
        return _Row()
    answers, modules = json.loads(text)
    return _Row(answers, modules)  # the cache has proven that we wrote it


class Inference:
    """Answers for one project; `read` gives the text of a root-relative path, None when it is gone.

    `remembered` gives the row that `memory` had under a key after an earlier run.  An answer from there costs the budget the same, so that a run says the same with and without it.
    """

    def __init__(
        self,
        project: Project,
        lookup: Lookup,
        read: Callable[[str], str | None],
        budget: RunBudget | None = None,
        remembered: Callable[[str], str | None] = lambda key: None,
    ) -> None:
        self._project = project
        self._lookup = lookup
        self._read = read
        self._budget = budget or RunBudget()
        self._parsed: set[str] = set()
        self._modules_read: dict[str, str] = {}  # dotted name -> digest, "" for a module that is not there
        self._remembered = remembered
        self._refused = False
        self._rows: dict[str, _Row] = {}
        self._makers: dict[str, bool] = {}
        self._asker: Callable[[Function, str, int], str | None] | None = None
        # The packages and modules in which the clients of the catalog are.
        self._prefixes = frozenset(
            name.rsplit(".", cut)[0] for name in lookup.clients for cut in range(1, name.count(".") + 1)
        )

    def __call__(self, function: Function, receiver: str, method: str) -> str | None:
        """The type of a receiver: a dotted client, or `path::qualname` of the project; None when unknown."""
        if not self._is_worth_it(function, receiver, method):
            return None
        path = function.path
        lines = 0 if path in self._parsed else self._project.files[path].lines
        if not self._budget.take(lines):
            return None
        self._parsed.add(path)
        calls = zip(function.facts.calls, function.facts.call_lines, strict=False)
        line = next((line for call, line in calls if call == f"{receiver}.{method}"), 0)
        row, question = self._row(path), f"{line} {receiver}"
        answer = row.answers.get(question)
        if answer is None:
            started = time.monotonic()
            self._refused = False
            answer = (self._ask(function, receiver, line) if line else None) or ""
            self._budget.spent += time.monotonic() - started
            if not self._refused:  # with more left of the budget the answer may be another
                row.answers[question] = answer
                row.modules.update(self._modules_read)
        return self._type_name(answer, path) if answer else None

    def memory(self) -> dict[str, str]:
        """The answers of this run under `key`, to be remembered for the next."""
        files = self._project.files
        return {key(path, files[path].digest): row.dump() for path, row in self._rows.items()}

    def _row(self, path: str) -> _Row:
        known = self._rows.get(path)
        if known is None:
            known = _load(self._remembered(key(path, self._project.files[path].digest)))
            if any(self._digest(name) != digest for name, digest in known.modules.items()):
                known = _Row()
            for name in known.modules:
                self._pay(self._project.modules.find(name, ""))
            self._rows[path] = known
        return known

    def _digest(self, name: str) -> str:
        path = self._project.modules.find(name, "")
        return self._project.files[path].digest if path is not None else ""

    def _pay(self, path: str | None) -> bool:
        """Pay for the parsing of a file, once; False where the budget does not allow it."""
        if path is None or path in self._parsed:
            return path is not None
        lines = self._project.files[path].lines
        if lines > self._budget.lines:
            self._refused = True
            return False
        self._budget.lines -= lines
        self._parsed.add(path)
        return True

    def _is_worth_it(self, function: Function, receiver: str, method: str) -> bool:
        if method not in self._lookup.method_names:
            return False
        if method in COMMON_METHODS and not self._lookup.guesses(last_name(receiver)):
            return False
        return self._sees_client(function.path) and self._is_opaque(function, receiver)

    def _sees_client(self, path: str) -> bool:
        """Whether a file, or one that it imports, imports a client of the catalog."""
        if self._makes_client(path):
            return True
        for target in self._project.files[path].imports.values():
            absolute = self._project.modules.absolute(path, target)
            for name in (absolute, absolute.rpartition(".")[0]):
                module = self._project.modules.find(name, path) if name else None
                if module is not None and module != path and self._makes_client(module):
                    return True
        return False

    def _makes_client(self, path: str) -> bool:
        known = self._makers.get(path)
        if known is None:
            imports = self._project.files[path].imports.values()
            known = any(target in self._prefixes or self._lookup.made_by(target) for target in imports)
            self._makers[path] = known
        return known

    def _is_opaque(self, function: Function, receiver: str) -> bool:
        """Whether the receiver was given a part of some value; what an operation or a literal gives is no client."""
        root, _, rest = receiver.partition(".")
        root = re.split(r"[(\[]", root, maxsplit=1)[0]
        values: list[str] | None
        if root in ("self", "cls"):
            owner = self._project.classes(function.path).get(function.facts.owner)
            attribute = last_name(rest.partition(".")[0]) if rest else ""
            found = self._project.attribute(owner, attribute) if owner is not None else None
            values = found[1] if found else None
        else:
            values = self._assigned(function, root)
        return any(len(value) > 1 and (value[0] == "?" or "[]" in value) for value in values or ())

    def _assigned(self, function: Function, name: str) -> list[str] | None:
        around: Function | None = function
        while around is not None and around.facts.qualname:
            if name in around.facts.assigned:
                return around.facts.assigned[name]
            if any(param.name == name for param in around.facts.params):
                return None
            parent = around.facts.parent
            around = self._project.functions(function.path).get(parent) if parent else None
        return self._project.files[function.path].assigned.get(name)

    def _ask(self, function: Function, receiver: str, line: int) -> str | None:
        if self._asker is None:
            self._asker = self._make_asker()
        return self._asker(function, receiver, line)

    def _make_asker(self) -> Callable[[Function, str, int], str | None]:
        from boundlint.flow.infer import Budget, Modules, infer_class

        def module_source(name: str) -> str | None:
            path = self._project.modules.find(name, "")
            self._modules_read[name] = self._digest(name)
            return self._read(path) if path is not None and self._pay(path) else None

        modules = Modules(module_source)

        def ask(function: Function, receiver: str, line: int) -> str | None:
            source = self._read(function.path)
            if source is None:
                return None
            name = self._project.modules.name_of(function.path)
            return infer_class(source, name, function.path, line, 0, Budget(), modules, receiver)

        return ask

    def _type_name(self, dotted: str, near: str) -> str | None:
        """A type as the ladder names it."""
        if (made := self._lookup.made_by(dotted)) is not None:
            return made
        parts = dotted.split(".")
        for cut in range(len(parts) - 1, 0, -1):
            path = self._project.modules.find(".".join(parts[:cut]), near)
            if path is not None:
                cls = self._project.classes(path).get(".".join(parts[cut:]))
                return cls.name if cls is not None else None
        return None
