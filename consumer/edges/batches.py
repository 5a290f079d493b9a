"""Items sent ten at a time: what SQS' batch calls have in common."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_BATCH: Final = 10  # the most that SQS takes in one call
LINGER_S: Final = 0.05
RETRY_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # then every 5 s, until `close` has waited enough
MAX_PENDING: Final = 200  # put and not yet sent: 20 calls; whoever puts more waits

Send = Callable[[Sequence[T]], Awaitable[Sequence[T]]]
"""Sends at most `MAX_BATCH` items and returns those to send again. Never raises."""


class Batches(Generic[T]):
    """Sends at once while nothing is under way; else when ten have come together, or after 50 ms.

    So a quiet queue waits for nobody (a message group goes on only when the message before is
    deleted), and a busy one takes a tenth of the calls.
    """

    def __init__(self, send: Send[T]) -> None:
        self._send = send
        self._waiting: list[T] = []
        self._pending = 0
        self._freed = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def put(self, items: Sequence[T]) -> None:
        """Take items over; waits while too many are pending."""
        for start in range(0, len(items), MAX_BATCH):
            some = items[start : start + MAX_BATCH]
            while self._pending + len(some) > MAX_PENDING:
                self._freed.clear()
                await self._freed.wait()
            self._pending += len(some)
            self._waiting += some
            if len(self._waiting) >= MAX_BATCH:
                self._send_first()
        if not self._calls:
            self._flush()
        elif self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LINGER_S, self._flush)

    async def close(self, timeout_s: float) -> None:
        """Send what is pending; gives up what has not been sent by then."""
        self._flush()
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=timeout_s)
            for call in late:
                call.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._send_first()

    def _send_first(self) -> None:
        """As many as one call takes."""
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        call = asyncio.create_task(self._deliver(batch))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _deliver(self, batch: Sequence[T]) -> None:
        pending, failures = len(batch), 0
        try:
            while batch := await self._send(batch):
                await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
        finally:
            self._pending -= pending
            self._freed.set()
