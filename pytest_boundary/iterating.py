"""Wraps generators: judged where they are called, each item as it comes; in between the caller's code runs."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_boundary.patching import After, Before, Patcher

Claiming = Callable[[], AbstractContextManager[None]]
End = Callable[[Any, Any], Any]


def around(original: Any, before: Before, after: After | None, patcher: Patcher, claims: bool) -> Any:
    """The generator function `original` with `before` where it is called, and `after(state, item)` for each item.

    With `claims` the clients below are not judged while the next item is made.
    """
    claimed = patcher.monitor.claimed
    claiming: Claiming = patcher.monitor.claiming if claims else nullcontext
    begin = patcher.guarded(before)
    end = patcher.guarded(after) if after is not None else None

    if isasyncgenfunction(original):

        @functools.wraps(original)
        def acalling(instance: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            __tracebackhide__ = True
            if claimed.get():
                return original(instance, *args, **kwargs)  # type: ignore[no-any-return]
            state = begin(instance, args, kwargs)
            return _aitems(original(instance, *args, **kwargs), state, end, claiming)

        return acalling

    @functools.wraps(original)
    def calling(instance: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        if claimed.get():
            return original(instance, *args, **kwargs)  # type: ignore[no-any-return]
        state = begin(instance, args, kwargs)
        return _items(original(instance, *args, **kwargs), state, end, claiming)

    return calling


def _items(items: Any, state: Any, end: End | None, claiming: Claiming) -> Iterator[Any]:
    __tracebackhide__ = True
    try:
        while True:
            with claiming():
                try:
                    item = next(items)
                except StopIteration:
                    return
            if end is not None and state is not None:
                end(state, item)
            yield item
    finally:
        items.close()


async def _aitems(items: Any, state: Any, end: End | None, claiming: Claiming) -> AsyncIterator[Any]:
    __tracebackhide__ = True
    try:
        while True:
            with claiming():
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
            if end is not None and state is not None:
                end(state, item)
            yield item
    finally:
        await items.aclose()
