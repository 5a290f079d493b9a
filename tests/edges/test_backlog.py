"""The queues' backlogs: asked for while somebody wants to know."""

import asyncio

from consumer.edges.backlog import WANTED_S, Backlogs
from consumer.edges.sqs import Backlog
from consumer.pipeline import Counts
from consumer.ports import SourceUnavailable


class FakeQueue:
    """A queue that tells its backlog, or fails."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked = asyncio.Semaphore(0)
        self.fails = False

    async def backlog(self) -> Backlog:
        self.asked.release()
        if self.fails:
            raise SourceUnavailable("gone")
        return Backlog(visible=3, delayed=0, in_flight=2)


async def rounds(queue: FakeQueue, count: int) -> None:
    async with asyncio.timeout(10):
        for _ in range(count):
            await queue.asked.acquire()


async def test_nobody_asks_for_what_nobody_wants_to_know() -> None:
    """A request is a cost, however small."""
    queue, now_s = FakeQueue("status"), 0.0
    backlogs = Backlogs([queue], Counts(), ask_s=0, clock=lambda: now_s)  # type: ignore[list-item]
    task = asyncio.create_task(backlogs.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert queue.asked.locked()
    assert backlogs.read() == {}
    await rounds(queue, 2)
    assert backlogs.read() == {"status": Backlog(3, 0, 2)}
    now_s = WANTED_S
    for _ in range(10):
        await asyncio.sleep(0)
    assert backlogs.read() == {}
    task.cancel()


async def test_a_queue_that_does_not_say_has_a_gap_in_its_graph() -> None:
    """A backlog of an hour ago is no backlog; the other queue's is told all the same."""
    dumb, other, counts = FakeQueue("status"), FakeQueue("service"), Counts()
    backlogs = Backlogs([dumb, other], counts, ask_s=0)  # type: ignore[list-item]
    dumb.fails = True
    backlogs.read()
    task = asyncio.create_task(backlogs.run())
    await rounds(other, 2)
    assert backlogs.read() == {"service": Backlog(3, 0, 2)}
    assert counts["backlog_errors", "status"] >= 1
    task.cancel()
