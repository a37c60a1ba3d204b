"""The catalog's words: clients, the operations on them, and where each operation carries its scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "memory",
    "retrieval",
    "cache",
    "database",
    "queue",
    "log",
    "llm",
    "checkpoint",
    "file",
    "tool",
    "context",
]
Effect = Literal["read", "write", "delete", "enqueue", "admin", "none"]
Layer = Literal["framework", "client", "transport"]
Form = Literal["method", "function", "decorator", "constructor", "marker"]
Injection = Literal["visible", "hidden_safe", "hidden_overridable"]
Runs = Literal["context", "thread", "process", "worker"]

# Roles whose value can bind an operation to a boundary.
SCOPE_ROLES = frozenset(
    {
        "key",
        "filter",
        "namespace",
        "collection",
        "partition",
        "payload",
        "user",
        "session",
        "thread",
        "tenant",
        "where",
    }
)

# Roles that bind nothing and that rules look at: what is written, how long it lives, what is asked for.
PLAIN_ROLES = frozenset(
    {
        "agent",
        "app",
        "attributes",
        "client",
        "config",
        "context",
        "credential",
        "cursor",
        "database",
        "delay",
        "description",
        "document",
        "event",
        "expr",
        "field",
        "flag",
        "function",
        "group",
        "headers",
        "id",
        "key_builder",
        "level",
        "limit",
        "message",
        "metadata",
        "mode",
        "model",
        "name",
        "numkeys",
        "operations",
        "options",
        "params",
        "path",
        "pattern",
        "pipeline",
        "prompt",
        "query",
        "queue",
        "record",
        "result",
        "schema",
        "script",
        "source",
        "sql",
        "state",
        "statement",
        "store",
        "stream",
        "tag",
        "target",
        "task",
        "token",
        "tool",
        "tools",
        "topic",
        "ttl",
        "uri",
        "value",
        "vector",
        "version",
        "where_kwargs",
    }
)
ROLES = SCOPE_ROLES | PLAIN_ROLES


@dataclass(frozen=True)
class Argument:
    """One argument of an operation.

    `position` counts from 0 without self, None for keyword-only; `keyword` is None for positional-only;
    `variadic` takes all remaining positional arguments, or all remaining keyword arguments where it has
    neither position nor keyword; `path` is where the scope sits inside the value: dotted names for keys and
    attributes (`config.configurable.thread_id`), `[]` for each element (`prefetch[].filter`), `{}` for each
    key of a mapping (`mset`); `unscoped` are source literals that mean "no scope" (`None`, `""`);
    `through_kwargs` says that the client takes the keyword through `**kwargs`: its name cannot be verified.
    """

    role: str
    position: int | None = None
    keyword: str | None = None
    variadic: bool = False
    path: str = ""
    required: bool = False
    unscoped: tuple[str, ...] = ()
    through_kwargs: bool = False


@dataclass(frozen=True)
class Operation:
    """A call on a data client that touches customer data.

    `target` is the importable dotted path (`redis.client.Redis.get`), also the operation's id.
    `twin` is the async counterpart.  `binders` say who else can carry the scope: `constructor`,
    `chained`, `terminal`; `impossible` marks by-id operations that cannot carry one.  `drops` names what
    a cache decorator's default key leaves out (`self`, `request`, `args`).  For tools `injection` maps the
    way context is injected to whether the model can override it.  `runs` says where the work runs that a
    call hands over: `context` (the caller's context variables come along), `thread` and `process` (they do
    not), `worker` (a job, later and elsewhere).
    """

    target: str
    kind: Kind
    effect: Effect
    args: tuple[Argument, ...] = ()
    form: Form = "method"
    twin: str = ""
    aliases: tuple[str, ...] = ()
    versions: str = ""
    layer: Layer = "client"
    delegates: tuple[str, ...] = ()
    binders: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    injection: Injection | None = None
    runs: Runs | None = None
    scoped: str = ""
    unscoped_example: str = ""
    scoped_example: str = ""
    source: str = ""  # file:line of the entry

    @property
    def method(self) -> str:
        """The last part of the target: what the call site writes."""
        return self.target.rpartition(".")[2]


@dataclass(frozen=True)
class Client:
    """A class whose instances are data clients.

    `types` are all dotted paths that name the class or a class with the same methods (re-exports, async
    twins, subclasses); operations' targets use the first where it has the method.  `factories` are calls
    that return an instance, `instances` are importable objects that are one (`django.core.cache.cache`).
    `returns` maps a method of this client to the client type it returns (`pipeline` ->
    `redis.client.Pipeline`).  `receivers` are variable-name patterns (fnmatch) that suggest this client when
    nothing better is known.
    """

    types: tuple[str, ...]
    factories: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    returns: Mapping[str, str] = field(default_factory=dict)
    receivers: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Family:
    """One data file: a client family that installs into one environment.

    `requires` are the pip requirements of that environment, `setup` is a Python statement that
    has to run there before the import (`import django; ...`).  A `quick` family
    installs in a minute or two.
    """

    name: str
    title: str
    requires: tuple[str, ...]
    clients: tuple[Client, ...]
    operations: tuple[Operation, ...]
    quick: bool = False
    setup: str = ""
    source: str = ""  # the data file


@dataclass(frozen=True)
class Catalog:
    """Everything boundlint knows about data clients: the shipped families, plugins' and the project's own.

    `digest` names the content of all data that it was loaded from, for cache keys.
    """

    families: tuple[Family, ...]
    digest: str = ""

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All operations, in file order."""
        return tuple(operation for family in self.families for operation in family.operations)

    @property
    def clients(self) -> tuple[Client, ...]:
        """All clients, in file order."""
        return tuple(client for family in self.families for client in family.clients)
