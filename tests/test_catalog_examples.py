from __future__ import annotations

import ast

import pytest

from boundlint.catalog.loader import load_catalog
from boundlint.catalog.model import SCOPE_ROLES, Family

FAMILIES = load_catalog().families
# A write is scoped by what it writes, a raw command by its parameters.
CONTENT = {"document", "metadata", "params", "statement", "sql"}
FLAGS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def _tree(source: str) -> str:
    return ast.dump(compile(source, "<example>", "exec", flags=FLAGS))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_operation_has_a_pair_of_examples_that_parse_and_differ(family: Family) -> None:
    wrong = []
    for operation in family.operations:
        try:
            unscoped, scoped = _tree(operation.unscoped_example), _tree(operation.scoped_example)
        except SyntaxError as error:
            wrong.append(f"{operation.source} {operation.target}: {error}")
            continue
        if not operation.unscoped_example or not operation.scoped_example or unscoped == scoped:
            wrong.append(f"{operation.source} {operation.target}: no pair of different examples")
    assert wrong == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_operation_says_what_counts_as_scoped(family: Family) -> None:
    assert [operation.target for operation in family.operations if not operation.scoped] == []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_an_operation_that_can_be_scoped_says_where(family: Family) -> None:
    """By an argument, by somebody else, or not at all: nothing is left unsaid."""
    silent = [
        f"{operation.source} {operation.target}"
        for operation in family.operations
        if operation.form in ("method", "function")
        and operation.effect not in ("none", "admin")
        and operation.kind in ("memory", "retrieval", "cache", "database", "checkpoint")
        and not operation.binders
        and not (SCOPE_ROLES | CONTENT) & {argument.role for argument in operation.args}
    ]
    assert silent == []


def test_every_operation_underneath_is_an_entry_itself() -> None:
    operations = [operation for family in FAMILIES for operation in family.operations]
    known = {
        path for operation in operations for path in (operation.target, operation.twin, *operation.aliases)
    }
    dangling = {path for operation in operations for path in operation.delegates} - known
    assert dangling == set()
