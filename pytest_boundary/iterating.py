"""Wraps generators: judged where they are called, each item as it comes; in between the caller's code runs."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from inspect import isasyncgenfunction
from typing import TYPE_CHECKING, Any

from pytest_boundary import UnscopedAccess

if TYPE_CHECKING:
    from pytest_boundary.patching import After, Before, Patcher


def around(original: Any, before: Before, after: After | None, patcher: Patcher, claims: bool) -> Any:
    """The generator function `original` with `before` where it is called, and `after(state, item)` for each item.

    With `claims` the clients below are not judged while the next item is made.
    """
    claimed = patcher.monitor.claimed
    held = claimed if claims else None

    def guarded(hook: Callable[..., Any], *given: Any) -> Any:
        __tracebackhide__ = True
        try:
            return hook(*given)
        except UnscopedAccess:
            raise
        except Exception as error:
            patcher.monitor.fault(patcher.seam, error)
            return None

    def end(state: Any, item: Any) -> None:
        __tracebackhide__ = True
        if state is not None and after is not None:
            guarded(after, state, item)

    if isasyncgenfunction(original):

        @functools.wraps(original)
        def acalling(instance: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            __tracebackhide__ = True
            if claimed.get():
                return original(instance, *args, **kwargs)  # type: ignore[no-any-return]
            state = guarded(before, instance, args, kwargs)
            return _aitems(original(instance, *args, **kwargs), state, end, held)

        return acalling

    @functools.wraps(original)
    def calling(instance: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        if claimed.get():
            return original(instance, *args, **kwargs)  # type: ignore[no-any-return]
        state = guarded(before, instance, args, kwargs)
        return _items(original(instance, *args, **kwargs), state, end, held)

    return calling


End = Callable[[Any, Any], None]


def _items(items: Any, state: Any, end: End, claimed: ContextVar[bool] | None) -> Iterator[Any]:
    __tracebackhide__ = True
    try:
        while True:
            token = claimed.set(True) if claimed is not None else None
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                if claimed is not None and token is not None:
                    claimed.reset(token)
            end(state, item)
            yield item
    finally:
        items.close()


async def _aitems(items: Any, state: Any, end: End, claimed: ContextVar[bool] | None) -> AsyncIterator[Any]:
    __tracebackhide__ = True
    try:
        while True:
            token = claimed.set(True) if claimed is not None else None
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            finally:
                if claimed is not None and token is not None:
                    claimed.reset(token)
            end(state, item)
            yield item
    finally:
        await items.aclose()
