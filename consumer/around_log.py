"""A status log before another, for those who change one thing of it and say only that."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.ports import StatusLog


class AroundLog:
    """A `StatusLog` that asks another for everything."""

    def __init__(self, status_log: StatusLog) -> None:
        self._log = status_log

    @property
    def epoch(self) -> str:
        """See `StatusLog.epoch`."""
        return self._log.epoch

    @property
    def head(self) -> int:
        """See `StatusLog.head`."""
        return self._log.head

    @property
    def away_s(self) -> float:
        """See `StatusLog.away_s`."""
        return self._log.away_s

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        return await self._log.append(batch)

    async def newest(self) -> tuple[int, list[Entry]]:
        """See `StatusLog.newest`."""
        return await self._log.newest()

    def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        """See `StatusLog.changes`."""
        return self._log.changes(after)

    async def read(self, after: int, upto: int) -> list[Entry]:
        """See `StatusLog.read`."""
        return await self._log.read(after, upto)

    async def history(self, key: str, upto: int) -> list[Entry]:
        """See `StatusLog.history`."""
        return await self._log.history(key, upto)

    async def prune(self) -> int:
        """See `StatusLog.prune`."""
        return await self._log.prune()

    async def lead(self, work: Callable[[StatusLog], Awaitable[None]]) -> None:
        """See `StatusLog.lead`."""
        await self._log.lead(work)
