"""Step Functions' executions: which of them are silent, and what DescribeExecution says of one."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from consumer.core import described
from consumer.core.entries import Entry
from consumer.core.events import EXECUTION_ENDINGS, Event
from consumer.core.overdue import Overdue, is_express
from consumer.edges import aws
from consumer.edges.aws import NotDescribed

if TYPE_CHECKING:
    from types_aiobotocore_stepfunctions.client import SFNClient


class Executions:
    """Those without an ending, and how they end."""

    def __init__(
        self,
        states: "SFNClient",
        quiet_s: float,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._states = states
        self._now_ms = now_ms
        self._clock = clock
        self._overdue = Overdue(quiet_s)

    def hear(self, entry: Entry) -> None:
        """Take note of an entry of the log."""
        self._overdue.hear(entry, self._clock())

    def silent(self) -> list[Event]:
        """The newest event of each that has been silent for too long."""
        return self._overdue.due(self._clock())

    async def ending(self, newest: Event) -> Event | None:
        """How a silent execution ended, or None where it goes on. Raises `NotDescribed`.

        Only for when the queues are drained: else the ending may be in one of them.
        """
        # Before the answer: one that fails always must not keep the others from their turn.
        if not self._overdue.put_off(newest.key, self._clock()):
            return None
        if is_express(newest):
            cause = "It told no ending within an Express run's bound."
            return described.inferred_ending(newest, "TIMED_OUT", self._now_ms(), cause)
        return await self._described(newest)

    async def _described(self, newest: Event) -> Event | None:
        """How a Standard execution ended.

        One that Step Functions does not know is over: it began long enough ago to be known, and
        is forgotten 90 days after its end ("Step Functions service quotas"), or with its machine.
        How it ended can be asked of nobody any more: ABORTED, for nobody saw it succeed.
        """
        arn = newest.execution.arn if newest.execution else ""
        try:
            answer = await self._states.describe_execution(executionArn=arn)
            status = answer["status"]
            if status == "PENDING_REDRIVE" or status not in EXECUTION_ENDINGS:
                return None
            stopped_ms = round(answer["stopDate"].timestamp() * 1000)
        except aws.FAILURES as error:
            if aws.name_of(error) == "ExecutionDoesNotExist":
                cause = "Step Functions does not know this execution any more."
                return described.inferred_ending(newest, "ABORTED", self._now_ms(), cause)
            raise NotDescribed(f"DescribeExecution: {aws.name_of(error)}") from error
        return described.ending(
            newest,
            status,
            stopped_ms,
            answer.get("redriveCount", 0),
            error=answer.get("error"),
            cause=answer.get("cause"),
        )
