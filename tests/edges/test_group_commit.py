"""Group commit: who shares a transaction, and what becomes of those who wait."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.edges.group_commit import MAX_GROUP, GroupCommit, Work


class Stubborn(sqlite3.Connection):
    """Refuses to roll back, once."""

    refused = False

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        if sql == "ROLLBACK" and not self.refused:
            self.refused = True
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, values)


class Nothing:
    """A draft of work that writes by itself."""

    def write(self) -> None:
        pass

    def give_up(self) -> None:
        pass


class Writer:
    """A writer that can be kept busy, so that work piles up behind it."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False, factory=Stubborn
        )
        self.connection.execute("CREATE TABLE done (n)")
        self.groups: list[list[int]] = []
        self.commits = GroupCommit[int](
            self.connection, Nothing(), durable=self.groups.append, committed=lambda _: None
        )
        self._freed = threading.Event()

    async def pile_up(self, *work: Work[int]) -> list[asyncio.Task[int]]:
        """Give it work that will wait together, until `free`."""
        busy = threading.Event()

        def block(_: sqlite3.Connection) -> int:
            busy.set()
            return int(self._freed.wait())

        self.blocked = asyncio.create_task(self.commits.run(block))
        await asyncio.to_thread(busy.wait)
        tasks = [asyncio.create_task(self.commits.run(each)) for each in work]
        await asyncio.sleep(0)  # each gives its work and waits
        return tasks

    def free(self) -> None:
        self._freed.set()


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    writer = Writer()
    yield writer
    writer.free()
    await writer.commits.close()
    writer.connection.close()


def _do(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO done VALUES (1)").rowcount


def _fail(connection: sqlite3.Connection) -> int:
    _do(connection)
    raise sqlite3.DataError("no")


async def test_what_waits_shares_a_commit_up_to_a_bound(writer: Writer) -> None:
    """A crowd neither pays for one commit each nor waits for one without end."""
    tasks = await writer.pile_up(*[_do] * (MAX_GROUP + 10))
    writer.free()
    assert await asyncio.gather(*tasks) == [1] * len(tasks)
    assert [len(group) for group in writer.groups] == [1, MAX_GROUP, 10]


@pytest.mark.parametrize("work", [_do, _fail])
async def test_who_gives_up_leaves_the_others_their_answer(writer: Writer, work: Work[int]) -> None:
    """One waiter of a group is cancelled: the next still learns what became of its work."""
    first, second = await writer.pile_up(work, work)
    first.cancel()
    await asyncio.sleep(0)
    writer.free()
    await asyncio.wait([second])
    assert first.cancelled()
    assert isinstance(second.exception(), sqlite3.DataError) == (work is _fail)


async def test_a_rollback_that_fails_is_made_up_for(writer: Writer) -> None:
    """The next commit begins with it, and has nothing of what failed."""
    with pytest.raises(sqlite3.DataError):
        await writer.commits.run(_fail)
    assert writer.connection.refused
    assert await writer.commits.run(_do) == 1
    assert writer.connection.execute("SELECT count(*) FROM done").fetchone() == (1,)
