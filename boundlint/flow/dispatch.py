"""Which methods answer a call on an abstract one: those of the subclasses that implement it."""

from __future__ import annotations

from boundlint.index.facts import FunctionFacts
from boundlint.index.project import Function, Project

MOST = 12  # implementations that are looked at; backends of one interface take the same arguments


class Dispatch:
    """Answers by abstract method; each is found once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._known: dict[Function, tuple[Function, ...]] = {}

    def implementations(self, function: Function) -> tuple[Function, ...]:
        """The methods that implement an abstract one; none for a method that has a body of its own."""
        if not is_abstract(function.facts):
            return ()
        known = self._known.get(function)
        if known is None:
            owner = self._project.classes(function.path).get(function.facts.owner)
            name = function.facts.name
            rows = (
                self._project.functions(cls.path).get(f"{cls.facts.qualname}.{name}")
                for cls in (self._project.subclasses.get(owner, ()) if owner is not None else ())
            )
            found = [row for row in rows if row is not None and not is_abstract(row.facts)]
            known = self._known[function] = tuple(found[:MOST])
        return known


def is_abstract(facts: FunctionFacts) -> bool:
    """Whether a method only says what its subclasses do: it calls and returns nothing."""
    if not facts.owner or facts.returned or facts.assigned:
        return False
    return not [name for name in facts.calls if name != "NotImplementedError"]
