"""OpenAI Agents: the sessions that keep a conversation, of every subclass, by their session id.

Ids that the provider makes (OpenAIConversationsSession) can carry no tenant: those sessions are compared, never judged.
"""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, subclasses
from pytest_boundary.active import Active
from pytest_boundary.checks.keys import carries, judge_keys
from pytest_boundary.checks.rows import foreign_in_value
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Judgement, Missing
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam

SESSION = "agents.memory.session.Session"
REQUIRED = ("get_items", "add_items", "pop_item", "clear_session")
READS = ("get_", "find_")  # further ones of subclasses
MADE_BY_PROVIDER = "openai_conversations_session"
FIX = 'SQLiteSession(f"{tenant_id}:{session_id}")'


class _Watch:
    """The hooks around one method."""

    def __init__(self, monitor: Monitor, method: str) -> None:
        effect = "write" if method == "add_items" else "read" if method.startswith(READS) else "delete"
        self.monitor = monitor
        self.operation = catalog.operation("openai-agents", f"{SESSION}.{method}", "memory", effect)

    def before(self, session: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Active | None:
        """Judge by the session's id, or by its file where each tenant has one."""
        __tracebackhide__ = True
        provided = any(MADE_BY_PROVIDER in owner.__module__ for owner in type(session).__mro__)
        key = "" if provided else str(getattr(session, "session_id", ""))

        def judge(active: Active) -> Judgement:
            if provided:
                return "free"
            levels, delimiters = self.monitor.levels, self.monitor.settings.delimiters
            judged = judge_keys([key] if key else [], active, levels, delimiters, what="session id", fix=FIX)
            path = getattr(session, "db_path", None)
            return (
                "scoped" if isinstance(judged, Missing) and path and carries(path, active, levels) else judged
            )

        active = self.monitor.before(self.operation, judge, lambda: f"session {key!r}")
        if active is not None and self.operation.effect == "write":
            self.monitor.watcher.surface([args, kwargs], "memory write", self.operation)
        return active

    def after(self, active: Active, result: Any) -> None:
        """Items that name another owner are foreign; one that is taken out is read as well."""
        __tracebackhide__ = True
        self.monitor.read(self.operation, result)
        if owner := foreign_in_value(result, active, self.monitor.levels):
            self.monitor.foreign(self.operation, active, owner)


def install(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch the methods that each class of sessions has of its own."""
    base = module.SessionABC
    for method in REQUIRED:
        if method not in vars(base):
            raise patcher.broken(f"SessionABC.{method} not found")

    def watch(owner: type) -> None:
        for name, held in tuple(vars(owner).items()):
            named = name in REQUIRED or name.startswith(READS)
            if named and inspect.iscoroutinefunction(held) and subclasses.defines(owner, name):
                hooks = _Watch(monitor, name)
                patcher.wrap(owner, name, hooks.before, hooks.after, claims=True)

    subclasses.each(patcher, base, watch)


SEAM = Seam("openai-agents", "openai-agents", {"agents.memory.session": install})
