"""Finds the user's line: the nearest frame below the root that is no installed package and not ours."""

from __future__ import annotations

import fnmatch
import linecache
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_boundary.ledger import Site

OWN = tuple(
    str(Path(__file__).resolve().parent.parent / name) + os.sep for name in ("pytest_boundary", "boundlint")
)
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
LIBRARY = str(Path(os.__file__).resolve().parent) + os.sep
TEST_FOLDERS = frozenset({"tests", "test"})
MAX_FRAMES = 400  # a deeper stack is recursion


class Frames:
    """Walks stacks for one root folder. `test_files` are the patterns of pytest's `python_files`."""

    def __init__(self, root: Path, test_files: tuple[str, ...]) -> None:
        self.root = str(root.resolve()) + os.sep
        self._patterns = (*test_files, "conftest.py")
        self._user: dict[str, bool] = {}
        self._tests: dict[str, bool] = {}
        # the user's frame that waits for a client's own worker thread
        self._asked: ContextVar[FrameType | None] = ContextVar("boundlint_asked_frame", default=None)

    def is_user(self, filename: str) -> bool:
        """Whether a file is the user's own code."""
        known = self._user.get(filename)
        if known is None:
            if filename.startswith("<"):
                known = filename.startswith("<doctest")
            else:
                path = os.path.realpath(filename)
                known = (
                    path.startswith(self.root)
                    and not path.startswith((*OWN, LIBRARY))
                    and not any(part in path for part in INSTALLED)
                )
            self._user[filename] = known
        return known

    def is_test(self, filename: str) -> bool:
        """Whether a file holds tests or their helpers: by pytest's own patterns, or a folder `tests`."""
        known = self._tests.get(filename)
        if known is None:
            *folders, name = self.shown(filename).split("/")
            known = (
                filename.startswith("<doctest")
                or not TEST_FOLDERS.isdisjoint(folders)
                or any(fnmatch.fnmatch(name, pattern) for pattern in self._patterns)
            )
            self._tests[filename] = known
        return known

    def nearest(self, frame: FrameType | None) -> FrameType | None:
        """The innermost of the user's frames; None where there is none. On the way of every access: kept plain."""
        known = self._user
        while frame is not None:
            filename = frame.f_code.co_filename
            user = known.get(filename)
            if user is None:
                user = self.is_user(filename)
            if user:
                return frame
            outer = frame.f_back
            if outer is None:
                return next(self.user_frames(frame), None) or self._asked.get()
            frame = outer
        return None

    def asked_here(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function for a thread that gets the caller's context: where no frame is the user's, this line is."""
        frame = self.nearest(sys._getframe(1))

        def asked(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            token = self._asked.set(frame)
            try:
                return function(*args, **kwargs)
            finally:
                self._asked.reset(token)

        return asked

    def through(self, modules: tuple[str, ...]) -> bool:
        """Whether the user's line got here through one of these modules or packages, each with a dot at its end."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not self.is_user(frame.f_code.co_filename):
            if f"{frame.f_globals.get('__name__', '')}.".startswith(modules):
                return True
            frame = frame.f_back
        return False

    def user_frames(self, start: FrameType | None) -> Iterator[FrameType]:
        """The user's frames from the inside out, through a greenlet (async SQLAlchemy) where there is one."""
        frame = start
        hop: Any = None
        for _ in range(MAX_FRAMES):
            if frame is None:
                frame, hop = _parent_of_greenlet(hop)
                if frame is None:
                    return
            if self.is_user(frame.f_code.co_filename):
                yield frame
            frame = frame.f_back

    def site(self, frame: FrameType) -> Site:
        """Where a frame stands, for people."""
        code = frame.f_code
        function = getattr(code, "co_qualname", code.co_name)
        return Site(self.shown(code.co_filename), frame.f_lineno, function.replace("<locals>.", ""))

    def shown(self, filename: str) -> str:
        """A path as people write it: relative to the root, with forward slashes."""
        if filename.startswith("<"):
            return filename
        path = os.path.realpath(filename)
        return path.removeprefix(self.root).replace(os.sep, "/")

    def source(self, frame: FrameType) -> str:
        """The text of the line that a frame stands on."""
        return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def _parent_of_greenlet(hop: Any) -> tuple[FrameType | None, Any]:
    module = sys.modules.get("greenlet")
    if module is None:
        return None, None
    inner = hop if hop is not None else module.getcurrent()
    parent = inner.parent
    return (None, None) if parent is None else (parent.gr_frame, parent)
