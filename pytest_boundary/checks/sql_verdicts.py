"""What statements were judged before, so that the same question is not asked twice."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.operations import Judgement

MAX_KNOWN = 2000  # statements of one schema, and values of one statement


class Verdicts:
    """What statements were judged before: by text, boundary, and the values of the parameters that decided.

    A judgement asks for few parameters, those that stand at an owner's column. Whichever others an execution has,
    the same values of these lead to the same questions and to the same answer. It holds while the schema does.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Statements] = {}  # by the ids of the boundary
        self._number = 0
        # The boundary of the latest question and its statements: together, since threads ask in turn.
        self.latest: tuple[Active | None, Statements] = (None, ({}, {}))

    def recall(self, text: str, parameters: Any, active: Active, by_key: bool) -> Judgement | None:
        """The judgement of an execution like this one, None where there was none yet."""
        latest, statements = self.latest
        decided = (statements if latest is active else self.of(active))[by_key].get(text)
        return None if decided is None else decided.recall(parameters)

    def keep(
        self, text: str, parameters: Any, active: Active, by_key: bool, asked: Iterable[str], found: Judgement
    ) -> None:
        """Remember a judgement, which asked for the values of these parameters."""
        if self._number > MAX_KNOWN:
            self.clear()
        statements = self.of(active)[by_key]
        decided = statements.get(text)
        if decided is None:
            decided = statements[text] = Decided()
            self._number += 1
        places = [_place(key, parameters) for key in asked]
        if new := [place for place in places if place not in decided.asked]:
            decided.asked = (*decided.asked, *new)
            decided.place = decided.asked[0] if len(decided.asked) == 1 else None
            decided.forget()
        if len(decided.by_values) > MAX_KNOWN:
            decided.forget()
        values = decided.values(parameters)
        if values is not None:
            decided.by_values[values] = found
            if not decided.asked:
                decided.always = found
            if decided.place is not None and isinstance(text := parameters[decided.place], str):
                decided.by_text[text] = found

    def clear(self) -> None:
        """The schema has changed."""
        for statements in self._known.values():
            for decided in (*statements[0].values(), *statements[1].values()):
                decided.forget()  # a seam may have kept it
        self._known.clear()
        self._number = 0
        self.latest = (None, ({}, {}))

    def of(self, active: Active) -> Statements:
        """The statements that were judged in a boundary."""
        if len(self._known) > MAX_KNOWN:
            self.clear()
        statements = self._known.setdefault(active.key, ({}, {}))
        self.latest = (active, statements)
        return statements


class Decided:
    """One statement in one boundary."""

    __slots__ = ("always", "asked", "by_text", "by_values", "place")

    def __init__(self) -> None:
        self.asked: tuple[str | int, ...] = ()
        self.always: Judgement | None = None  # where no value was asked for
        self.by_values: dict[Hashable, Judgement] = {}
        self.place: str | int | None = None  # the only parameter that decides
        self.by_text: dict[object, Judgement] = {}  # the same by its value, where that is text

    def at_hand(self, parameters: Any) -> Judgement | None:
        """The same as `recall`, where it asks for one value at most: what nearly all statements do."""
        if self.place is None:
            return self.always
        try:
            return self.by_text.get(parameters[self.place])
        except (LookupError, TypeError):
            return None

    def recall(self, parameters: Any) -> Judgement | None:
        """The judgement of an execution with these parameters, None where there was none yet."""
        if self.always is not None:
            return self.always
        place = self.place
        if place is not None:  # nearly always one value decides: the tenant's id
            try:
                found = self.by_text.get(parameters[place])
                if found is not None:
                    return found
            except (LookupError, TypeError):
                return None
        return self.by_values.get(self.values(parameters))

    def forget(self) -> None:
        """Other parameters decide as well, or there are too many values."""
        self.always = None
        self.by_values.clear()
        self.by_text.clear()

    def values(self, parameters: Any) -> Hashable:
        """The values that decide, None where they cannot be looked up: one is missing, or is a list."""
        try:
            # 1, 1.0 and True are equal and not written alike
            found = tuple([(value := parameters[place], value.__class__) for place in self.asked])
            hash(found)
            return found
        except (LookupError, TypeError):
            return None


# By text: of those that are judged by what they say, and of those that go by the key of an object.
Statements = tuple[dict[str, Decided], dict[str, Decided]]


def _place(key: str, parameters: Any) -> str | int:
    return key if isinstance(parameters, Mapping) or not key.isdigit() else int(key)
