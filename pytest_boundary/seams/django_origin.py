"""Where a statement of Django comes from: the walk from a hook through Django's own frames to who asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.frames import OWN, Frames

HOOK = "a hook of boundlint"  # in place of a path
QUERIES, BASE, DELETION = "db/models/query.py", "db/models/base.py", "db/models/deletion.py"
# What the user called, by the file of Django that it stands in.
OWNERS = {
    QUERIES: "django.db.models.QuerySet",
    "db/models/fields/related_descriptors.py": "django.db.models.QuerySet",
    BASE: "django.db.models.Model",
    "shortcuts.py": "django.shortcuts",
}
# Methods of a model whose statements go by the key of the instance.
BY_KEY = frozenset(
    "save_base delete refresh_from_db clean_fields _perform_unique_checks validate_constraints".split()
)


@dataclass
class Origin:
    """Where a statement comes from: the entry that the user called, and the loaded objects that it goes by."""

    target: str = ""
    queryset: Any = None  # the innermost one, which is what runs
    instances: Sequence[Any] = ()
    by_key: bool = False
    method: str = ""  # of the objects: what is done with them

    def new(self) -> bool:
        """Whether an object was never loaded, so that its key is the application's word."""
        return any(instance._state.adding for instance in self.instances)


class Origins:
    """Walks stacks for one installation of Django, whose package lies in `folder`."""

    def __init__(self, folder: str, frames: Frames) -> None:
        self._folder = folder + os.sep
        self._frames = frames
        self._files: dict[str, str | None] = {}
        # code that decides nothing, by its id, and whether it is of Django's models
        self._between: dict[int, tuple[CodeType, bool]] = {}

    def model(self, frame: FrameType | None) -> Origin | None:
        """The method of a model that is at work around a hook; None where there is none, or more than that decides.

        On the way of every object that is saved: it looks into no frame but the last one.
        """
        between = self._between
        inside = False
        while frame is not None:
            code = frame.f_code
            known = between.get(id(code))
            if known is not None:
                inside = inside or known[1]
            else:
                file = self._file_of(code.co_filename)
                if file is None:  # as in `find`
                    if inside or self._frames.is_user(code.co_filename):
                        return None
                elif file == QUERIES and code.co_name == "bulk_update":
                    return None
                elif file == BASE and code.co_name in BY_KEY:
                    found = Origin("", None, (frame.f_locals["self"],), True, code.co_name)
                    found.by_key = code.co_name != "delete" or not found.new()
                    return found
                else:
                    of_models = file.startswith("db/models/")
                    between[id(code)] = (code, of_models)
                    inside = inside or of_models
            frame = frame.f_back
        return None

    def find(self, frame: FrameType | None) -> Origin:
        """Walk from a hook outwards, as far as Django's own frames reach."""
        found = Origin()
        known, entries = catalog.entries(), OWNERS
        inside = collecting = False
        while frame is not None:
            code = frame.f_code
            filename = code.co_filename
            file = self._file_of(filename)
            if file is None:
                # a tracer may have wrapped the cursor, a library above the ORM is none of it
                if inside or self._frames.is_user(filename):
                    break
            elif file in entries:
                inside = inside or file.startswith("db/models/")
                target = f"{entries[file]}.{code.co_name}"
                if target in known:
                    found.target = target
                if file == QUERIES:
                    collecting = self._queries(found, frame, collecting)
                elif file == BASE and code.co_name in BY_KEY and not found.instances:
                    found.instances, found.by_key = (frame.f_locals["self"],), True
                    found.method = code.co_name
            elif file == DELETION:
                inside = collecting = True
            frame = frame.f_back
        found.by_key = found.by_key or collecting
        if found.method in ("delete", "bulk_update") and found.new():
            found.by_key = False
            return found
        if inside and not found.target:  # list(queryset), `in`, a slice
            found.target = f"{OWNERS[QUERIES]}.iterator"
        if not found.by_key and found.queryset is not None:
            instance = found.queryset._hints.get("instance")
            found.instances = () if instance is None else (instance,)
        return found

    def _queries(self, found: Origin, frame: FrameType, collecting: bool) -> bool:
        """A frame of a queryset; gives whether what runs is still the collector's own search for related rows."""
        names = frame.f_locals
        if found.queryset is None:
            owner = names.get("self")
            owner = getattr(owner, "queryset", owner)  # one of its iterables
            found.queryset = owner if hasattr(owner, "_hints") and hasattr(owner, "query") else None
        if frame.f_code.co_name == "bulk_update" and not found.instances:
            found.instances, found.by_key, found.method = tuple(names["objs"]), True, "bulk_update"
        # the rows that the user asked to delete are the user's query, all others hang on them
        return collecting and found.queryset is not names.get("del_query", frame)

    def _file_of(self, filename: str) -> str | None:
        """A file's path in Django, None where it is none of Django's; our hooks stand between Django's frames."""
        found = self._files.get(filename, "")
        if found == "":
            if filename.startswith(self._folder):
                found = filename[len(self._folder) :].replace(os.sep, "/")
            else:
                found = HOOK if filename.startswith(OWN) else None
            self._files[filename] = found
        return found
