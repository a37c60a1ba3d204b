"""Which file of the project an import means.

A project is checked from its repository's root, but runs from any folder below: `import app.models` may stand for
`backend/app/models.py`.  So a name may also begin below a folder, unless the project itself names that folder in
its imports: then it is a part of a package.  That keeps `import redis` what it is in a project that has an
`app/stores/redis.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cached_property
from itertools import accumulate

from boundlint.index.facts import FileFacts

FEW_IMPORTS = 0.05  # of the files below a folder: so few imports that name it are slips, as of a manage.py


class Modules:
    """The modules of a project by their dotted names.  Answers are remembered."""

    def __init__(self, files: Mapping[str, FileFacts]) -> None:
        self._files = files
        self._names = {path: module_name(path) for path in files}
        self._by_last_name: dict[str, list[str]] = defaultdict(list)
        for path, name in self._names.items():
            self._by_last_name[name.rpartition(".")[2]].append(path)
        self._fitting: dict[str, tuple[str, ...]] = {}
        self._closest: dict[tuple[str, str], str | None] = {}
        self._starts: dict[str, bool] = {}

    def name_of(self, path: str) -> str:
        """Dotted module name of a file, from the project root."""
        return self._names[path]

    def find(self, dotted: str, near: str) -> str | None:
        """The file of an absolute module name; of several the one closest to file `near` ("" for no file)."""
        fits = self._fits(dotted)
        if not fits or (len(fits) == 1 and "." in dotted):
            return fits[0] if fits else None
        key = (dotted, near.rpartition("/")[0])
        if key not in self._closest:
            if "." not in dotted and near:
                fits = tuple(
                    path for path in fits if self._names[path] == dotted or self._is_beside(path, near)
                )
            best = max(fits, key=lambda path: (_shared(path, near), -len(path)), default=None)
            self._closest[key] = best
        return self._closest[key]

    def absolute(self, path: str, target: str) -> str:
        """An import target with its leading dots resolved against the file it stands in."""
        if not target.startswith("."):
            return target
        rest = target.lstrip(".")
        parts = self._names[path].split(".")
        depth = len(target) - len(rest) - (1 if path.endswith("__init__.py") else 0)
        base = parts[: len(parts) - depth] if depth else parts
        return ".".join([*base, rest]) if rest else ".".join(base)

    def _fits(self, dotted: str) -> tuple[str, ...]:
        known = self._fitting.get(dotted)
        if known is None:
            suffix, single = f".{dotted}", "." not in dotted
            found = []
            for path in self._by_last_name.get(dotted.rpartition(".")[2], ()):
                name = self._names[path]
                if name == dotted or (
                    name.endswith(suffix) and self._may_start(name.removesuffix(suffix), single)
                ):
                    found.append(path)
            known = self._fitting[dotted] = tuple(found)
        return known

    def _may_start(self, folder: str, single: bool) -> bool:
        """Whether Python may look for modules in a folder (dotted), for a `single` name that is no package's."""
        if single and f"{folder.replace('.', '/')}/__init__.py" in self._files:
            return False
        known = self._starts.get(folder)
        if known is None:
            inside = self._inside[folder]
            parts = folder.split(".")
            named = max(
                sum(self._named[".".join([*parts[cut:], child])] for child in inside)
                for cut in range(len(parts))
            )
            known = self._starts[folder] = named <= FEW_IMPORTS * inside.total()
        return known

    def _is_beside(self, path: str, near: str) -> bool:
        """Whether a plain module lies beside a file or above it; a package may be installed from anywhere."""
        return path.endswith("/__init__.py") or near.startswith(f"{path.rpartition('/')[0]}/")

    @cached_property
    def _named(self) -> Counter[str]:
        """How many absolute imports name a module or a folder, themselves or on the way to what they import."""
        found: Counter[str] = Counter()
        for facts in self._files.values():
            for target in (*facts.imports.values(), *facts.stars):
                if not target.startswith("."):
                    found.update(accumulate(target.split("."), "{}.{}".format))
        return found

    @cached_property
    def _inside(self) -> Mapping[str, Counter[str]]:
        """For a folder (dotted) what is right inside of it, each with the number of files there."""
        found: dict[str, Counter[str]] = defaultdict(Counter)
        for name in self._names.values():
            folder = name
            while folder:
                folder, _, child = folder.rpartition(".")
                found[folder][child] += 1
        return found


def module_name(path: str) -> str:
    """Dotted module name of a root-relative path."""
    name = path[:-3].replace("/", ".") if path.endswith(".py") else path.replace("/", ".")
    return name.removesuffix(".__init__") if name != "__init__" else ""


def _shared(one: str, other: str) -> int:
    """How many leading folders two paths share."""
    count = 0
    for left, right in zip(one.split("/"), other.split("/"), strict=False):
        if left != right:
            break
        count += 1
    return count
