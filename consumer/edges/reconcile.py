"""The reconciler: asks AWS where silence is suspicious. What it learns is an event like any other.

One consumer runs one; cancel it to end it. Whatever AWS does not answer is asked again later.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.overdue import is_express
from consumer.edges.aws import NotDescribed
from consumer.edges.executions import Executions
from consumer.edges.fleet import Fleet
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate
from consumer.ports import EpochEnded, LogUnavailable, SourceUnavailable, StatusLog, Trimmed

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
BACKLOG_S: Final = 5.0  # before the queues are asked again whether they are drained
# DescribeExecution may be called 10 times a second, and 250 times at once; in us-east-1, us-west-2
# and eu-west-1 15 and 300 times ("Step Functions service quotas", per account and region). The REST
# API's GET /executions makes the same calls: half of them are ours.
DESCRIBE_GAP_S: Final = 0.2
MAX_ASKED: Final = 25  # × 0.2 s = 5 s, in which a backlog may have come up
MAX_APPENDED: Final = 100  # events at once
RETRY_S: Final = 5.0  # doubled with each failure, up to the interval between sweeps
COMPLAINT_S: Final = 300.0  # between two log lines about the same trouble


class Learned:
    """What was learned, on its way to the log; and what troubled us."""

    def __init__(self, status_log: StatusLog, gate: Gate, counts: Counts) -> None:
        self.log = status_log
        self._gate = gate
        self._counts = counts
        self._complained_s: dict[str, float] = {}

    async def append(self, learned: Sequence[Event]) -> None:
        """Have the log take it, some at a time, however long it takes."""
        for start in range(0, len(learned), MAX_APPENDED):
            some = learned[start : start + MAX_APPENDED]
            while not await self._append(some):  # noqa: ASYNC110  # for a disk, say
                await asyncio.sleep(RETRY_S)

    async def _append(self, some: Sequence[Event]) -> bool:
        while not self._gate.is_open:  # noqa: ASYNC110  # what the queues bring goes first
            await asyncio.sleep(LOOK_S)
        try:
            verdicts = await self.log.append(some)
        except LogUnavailable as error:
            self.complain("the log", error)
            return False
        for verdict in verdicts:
            self._counts["reconciled", verdict] += 1
        return True

    def complain(self, about: str, error: Exception) -> None:
        """Count it, and log it now and then: no permission lasts until somebody mends it."""
        self._counts["reconcile_errors", about] += 1
        trouble, now_s = f"{about}: {error}", time.monotonic()
        if now_s - self._complained_s.get(trouble, -COMPLAINT_S) >= COMPLAINT_S:
            self._complained_s[trouble] = now_s
            log.warning("reconciling failed; trying later", extra={"reason": trouble})


class Reconciler:
    """Listens to the log for who is silent, asks, and appends the answers."""

    def __init__(
        self,
        learned: Learned,
        hub: Hub,
        fleet: Fleet,
        executions: Executions,
        *,
        is_drained: Callable[[], Awaitable[bool]],
        sweep_s: float,
    ) -> None:
        """`is_drained` tells whether the queues hold nothing that would break a silence."""
        self._learned = learned
        self._hub = hub
        self._fleet = fleet
        self._executions = executions
        self._is_drained = is_drained
        self._sweep_s = sweep_s
        self._place = 0
        self._epoch = ""
        self._is_due = asyncio.Event()  # a sweep, whenever the next one would come
        self._instances: dict[str, Event] = {}  # the newest event of each, until it is terminated
        self._missing: set[str] = set()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as tasks:
            for loop in (self._listen, self._sweep, self._look):
                tasks.create_task(loop())

    async def _listen(self) -> None:
        """Hear all that the log appends, beginning with what stands in it."""
        while True:
            self._place = self._hub.place  # nothing is awaited between this and the view
            if self._hub.epoch != self._epoch:
                self._begin_epoch()
            for entry in self._hub.view.matching(("*",)):
                self._fleet.remember(entry.event)
                self._hear(entry)
            try:
                async for entries in self._learned.log.changes(after=self._place):
                    for entry in entries:
                        self._hear(entry)
                    self._place = entries[-1].place
            except (EpochEnded, LogUnavailable, Trimmed) as error:
                self._learned.complain("the log", error)
                await asyncio.sleep(RETRY_S)

    def _begin_epoch(self) -> None:
        """What the log may have lost, EC2 is asked for at once; there is nobody else to tell."""
        if self._epoch:
            self._is_due.set()
        self._epoch = self._hub.epoch
        self._instances.clear()
        self._missing.clear()

    def _hear(self, entry: Entry) -> None:
        event = entry.event
        if event.execution is not None:
            self._executions.hear(entry)
            return
        id_ = str(event.instance_id)
        known = self._instances.get(id_)
        if known and event.time[:19] == known.time[:19] and event.status != known.status:
            self._fleet.doubt(event)  # EC2 tells whole seconds: which of the two came first?
        if not entry.late:
            self._instances[id_] = event
            if event.terminal:
                del self._instances[id_]

    async def _sweep(self) -> None:
        """Ask for the whole fleet, at once and then again and again."""
        failures = 0
        while True:
            self._is_due.clear()
            try:
                await self._sweep_once()
            except NotDescribed as error:
                self._learned.complain("sweep", error)
                pause_s = min(RETRY_S * 2 ** min(failures, 10), self._sweep_s)
                failures += 1
            else:
                pause_s, failures = self._sweep_s, 0
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        """For so long, or until a sweep is due."""
        waits = [asyncio.create_task(each) for each in (asyncio.sleep(pause_s), self._due())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _due(self) -> None:
        await self._is_due.wait()

    async def _sweep_once(self) -> None:
        found = await self._fleet.sweep()
        await self._learned.append(found)
        missing = self._instances.keys() - {event.instance_id for event in found}
        # EC2 may not know a new instance yet, so one look is no proof that it is gone.
        if (gone := missing & self._missing) and await self._are_queues_drained():
            await self._learned.append(await self._fleet.gone(gone))
        self._missing = missing

    async def _look(self) -> None:
        """Ask about what became doubtful."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._learned.append(await self._fleet.settle())
                if self._executions.silent():
                    await self._ask()
            except NotDescribed as error:
                self._learned.complain("look", error)
                await asyncio.sleep(RETRY_S)

    async def _ask(self) -> None:
        """Ask about executions that are silent though nothing waits that could break it."""
        if not await self._are_queues_drained():
            await asyncio.sleep(BACKLOG_S)
            return
        for event in self._executions.silent()[:MAX_ASKED]:
            if ending := await self._executions.ending(event):
                await self._learned.append([ending])
            if not is_express(event):
                await asyncio.sleep(DESCRIBE_GAP_S)

    async def _are_queues_drained(self) -> bool:
        """Whether all that was sent is in the log, and we have heard all that the log has."""
        try:
            return await self._is_drained() and self._place >= self._learned.log.head
        except SourceUnavailable as error:
            self._learned.complain("queues", error)
            return False
