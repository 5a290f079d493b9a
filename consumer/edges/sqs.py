"""SQS as a `Source`: long polls, deletes and releases in batches, visibility while in hand.

Polls and deletes have connections of their own: those that wait never keep a delete waiting.
"""

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from botocore.exceptions import ClientError
from msgspec import Struct

from consumer.edges import aws
from consumer.edges.batches import MAX_BATCH, Batches
from consumer.edges.sqs_calls import BatchAnswer, Delivery
from consumer.pipeline import Counts
from consumer.ports import Message, SourceUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

    from consumer.edges.sqs_calls import SqsCalls

log = logging.getLogger(__name__)

HOLD_S: Final = 600.0  # the longest that a message is kept invisible while it waits for the log
ATTEMPT_S: Final = 240.0  # SQS knows an attempt for 5 minutes (ReceiveMessage's API reference)
SETTLE_S: Final = 1.0  # for what is in hand to be appended and deleted; it takes milliseconds
_BACKLOG: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)
_ATTRIBUTES: Final = (
    "ApproximateReceiveCount",
    "MessageGroupId",
    "SentTimestamp",
    "AWSTraceHeader",
)


class _Held(Struct, gc=False):
    """A message in hand; times are the monotonic clock's, in seconds."""

    message: Message
    since_s: float
    extended_s: float


class Backlog(NamedTuple):
    """What SQS says is in a queue, approximately, whoever has it in hand."""

    visible: int
    delayed: int
    in_flight: int


class Clients(NamedTuple):
    """How SQS is called; for all queues."""

    polls: "SqsCalls"
    deletes: "SqsCalls"
    others: "SQSClient"


