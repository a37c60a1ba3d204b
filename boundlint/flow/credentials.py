"""Credentials of the process, from the environment or the settings, and the calls that they reach."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boundlint.flow.names import CREDENTIAL_MARK
from boundlint.flow.values import Value, join
from boundlint.index.extract import path_of
from boundlint.index.nodes import span_of
from boundlint.index.project import Function
from boundlint.index.receivers import Callee

if TYPE_CHECKING:
    from boundlint.flow.arguments import Arguments
    from boundlint.flow.interpret import Interpreter

QUIET_KINDS = frozenset({"llm", "log"})  # every tenant's prompts go to one model provider
# Calls that only read or shape the credential.
SHAPES = re.compile(
    r"^(?:os|environ|settings|config|re|json|base64|str|len|bool|logging|logger|hashlib|hmac)(?:\.|$)"
)


@dataclass(frozen=True, slots=True)
class CredentialUse:
    """A call to something outside that is made with a credential of the whole process.

    `scoped` says that a boundary goes along with it, in the same call.
    """

    name: str
    call: str
    function: Function
    span: tuple[int, int, int, int]
    scoped: bool


class Credentials:
    """The uses of process-wide credentials in one function, each credential once."""

    def __init__(self, run: Interpreter) -> None:
        self.run = run
        self.found: dict[str, CredentialUse] = {}

    def on_call(self, node: ast.Call, callee: Callee, receiver: Value, given: Arguments) -> None:
        """Remember a call outside of the project whose receiver or arguments hold a credential."""
        if callee.kind not in ("external", "unknown", "operation") or not self.run.function.facts.qualname:
            return
        if callee.operation is not None and callee.operation.kind in QUIET_KINDS:
            return
        held = [row for row in (receiver, given.joined(), given.spread) if _names(row)]
        path = path_of(node.func)
        if not held or SHAPES.match(path):
            return
        everything = join([receiver, given.joined(), given.spread])
        span = span_of(node)
        scoped = bool(everything.carriers or everything.maybe)
        for row in held:
            for name in sorted(_names(row)):
                self.found.setdefault(name, CredentialUse(name, path, self.run.function, span, scoped))


def _names(value: Value) -> set[str]:
    return {mark.removeprefix(CREDENTIAL_MARK) for mark in value.marks if mark.startswith(CREDENTIAL_MARK)}
