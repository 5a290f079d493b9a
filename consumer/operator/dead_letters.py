"""Dead letters: found, looked at, put back by hand, thrown away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, Final, Self

from msgspec import Struct, field

from consumer.edges.batches import MAX_BATCH
from consumer.operator import letters
from consumer.operator.letters import EVENTBRIDGE, Letter
from consumer.operator.refusals import Refused, refusals

if TYPE_CHECKING:
    from types_aiobotocore_sqs.client import SQSClient

WAIT_S: Final = 1  # a long poll asks all of SQS's servers (ReceiveMessage's API reference)
HIDE_S: Final = 60  # ten messages at one a second, five times over
MAX_FAILURES: Final = 3  # in a row; the fourth would fail too
_TRACE: Final = "AWSTraceHeader"  # the only system attribute that a sender may set


class Place(Struct, frozen=True):
    """A queue's two names."""

    url: str
    arn: str

    @property
    def is_fifo(self) -> bool:
        """Whether it has message groups."""
        return self.arn.endswith(".fifo")


class Counts(Struct, frozen=True):
    """How many messages a queue holds, as nearly as SQS knows."""

    visible: int
    in_flight: int
    delayed: int


class Look(Struct, frozen=True):
    """What could be seen of a dead-letter queue."""

    seen: list[Letter]
    counts: Counts
    """Before the look."""
    is_whole: bool
    """Whether that was all: nothing past the limit, behind its message group or in flight."""


class Outcome(Struct):
    """What a sweep did."""

    done: int = 0
    kept: int = 0
    """Seen in the last pass, and still there."""
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons, by message id."""
    is_interrupted: bool = False


class Pace:
    """At most so many a second, evenly."""

    def __init__(
        self,
        per_s: float,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gap_s = 1 / per_s
        self._now_s = now_s
        self._sleep = sleep
        self._next_s = now_s()

    async def wait(self) -> None:
        """Wait for one's turn."""
        if (early_s := self._next_s - self._now_s()) > 0:
            await self._sleep(early_s)
        self._next_s = max(self._next_s, self._now_s()) + self._gap_s