class SqsQueue:
    """One queue; see `consumer.ports.Source`. Several tasks may receive at the same time."""

    def __init__(
        self,
        name: str,
        url: str,
        clients: Clients,
        *,
        poll_wait_s: int,
        visibility_s: int,
        counts: Counts | None = None,
    ) -> None:
        self.name = name
        self.answered_s: float | None = None
        """When it last answered a poll, by the monotonic clock."""
        self._url = url
        self._clients = clients
        self._counts = Counts() if counts is None else counts
        self._poll_wait_s = poll_wait_s
        self._visibility_s = visibility_s
        self._held: dict[str, _Held] = {}
        self._unanswered: list[tuple[float, str]] = []
        # No two processes have the same; random bytes for each attempt would cost 8 µs.
        self._attempts = map(f"{uuid.uuid4().hex}{{:x}}".format, itertools.count())
        self._deletes = Batches(self._delete)
        self._releases = Batches(self._release)

    @property
    def in_hand(self) -> int:
        """Messages received and neither deleted nor given back."""
        return len(self._held)

    async def receive(self) -> list[Message]:
        """See `Source.receive`. The first poll returns at once, to show that the queue answers."""
        begun_s, attempt = self._attempt()
        try:
            answer = await self._clients.polls.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_BATCH,
                WaitTimeSeconds=self._poll_wait_s if self.answered_s is not None else 0,
                VisibilityTimeout=self._visibility_s,
                MessageSystemAttributeNames=_ATTRIBUTES,
                **({"ReceiveRequestAttemptId": attempt} if attempt else {}),
            )
            received = [_message(delivery) for delivery in answer.messages]
        except aws.FAILURES as error:
            if attempt and _may_have_answered(error):
                self._unanswered.append((begun_s, attempt))
            raise _unavailable(error) from error
        self.answered_s = now_s = time.monotonic()
        for message in received:
            self._held[message.receipt_handle] = _Held(message, now_s, now_s)
        return received

    async def delete(self, messages: Sequence[Message]) -> None:
        """See `Source.delete`."""
        await self._deletes.put(messages)

    async def release(self, messages: Sequence[Message]) -> None:
        """See `Source.release`."""
        for message in messages:
            self._let_go(message)
        await self._releases.put(messages)

    async def keep(self) -> None:
        """Keep what is in hand invisible to others, for ever; each message for `HOLD_S` at most.

        Past that it comes back, and is a repeat when its first copy has been appended meanwhile.
        """
        while True:
            await asyncio.sleep(self._visibility_s / 4)
            now_s = time.monotonic()
            due = []
            for held in list(self._held.values()):
                if now_s - held.since_s > HOLD_S:
                    self._let_go(held.message)
                elif now_s - held.extended_s >= self._visibility_s / 2:
                    held.extended_s = now_s
                    due.append(held.message)
            for start in range(0, len(due), MAX_BATCH):
                await self._change(due[start : start + MAX_BATCH], self._visibility_s)

    async def is_drained(self) -> bool:
        """Whether, as far as SQS can tell, everything that was sent has been appended and deleted.

        A queue under load is never empty, so what is in our own hands may settle. SQS counts a
        message within a minute of its sending (GetQueueAttributes' API reference): who infers
        something from silence waits for longer than that first. Raises `SourceUnavailable`.
        """
        left = await self.backlog()
        in_hand = set(self._held)
        if left.visible or left.delayed or left.in_flight > len(in_hand):
            return False
        if in_hand:
            await asyncio.sleep(SETTLE_S)
        return in_hand.isdisjoint(self._held)

    async def backlog(self) -> Backlog:
        """What is in the queue. One request; raises `SourceUnavailable`."""
        try:
            answer = await self._clients.others.get_queue_attributes(
                QueueUrl=self._url, AttributeNames=_BACKLOG
            )
            return Backlog(*(int(answer["Attributes"][name]) for name in _BACKLOG))
        except aws.FAILURES as error:
            raise _unavailable(error) from error

    async def close(self, timeout_s: float) -> None:
        """Send the deletes that are pending, then give back what is still in hand."""
        await self._deletes.close(timeout_s)
        await self.release([held.message for held in self._held.values()])
        await self._releases.close(timeout_s)

    def _attempt(self) -> tuple[float, str | None]:
        """The attempt to receive again, whose answer was lost on its way, and when it was first
        made; else a new one.

        FIFO queues only: they hand out the same messages again for it, which would otherwise hold
        up their groups until the visibility timeout.
        """
        now_s = time.monotonic()
        if not self._url.endswith(".fifo"):
            return now_s, None
        while self._unanswered:
            begun_s, attempt = self._unanswered.pop()
            if now_s - begun_s < ATTEMPT_S:
                return begun_s, attempt
        return now_s, next(self._attempts)

    async def _delete(self, batch: Sequence[Message]) -> Sequence[Message]:
        try:
            answer = await self._clients.deletes.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": message.receipt_handle}
                    for place, message in enumerate(batch)
                ],
            )
            again, stale = _failed(answer, batch)  # neither, as a rule
        except aws.FAILURES as error:
            self._counts["delete_errors", self.name] += 1
            log.warning("delete failed; trying again", extra=self._told(batch, error))
            return batch
        for message in batch:
            if message not in again:  # it is gone; or stale, and the queue redelivers it
                self._let_go(message)
        if stale:
            self._counts["receipts_expired", self.name] += len(stale)
            log.info(
                "receipt handles had expired", extra={"queue": self.name, "messages": len(stale)}
            )
        return again

    async def _release(self, batch: Sequence[Message]) -> Sequence[Message]:
        """Tried once: what stays invisible is redelivered after its visibility timeout."""
        await self._change(batch, 0)
        return ()

    async def _change(self, batch: Sequence[Message], visibility_s: int) -> None:
        """Change the visibility timeout, from now on."""
        try:
            answer = await self._clients.others.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(place),
                        "ReceiptHandle": message.receipt_handle,
                        "VisibilityTimeout": visibility_s,
                    }
                    for place, message in enumerate(batch)
                ],
            )
            _, stale = _failed(msgspec.convert(answer, BatchAnswer), batch)
        except aws.FAILURES as error:
            self._counts["visibility_errors", self.name] += 1
            log.warning("visibility was not changed", extra=self._told(batch, error))
            return
        for message in stale:  # another has it, or it is gone
            self._let_go(message)

    def _let_go(self, message: Message) -> None:
        self._held.pop(message.receipt_handle, None)

    def _told(self, batch: Sequence[Message], error: BaseException) -> dict[str, object]:
        return {"queue": self.name, "messages": len(batch), "reason": aws.name_of(error)}


def _unavailable(error: BaseException) -> SourceUnavailable:
    return SourceUnavailable(aws.name_of(error), aws.kind_of(error))


def _message(delivery: Delivery) -> Message:
    attributes = delivery.attributes
    # In milliseconds since 1970 (SQS' API reference, "Message"); only for a metric, so it fails
    # no poll.
    sent = attributes.sent_timestamp
    return Message(
        delivery.message_id,
        delivery.body,
        delivery.receipt_handle,
        attributes.message_group_id,
        int(attributes.approximate_receive_count),
        int(sent) if sent.isdecimal() else None,
        attributes.trace_header,
    )


def _failed(answer: BatchAnswer, batch: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Of a batch those to try again, and those whose receipt handle is stale: SQS lays the failure
    at our door, and trying again would not help.
    """
    failed = [(batch[int(each.id)], each.sender_fault) for each in answer.failed]
    return [m for m, ours in failed if not ours], [m for m, ours in failed if ours]


def _may_have_answered(error: BaseException) -> bool:
    """Whether SQS may have handed out messages that never came here."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) >= 500
    return True
