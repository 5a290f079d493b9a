"""SQS as a `Source`: long polls, deletes and releases in batches.

Polls and deletes use a client each, so that polls that wait never keep a delete waiting for a
connection of the pool.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError

from consumer.ports import Message, SourceUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

log = logging.getLogger(__name__)

MAX_BATCH: Final = 10  # the most that SQS takes or gives in one call
DELETE_RETRY_S: Final = (0.1, 0.5, 2.0)  # then the message comes back, and is a repeat
_FAILURES: Final = (BotoCoreError, ClientError, HttpError, OSError, TimeoutError)


class SqsQueue:
    """One queue; see `consumer.ports.Source`. Several tasks may receive at the same time."""

    def __init__(
        self,
        name: str,
        url: str,
        polls: "SQSClient",
        deletes: "SQSClient",
        *,
        poll_wait_s: int,
    ) -> None:
        self.name = name
        self.has_answered = False
        self._url = url
        self._polls = polls
        self._deletes = deletes
        self._poll_wait_s = poll_wait_s

    async def receive(self) -> list[Message]:
        """See `Source.receive`. The first poll returns at once, to show that the queue answers."""
        try:
            answer = await self._polls.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=MAX_BATCH,
                WaitTimeSeconds=self._poll_wait_s if self.has_answered else 0,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId"],
            )
        except _FAILURES as error:
            raise SourceUnavailable(_describe(error)) from error
        self.has_answered = True
        return [_message(raw) for raw in answer.get("Messages", ())]

    async def delete(self, messages: Sequence[Message]) -> None:
        """See `Source.delete`."""
        await self._in_batches("delete", messages, self._delete_batch)

    async def release(self, messages: Sequence[Message]) -> None:
        """See `Source.release`."""
        await self._in_batches("release", messages, self._release_batch)

    async def _delete_batch(self, batch: Sequence[Message]) -> list[str]:
        answer = await self._deletes.delete_message_batch(
            QueueUrl=self._url,
            Entries=[
                {"Id": str(place), "ReceiptHandle": message.receipt_handle}
                for place, message in enumerate(batch)
            ],
        )
        return [failed["Id"] for failed in answer.get("Failed", ()) if not failed["SenderFault"]]

    async def _release_batch(self, batch: Sequence[Message]) -> list[str]:
        answer = await self._deletes.change_message_visibility_batch(
            QueueUrl=self._url,
            Entries=[
                {
                    "Id": str(place),
                    "ReceiptHandle": message.receipt_handle,
                    "VisibilityTimeout": 0,
                }
                for place, message in enumerate(batch)
            ],
        )
        return [failed["Id"] for failed in answer.get("Failed", ()) if not failed["SenderFault"]]

    async def _in_batches(
        self,
        action: str,
        messages: Sequence[Message],
        send: Callable[[Sequence[Message]], Awaitable[list[str]]],
    ) -> None:
        """Send in batches, again where it failed; what still fails is redelivered by the queue.

        A failure that SQS lays at our door (a receipt handle that has expired) is not tried again.
        """
        for start in range(0, len(messages), MAX_BATCH):
            batch = list(messages[start : start + MAX_BATCH])
            problem = "SQS failed to"
            for pause_s in (*DELETE_RETRY_S, None):
                try:
                    failed = await send(batch)
                    batch = [batch[int(place)] for place in failed]
                except _FAILURES as error:
                    problem = _describe(error)
                if not batch or pause_s is None:
                    break
                await asyncio.sleep(pause_s)
            if batch:
                log.warning(
                    "gave up; the queue will redeliver",
                    extra={
                        "action": action,
                        "queue": self.name,
                        "messages": len(batch),
                        "reason": problem,
                    },
                )


def _message(raw: Any) -> Message:
    attributes = raw.get("Attributes", {})
    return Message(
        id=raw["MessageId"],
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
        group=attributes.get("MessageGroupId"),
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
    )


def _describe(error: BaseException) -> str:
    """What went wrong, without what was sent."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
