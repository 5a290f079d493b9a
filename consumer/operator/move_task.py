"""SQS's own way to put dead letters back: all of a queue, in AWS, whatever becomes of us.

SQS developer guide, "Learn how to configure a dead-letter queue redrive"; the API references of
StartMessageMoveTask, ListMessageMoveTasks and CancelMessageMoveTask. FIFO queues too; no choosing
among the messages; one task per queue, for 36 hours at most.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from consumer.operator.dead_letters import DeadLetters
from consumer.operator.refusals import Refused, refusals

MAX_PER_S: Final = 500  # of MaxNumberOfMessagesPerSecond
LOOK_S: Final = 1.0
UNDER_WAY: Final = ("RUNNING", "CANCELLING")


class Moved(Struct, frozen=True):
    """How a task ended."""

    status: str
    """COMPLETED, CANCELLED or FAILED."""
    moved: int
    reason: str | None


async def move(letters: DeadLetters, per_s: int, tell: Callable[[int], None]) -> Moved:
    """Move them all back; `tell` hears how many it were so far. Cancelled, it cancels the task.

    Raises `Refused`.
    """
    before = await _latest(letters)
    if before.get("Status") in UNDER_WAY:
        raise Refused(f"a message move task of {letters.dead.arn} is under way: wait for its end")
    with refusals(letters.dead.arn):
        answer = await letters.client.start_message_move_task(
            SourceArn=letters.dead.arn,
            # Left out, SQS asks each message whence it came; EventBridge's came from no queue.
            DestinationArn=letters.queue.arn,
            MaxNumberOfMessagesPerSecond=per_s,
        )
        handle = answer["TaskHandle"]
    try:
        return await _follow(letters, before, tell)
    except asyncio.CancelledError:  # Ctrl-C
        with refusals(letters.dead.arn):
            ended = await letters.client.cancel_message_move_task(TaskHandle=handle)
        return Moved("CANCELLED", int(ended.get("ApproximateNumberOfMessagesMoved", 0)), None)
    except Refused as error:
        raise Refused(f"{error}; the task goes on without us") from error


async def _follow(letters: DeadLetters, before: Any, tell: Callable[[int], None]) -> Moved:
    while True:
        task = await _latest(letters)
        is_ours = task.get("StartedTimestamp") != before.get("StartedTimestamp")
        if is_ours:
            moved = int(task.get("ApproximateNumberOfMessagesMoved", 0))
            tell(moved)
            if task["Status"] not in UNDER_WAY:
                return Moved(task["Status"], moved, task.get("FailureReason"))
        await asyncio.sleep(LOOK_S)


async def _latest(letters: DeadLetters) -> Any:
    with refusals(letters.dead.arn):
        answer = await letters.client.list_message_move_tasks(SourceArn=letters.dead.arn)
        return next(iter(answer.get("Results", ())), {})
