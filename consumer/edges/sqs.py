"""SQS as a `Source`: long polls, deletes and releases in batches, visibility while in hand.

Polls have a client, and so a connection pool, of their own: those that wait never keep a delete
waiting for a connection.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError
from msgspec import Struct

from consumer.edges.batches import MAX_BATCH, Batches
from consumer.ports import Message, SourceUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

log = logging.getLogger(__name__)

HOLD_S: Final = 600.0  # the longest that a message is kept invisible while it waits for the log
ATTEMPT_S: Final = 240.0  # SQS knows an attempt for 5 minutes (ReceiveMessage's API reference)
_FAILURES: Final = (
    *(BotoCoreError, ClientError, ResponseParserError, HttpError),
    *(OSError, TimeoutError, KeyError, ValueError),  # the last two: an answer that is none
)


class _Held(Struct):
    """A message in hand; times are the monotonic clock's, in seconds."""

    message: Message
    since_s: float
    extended_s: float


class SqsQueue:
    """One queue; see `consumer.ports.Source`. Several tasks may receive at the same time."""

    def __init__(
        self,
        name: str,
        url: str,
        polls: "SQSClient",
        calls: "SQSClient",
        *,
        poll_wait_s: int,
        visibility_s: int,
    ) -> None:
        self.name = name
        self.has_answered = False
        self._url = url
        self._polls = polls
        self._calls = calls
        self._poll_wait_s = poll_wait_s
        self._visibility_s = visibility_s
        self._held: dict[str, _Held] = {}
        self._unanswered: list[tuple[float, str]] = []
        self._deletes = Batches(self._delete)
        self._releases = Batches(self._release)

    @property
    def in_hand(self) -> int:
        """Messages received and neither deleted nor given back."""
        return len(self._held)

    async def receive(self) -> list[Message]:
        """See `Source.receive`. The first poll returns at once, to show that the queue answers."""
        begun_s = time.monotonic()
        attempt = self._attempt(begun_s)
        try:
            answer = await self._polls.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_BATCH,
                WaitTimeSeconds=self._poll_wait_s if self.has_answered else 0,
                VisibilityTimeout=self._visibility_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
                **({"ReceiveRequestAttemptId": attempt} if attempt else {}),  # type: ignore[arg-type]
            )
            received = [_message(raw) for raw in answer.get("Messages", ())]
        except _FAILURES as error:
            if attempt and _may_have_answered(error):
                self._unanswered.append((begun_s, attempt))
            raise SourceUnavailable(_describe(error)) from error
        self.has_answered = True
        now_s = time.monotonic()
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

    async def close(self, timeout_s: float) -> None:
        """Send the deletes that are pending, then give back what is still in hand."""
        await self._deletes.close(timeout_s)
        await self.release([held.message for held in self._held.values()])
        await self._releases.close(timeout_s)

    def _attempt(self, now_s: float) -> str | None:
        """The attempt to receive again, whose answer was lost on its way; else a new one.

        FIFO queues only: they hand out the same messages again for it, which would otherwise hold
        up their groups until the visibility timeout.
        """
        if not self._url.endswith(".fifo"):
            return None
        while self._unanswered:
            begun_s, attempt = self._unanswered.pop()
            if now_s - begun_s < ATTEMPT_S:
                return attempt
        return uuid.uuid4().hex

    async def _delete(self, batch: Sequence[Message]) -> Sequence[Message]:
        try:
            answer = await self._calls.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(place), "ReceiptHandle": message.receipt_handle}
                    for place, message in enumerate(batch)
                ],
            )
        except _FAILURES as error:
            log.warning("delete failed; trying again", extra=self._told(batch, error))
            return batch
        return self._settle(batch, answer)

    async def _release(self, batch: Sequence[Message]) -> Sequence[Message]:
        """Tried once: what stays invisible is redelivered after its visibility timeout."""
        await self._change(batch, 0)
        return ()

    async def _change(self, batch: Sequence[Message], visibility_s: int) -> None:
        """Change the visibility timeout, from now on."""
        try:
            answer = await self._calls.change_message_visibility_batch(
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
        except _FAILURES as error:
            log.warning("visibility was not changed", extra=self._told(batch, error))
            return
        for failed in answer.get("Failed", ()):
            if failed["SenderFault"]:  # a stale receipt handle: another has it, or it is gone
                self._let_go(batch[int(failed["Id"])])

    def _settle(self, batch: Sequence[Message], answer: Any) -> Sequence[Message]:
        """Let go of what is deleted; returns what is worth another try.

        A failure that SQS lays at our door is not: the receipt handle has expired, and the queue
        redelivers.
        """
        again = {
            int(failed["Id"]) for failed in answer.get("Failed", ()) if not failed["SenderFault"]
        }
        for place, message in enumerate(batch):
            if place not in again:
                self._let_go(message)
        return [batch[place] for place in sorted(again)]

    def _let_go(self, message: Message) -> None:
        self._held.pop(message.receipt_handle, None)

    def _told(self, batch: Sequence[Message], error: BaseException) -> dict[str, object]:
        return {"queue": self.name, "messages": len(batch), "reason": _describe(error)}


def _message(raw: Any) -> Message:
    attributes = raw.get("Attributes", {})
    return Message(
        id=raw["MessageId"],
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
        group=attributes.get("MessageGroupId"),
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
    )


def _may_have_answered(error: BaseException) -> bool:
    """Whether SQS may have handed out messages that never came here."""
    if isinstance(error, ClientError):
        return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) >= 500
    return True


def _describe(error: BaseException) -> str:
    """What went wrong, without what was sent."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
