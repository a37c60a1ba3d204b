"""Run one function over many items in local processes; a process that dies is an error, never a silence."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import deque
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


@dataclass
class _Worker(Generic[Item]):
    """A process, its own share of the work, and the chunk that it is at."""

    process: multiprocessing.process.BaseProcess
    own: deque[Sequence[Item]]
    chunk: Sequence[Item] = ()


def run(items: Sequence[Item], work: Callable[[Item], Result], jobs: int) -> Iterator[Outcome[Item, Result]]:
    """The outcomes in any order.  `work` may raise; the item then fails and the others go on.

    Each process has a run of neighbors for its own, for what it learned of one item helps with the next, and
    helps another only when it is through.  Processes are forked where the system can, so that they share what the caller has built; elsewhere `work`
    is sent to them.
    """
    jobs = min(jobs, max(1, len(items) // FEWEST * 2))
    if jobs <= 1:
        for item in items:
            yield _one(item, work)
        return
    size = max(1, len(items) // (jobs * CHUNKS_EACH))
    queues = _shares(items, size, jobs)
    pending: dict[Connection, _Worker[Item]] = {}
    try:
        for queue in queues:
            ours, theirs = multiprocessing.Pipe()
            process = _process(theirs, work)
            process.start()
            theirs.close()
            pending[ours] = _Worker(process, queue)
            _hand_out(ours, queues, pending)
        while pending:
            for ready in wait(list(pending)):
                assert isinstance(ready, Connection)
                worker = pending[ready]
                try:
                    outcomes = ready.recv()
                except (EOFError, ConnectionResetError):
                    worker.process.join()
                    del pending[ready]
                    failure = Failure(_death(worker.process.exitcode))
                    yield from (Outcome(item, None, failure) for item in worker.chunk)
                    continue
                _hand_out(ready, queues, pending)
                yield from outcomes
        left = Failure("no process was left to analyze it")
        yield from (Outcome(item, None, left) for queue in queues for chunk in queue for item in chunk)
    finally:
        for connection, worker in pending.items():
            connection.close()
            worker.process.terminate()


def _shares(items: Sequence[Item], size: int, jobs: int) -> list[deque[Sequence[Item]]]:
    """The items in chunks of neighbors, the chunks in equal shares of neighbors."""
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    share = -(-len(chunks) // jobs)
    return [deque(chunks[start : start + share]) for start in range(0, len(chunks), share)]


def _process(connection: Connection, work: Callable[[Item], Result]) -> multiprocessing.process.BaseProcess:
    if "fork" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("fork").Process(
            target=_serve, args=(connection, work), daemon=True
        )
    return multiprocessing.get_context("spawn").Process(target=_serve, args=(connection, work), daemon=True)


def _hand_out(
    connection: Connection, queues: Sequence[deque[Sequence[Item]]], pending: dict[Connection, _Worker[Item]]
) -> None:
    """Give a process its next chunk: of its own share, or the last one of the share with most left."""
    worker = pending[connection]
    fullest = max(queues, key=len)
    chunk = worker.own.popleft() if worker.own else fullest.pop() if fullest else None
    if chunk is None:
        del pending[connection]
    else:
        worker.chunk = chunk
    try:
        connection.send(chunk)
    except OSError:
        return  # it died: the next wait tells
    if chunk is None:
        worker.process.join()
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
