"""What is in the queues, asked of SQS once a minute while somebody scrapes.

Two requests a minute are 86,400 a month: some four cents (SQS' price of $0.40 a million), and
nothing within its free million. Where CloudWatch's own metrics do, nobody scrapes.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from consumer.edges.sqs import Backlog, SqsQueue
from consumer.pipeline import Counts
from consumer.ports import SourceUnavailable

ASK_S: Final = 60.0  # SQS' own figures are a minute behind (GetQueueAttributes' API reference)
WANTED_S: Final = 300.0  # Prometheus scrapes once a minute or more often, and may miss some


class Backlogs:
    """The queues' backlogs, as far as they are known."""

    def __init__(
        self,
        queues: Sequence[SqsQueue],
        counts: Counts,
        *,
        ask_s: float = ASK_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queues = queues
        self._counts = counts
        self._ask_s = ask_s
        self._clock = clock
        self._wanted_s: float | None = None
        self._known: dict[str, Backlog] = {}

    def read(self) -> dict[str, Backlog]:
        """By queue; without those that did not answer. From any thread: it is replaced as a whole.

        Says that somebody wants to know, so that the next ones are asked for.
        """
        self._wanted_s = self._clock()
        return self._known

    async def run(self) -> None:
        """Ask, for ever."""
        while True:
            wanted_s = self._wanted_s
            if wanted_s is not None and self._clock() - wanted_s < WANTED_S:
                self._known = await self._ask()
            else:
                self._known = {}
            await asyncio.sleep(self._ask_s)

    async def _ask(self) -> dict[str, Backlog]:
        known = {}
        for queue in self._queues:
            try:
                known[queue.name] = await queue.backlog()
            except SourceUnavailable:  # its polls complain of the same
                self._counts["backlog_errors", queue.name] += 1
        return known
