"""Which guards hold for each query of a function, once all of its body has been followed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from boundlint.flow.queries import IDENTIFIER, INPUT, QUERY, Lookup, origins, record_of

if TYPE_CHECKING:
    from boundlint.flow.guards import Check
    from boundlint.flow.lookups import Lookups
    from boundlint.flow.values import Value

MATCHED = re.compile(
    r"^self\.kwargs(?:\.get\(|\[)['\"](\w+)['\"][\])]$"
)  # what a view was called with, as the parameter of this name
OWN_ID = re.compile(r"(?:\.|\[['\"])(?:id|pk)(?:['\"]\])?$")


def guarded(lookups: Lookups) -> tuple[Lookup, ...]:
    """All queries with the guards that hold for them."""
    for value, own, others, reason in lookups.comparisons:
        by_record = not OWN_ID.search(own) and any(_is_handed_record(lookups, source) for source in others)
        if by_record or any(source in lookups.checked_ids for source in others):
            lookups.protect(value, reason)
        elif not OWN_ID.search(own):
            _tie(lookups, value, others)
    _tie_to_earlier(lookups)
    _forget_ways(lookups)
    rows = _within(_through_parents([_bound(lookups, row) for row in lookups.found.values()]))
    _check_listed(lookups, rows)
    for row in rows:  # a guard on a record, or a scoped query, checks the id that it was found by
        for source in () if row.taken else row.ids:
            if row.scoped:
                reason = f"loaded with its boundary: {row.statement[:60]}"
                lookups.check(source, reason, row.line, firm=row.mark in lookups.tested)
            elif row.guards:
                lookups.check(source, row.guards[0], row.line, firm=True)
    return tuple(
        replace(
            row,
            guards=tuple(dict.fromkeys(_guards(lookups, row, rows))),
            created=tuple(sorted(lookups.created.get(row.type_name, ()))),
            handed_on=row.mark in lookups.handed_on,
        )
        for row in rows
    )


def is_way(lookups: Lookups, check: Check, row: Lookup) -> bool:
    """Whether a check is no more than the call that leads to the query, whose function leaves the boundary out."""
    return (
        row.mark in lookups.left_out
        and not check.firm
        and check.line == row.line
        and check.reason == f"checked by {row.call}"
    )


def _forget_ways(lookups: Lookups) -> None:
    """A call that is handed an id and the caller checks nothing where its function queries by the id alone."""
    for source, check in list(lookups.checked_ids.items()):
        if any(
            source in row.ids and row.open and is_way(lookups, check, row) for row in lookups.found.values()
        ):
            del lookups.checked_ids[source]


def checked(lookups: Lookups, rows: Sequence[Lookup]) -> frozenset[str]:
    """The ids that the function checks, by their source; a boundary that is handed to a call is none."""
    vocabulary = lookups.run.vocabulary
    return frozenset(
        source
        for source, check in lookups.checked_ids.items()
        if check.firm
        or not (
            any(vocabulary.is_strict(part) for part in source.split("."))
            or any(row.open and is_way(lookups, check, row) for row in rows)
        )
    )


def _check_listed(lookups: Lookups, rows: list[Lookup]) -> None:
    """An id that is looked for among rows which are the caller's is checked: `if file_id not in own_files`."""
    own = {row.row for row in rows if row.scoped or any(_guards(lookups, row, rows))}
    for source, among, check in lookups.listed:
        if among <= own:
            lookups.check(source, check.reason, check.line, firm=check.firm)


def _bound(lookups: Lookups, row: Lookup) -> Lookup:
    """A query with what ties it to another id that is checked: `Section.report_id == report_id`."""
    reasons = []
    only = (
        set(row.ids) if len(row.ids) == 1 else set()
    )  # says which record it is; of several each binds the rest
    for source in () if row.scoped else sorted(row.values - only):
        check = lookups.checked_ids.get(source)
        if check is not None and (check.firm or check.line <= row.line):
            reasons.append(f"bound to {source}, {check.reason}")
        elif _is_handed_record(lookups, source):
            reasons.append(f"bound to {source}, of a record that is handed in")
    return replace(row, guards=tuple(dict.fromkeys((*row.guards, *reasons))))


