"""THE PATH of a message: receive, decode, append, acknowledge. Everything else serves it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Final

from consumer.core import events
from consumer.core.events import Event
from consumer.ports import LogUnavailable, Message, Source, SourceUnavailable, StatusLog

log = logging.getLogger(__name__)

RETRY_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)  # then every 5 s, for as long as it takes
MAX_RELEASES: Final = (
    25  # over the stack's maxReceiveCount of 20; a queue without one must not spin
)
Counts = Counter[tuple[str, str]]
"""What happened, by metric and label."""


async def run(source: Source, status_log: StatusLog, counts: Counts, stop: asyncio.Event) -> None:
    """Move messages from a queue to the log until told to stop; lets the last poll finish."""
    failures = 0
    while not stop.is_set():
        try:
            received = await source.receive()
        except SourceUnavailable as error:
            counts["poll_errors", source.name] += 1
            log.warning("poll failed", extra={"queue": source.name, "reason": str(error)})
            await _pause(failures, stop)
            failures += 1
            continue
        failures = 0
        decoded, refused = _decode(received, source.name, counts)
        if await _append([event for _, event in decoded], status_log, counts, stop):
            await source.delete([message for message, _ in decoded])
            counts["messages_deleted", source.name] += len(decoded)
        else:  # told to stop: another consumer need not wait for the visibility timeout
            await source.release([message for message, _ in decoded])
        # Malformed messages leave for the dead-letter queue by receives, so: the sooner the better.
        # What follows one in its message group is not held back. It would be received, and
        # counted, as often as the malformed one, and end in the dead-letter queue beside it.
        await source.release([each for each in refused if each.receive_count <= MAX_RELEASES])


def _decode(
    received: Sequence[Message], queue: str, counts: Counts
) -> tuple[list[tuple[Message, Event]], list[Message]]:
    """Tell what can be shown from what can't."""
    decoded: list[tuple[Message, Event]] = []
    refused: list[Message] = []
    for message in received:
        try:
            decoded.append((message, events.decode(message.body)))
        except events.Malformed as error:
            refused.append(message)
            if message.receive_count <= 1:  # it comes back until the queue gives up on it
                counts["messages_malformed", queue] += 1
                log.warning(
                    "malformed message left for the dead-letter queue",
                    extra={"queue": queue, "message_id": message.id, "reason": str(error)},
                )
    counts["messages_received", queue] += len(received)
    return decoded, refused


async def _append(
    batch: list[Event], status_log: StatusLog, counts: Counts, stop: asyncio.Event
) -> bool:
    """Have the log commit a batch, however long it takes: until then nothing more is received.

    False when told to stop before that; the messages stay in the queue.
    """
    failures = 0
    while batch:
        try:
            verdicts = await status_log.append(batch)
        except LogUnavailable as error:
            counts["log_errors", "append"] += 1
            log.error("the log refuses", extra={"reason": str(error), "events": len(batch)})  # noqa: TRY400
            await _pause(failures, stop)
            failures += 1
            if stop.is_set():
                return False
        else:
            for verdict in verdicts:
                counts["events", verdict] += 1
            break
    return True


async def _pause(failures: int, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), RETRY_S[min(failures, len(RETRY_S) - 1)])
    except TimeoutError:
        return
