"""THE PATH of a message: receive, decode, append, acknowledge. Everything else serves it."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from consumer.core import events
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.ports import LogUnavailable, Message, Source, SourceUnavailable, StatusLog
from consumer.timings import Timings

log = logging.getLogger(__name__)

RETRY_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # then every 5 s, for as long as it takes
FULL: Final = 10  # messages in an answer that leaves more to ask for
MAX_RELEASES: Final = 25  # over maxReceiveCount's 20; a queue that has none must not spin
MAX_BEHIND: Final = 10_000  # entries in the log and not yet sent: × ~2 kB = 20 MB
LOOK_S: Final = 0.05  # how often one looks whether there is room again
Counts = Counter[tuple[str, ...]]
"""What happened, by metric and its labels."""
Choose = Callable[[Sequence[Event]], Awaitable[list[Event]]]
"""Which events are for our viewers; the others are acknowledged and not appended."""


class Gate:
    """Whether there is room for more: not while the log refuses or does not answer, nor while the
    hub is behind.
    """

    def __init__(
        self, behind: Callable[[], int], away_s: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`behind` tells how many entries the log has that were not offered to clients yet,
        `away_s` for how long the log has not answered.
        """
        self.refusals = 0
        self._behind = behind
        self._away_s = away_s

    @property
    def refuses(self) -> bool:
        """Whether the log takes nothing."""
        return bool(self.refusals or self._away_s())

    @property
    def is_open(self) -> bool:
        """Whether to receive."""
        return not self.refuses and self._behind() < MAX_BEHIND


class Pipeline:
    """Moves one queue's messages to the log: one poll while it is empty, more while it is full."""

    def __init__(
        self,
        source: Source,
        status_log: StatusLog,
        counts: Counts,
        timings: Timings,
        gate: Gate,
        *,
        choose: Choose,
        most_polls: int,
    ) -> None:
        self.name = source.name
        self.polls = 0
        self._source = source
        self._log = status_log
        self._counts = counts
        self._timings = timings
        self._gate = gate
        self._choose = choose
        self._most_polls = most_polls
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; lets the polls under way finish."""
        self._stop = stop
        async with asyncio.TaskGroup() as tasks:
            self._open_poll(tasks)

    def _open_poll(self, tasks: asyncio.TaskGroup) -> None:
        if self.polls < self._most_polls:
            self.polls += 1
            tasks.create_task(self._poll(tasks))

    async def _poll(self, tasks: asyncio.TaskGroup) -> None:
        """Receive again and again; ends when others are enough."""
        failures = 0
        try:
            while await self._room():
                try:
                    received = await self._source.receive()
                except SourceUnavailable as error:
                    self._counts["poll_errors", self.name, error.kind] += 1
                    reason = {"queue": self.name, "kind": error.kind, "reason": str(error)}
                    log.warning("poll failed", extra=reason)
                    if self.polls > 1:
                        return
                    await self._pause(failures)
                    failures += 1
                    continue
                failures = 0
                self._timings.received(self.name, received)
                if len(received) >= FULL:
                    self._open_poll(tasks)
                elif not received and self.polls > 1:
                    return
                await self._take(received)
        finally:
            self.polls -= 1

    async def _room(self) -> bool:
        """Wait until there is room for more; False when told to stop."""
        if not self._stop.is_set() and not self._gate.is_open:
            self._counts["polls_held_back", self.name] += 1
            log.warning("polling waits: the log or the hub is behind", extra={"queue": self.name})
            while not self._stop.is_set() and not self._gate.is_open:  # noqa: ASYNC110 # of two
                await asyncio.sleep(LOOK_S)
        return not self._stop.is_set()

    async def _take(self, received: Sequence[Message]) -> None:
        """Decode, choose, append, acknowledge."""
        decoded, refused = self._decode(received)
        if await self._append(await self._choose([event for _, event in decoded])):
            await self._source.delete([message for message, _ in decoded])
            self._counts["messages_deleted", self.name] += len(decoded)
        else:  # told to stop: another consumer need not wait for the visibility timeout
            await self._source.release([message for message, _ in decoded])
        # Malformed messages leave for the dead-letter queue by receives, so: the sooner the better.
        # What follows one in its message group is not held back. It would be received, and
        # counted, as often as the malformed one, and end in the dead-letter queue beside it.
        await self._source.release([one for one in refused if one.receive_count <= MAX_RELEASES])

    def _decode(
        self, received: Sequence[Message]
    ) -> tuple[list[tuple[Message, Event]], list[Message]]:
        """Tell what can be shown from what can't."""
        queue = self.name
        decoded: list[tuple[Message, Event]] = []
        refused: list[Message] = []
        for message in received:
            try:
                decoded.append((message, events.decode(message.body)))
            except events.Malformed as error:
                refused.append(message)
                if message.receive_count <= 1:  # it comes back until the queue gives up on it
                    self._counts["messages_malformed", queue] += 1
                    log.warning(
                        "malformed message left for the dead-letter queue",
                        extra={"queue": queue, "message_id": message.id, "reason": str(error)},
                    )
        self._counts["messages_received", queue] += len(received)
        return decoded, refused

    async def _append(self, batch: list[Event]) -> bool:
        """Have the log commit a batch, however long it takes: until then nothing is received.

        False when told to stop before that; the messages stay in the queue.
        """
        failures = 0
        while batch:
            begun_s = time.monotonic()
            try:
                verdicts = await self._log.append(batch)
            except LogUnavailable as error:
                self._counts["log_errors", "append"] += 1
                reason = {"queue": self.name, "events": len(batch), "reason": str(error)}
                log.error("the log refuses", extra=reason)  # noqa: TRY400
                self._gate.refusals += not failures
                await self._pause(failures)
                failures += 1
                if self._stop.is_set():
                    return False
            else:
                self._count(batch, verdicts, time.monotonic() - begun_s)
                self._gate.refusals -= bool(failures)
                break
        return True

    def _count(self, batch: Sequence[Event], verdicts: Sequence[Verdict], took_s: float) -> None:
        for verdict, events_ in Counter(verdicts).items():
            self._counts["events", verdict] += events_
        told = zip(batch, verdicts, strict=True)
        self._timings.appended([event for event, verdict in told if verdict.is_sent], took_s)

    async def _pause(self, failures: int) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), RETRY_S[min(failures, len(RETRY_S) - 1)])
        except TimeoutError:
            return