def _guards(lookups: Lookups, row: Lookup, rows: list[Lookup]) -> Iterator[str]:
    yield from row.guards
    if row.scoped:
        return
    for source in (MATCHED.sub(r"\1", source) for source in row.ids):
        record = record_of(source) or lookups.derived.record_of(source)
        check = lookups.checked_ids.get(source) or lookups.checked_ids.get(record)
        check = (
            check or lookups.derived.check_of(source, lookups.checked_ids) or _check_of_parts(lookups, source)
        )
        check = check or lookups.checked_ids.get(lookups.loops.get(source, ""))
        if check is not None and (check.firm or check.line <= row.line) and not is_way(lookups, check, row):
            yield check.reason
    for source in row.ids:
        for other in rows:
            if other is row or other.taken or other.model != row.model or source not in other.ids:
                continue
            beside = {*other.ids, *other.values} - {source}
            if other.scoped or (
                other.line <= row.line and any(name in lookups.checked_ids for name in beside)
            ):
                yield f"loaded with its boundary: {other.statement[:60]}"


def _check_of_parts(lookups: Lookups, source: str) -> Check | None:
    """The check of an id that is put together, where each part went through one: `[*added, *removed]`."""
    if source.isidentifier():
        return None
    try:
        nodes = list(ast.walk(ast.parse(source, mode="eval")))
    except SyntaxError:  # cut to a bound by `source_of`: which parts it has is not known
        return None
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    parts = {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in called}
    checks = [lookups.checked_ids[name] for name in sorted(parts & lookups.checked_ids.keys())]
    return checks[0] if len(parts) > 1 and len(checks) == len(parts) else None


def _tie(lookups: Lookups, value: Value, others: Sequence[str]) -> None:
    """A record that is compared with the id of a parent, a parameter: as if the query had compared it.

    Whoever calls may have checked that id, as in `.where(Section.id == id, Section.report_id == report_id)`.
    """
    params = {param.name for param in lookups.run.function.facts.params}
    parents = tuple(name for name in others if name in params and IDENTIFIER.match(name))
    for key, row in lookups.found.items() if parents else ():
        if row.ids and row.mark in {QUERY + origin for origin in origins(value)}:
            lookups.found[key] = replace(row, ids=tuple(dict.fromkeys((*row.ids, *parents))))


def _tie_to_earlier(lookups: Lookups) -> None:
    """An id by which a record of a parent was found before, or refused, says no more than the two did together."""
    rows = list(lookups.found.items())
    for key, row in rows:
        for _, other in rows if len(row.ids) == 1 and not row.taken else ():
            first = other.mark in lookups.tested and other.line < row.line and not other.taken
            if first and len(other.ids) > 1 and row.ids[0] in other.ids:
                lookups.found[key] = replace(row, ids=tuple(dict.fromkeys((*row.ids, *other.ids))))
                break


def _is_handed_record(lookups: Lookups, source: str) -> bool:
    """Whether a compared value is the id of a parameter that is a record: `Message.app_id == app_model.id`."""
    root, _, attribute = source.partition(".")
    params = {param.name for param in lookups.run.function.facts.params}
    return attribute in ("id", "pk") and root in params and not INPUT.search(root)


def _within(rows: list[Lookup]) -> list[Lookup]:
    """Rows within a record that was found with its boundary, or that is checked, are guarded by it."""
    parents = {row.row: row for row in rows if row.scoped or row.guards}
    for index, row in enumerate(rows):
        for mark in sorted(row.beside & parents.keys()):
            if parents[mark].line <= row.line and not row.scoped:
                reason = f"within a record that is checked: {parents[mark].statement[:60]}"
                rows[index] = replace(rows[index], guards=tuple(dict.fromkeys((*rows[index].guards, reason))))
    return rows


def _through_parents(rows: list[Lookup]) -> list[Lookup]:
    """A record is guarded by the parent that is loaded through it, where that one is scoped or guarded."""
    marks = {row.row: index for index, row in enumerate(rows)}
    for row in rows:
        through = [mark for mark in row.id_value.marks if mark in marks]
        if (
            len(through) != 1
            or not (row.scoped or row.guards)
            or not any("." in source for source in row.ids)
        ):
            continue
        child = rows[marks[through[0]]]
        if child.model != row.model and child.line <= row.line:
            reason = f"its parent is checked: {row.statement[:60]}"
            rows[marks[through[0]]] = replace(child, guards=tuple(dict.fromkeys((*child.guards, reason))))
    return rows
