"""What a trial plays on: queues of its own in the embedded AWS, a proxy, a consumer, viewers."""

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import aioboto3
import msgspec

from infra.local.daemon import Consumer, ConsumerError
from infra.local.emulator import Emulator
from infra.local.places import CACHE, Ports, child_environment, client_settings
from tests.soak.load import Outgoing
from tests.soak.oracle import (
    Evidence,
    Sent,
    judge_client,
    judge_endings,
    judge_farewells,
    judge_learned,
    judge_queue,
)
from tests.soak.outcome import ALL_TOLD, AT_REST, ONE_FATE, RIGHT_STATUS, TRUE, Outcome
from tests.soak.proxy import FaultProxy
from tests.soak.viewer import Viewer

VISIBILITY_S: Final = 2  # the least that the consumer allows
MAX_RECEIVES: Final = 20  # the stack's
PATIENCE_S: Final = 90.0
LOOK_S: Final = 0.1
LEFT: Final = CACHE / "soak"
"""What each trial that broke a promise leaves, by its name: what it judged, and consumers' logs."""
DEPTH: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@asynccontextmanager
async def embedded_sqs(folder: Path) -> AsyncIterator[tuple[str, Any]]:
    """The emulator's address, and a client to it past any proxy."""
    emulator = Emulator(Ports().settle().aws, folder)
    try:
        await emulator.start()
        session = aioboto3.Session()
        async with session.client("sqs", **client_settings(emulator.endpoint)) as sqs:
            yield emulator.endpoint, sqs
    finally:
        await emulator.stop()


class Queue:
    """A queue and its dead letters, set up as the stack's are but for the visibility timeout."""

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self._name = name

    async def create(self) -> None:
        suffix = ".fifo" if self._name.endswith(".fifo") else ""
        fifo = {"FifoQueue": "true"} if suffix else {}
        dead = self._name.removesuffix(suffix) + "-dead" + suffix
        self.dead_url = (await self._sqs.create_queue(QueueName=dead, Attributes=fifo))["QueueUrl"]
        found = await self._sqs.get_queue_attributes(
            QueueUrl=self.dead_url, AttributeNames=["QueueArn"]
        )
        arn = found["Attributes"]["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": str(MAX_RECEIVES)})
        created = await self._sqs.create_queue(
            QueueName=self._name, Attributes={**fifo, "RedrivePolicy": redrive}
        )
        self.url = created["QueueUrl"]

    async def send(self, messages: Sequence[Outgoing]) -> list[Sent]:
        """Send at most ten."""
        entries = [self._entry(place, message) for place, message in enumerate(messages)]
        answer = await self._sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        ids = {int(one["Id"]): one["MessageId"] for one in answer["Successful"]}
        return [
            Sent(ids[place], message.identity, message.is_step, message.is_old, message.may_hide)
            for place, message in enumerate(messages)
        ]

    def _entry(self, place: int, message: Outgoing) -> dict[str, str]:
        entry = {"Id": str(place), "MessageBody": message.body}
        if message.group is not None:
            entry["MessageGroupId"] = message.group
            # No deduplication by the queue: duplicates must reach the consumer.
            entry["MessageDeduplicationId"] = f"{random.getrandbits(128):032x}"
        return entry

    async def depth(self) -> int:
        found = await self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[*DEPTH])
        return sum(int(found["Attributes"][name]) for name in DEPTH)

    async def dead_letters(self) -> list[str]:
        """The ids of all dead letters, which are used up by it."""
        found: list[str] = []
        while True:
            answer = await self._sqs.receive_message(
                QueueUrl=self.dead_url, MaxNumberOfMessages=10, VisibilityTimeout=600
            )
            if not (received := answer.get("Messages")):
                return found
            found += [message["MessageId"] for message in received]
            for message in received:
                await self._sqs.delete_message(
                    QueueUrl=self.dead_url, ReceiptHandle=message["ReceiptHandle"]
                )


