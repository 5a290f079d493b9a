"""Both shells on the real server, whose connections are cut and which goes away."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumer.client import Gap, Lost, Resumed, Snapshot, Status
from consumer.edges.server import Server
from tests.client.conftest import Dial
from tests.client.scripted import Reader, items
from tests.core import examples
from tests.edges.conftest import Service, service

_ = service  # a fixture

EVENTS = 50


@asynccontextmanager
async def reading(reader: Reader, last: int) -> AsyncIterator[asyncio.Task[list[object]]]:
    """All that it yields, up to the last event."""

    async def read() -> list[object]:
        told: list[object] = []
        while not isinstance(told[-1] if told else None, Status) or _seq(told[-1]) != last:
            told += await items(reader, 1)
        return told

    async with asyncio.timeout(60):
        task = asyncio.create_task(read())
        yield task
        await task


def _seq(item: object) -> int | None:
    assert isinstance(item, Status)
    run = item.event["execution"]
    assert run is not None
    return run["seq"]


def _seqs(told: list[object]) -> list[int | None]:
    return [_seq(item) for item in told if isinstance(item, Status)]


async def test_each_event_once_however_often_it_is_cut_off(service: Service, dial: Dial) -> None:
    """In order, with no gap, from before the first cut to after the last."""
    dice = random.Random(7)
    reader = dial(service.url)
    assert isinstance((await items(reader, 2))[0], Snapshot)
    async with reading(reader, EVENTS) as task:
        for seq in range(1, EVENTS + 1):
            await service.log.append([examples.step(seq)])
            if dice.random() < 0.3:
                for connection in service.server.connections:
                    connection.abort()
            await asyncio.sleep(0.002)  # so that some of it is told meanwhile
    told = task.result()
    assert _seqs(told) == list(range(1, EVENTS + 1))
    assert sum(isinstance(item, Lost) for item in told) > 3
    assert any(isinstance(item, Resumed) for item in told)
    assert not any(isinstance(item, Gap) for item in told)


async def test_a_server_that_is_replaced(service: Service, dial: Dial) -> None:
    """It drains; another one takes its port; nothing is missed and nothing repeated."""
    reader = dial(service.url)
    await items(reader, 2)
    async with reading(reader, 3) as task:
        await service.log.append([examples.step(1)])
        first = service.server
        await first.drain()
        await service.log.append([examples.step(2)])
        again = Server(
            service.hub, first.site, first.counts, first.door, heartbeat_s=0.2, mass=first.mass
        )
        await again.listen("127.0.0.1", service.port)
        service.closing.push_async_callback(again.drain)
        await service.log.append([examples.step(3)])
    told = task.result()
    assert _seqs(told) == [1, 2, 3]
    (lost,) = [item for item in told if isinstance(item, Lost)]
    assert lost.why == "the server is restarting"
    assert 0.5 <= lost.retry_s <= 3.0
