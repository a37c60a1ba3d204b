"""What the project's configuration says of its own functions: guards, key builders, bound factories.

A declaration is a dotted pattern.  It fits a call when the called name, as defined or as imported, ends with
it; a method on an unknown receiver fits by a telling last name, for the receiver cannot be looked up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from boundlint.dotted import DottedPatterns
from boundlint.index.dependencies import injected
from boundlint.index.project import Function, Project
from boundlint.index.receivers import Callee, Receivers

Role = Literal["guard", "key-builder", "factory", ""]
# What a guard is handed besides the id or record that it checks: it says nothing about these.
NOT_CHECKED = re.compile(
    r"^_?(?:db|database|session|db_session|conn|connection|client|engine|tx|transaction|cursor|request|req|"
    r"response|self|cls|settings|config|logger|log)$"
)


@dataclass(frozen=True)
class Declared:
    """The declarations of one project."""

    guards: DottedPatterns
    key_builders: DottedPatterns
    factories: DottedPatterns

    def __bool__(self) -> bool:
        return bool(self.guards or self.key_builders or self.factories)


def declared(
    guards: Sequence[str] = (), key_builders: Sequence[str] = (), factories: Sequence[str] = ()
) -> Declared:
    """The declarations that a configuration makes."""
    return Declared(DottedPatterns(guards), DottedPatterns(key_builders), DottedPatterns(factories))


class Declarations:
    """The declarations applied to the calls of one project.  Answers are remembered."""

    def __init__(self, rows: Declared, project: Project, receivers: Receivers) -> None:
        self._rows = rows
        self._project = project
        self._receivers = receivers
        self._known: dict[tuple[Function, str], Role] = {}

    def role(self, function: Function, path: str) -> Role:
        """What the configuration says of the function that a call path names inside a function."""
        if not self._rows:
            return ""
        key = (function, path)
        if key not in self._known:
            self._known[key] = self._role(function, path)
        return self._known[key]

    def _role(self, function: Function, path: str) -> Role:
        callee = self._receivers.callee(function, path)
        names = self._names(function, path, callee)
        last = path.rpartition(".")[2] if callee.kind == "unknown" else ""
        rows: tuple[tuple[Role, DottedPatterns], ...] = (
            ("guard", self._rows.guards),
            ("key-builder", self._rows.key_builders),
            ("factory", self._rows.factories),
        )
        for role, patterns in rows:
            if any(patterns.match(name) for name in names) or (last and patterns.fits_last(last)):
                return role
        return ""

    def _names(self, function: Function, path: str, callee: Callee) -> list[str]:
        """The dotted names of what is called: as it is defined, and as this file imports it."""
        names = [callee.external] if callee.external else []
        if callee.function is not None:
            found = callee.function
            names.append(f"{self._project.modules.name_of(found.path)}.{found.facts.qualname}")
        if callee.cls is not None:
            names.append(f"{self._project.modules.name_of(callee.cls.path)}.{callee.cls.facts.qualname}")
        if callee.operation is not None:
            names.append(callee.operation.target)
        head, _, rest = path.partition(".")
        target = self._project.files[function.path].imports.get(head)
        if target is not None:
            absolute = self._project.modules.absolute(function.path, target)
            names.append(f"{absolute}.{rest}" if rest else absolute)
        return names

    def guarded_params(self, function: Function) -> frozenset[str]:
        """Parameters that a declared guard checks before the body runs: a decorator, or a dependency.

        A decorator is taken to check all ids that the function is given, a dependency those of its own
        parameters that have the same names.
        """
        if not self._rows.guards:
            return frozenset()
        facts = function.facts
        own = {param.name for param in facts.params if not NOT_CHECKED.match(param.name)}
        found: set[str] = set()
        texts = [*facts.decorators]
        for param in facts.params:
            texts += [param.annotation, param.default or ""]
        for text in texts:
            for module, name in injected(self._project, function, text):
                if self.role(module, name) == "guard":
                    guard = self._receivers.callee(module, name).function
                    found |= own if guard is None else own & {param.name for param in guard.facts.params}
        module = self._project.functions(function.path)[""]
        for decorator in facts.decorators:
            name = decorator.partition("(")[0].strip()
            if name.replace(".", "").isidentifier() and self.role(module, name) == "guard":
                found |= own
        return frozenset(found)
