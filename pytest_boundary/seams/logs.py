"""logging: every record is made by one factory; handlers of the root logger miss loggers that do not propagate."""

from __future__ import annotations

import logging
from types import ModuleType
from typing import Any

from pytest_boundary import catalog
from pytest_boundary.monitor import Monitor
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Put a factory around the one in place; a later one that does not call it is noticed by the self-check."""
    original = module.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        __tracebackhide__ = True
        record: logging.LogRecord = original(*args, **kwargs)
        try:
            if monitor.watcher.canaries:
                operation = catalog.operation(
                    "logging", f"logging.Logger.{record.levelname.lower()}", "log", "write"
                )
                told = [record.msg, record.args, record.exc_info[1] if record.exc_info else None]
                monitor.watcher.surface(told, "log", operation)
        except Exception as error:
            patcher.failed(error)
        return record

    module.setLogRecordFactory(factory)

    def put_back() -> None:
        if module.getLogRecordFactory() is factory:
            module.setLogRecordFactory(original)

    patcher.undo(put_back)

    def make(original_make: Any) -> Any:
        def make_record(self: Any, *args: Any, **kwargs: Any) -> Any:
            """`extra` is put on the record after the factory has made it."""
            __tracebackhide__ = True
            record = original_make(self, *args, **kwargs)
            extra = args[8] if len(args) > 8 else kwargs.get("extra")
            if extra:
                try:
                    operation = catalog.operation(
                        "logging", f"logging.Logger.{record.levelname.lower()}", "log", "write"
                    )
                    monitor.watcher.surface(extra, "log", operation)
                except Exception as error:
                    patcher.failed(error)
            return record

        return make_record

    patcher.replace(module.Logger, "makeRecord", make)


SEAM = Seam("logging", "logging", {"logging": install})
