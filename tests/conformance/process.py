"""The consumer as a delivery in a process of its own, which can be killed.

As a program: `python -m tests.conformance.process FOLDER PORT`. Prints its address, publishes each
line of its input, a JSON list of messages, and drains when told to end.
"""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.conformance.consumer import serving
from tests.conformance.delivery import Message

ROOT: Final = Path(__file__).parents[2]
LINE_BYTES: Final = 1 << 20


class Process:
    """One that runs; `url` as `Delivery` has it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self._process = process

    async def publish(self, *messages: Message) -> None:
        """See `Delivery`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(messages).encode() + b"\n")
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """As a crash would."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def running(folder: Path, port: int = 0) -> AsyncIterator[Process]:
    """One on the log of a folder, on that port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, folder, str(port),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield Process(process, json.loads(await process.stdout.readline()))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def _main(folder: Path, port: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(folder, asks=False, port=port) as consumer:
        print(json.dumps(consumer.url), flush=True)
        lines = asyncio.StreamReader(limit=LINE_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)

        async def publish() -> None:
            async for line in lines:
                await consumer.publish(*json.loads(line))

        publishing = asyncio.create_task(publish())
        await stop.wait()
        publishing.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
