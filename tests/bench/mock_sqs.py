"""The mock of SQS as a child process; `native/mock_sqs.c` says what it can do."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from infra.local.child import Child
from infra.local.places import HOST, ROOT
from tests.bench import processor

ACCOUNT: Final = "000000000000"
LOOK_S: Final = 0.02
START_S: Final = 10.0


class Counts(msgspec.Struct, frozen=True):
    """What the mock has done so far."""

    at_ns: int
    """Of the monotonic clock."""
    receives: int
    empty: int
    """Of these, answered without a message."""
    deletes: int
    """Calls, not messages."""
    received: int
    deleted: int
    """Messages, each counted once."""
    deleted_again: int
    visibility_changes: int
    others: int
    """Calls that are none of the queue's traffic."""
    due: int
    """Events that a fixed rate has made and nobody fetched; -1 where there is no rate."""
    cpu_us: int
    """The mock's own: near the time that passed, the mock is what limits."""


class MockSqs:
    """One that runs. Its FIFO queue holds the events, its standard queue stays empty."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.endpoint = f"http://{HOST}:{port}"
        self.queue_url = f"{self.endpoint}/{ACCOUNT}/status.fifo"
        self.service_url = f"{self.endpoint}/{ACCOUNT}/service"
        self._http = http

    async def counts(self) -> Counts:
        """What it has done so far."""
        return await self._ask("counts")

    async def pace(self, rate: float | None) -> Counts:
        """Events per second from now on; 0: none; None: as many as are asked for."""
        return await self._ask(f"pace?rate={'max' if rate is None else rate}")

    async def until(self, reached: Callable[[Counts], bool], within_s: float) -> Counts:
        """Wait for what it has done to be enough. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while True:
                if reached(counts := await self.counts()):
                    return counts
                await asyncio.sleep(LOOK_S)

    async def drained(self, within_s: float) -> Counts:
        """Wait for all that was handed out to be deleted. Raises `TimeoutError`."""
        return await self.until(lambda counts: counts.deleted >= counts.received, within_s)

    async def _ask(self, what: str) -> Counts:
        async with self._http.get(f"{self.endpoint}/{what}") as response:
            return msgspec.json.decode(await response.read(), type=Counts)


@asynccontextmanager
async def mock_sqs(program: Path, output: Path, **options: float) -> AsyncIterator[MockSqs]:
    """A mock on the core of the load; options are the program's, `_` for `-`."""
    words = [word for name, value in options.items() for word in (_option(name), str(value))]
    child = await Child.start(
        [program, *words], output=output, environment=dict(os.environ), cwd=ROOT
    )
    try:
        processor.pin(child.pid, processor.LOAD)
        async with aiohttp.ClientSession() as http:
            yield MockSqs(await _port(child), http)
    finally:
        await child.kill()


async def _port(child: Child) -> int:
    async with asyncio.timeout(START_S):
        while not (told := child.output.read_text()).endswith("\n"):
            if child.exit_code is not None:
                raise RuntimeError(f"the mock ended ({child.exit_code}): {told}")
            await asyncio.sleep(LOOK_S)
    return int(told)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
