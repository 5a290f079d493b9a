"""The feed as a queue: the lines of a TCP connection as a `Source` of the product's pipeline."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from consumer.ports import Message

NAME: Final = "status"
ANSWER: Final = 10  # messages at most, as SQS gives them
WAIT_S: Final = 1.0
MOST_HELD: Final = 2_000  # lines; then the feed has to wait


class LineSource(asyncio.Protocol):
    """Gives each line once; deleting it is nothing, for it was never kept."""

    name = NAME

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._are_there = asyncio.Event()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        if whole:
            self._lines.extend(whole)
            self._are_there.set()
            if len(self._lines) > MOST_HELD:
                self._transport.pause_reading()

    async def receive(self) -> list[Message]:
        """See `Source.receive`."""
        try:
            await asyncio.wait_for(self._are_there.wait(), WAIT_S)
        except TimeoutError:
            return []
        lines = self._lines
        found = [lines.popleft() for _ in range(min(ANSWER, len(lines)))]
        if len(lines) <= MOST_HELD:
            self._transport.resume_reading()
        if not lines:
            self._are_there.clear()
        return [Message("", line.decode(), "", None, 1) for line in found]

    async def delete(self, messages: Sequence[Message]) -> None:
        """See `Source.delete`."""

    async def release(self, messages: Sequence[Message]) -> None:
        """See `Source.release`."""
