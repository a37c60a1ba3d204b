"""Run one function over many items in local processes; a process that dies is an error, never a silence."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNKS_EACH = 12  # pieces of work a process asks for, so that a slow piece does not hold up the rest
FEWEST = 24  # items below which processes cost more than they save


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    message: str


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """One item with its result, or the failure that took its place."""

    item: Item
    result: Result | None
    failure: Failure | None = None


def run(items: Sequence[Item], work: Callable[[Item], Result], jobs: int) -> Iterator[Outcome[Item, Result]]:
    """The outcomes in any order.  `work` may raise; the item then fails and the others go on.

    Processes are forked where the system can, so that they share what the caller has built; elsewhere `work`
    is sent to them.
    """
    jobs = min(jobs, max(1, len(items) // FEWEST * 2))
    if jobs <= 1:
        for item in items:
            yield _one(item, work)
        return
    size = max(1, len(items) // (jobs * CHUNKS_EACH))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    pending: dict[Connection, tuple[multiprocessing.process.BaseProcess, Sequence[Item] | None]] = {}
    queue = list(reversed(chunks))
    try:
        for _ in range(jobs):
            ours, theirs = multiprocessing.Pipe()
            process = _process(theirs, work)
            process.start()
            theirs.close()
            pending[ours] = (process, None)
            _hand_out(ours, process, queue, pending)
        while pending:
            for ready in wait(list(pending)):
                assert isinstance(ready, Connection)
                process, chunk = pending[ready]
                try:
                    outcomes = ready.recv()
                except (EOFError, ConnectionResetError):
                    process.join()
                    del pending[ready]
                    yield from (
                        Outcome(item, None, Failure(_death(process.exitcode))) for item in chunk or ()
                    )
                    continue
                _hand_out(ready, process, queue, pending)
                yield from outcomes
        yield from (Outcome(i, None, Failure("no process was left to analyze it")) for c in queue for i in c)
    finally:
        for connection, (process, _) in pending.items():
            connection.close()
            process.terminate()


def _process(connection: Connection, work: Callable[[Item], Result]) -> multiprocessing.process.BaseProcess:
    if "fork" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("fork").Process(
            target=_serve, args=(connection, work), daemon=True
        )
    return multiprocessing.get_context("spawn").Process(target=_serve, args=(connection, work), daemon=True)


def _hand_out(
    connection: Connection,
    process: multiprocessing.process.BaseProcess,
    queue: list[Sequence[Item]],
    pending: dict[Connection, tuple[multiprocessing.process.BaseProcess, Sequence[Item] | None]],
) -> None:
    chunk = queue.pop() if queue else None
    if chunk is None:
        pending.pop(connection, None)
    else:
        pending[connection] = (process, chunk)
    try:
        connection.send(chunk)
    except OSError:
        return  # it died: the next wait tells
    if chunk is None:
        process.join()
        connection.close()


def _serve(connection: Connection, work: Callable[[Item], Result]) -> None:
    """What each process does: take a chunk, answer with its outcomes, until there is no chunk."""
    while (chunk := connection.recv()) is not None:
        connection.send([_one(item, work) for item in chunk])
    connection.close()


def _one(item: Item, work: Callable[[Item], Result]) -> Outcome[Item, Result]:
    try:
        return Outcome(item, work(item))
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}:{place.lineno}"
        return Outcome(
            item, None, Failure(f"boundlint failed on it: {type(error).__name__}: {error} ({where})")
        )


def _death(exitcode: int | None) -> str:
    return f"the process that analyzed it died (exit code {exitcode})"