class Stage:
    """Everything of one trial; `name` tells its files and queues from the others'."""

    def __init__(
        self, endpoint: str, sqs: Any, folder: Path, name: str, dice: random.Random
    ) -> None:
        self.endpoint = endpoint
        self.dice = dice
        self.name = name
        self.sent: list[Sent] = []
        self.viewers: list[Viewer] = []
        self.proxy = FaultProxy(endpoint, random.Random(dice.random()))
        self.status = Queue(sqs, f"{name}.fifo")
        self.service = Queue(sqs, f"{name}-service")
        self.folder = folder / name
        self.log_path = self.folder / "log" / "log.db"
        self._tasks: list[asyncio.Task[None]] = []
        self.closing = AsyncExitStack()

    async def open(self, *, module: str = "consumer", **settings: str) -> None:
        """Make queues, proxy and the consumer, which is still to be started."""
        self.log_path.parent.mkdir(parents=True)
        await self.proxy.start()
        self.closing.push_async_callback(self.proxy.stop)
        await self.status.create()
        await self.service.create()
        self.consumer = self.make_consumer(self.folder / "consumer.log", module, settings)

    def make_consumer(self, output: Path, module: str, settings: Mapping[str, str]) -> Consumer:
        """One that takes from the queues, through the proxy."""
        environment = {
            **child_environment(self.proxy.endpoint, self.folder),
            "STATUSWIRE_QUEUE_URL": self.status.url,
            "STATUSWIRE_SERVICE_QUEUE_URL": self.service.url,
            "STATUSWIRE_LOG": f"sqlite:{self.log_path}",
            "STATUSWIRE_PORT": "0",
            "STATUSWIRE_METRICS_PORT": "0",
            "STATUSWIRE_POLL_WAIT_S": "1",
            "STATUSWIRE_VISIBILITY_S": str(VISIBILITY_S),
            "STATUSWIRE_HEARTBEAT_S": "0.2",
            "STATUSWIRE_DRAIN_S": "15",
            # The load's instances and executions are not in the embedded AWS: nobody is asked.
            "STATUSWIRE_INSTANCE_TAG": "*",
            "STATUSWIRE_SWEEP_S": "86400",
            "STATUSWIRE_QUIET_S": "86400",
            **settings,
        }
        consumer = Consumer(environment, output, module=module)
        self.closing.push_async_callback(consumer.kill)
        return consumer

    @property
    def consumers(self) -> list[Consumer]:
        """Those that run when nothing is the matter."""
        return [self.consumer]

    def websocket_url(self) -> str:
        """Where a viewer connects next; it changes with each start."""
        return self.consumer.websocket_url

    async def evidence(self) -> Evidence:
        """What the log has."""
        return Evidence.read(self.log_path)

    async def end_of_log(self) -> str:
        """The cursor that everybody comes to in the end."""
        log = await self.evidence()
        return f"{log.epoch}-{log.head}"

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.closing.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)  # hundreds of trials would fill the disk

    def watch(self, patterns: Iterable[str], *, stay_s: float = 0.6, forgets: float = 0.15) -> None:
        """Let viewers in, which come and go from now on."""
        for pattern in patterns:
            dice = random.Random(self.dice.random())
            viewer = Viewer(self.websocket_url, pattern, dice, stay_s=stay_s, forgets=forgets)
            self.viewers.append(viewer)
            self._tasks.append(asyncio.create_task(viewer.run()))

    async def send(self, messages: Sequence[Outgoing], *, pause_s: float = 0.0) -> None:
        """Send in order, in batches of up to ten to one queue after the other."""
        for start in range(0, len(messages), 10):
            batch = messages[start : start + 10]
            for queue, grouped in ((self.status, True), (self.service, False)):
                if due := [one for one in batch if (one.group is not None) == grouped]:
                    self.sent += await queue.send(due)
            await asyncio.sleep(pause_s * self.dice.random() * 2)

    async def queued(self) -> int:
        return await self.status.depth() + await self.service.depth()

    async def settle(self) -> None:
        """Wait until the queues are empty and every viewer has been told all."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.queued():
                await self.look()
            for viewer in self.viewers:
                viewer.settle()
            while not await self._all_told():
                await self.look()

    async def _all_told(self) -> bool:
        """Whether every viewer is where the log is by now."""
        end = await self.end_of_log()
        return all(viewer.cursor == end for viewer in self.viewers)

    async def look(self) -> None:
        """A moment later; raises where the consumer or a viewer has died meanwhile."""
        await asyncio.sleep(LOOK_S)
        for consumer in self.consumers:
            if consumer.exit_code is not None:
                raise ConsumerError(f"a consumer ended ({consumer.exit_code})")
        for task in self._tasks:
            if task.done():
                task.result()

    async def judge(
        self,
        endings: Mapping[str, str | None],
        findable: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Outcome:
        """The oracle's figures and objections; the consumer is stopped for it.

        `findable` is what asking AWS may bring out of each key; of others, nothing.
        """
        outcome = Outcome()
        try:
            await self.settle()
        except ConsumerError as died:
            tails = [consumer.tail() for consumer in self.consumers if consumer.exit_code]
            outcome.object_to(AT_REST, [str(died), *tails])
        except TimeoutError:
            queued, end = await self.queued(), await self.end_of_log()
            told = f"{queued} queued, clients at {[viewer.cursor for viewer in self.viewers]}"
            ends = f"the log at {end}"
            outcome.object_to(AT_REST, [f"not so after {PATIENCE_S:.0f} s: {told}, {ends}"])
            outcome.object_to(AT_REST, [consumer.tail()[-1500:] for consumer in self.consumers])
        await asyncio.gather(*(consumer.stop() for consumer in self.consumers))
        log = await self.evidence()
        dead = [*await self.status.dead_letters(), *await self.service.dead_letters()]
        fates, wrong = judge_queue(self.sent, dead, await self.queued(), log)
        outcome.object_to(ONE_FATE, wrong)
        outcome.object_to(RIGHT_STATUS, judge_endings(endings, log))
        outcome.object_to(TRUE, judge_learned(findable, log))
        for viewer in self.viewers:
            outcome.object_to(ALL_TOLD, judge_client(viewer.pattern, viewer.visits, log))
            outcome.object_to(ALL_TOLD, judge_farewells(viewer.visits))
        faults = sum(n for name, n in self.proxy.done.items() if name != "fine")
        outcome.figures = {"sent": len(self.sent), **fates, **_heard(self.viewers)}
        outcome.figures["faults"] = faults
        if findable:
            asked = [entry for entry in log.entries if entry.event.source == "reconcile"]
            outcome.figures["found by asking"] = len(asked)
        if outcome.objections:
            self._leave(log, outcome)
        return outcome

    def _leave(self, log: Evidence, outcome: Outcome) -> None:
        """A rare failure may not come again: keep what shows how it came about."""
        folder = LEFT / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for consumer in self.consumers:
            shutil.copy(consumer.output, folder)
        visits = {
            f"{number} {viewer.pattern}": viewer.visits
            for number, viewer in enumerate(self.viewers)
        }
        for name, what in (("log", log), ("viewers", visits), ("objections", outcome.objections)):
            (folder / f"{name}.json").write_bytes(msgspec.json.encode(what))


def _heard(viewers: Iterable[Viewer]) -> dict[str, int]:
    visits = [visit for viewer in viewers for visit in viewer.visits]
    return {"visits": len(visits), "frames": sum(len(visit.frames) for visit in visits)}
