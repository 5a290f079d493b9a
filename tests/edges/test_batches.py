"""Ten at a time: what is sent together, and how much may be pending."""

import asyncio
from collections.abc import Sequence

import pytest

from consumer.edges import batches
from consumer.edges.batches import MAX_BATCH, MAX_PENDING, Batches


class Calls:
    """What was sent, call by call; each call takes until it is let go."""

    def __init__(self) -> None:
        self.sent: list[list[int]] = []
        self.going = asyncio.Event()

    async def send(self, batch: Sequence[int]) -> Sequence[int]:
        self.sent.append(list(batch))
        await self.going.wait()
        return ()


async def test_a_quiet_queue_waits_for_nobody() -> None:
    """While nothing is under way, a single item leaves at once."""
    calls = Calls()
    some = Batches(calls.send)
    await some.put([1])
    await asyncio.sleep(0)
    assert calls.sent == [[1]]
    calls.going.set()
    await some.close(5)


async def test_what_comes_meanwhile_leaves_together() -> None:
    """By time, and by count: never more than a call takes."""
    calls = Calls()
    some = Batches(calls.send)
    await some.put([0])
    for item in range(1, 5):
        await some.put([item])
    await asyncio.sleep(0)
    assert calls.sent == [[0]]
    await asyncio.sleep(3 * batches.LINGER_S)
    assert calls.sent == [[0], [1, 2, 3, 4]]
    await some.put(range(5, 5 + MAX_BATCH))
    await asyncio.sleep(0)
    assert calls.sent[2:] == [list(range(5, 5 + MAX_BATCH))]
    calls.going.set()
    await some.close(5)


async def test_who_puts_too_much_waits() -> None:
    """So a queue whose deletes fail is not received from for ever."""
    calls = Calls()
    some = Batches(calls.send)
    await some.put(range(MAX_PENDING))
    waiting = asyncio.create_task(some.put([MAX_PENDING]))
    done, _ = await asyncio.wait([waiting], timeout=0.05)
    assert not done
    calls.going.set()
    async with asyncio.timeout(5):
        await waiting
    await some.close(5)
    assert sorted(item for call in calls.sent for item in call) == list(range(MAX_PENDING + 1))


async def test_what_has_left_makes_room_for_as_much() -> None:
    """No more, and no less: neither do puts pile up, nor does anybody wait for ever."""
    calls = Calls()
    some = Batches(calls.send)
    puts = [asyncio.create_task(some.put(range(n * 15, n * 15 + 15))) for n in range(40)]
    for _ in range(200):
        await asyncio.sleep(0)
    assert MAX_PENDING - 2 * MAX_BATCH < sum(map(len, calls.sent)) <= MAX_PENDING
    calls.going.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*puts)
    await some.close(5)
    assert sorted(item for call in calls.sent for item in call) == list(range(40 * 15))


async def test_close_sends_what_is_pending_and_then_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be sent in time is dropped: the queue still has it."""
    monkeypatch.setattr(batches, "RETRY_S", (0.0,))
    tried = []

    async def never(batch: Sequence[int]) -> Sequence[int]:
        tried.append(batch)
        await asyncio.sleep(0)
        return batch

    some = Batches(never)
    await some.put([1])
    async with asyncio.timeout(5):
        await some.close(0.05)
    assert len(tried) > 1
