"""Verifies the catalog: imports the installed clients and checks that what it describes still exists."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from boundlint.catalog.introspect import (
    Found,
    argument_problems,
    is_async,
    is_installed,
    names_attribute,
    resolve,
)
from boundlint.catalog.model import Catalog, Client, Family, Operation
from boundlint.catalog.versions import installed_version, satisfies, split_requirement


@dataclass(frozen=True)
class Verification:
    """What was found of one family here.

    `installed` maps the distributions it names to their versions; `missing` are those that are not there.
    `verified` operations exist as described.  `unverified` ones could not be looked at, with the reason:
    their client is not installed, or in a version that the entry is not about.  `problems` contradict the
    catalog, each with the file and line of the entry.
    """

    family: str
    title: str
    installed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    operations: int = 0
    verified: int = 0
    unverified: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether something was verified and nothing contradicts the catalog."""
        return self.verified > 0 and not self.problems


def verify(families: Catalog | Iterable[Family]) -> list[Verification]:
    """Check every family against what is installed in this environment; imports the clients."""
    if isinstance(families, Catalog):
        families = families.families
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [_verify_family(family) for family in families]


@dataclass(frozen=True)
class _Note:
    """One thing to say about an entry; `unknown`: it could not be looked at, which contradicts nothing."""

    text: str
    unknown: bool = False


def _verify_family(family: Family) -> Verification:
    installed: dict[str, str] = {}
    missing: list[str] = []
    for requirement in family.requires:
        name, _ = split_requirement(requirement)
        version = installed_version(name)
        if version is None:
            missing.append(name)
        else:
            installed[name] = version
    other = _other_version(family, installed)
    if other:
        return Verification(
            family=family.name,
            title=family.title,
            installed=installed,
            missing=tuple(missing),
            operations=len(family.operations),
            unverified=tuple(f"{operation.target}: {other}" for operation in family.operations),
        )
    problems = list(_set_up(family))
    unverified: list[str] = []
    for client in family.clients:
        for note in _client_notes(client):
            (unverified if note.unknown else problems).append(f"{client.source}: {note.text}")
    verified = 0
    for operation in family.operations:
        reason = _not_here(operation)
        if reason:
            unverified.append(f"{operation.target}: {reason}")
            continue
        notes = list(_operation_notes(operation, family.clients))
        for note in notes:
            (unverified if note.unknown else problems).append(f"{operation.source}: {note.text}")
        verified += not notes
    return Verification(
        family=family.name,
        title=family.title,
        installed=installed,
        missing=tuple(missing),
        operations=len(family.operations),
        verified=verified,
        unverified=tuple(unverified),
        problems=tuple(problems),
    )


def _other_version(family: Family, installed: dict[str, str]) -> str:
    """Why nothing of a family can be verified here: a client in a version that the family is not about."""
    for requirement in family.requires:
        name, specifier = split_requirement(requirement)
        if name in installed and not satisfies(installed[name], specifier):
            return f"the family is about {requirement}, here is {installed[name]}"
    return ""


def _set_up(family: Family) -> Iterator[str]:
    roots = [name for client in family.clients for name in client.types]
    roots += [operation.target for operation in family.operations]
    if family.setup and any(is_installed(name) for name in roots):
        try:
            exec(family.setup, {})  # the catalog's own statement, e.g. django's settings.configure()
        except ImportError:
            return  # a part of the family that is not installed
        except Exception as error:
            # a second family in this process may have set up the same client
            if "already configured" not in str(error):
                yield f"{family.source}: 'setup' failed: {type(error).__name__}: {error}"


def _not_here(operation: Operation) -> str:
    if not is_installed(operation.target):
        return "its client is not installed"
    if operation.versions:
        name, specifier = split_requirement(operation.versions)
        version = installed_version(name)
        if version is not None and not satisfies(version, specifier):
            return f"the entry is about {operation.versions}, here is {version}"
    return ""


def _look(what: str, path: str) -> Found | _Note | None:
    """What is at the path, what to say of its absence, or None where its package is not installed."""
    if not is_installed(path):
        return None
    found = resolve(path)
    return found if isinstance(found, Found) else _Note(f"{what} {path}: {found.reason}", found.optional)


def _client_notes(client: Client) -> Iterator[_Note]:
    classes = []
    for path in client.types:
        found = _look("client type", path)
        if isinstance(found, _Note):
            yield found
        elif found is not None and not isinstance(found.value, type):
            yield _Note(f"client type {path} is no class but {type(found.value).__name__}")
        elif found is not None:
            classes.append(found.value)
    for what, paths in (("factory", client.factories), ("instance", client.instances)):
        for path in paths:
            found = _look(what, path)
            if isinstance(found, _Note):
                yield found
            elif found is not None and what == "factory" and not callable(found.value):
                yield _Note(f"factory {path} cannot be called")
    for method, result in client.returns.items():
        if classes and not any(hasattr(value, method) or names_attribute(value, method) for value in classes):
            unknown = not all(is_installed(path) for path in client.types)  # one of those may have it
            yield _Note(f"'returns' names {method!r}, which no type of the client has", unknown)
        found = _look(f"{method!r} returns", result)
        if isinstance(found, _Note):
            yield found


def _operation_notes(operation: Operation, clients: tuple[Client, ...]) -> Iterator[_Note]:
    target = _look("target", operation.target)
    if not isinstance(target, Found):
        yield target or _Note(f"target {operation.target}: is not installed", unknown=True)
        return
    seen = {id(target.function)}
    yield from _argument_notes(operation.target, target, operation)
    for path in operation.aliases:
        alias = _look("alias", path)
        if isinstance(alias, _Note):
            yield alias
        elif alias is not None and id(alias.function) not in seen:
            seen.add(id(alias.function))
            yield from _argument_notes(path, alias, operation)
    twin = _look("twin", operation.twin) if operation.twin else None
    if isinstance(twin, _Note):
        yield twin
    elif twin is not None and not is_async(twin):
        yield _Note(f"twin {operation.twin} is neither a coroutine function nor returns an awaitable")
    elif twin is not None:
        yield from _argument_notes(operation.twin, twin, operation, relative=True)
    # where the client's other types have the method too, it must take the same arguments
    owner, _, method = operation.target.rpartition(".")
    for path in (path for client in clients if owner in client.types for path in client.types):
        sibling = resolve(f"{path}.{method}") if is_installed(path) else None
        if isinstance(sibling, Found) and id(sibling.function) not in seen:
            seen.add(id(sibling.function))
            yield from _argument_notes(f"{path}.{method}", sibling, operation, relative=True)


def _argument_notes(path: str, found: Found, operation: Operation, relative: bool = False) -> Iterator[_Note]:
    for problem in argument_problems(found, operation.args, relative):
        yield _Note(f"{path}: {problem}")
