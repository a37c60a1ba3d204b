"""redis and valkey: every command passes `execute_command`, of the client, of the pipeline, of the cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import ModuleType
from typing import Any

from boundlint.boundary import Scope
from pytest_boundary import catalog
from pytest_boundary.active import Active, innermost
from pytest_boundary.checks.keys import LOCK, Search, judge_keys, plainly_scoped, search_of, text_of
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.levels import same_id
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing, Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

# Commands that touch no key's content, or no key at all.
FREE = frozenset(
    "acl asking auth bgrewriteaof bgsave client cluster command config dbsize debug discard echo exec failover flushall"
    " flushdb function hello info lastsave latency lolwut memory module monitor multi object ping psync pubsub quit"
    " readonly readwrite replicaof reset role save script select shutdown slaveof slowlog swapdb time type unwatch"
    " wait waitaof watch exists ttl pttl expire pexpire expireat pexpireat expiretime pexpiretime persist touch"
    " ft.create ft.dropindex ft._list ft.info ft.config ft.alter ft.aliasadd ft.aliasdel ft.aliasupdate".split()
)
ALL_ARGUMENTS = frozenset(
    "mget del unlink sinter sunion sdiff pfcount pfmerge sinterstore sunionstore sdiffstore".split()
)
ALL_BUT_LAST = frozenset("blpop brpop bzpopmin bzpopmax json.mget".split())
FIRST_TWO = frozenset(
    "rename renamenx copy smove rpoplpush brpoplpush lmove blmove lcs geosearchstore zrangestore".split()
)
PAIRS = frozenset("mset msetnx".split())
COUNTED = {"eval": 1, "evalsha": 1, "eval_ro": 1, "evalsha_ro": 1, "fcall": 1, "fcall_ro": 1}
COUNTED |= dict.fromkeys(("zunion", "zinter", "zdiff", "sintercard", "zintercard", "lmpop", "zmpop"), 0)
COUNTED_AFTER_ONE = frozenset("zunionstore zinterstore zdiffstore blmpop bzmpop".split())
HASH_FIELDS = {
    "hget": 1,
    "hset": 2,
    "hsetnx": 2,
    "hmset": 2,
    "hdel": 1,
    "hmget": 1,
}  # step between the fields
PATTERNS = frozenset({"scan", "keys"})
QUEUES = ("rq.", "arq.", "celery.", "kombu.")  # packages that keep their books in redis
SEARCH = frozenset({"ft.search", "ft.aggregate", "ft.explain", "ft.hybrid"})
METHODS = {
    "del": "delete",
    "ft.search": "redis.commands.search.Search.search",
    "ft.aggregate": "redis.commands.search.Search.aggregate",
    "ft.explain": "redis.commands.search.Search.explain",
    "ft.get": "redis.commands.search.Search.get",
    "ft.del": "redis.commands.search.Search.delete_document",
    "json.del": "redis.commands.json.JSON.delete",
}
TAG = re.compile(r"(?<!\S)\(?@(\w+):\{\s*((?:\\.|[^{}|\\])+?)\s*\}")


@dataclass(frozen=True)
class Command:
    """One command by its name: its operation, and how its keys are found among its arguments."""

    name: str
    operation: Operation
    free: bool
    keys: Callable[[Sequence[Any]], Sequence[Any]]

    @cached_property
    def by_first(self) -> bool:
        """Whether its first argument is its only key."""
        return not self.free and self.keys is _first

    @cached_property
    def reads(self) -> bool:
        """Whether it gives what was stored."""
        return self.operation.effect == "read"

    @property
    def what(self) -> str:
        """What its key is called."""
        return "pattern" if self.name in PATTERNS else "index" if self.name in SEARCH else "key"


@lru_cache(maxsize=512)
def command(client: str, name: str) -> Command:
    """What is known of a command, such as `get` or `json.get`."""
    root = name.partition(" ")[0]
    target = METHODS.get(root, root)
    if "." not in target:
        target = f"redis.client.Redis.{target}"
    elif root.startswith("json.") and target == root:
        target = f"redis.commands.json.JSON.{root.partition('.')[2]}"
    effect = "" if target in catalog.entries() else "write"
    operation = catalog.operation(client, target, "", effect)
    if not operation.kind:
        operation = Operation(client, target, "memory", effect)
    free = root in FREE or operation.effect in catalog.FREE_EFFECTS
    return Command(name, operation, free, _finder(root))


def _finder(name: str) -> Callable[[Sequence[Any]], Sequence[Any]]:
    if name in ALL_ARGUMENTS:
        return lambda args: args
    if name in ALL_BUT_LAST:
        return lambda args: args[:-1]
    if name in FIRST_TWO:
        return lambda args: args[:2]
    if name in PAIRS:
        return lambda args: args[::2]
    if name in COUNTED:
        start = COUNTED[name]
        return lambda args: _counted(args, start)
    if name in COUNTED_AFTER_ONE:
        return lambda args: (*args[:1], *_counted(args, 1))
    if name in ("xread", "xreadgroup"):
        return _streams
    if name == "keys":
        return lambda args: args[:1]
    if name == "scan":
        return _match
    if name == "randomkey":
        return lambda args: ()
    return _first


def _first(args: Sequence[Any]) -> Sequence[Any]:
    return args[:1]


def _counted(args: Sequence[Any], position: int) -> Sequence[Any]:
    try:
        number = int(args[position])
    except (IndexError, TypeError, ValueError):
        return ()
    return args[position + 1 : position + 1 + number]


def _streams(args: Sequence[Any]) -> Sequence[Any]:
    words = [text_of(arg).upper() for arg in args]
    if "STREAMS" not in words:
        return ()
    rest = args[words.index("STREAMS") + 1 :]
    return rest[: len(rest) // 2]


def _match(args: Sequence[Any]) -> Sequence[Any]:
    words = [text_of(arg).upper() for arg in args]
    return args[words.index("MATCH") + 1 :][:1] if "MATCH" in words else ()


class _Watch:
    """What `before` and `after` need for one family of clients."""

    def __init__(self, client: str, monitor: Monitor) -> None:
        self.client = client
        self.monitor = monitor
        self._commands: dict[str, Command] = {}  # by the word as it is written
        # on the way of every access: looked up once
        self._entered, self._asked = innermost.get, monitor.asked.get
        self._marks = monitor.watcher.canaries.known
        # the scope of the latest access, its boundary, and what finds the ids in a key: together, as threads take turns
        self._latest: tuple[Scope | None, Active | None, Search] = (None, None, len)

    def before(self, _client: Any, args: tuple[Any, ...], _options: dict[str, Any]) -> Any:
        """Judge one command, sent or queued."""
        __tracebackhide__ = True
        monitor = self.monitor
        word = args[0] if args else ""
        known = self._commands.get(word) if word.__class__ is str else None
        scope, active, search = self._latest
        if (
            known is not None
            and known.by_first
            and scope is self._entered()
            and scope is not None
            and self._asked() is None
            and len(args) > 1
            and args[1].__class__ is str
            and search(args[1]) is not None
            and not self._marks
        ):  # nearly every access: the key holds the ids of the boundary that the latest one had
            monitor.ledger.counts[known.operation.scoped] += 1
            return (active, known, args[1:]) if known.reads else None
        if known is not None:
            rest: Sequence[Any] = args[1:]
        else:
            name, *rest = _split(args)
            known = command(self.client, name)
            if word.__class__ is str and len(rest) == len(args) - 1:  # a single word
                self._commands[word] = known
        if known.free:
            return None
        operation = known.operation
        active, keys = monitor.active(), rest[:1] if known.keys is _first else known.keys(rest)
        if active is not None and plainly_scoped(keys, active, monitor.levels, monitor.settings.delimiters):
            monitor.passed(operation, "scoped", _shown, known, rest)
            if not monitor.by_site and self._asked() is None:
                search = search_of(active, monitor.levels, monitor.settings.delimiters)
                self._latest = (self._entered(), active, search)
        elif monitor.frames.through(QUEUES):
            return None  # a queue keeps its books; its jobs are judged by its own seam
        else:
            active = monitor.before(operation, self._judge, _shown, known, rest)
        if active is None:
            return None
        if operation.effect == "read":
            return active, known, rest
        if monitor.watcher.canaries.known:
            monitor.watcher.surface(rest, f"{operation.kind} write", operation)
        return None

    def after(self, state: tuple[Active, Command, Sequence[Any]], result: Any) -> None:
        """A value that names another owner is foreign."""
        __tracebackhide__ = True
        # nearly always a plain text or nothing
        plain = result is None or (result.__class__ is str and result[:1] not in ("{", "["))
        if not plain or self.monitor.watcher.canaries.known:
            active, known, rest = state
            self._compare(known.operation, active, result, _shown, known, rest)

    def sending(self, _pipeline: Any, _args: tuple[Any, ...], _options: dict[str, Any]) -> Active | None:
        """The commands of a pipeline were judged as they were queued; what comes back is judged now."""
        return self.monitor.active()

    def received(self, active: Active, results: Any) -> None:
        """The results of a pipeline."""
        __tracebackhide__ = True
        operation = catalog.operation(self.client, "redis.client.Pipeline.execute", "memory", "read")
        self._compare(operation, active, results, "results of a pipeline".format)

    def _compare(
        self, operation: Operation, active: Active, result: Any, shown: Callable[..., str], *given: Any
    ) -> None:
        __tracebackhide__ = True
        if self.monitor.watcher.canaries.known:
            self.monitor.read(operation, result, shown, *given)
        if owner := foreign_in_value(result, active, self.monitor.levels):
            self.monitor.foreign(operation, active, owner, shown, *given)

    def _judge(self, active: Active, known: Command, args: Sequence[Any]) -> Judgement:
        monitor, name = self.monitor, known.name
        keys = known.keys(args)

        def judged(texts: Iterable[Any], what: str = known.what) -> Judgement:
            return judge_keys(texts, active, monitor.levels, monitor.settings.delimiters, what=what)

        if name in SEARCH:
            return self._judge_search(args, active, judged(keys))
        result = judged(keys)
        if isinstance(result, Missing) and _of_lock(keys):
            return "free"
        if isinstance(result, Missing) and name in HASH_FIELDS:
            fields = args[1 :: HASH_FIELDS[name]]
            if fields and judged(fields, "key") == "scoped":
                return "scoped"
        # a script without keys: its arguments may still say for whom
        if name in COUNTED and not keys and any(judged([arg], "key") == "scoped" for arg in args[2:]):
            return "scoped"
        return result

    def _judge_search(self, args: Sequence[Any], active: Active, by_index: Judgement) -> Judgement:
        if by_index == "scoped" or len(args) < 2:
            return by_index
        query = text_of(args[1])
        levels = self.monitor.levels
        outside = re.sub(r"\{[^{}]*\}", "", query)
        if "|" not in outside and active.ids:
            bound = {
                levels.rank(field)[0]
                for field, value in TAG.findall(query)
                for wanted in active.ids.values()
                if same_id(re.sub(r"\\(.)", r"\1", value), wanted)
            }
            if set(levels.required_for(active.ids)) <= bound:
                return "scoped"
        level = levels.required_for(active.ids)[0] if active.ids else "tenant"
        text = f"neither the index nor the query binds the result to {active.described((level,))}"
        return Missing(
            text, (text_of(args[0]),), fix="@tenant_id:{…} in the query, or an index of the tenant"
        )


def _shown(known: Command, args: Sequence[Any]) -> str:
    keys = [text_of(key) for key in known.keys(args)]
    return f"{known.what} {', '.join(map(repr, keys[:3]))}" if keys else known.name.upper()


def _of_lock(keys: Sequence[Any]) -> bool:
    """Whether a command is part of a lock: the client's own, or keys that say so."""
    words = [LOCK.search(text_of(key).lower()) for key in keys]
    if words and all(words):
        return True
    frame = sys._getframe(2)
    for _ in range(12):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_globals.get("__name__", "").endswith(".lock"):
            return True
    return False