class DeadLetters:
    """The dead letters of one queue. Every method raises `Refused`."""

    def __init__(self, client: "SQSClient", name: str, queue: Place, dead: Place) -> None:
        self.client = client
        self.name = name
        self.queue = queue
        self.dead = dead
        self.trouble: list[str] = []
        """What went wrong on the way and changed no outcome."""
        self._sent: set[str] = set()

    @classmethod
    async def find(cls, client: "SQSClient", name: str, url: str) -> Self:
        """Those that the queue's RedrivePolicy names."""
        with refusals(url):
            answer = await client.get_queue_attributes(
                QueueUrl=url, AttributeNames=["QueueArn", "RedrivePolicy"]
            )
            arn = answer["Attributes"]["QueueArn"]
            policy = json.loads(answer["Attributes"].get("RedrivePolicy", "{}"))
        target = policy.get("deadLetterTargetArn")
        if target is None:
            raise Refused(f"{arn} has no dead-letter queue: its RedrivePolicy names none")
        # Of the same account and region as its queue (SQS developer guide, "Using dead-letter
        # queues"), so their addresses differ by the name alone.
        return cls(
            client,
            name,
            Place(url, arn),
            Place(f"{url.rpartition('/')[0]}/{target.rpartition(':')[2]}", target),
        )

    async def counts(self) -> Counts:
        """How many there are."""
        with refusals(self.dead.arn):
            answer = await self.client.get_queue_attributes(
                QueueUrl=self.dead.url, AttributeNames=["All"]
            )
            told = answer["Attributes"]
            return Counts(
                int(told["ApproximateNumberOfMessages"]),
                int(told["ApproximateNumberOfMessagesNotVisible"]),
                int(told["ApproximateNumberOfMessagesDelayed"]),
            )

    async def look(self, limit: int) -> Look:
        """See up to so many and give them back.

        Of one message group at most ten can be seen: those that one answer brings. The others
        wait behind them.
        """
        counts = await self.counts()
        held: dict[str, Letter] = {}
        try:
            async for _ in self._receive(held, limit):
                pass
        finally:
            await self._give_back(held.values())
        whole = counts.visible <= len(held) < limit and not (counts.in_flight or counts.delayed)
        return Look(list(held.values()), counts, whole)

    async def redrive(
        self, chosen: Callable[[Letter], bool], pace: Pace, tell: Callable[[int], None]
    ) -> Outcome:
        """Put the chosen ones back one by one; `tell` hears how many it were so far."""

        async def put_back(letter: Letter) -> None:
            await pace.wait()
            await self._put_back(letter)

        return await self._sweep(chosen, put_back, tell)

    async def discard(
        self, chosen: Callable[[Letter], bool], tell: Callable[[int], None]
    ) -> Outcome:
        """Delete the chosen ones."""
        return await self._sweep(chosen, self._delete, tell)

    async def purge(self) -> None:
        """Delete them all; SQS takes up to a minute for it (PurgeQueue's API reference)."""
        with refusals(self.dead.arn):
            await self.client.purge_queue(QueueUrl=self.dead.url)

    async def _sweep(
        self,
        chosen: Callable[[Letter], bool],
        act: Callable[[Letter], Awaitable[None]],
        tell: Callable[[int], None],
    ) -> Outcome:
        """Go through the queue until a pass brings nothing more to do.

        What is kept is held until the end of its pass, and holds back what is behind it in its
        message group: hence more passes than one.
        """
        outcome = Outcome()
        try:
            while await self._pass(chosen, act, tell, outcome):
                pass
        except asyncio.CancelledError:  # Ctrl-C: what is done is done, and is told
            outcome.is_interrupted = True
        return outcome

    async def _pass(
        self,
        chosen: Callable[[Letter], bool],
        act: Callable[[Letter], Awaitable[None]],
        tell: Callable[[int], None],
        outcome: Outcome,
    ) -> bool:
        """Whether another pass may find more."""
        done_before, in_a_row = outcome.done, 0
        held: dict[str, Letter] = {}
        try:
            async for batch in self._receive(held):
                for letter in batch:
                    if letter.id in outcome.failed or not chosen(letter):
                        continue
                    try:
                        await act(letter)
                    except Refused as error:
                        outcome.failed[letter.id] = str(error)
                        in_a_row += 1
                        if in_a_row == MAX_FAILURES:
                            return False
                        continue
                    in_a_row = 0
                    del held[letter.id]
                    outcome.done += 1
                    tell(outcome.done)
        finally:
            outcome.kept = len(held)
            await self._give_back(held.values())
        return bool(held) and outcome.done > done_before

    async def _receive(
        self, held: dict[str, Letter], limit: float = float("inf")
    ) -> AsyncIterator[list[Letter]]:
        """What is new, until there is no more or `limit` are held. Adds it to what is held."""
        while len(held) < limit:
            with refusals(self.dead.arn):
                answer = await self.client.receive_message(
                    QueueUrl=self.dead.url,
                    MaxNumberOfMessages=int(min(MAX_BATCH, limit - len(held))),
                    WaitTimeSeconds=WAIT_S,
                    VisibilityTimeout=HIDE_S,
                    MessageSystemAttributeNames=["All"],
                    MessageAttributeNames=["All"],
                )
                received = [letters.read(self.name, raw) for raw in answer.get("Messages", ())]
            fresh = [each for each in received if each.id not in held]
            held |= {each.id: each for each in received}
            if not fresh:
                return
            # What we put back may be a dead letter again at once; it would go round for ever.
            yield [each for each in fresh if each.id not in self._sent]

    async def _put_back(self, letter: Letter) -> None:
        """Send, then delete: ended between the two, it is there twice, and the log drops one."""
        own = {name: each for name, each in letter.attributes.items() if name not in EVENTBRIDGE}
        more: dict[str, Any] = {}
        if trace := letter.system.get(_TRACE):
            more["MessageSystemAttributes"] = {_TRACE: {"DataType": "String", "StringValue": trace}}
        if self.queue.is_fifo:
            # Not the sender's deduplication id: within its five minutes SQS would take this for
            # the original, keep nothing, and the only copy would be deleted.
            more |= {"MessageGroupId": letter.group, "MessageDeduplicationId": letter.id}
        with refusals(self.queue.arn):
            sent = await self.client.send_message(
                QueueUrl=self.queue.url, MessageBody=letter.body, MessageAttributes=own, **more
            )
            self._sent.add(sent["MessageId"])
        await self._delete(letter)

    async def _delete(self, letter: Letter) -> None:
        with refusals(self.dead.arn):
            await self.client.delete_message(
                QueueUrl=self.dead.url, ReceiptHandle=letter.receipt_handle
            )

    async def _give_back(self, held: Collection[Letter]) -> None:
        """Make visible at once; what fails is visible after `HIDE_S`."""
        given = list(held)
        try:
            for start in range(0, len(given), MAX_BATCH):
                with refusals(self.dead.arn):
                    await self.client.change_message_visibility_batch(
                        QueueUrl=self.dead.url,
                        Entries=[
                            {
                                "Id": str(place),
                                "ReceiptHandle": letter.receipt_handle,
                                "VisibilityTimeout": 0,
                            }
                            for place, letter in enumerate(given[start : start + MAX_BATCH])
                        ],
                    )
        except Refused as error:
            self.trouble.append(f"{error} (what was looked at is hidden for {HIDE_S} s)")
