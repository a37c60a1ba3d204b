"""One module a client. A seam is data: which modules it waits for, and how it instruments each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import ImportWatch, Patcher, SeamBroken

Install = Callable[[ModuleType, Patcher, Monitor], None]

# A module of this package each, with one `SEAM` or several `SEAMS`. Modules here import no client themselves.
MODULES = (
    "kit",
    "logs",
    "redis",
    "sqlalchemy",
    "sqlite",
    "psycopg",
    "psycopg2",
    "asyncpg",
    "pymongo",
    "django",
    "django_cache",
    "qdrant",
    "diskcache",
    "chroma",
    "langgraph",
    "langchain",
    "lancedb",
    "openai_agents",
    "mem0",
    "milvus",
    "pinecone",
    "weaviate",
    "llm",
    "http",
    "celery",
    "rq",
    "arq",
    "caches",
    "loggers",
)


@dataclass(frozen=True)
class Seam:
    """Where one client is watched.

    `name` stands in the summary and in `--boundary-require`; `distribution` is what pip calls the client;
    `modules` maps a module's dotted name to what is done right after its import: the installer changes the
    client through its `Patcher` alone, so that everything is undone, and raises what `Patcher.broken` gives
    where the client is not as expected.
    """

    name: str
    distribution: str
    modules: Mapping[str, Install]


def load() -> tuple[Seam, ...]:
    """All seams."""
    found: list[Seam] = []
    for name in MODULES:
        module = import_module(f"{__name__}.{name}")
        found += getattr(module, "SEAMS", None) or [module.SEAM]
    return tuple(found)


class Seams:
    """The seams of one run: armed before the first conftest, taken back at the end."""

    def __init__(self, monitor: Monitor, seams: tuple[Seam, ...] | None = None) -> None:
        self._monitor = monitor
        self._watch = ImportWatch()
        self.seams = load() if seams is None else seams
        self.patchers = {seam.name: Patcher(seam.name, seam.distribution, monitor) for seam in self.seams}

    def arm(self) -> None:
        """Instrument what is imported already, and everything else when it is."""
        for seam in self.seams:
            for name, install in seam.modules.items():
                self._watch.when_imported(name, self._installer(seam, install))
        self._watch.start()

    def restore(self) -> None:
        """Put every original object back, the newest change first."""
        self._watch.stop()
        for seam in reversed(self.seams):
            self.patchers[seam.name].restore()

    def _installer(self, seam: Seam, install: Install) -> Callable[[ModuleType], None]:
        patcher = self.patchers[seam.name]

        def installed(module: ModuleType) -> None:
            try:
                install(module, patcher, self._monitor)
            except SeamBroken as error:
                self._monitor.broken.append(str(error))
            except Exception as error:  # an attribute that moved, seen as AttributeError
                self._monitor.broken.append(str(patcher.broken(f"{type(error).__name__}: {error}")))

        return installed