def _split(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """`("JSON.GET", key)`: the command in lower case, then its arguments."""
    words = text_of(args[0]).lower().split() if args else [""]
    return (words[0], *words[1:], *args[1:])


def _client(name: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the client, and the pipeline, which has an `execute_command` of its own."""
        watch = _Watch(name, monitor)
        owner = getattr(module, "Redis", None) or module.Valkey
        patcher.wrap(owner, "execute_command", watch.before, watch.after)
        patcher.wrap(module.Pipeline, "execute_command", watch.before)
        patcher.wrap(module.Pipeline, "execute", watch.sending, watch.received)

    return install


def _cluster(name: str) -> Callable[[ModuleType, Patcher, Monitor], None]:
    def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
        """Watch the cluster client, which is a class apart."""
        watch = _Watch(name, monitor)
        owner = getattr(module, "RedisCluster", None) or module.ValkeyCluster
        patcher.wrap(owner, "execute_command", watch.before, watch.after)
        patcher.wrap(module.ClusterPipeline, "execute_command", watch.before)
        patcher.wrap(module.ClusterPipeline, "execute", watch.sending, watch.received)

    return install


SEAMS = tuple(
    Seam(
        name,
        name,
        {
            f"{name}.client": _client(name),
            f"{name}.asyncio.client": _client(name),
            f"{name}.cluster": _cluster(name),
            f"{name}.asyncio.cluster": _cluster(name),
        },
    )
    for name in ("redis", "valkey")
)
