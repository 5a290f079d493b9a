"""Group commit on SQLite: one thread writes, and all that waits goes into one transaction.

What a commit costs (an fsync) is shared by everyone who waited for it.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

MAX_GROUP: Final = 256  # pieces of work in one transaction: bounds the time that it takes

R = TypeVar("R")
Work = Callable[[sqlite3.Connection], R]


class Drafted(Protocol):
    """What pieces of work leave in memory, to be written together. On the writer's thread."""

    def write(self) -> None:
        """Write it, within the transaction."""

    def give_up(self) -> None:
        """The transaction has failed, whatever was written."""


class GroupCommit(Generic[R]):
    """Runs pieces of work, each wholly or not at all, in the order in which they were given."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        draft: Drafted,
        *,
        durable: Callable[[list[R]], None],
        committed: Callable[[list[R]], None],
    ) -> None:
        """Both are told what a commit made: first `durable`, on the writer's thread, and not to
        raise; then `committed`, on the event loop, before those who wait.
        """
        self._connection = connection
        self._draft = draft
        self._durable = durable
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._waiting: queue.SimpleQueue[tuple[Work[R], asyncio.Future[R]] | None] = (
            queue.SimpleQueue()
        )
        # A daemon: a process that fails before it closes the log must end. What it leaves undone
        # nobody was told of.
        self._thread = threading.Thread(
            target=self._run_until_closed, name="sqlite-writer", daemon=True
        )
        self._thread.start()

    async def run(self, work: Work[R]) -> R:
        """What `work` returned, after its commit. Raises what it or SQLite raised: then none is."""
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiting.put((work, future))
        return await future

    async def close(self) -> None:
        """Finish what was given, then end the thread."""
        self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run_until_closed(self) -> None:
        is_closed = False
        while not is_closed:
            group = [self._waiting.get()]
            while len(group) < MAX_GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            is_closed = None in group
            self._commit([each for each in group if each is not None])

    def _commit(self, group: list[tuple[Work[R], asyncio.Future[R]]]) -> None:
        futures = [future for _, future in group]
        try:
            if self._connection.in_transaction:  # an earlier rollback failed too
                self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN IMMEDIATE")
            results = [work(self._connection) for work, _ in group]
            self._draft.write()
            self._connection.execute("COMMIT")
        except Exception as error:  # handed to those who wait, who try again or end the process
            self._draft.give_up()
            with contextlib.suppress(sqlite3.Error):  # the next commit rolls back first
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            self._loop.call_soon_threadsafe(_fail, futures, error)
        else:
            self._durable(results)
            self._loop.call_soon_threadsafe(self._tell, futures, results)

    def _tell(self, futures: list[asyncio.Future[R]], results: list[R]) -> None:
        self._committed(results)
        for future, result in zip(futures, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(futures: list[asyncio.Future[R]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
