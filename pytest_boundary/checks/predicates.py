"""Filters that are functions of the application: tried on made-up records that differ in their owner alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pytest_boundary.active import Active
from pytest_boundary.levels import Levels
from pytest_boundary.operations import Judgement, Missing

ANOTHER = "boundlint: another owner"


def judge_function(
    function: Callable[[Any], Any],
    active: Active,
    levels: Levels,
    *,
    names: tuple[str, ...] = (),
    fix: str = "",
) -> Judgement:
    """Whether a function lets the boundary's records through and no others.

    It gets a record whose owner is the boundary's, then one that is somebody else's; every other field is equal to
    anything, once as a true value and once as a false one. A function that fails on such a record is not scoped.
    """
    if not active.ids:
        return Missing("no boundary is active", names, fix)
    for level in levels.required_for(active.ids):
        own = [Record(active.ids[level], level, levels, truth) for truth in (True, False)]
        others = [Record(ANOTHER, level, levels, truth) for truth in (True, False)]
        try:
            kept = [bool(function(record)) for record in own]
            leaked = [bool(function(record)) for record in others]
        except Exception as error:
            text = f"the filter is a function that cannot be tried ({type(error).__name__}: {error})"
            return Missing(text, names, fix)
        described = f"{level} {active.ids[level]!r}"
        if not any(record.asked for record in (*own, *others)):
            return Missing(f"the filter's function looks at no field that names a {level}", names, fix)
        if any(leaked):
            return Missing(
                f"the filter's function lets records of others than {described} through", names, fix
            )
        if not any(kept):
            return Missing(f"the filter's function is not about {described}", names, fix)
    return "scoped"


class Record(dict[str, Any]):
    """A document and its own metadata: the fields of one level hold `owner`, each other one equals anything."""

    def __init__(self, owner: str, level: str, levels: Levels, truth: bool) -> None:
        super().__init__()
        self.asked = False
        self._owner = owner
        self._level = level
        self._levels = levels
        self._anything = Anything(truth)

    @property
    def metadata(self) -> Record:
        """Stores differ in what they give to a filter: the document or its metadata."""
        return self

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if self._levels.rank(name)[0] == self._level:
            self.asked = True
            return self._owner
        return self._anything

    def get(self, name: str, default: Any = None) -> Any:
        """The field, whatever the default is."""
        return self[name]

    def __contains__(self, name: object) -> bool:
        return True


class Anything:
    """Equal to whatever it is compared with."""

    def __init__(self, truth: bool) -> None:
        self._truth = truth

    def __bool__(self) -> bool:
        return self._truth

    def _yes(self, _other: object) -> bool:
        return True

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _yes
    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, _key: object) -> Anything:
        return self

    def __call__(self, *_args: object, **_kwargs: object) -> Anything:
        return self

    def __iter__(self) -> Iterator[Anything]:
        return iter((self,))
