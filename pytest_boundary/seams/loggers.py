"""structlog and loguru: what is written, after the project's processors, patchers and filters had their say.

What they hand on to `logging` is the same record and is looked at once.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from types import FunctionType, ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

LOG = "log"


def _look(monitor: Monitor, target: str, told: Any) -> None:
    __tracebackhide__ = True
    if monitor.watcher.canaries:
        client = target.partition(".")[0]
        monitor.watcher.surface(told, LOG, catalog.operation(client, target, "log", "write"))


def install_structlog(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what every bound logger of structlog is made of."""
    claimed, look = monitor.claimed, patcher.guarded(functools.partial(_look, monitor))
    handing: ContextVar[bool] = ContextVar("boundlint_structlog", default=False)  # it is us who claimed

    def processing(original: Any) -> Any:
        def process(self: Any, method_name: str, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            token = claimed.set(
                claimed.get() and not handing.get()
            )  # the project's own processors are watched
            try:
                processed = original(self, method_name, *args, **kwargs)
                look(f"structlog.stdlib.BoundLogger.{method_name}", processed)
            finally:
                claimed.reset(token)
            return processed

        return functools.wraps(original)(_of(module, process))

    def handing_on(original: Any) -> Any:
        def proxy(self: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if claimed.get():
                return original(self, *args, **kwargs)
            tokens = claimed.set(True), handing.set(True)
            try:
                return original(self, *args, **kwargs)
            finally:
                claimed.reset(tokens[0])
                handing.reset(tokens[1])

        return functools.wraps(original)(_of(module, proxy))

    patcher.replace(module.BoundLoggerBase, "_process_event", processing)
    patcher.replace(module.BoundLoggerBase, "_proxy_to_logger", handing_on)


def _of(module: ModuleType, function: Any) -> FunctionType:
    """A function that takes all it needs from its closure, as one of that module.

    structlog takes the first frame that is not its own for the place that logs; ours is to be none.
    """
    moved = FunctionType(function.__code__, vars(module), function.__name__, None, function.__closure__)
    moved.__kwdefaults__ = function.__kwdefaults__
    return moved


def install_loguru(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch each record on its way to a sink, as far as the sink takes it."""

    def before(handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        __tracebackhide__ = True
        if not monitor.watcher.canaries:
            return
        record = args[0] if args else kwargs["record"]
        if handler._levelno > record["level"].no or (handler._filter and not handler._filter(record)):
            return
        error = record["exception"]
        told = [record["message"], record["extra"], error.value if error else None]
        _look(monitor, f"loguru._logger.Logger.{record['level'].name.lower()}", told)

    patcher.wrap(module.Handler, "emit", before, claims=True)


SEAMS = (
    Seam("structlog", "structlog", {"structlog._base": install_structlog}),
    Seam("loguru", "loguru", {"loguru._handler": install_loguru}),
)
