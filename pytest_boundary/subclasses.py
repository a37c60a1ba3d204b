"""Instruments whole families of classes: where a framework's users and plugins override what the base class says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isfunction
from typing import Any

from pytest_boundary.patching import Patcher, SeamBroken


def each(patcher: Patcher, base: Any, callback: Callable[[type], None]) -> None:
    """Call back for `base` and each class below it: those of now, and those that are made until the run ends."""
    own = vars(base).get("__init_subclass__")

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:
        if own is not None:
            own.__get__(None, cls)(**kwargs)
        else:
            super(base, cls).__init_subclass__(**kwargs)
        try:
            callback(cls)
        except SeamBroken as error:  # the application's class is made all the same
            patcher.monitor.broken.append(str(error))
        except Exception as error:
            patcher.monitor.broken.append(str(patcher.broken(f"{cls.__name__}: {error}")))

    base.__init_subclass__ = classmethod(__init_subclass__)

    def put_back() -> None:
        if own is not None:
            base.__init_subclass__ = own
        else:
            del base.__init_subclass__

    patcher.undo(put_back)
    for found in (base, *below(base)):
        callback(found)


def below(base: type) -> Iterator[type]:
    """All classes that inherit from `base`, each once."""
    seen: set[type] = set()
    waiting: list[type] = list(base.__subclasses__())
    while waiting:
        found = waiting.pop()
        if found not in seen:
            seen.add(found)
            waiting += found.__subclasses__()
            yield found


def defines(owner: type, name: str) -> bool:
    """Whether a class has a method of its own by this name that does something: no abstract one."""
    function = vars(owner).get(name)
    return isfunction(function) and not getattr(function, "__isabstractmethod__", False)
