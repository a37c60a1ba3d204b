"""The catalog arranged for questions: what operation is a method of this type, what does a call return."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from boundlint.catalog.model import Catalog, Client, Operation


@dataclass(frozen=True)
class Lookup:
    """Tables over one catalog; types are dotted paths as users import them."""

    clients: Mapping[str, tuple[Client, ...]]
    methods: Mapping[str, Mapping[str, Operation]]
    functions: Mapping[str, Operation]
    factories: Mapping[str, str]
    returns: Mapping[str, Mapping[str, str]]
    method_names: frozenset[str]
    receivers: tuple[tuple[re.Pattern[str], str], ...]
    any_receiver: re.Pattern[str]
    _guesses: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def operation(self, type_name: str, method: str) -> Operation | None:
        """The operation that `method` on an instance of the type is."""
        return self.methods.get(type_name, {}).get(method)

    def function(self, dotted: str) -> Operation | None:
        """The operation that a call of this importable function, decorator or constructor is."""
        found = self.functions.get(dotted)
        if found is None:
            owner, _, method = dotted.rpartition(".")
            found = self.operation(owner, method)
        return found

    def made_by(self, dotted: str) -> str | None:
        """The client type that a call of this dotted path returns: a constructor or a factory."""
        if dotted in self.clients:
            return dotted
        found = self.factories.get(dotted)
        if found is None:
            owner, _, method = dotted.rpartition(".")
            found = self.returns.get(owner, {}).get(method)
        return found

    def guesses(self, name: str) -> tuple[str, ...]:
        """Client types that a variable of this name suggests."""
        known = self._guesses.get(name)
        if known is None:
            lowered = name.lower().strip("_")
            # most names suggest nothing, which one look at all patterns tells
            rows = self.receivers if self.any_receiver.match(lowered) else ()
            known = tuple(type_name for pattern, type_name in rows if pattern.match(lowered))
            self._guesses[name] = known
        return known


def build(catalog: Catalog) -> Lookup:
    """Arrange a catalog; the first entry of a target wins, so the project's own entries come first."""
    clients: dict[str, tuple[Client, ...]] = {}
    groups: dict[str, tuple[str, ...]] = {}
    returns: dict[str, dict[str, str]] = {}
    factories: dict[str, str] = {}
    receivers: list[tuple[re.Pattern[str], str]] = []
    for client in catalog.clients:
        main = client.types[0]
        names = (*client.types, *client.instances)
        for type_name in names:
            clients[type_name] = (*clients.get(type_name, ()), client)
            returns.setdefault(type_name, {}).update(client.returns)
            groups[type_name] = (*groups.get(type_name, ()), *names)
        for factory in client.factories:
            factories.setdefault(factory, main)
        receivers += [(re.compile(fnmatch.translate(p.lower())), main) for p in client.receivers]
    methods: dict[str, dict[str, Operation]] = {}
    functions: dict[str, Operation] = {}
    for operation in catalog.operations:
        for target in (operation.target, operation.twin, *operation.aliases):
            if not target:
                continue
            owner, _, name = target.rpartition(".")
            # a decorator may be a method of a client too (`region.cache_on_arguments`)
            if operation.form == "method" or owner in groups:
                for type_name in (owner, *groups.get(owner, ())):
                    methods.setdefault(type_name, {}).setdefault(name, operation)
            if operation.form != "method":
                functions.setdefault(target, operation)
    method_names = frozenset(name for table in methods.values() for name in table)
    any_receiver = re.compile("|".join(pattern.pattern for pattern, _ in receivers) or r"(?!)")
    return Lookup(
        clients, methods, functions, factories, returns, method_names, tuple(receivers), any_receiver
    )
