"""What is told from memory is what the log would have told, byte for byte."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any

from consumer.around_log import AroundLog
from consumer.core.entries import Entry
from consumer.core.messages import Subscribe
from consumer.core.recent import Recent
from consumer.hub import REPLAYED, Hub
from consumer.ports import StatusLog
from tests.contract.conftest import Logs
from tests.contract.test_log import now_ms
from tests.contract.trace import RecordingClient
from tests.core import examples

EVENTS = 3 * REPLAYED
RUNS = 6
WATCHES = (
    ["*"],
    ["machine:standard", "execution:run-2"],
    [f"instance:{examples.INSTANCE}"],
    ["execution:run-1", "execution:run-3"],
    ["execution:never-heard-of"],
)


class ReadLog(AroundLog):
    """A log that knows how often it was read."""

    def __init__(self, log: StatusLog) -> None:
        super().__init__(log)
        self.reads = 0

    async def read(self, after: int, upto: int) -> list[Entry]:
        self.reads += 1
        return await super().read(after, upto)


async def resumed(hub: Hub, watch: list[str], since: str) -> list[dict[str, Any]]:
    """What a client is told that comes back with a cursor."""
    client = RecordingClient(hub.epoch, outbox=EVENTS)
    hub.admit(client)
    hub.request(client, Subscribe(watch, since=since))
    async with asyncio.timeout(10):
        while hub._tasks:
            await asyncio.gather(*hub._tasks.values())
    hub.dismiss(client)
    return client.frames


async def test_a_resume_from_memory_is_the_logs(logs: Logs) -> None:
    """From every place and for each kind of watch; the log is asked only for what is older."""
    dice = random.Random(1)
    log = await logs.open(now_ms)
    counted = ReadLog(log)
    recent = Recent(EVENTS // 2)
    plain, keeping = Hub(log, now_ms), Hub(counted, now_ms, recent=recent)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(logs.close, log)
        for hub in (plain, keeping):
            await hub.load()
            following = asyncio.create_task(hub.follow())
            closing.callback(following.cancel)
        for number in range(EVENTS):
            turn, run = divmod(number, RUNS)
            seq = turn // 3 * 3 + (2, 1, 3)[turn % 3]  # one in three comes late
            instance = dice.choice([examples.INSTANCE, None])
            detail = {"pad": "x" * dice.randint(0, 300)}
            event = examples.step(seq, run=f"run-{run}", instance_id=instance, detail=detail)
            await log.append([event])
        async with asyncio.timeout(10):
            while min(plain.place, keeping.place) < log.head:  # noqa: ASYNC110  # one turn each
                await asyncio.sleep(0)
        assert 0 < recent.floor < log.head - REPLAYED
        around = range(recent.floor - 2, recent.floor + 3)
        for place in sorted({*range(0, log.head, 31), *around, log.head}):
            counted.reads = 0
            for watch in WATCHES:
                since = f"{log.epoch}-{place}"
                assert await resumed(keeping, watch, since) == await resumed(plain, watch, since)
            assert (counted.reads == 0) == (place >= recent.floor)
