"""EC2's instances: which are shown, and what EC2 says of them.

EventBridge tells of the account's every instance, and not their tags. So the events of one that is
not known to carry the stack's tag wait until EC2 was asked, once for all that wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from consumer.core import described, events
from consumer.core.events import Event
from consumer.edges import aws
from consumer.edges.aws import NotDescribed
from consumer.pipeline import Counts

if TYPE_CHECKING:
    from types_aiobotocore_ec2.client import EC2Client
    from types_aiobotocore_ec2.type_defs import FilterTypeDef

MAX_PAGE: Final = 1000  # DescribeInstances' API reference
MAX_VALUES: Final = 200  # of one filter (EC2's user guide, "Filter results")
# An instance is pending for tens of seconds, so a tag that came after the launch is found by the
# next event. EC2 allows 20 such calls a second (developer guide, "Request throttling").
UNTAGGED_S: Final = 10.0
CALL_GAP_S: Final = 0.2
SILENT_S: Final = 30.0  # without asking, after a question that EC2 did not answer
MAX_DOUBTS: Final = 10_000  # × ~100 B = 1 MB; a sweep tells of the others


class Known(Struct, frozen=True):
    """An instance with the tag."""

    name: str | None
    told_s: float
    """When we heard of it, by our monotonic clock."""


class Fleet:
    """Instances with the tag, as far as we know, and questions to EC2."""

    def __init__(
        self,
        ec2: "EC2Client",
        tag: tuple[str, str] | None,
        counts: Counts,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`tag` is key and value; without one, all instances are shown."""
        self._ec2 = ec2
        self._tag = tag
        self._counts = counts
        self._now_ms = now_ms
        self._clock = clock
        self._tagged: dict[str, Known] = {}
        self._untagged: dict[str, float] = {}  # until when we take EC2's word for it
        self._doubts: dict[str, int] = {}  # the last second (of our clock) not to ask in
        self._wanted: set[str] = set()
        self._asking = asyncio.Lock()
        self._next_s = 0.0

    def remember(self, event: Event) -> None:
        """An instance in the log was shown, so it had the tag; until a sweep says otherwise."""
        if event.execution is None and event.instance_id:
            name = event.detail.get("name")
            self._tagged[event.instance_id] = Known(name, self._clock())

    async def shown(self, batch: Sequence[Event]) -> list[Event]:
        """Of these events, those to show; waits for EC2 where it must, and not for long.

        While EC2 does not answer, events of unknown instances are let go rather than held: they
        would hold executions up, and reach the dead letters in the end. Nothing lasting is lost by
        it, since EC2 is asked for those instances' states as soon as it answers.
        """
        if all(one.execution is not None for one in batch):  # those are the stack's own
            return list(batch)
        unknown = {one.instance_id for one in batch if one.instance_id and self._is_unknown(one)}
        if unknown:
            await self._learn(unknown)
        return [self._named(one) for one in batch if self._is_shown(one)]

    async def sweep(self) -> list[Event]:
        """Every instance with the tag, as it is now. Raises `NotDescribed`, having changed nothing.

        What it does not tell of has lost the tag, or is no more.
        """
        begun_s = self._clock()
        found = await self._describe([])
        self._tagged = {
            id_: known for id_, known in self._tagged.items() if known.told_s >= begun_s
        }
        self._untagged = {id_: end for id_, end in self._untagged.items() if end > begun_s}
        return self._take(found)

    def doubt(self, event: Event) -> None:
        """We cannot know in which state this instance is: ask, in a later second than it told."""
        if len(self._doubts) < MAX_DOUBTS:
            told_ms = min(events.milliseconds(event.time), self._now_ms())
            self._doubts[str(event.instance_id)] = told_ms // 1000

    async def settle(self) -> list[Event]:
        """What EC2 says of the doubtful instances that have the tag. Raises `NotDescribed`."""
        second = self._now_ms() // 1000
        ripe = (id_ for id_, told in self._doubts.items() if told < second)
        if not (batch := list(islice(ripe, MAX_VALUES))):
            return []
        found = self._take(await self._describe(_by_id(batch)))
        for id_ in batch:
            del self._doubts[id_]
        return found

    async def gone(self, ids: Iterable[str]) -> list[Event]:
        """Of these instances, those that EC2 knows no more: terminated, and nobody told us.

        EC2 forgets an instance within about an hour of its end (DescribeInstances' API reference).
        Raises `NotDescribed`.
        """
        begun_ms = self._now_ms()
        missing = sorted(ids)
        present: set[str] = set()
        for start in range(0, len(missing), MAX_VALUES):
            by_id = _by_id(missing[start : start + MAX_VALUES])
            present |= {raw["InstanceId"] for raw, _ in await self._describe(by_id, any_tag=True)}
        return [
            described.instance(id_, "terminated", begun_ms, {"inferred": True})
            for id_ in missing
            if id_ not in present
        ]

    def _is_unknown(self, event: Event) -> bool:
        id_ = event.instance_id
        if self._tag is None or event.execution is not None or id_ in self._tagged:
            return False
        return self._untagged.get(id_ or "", 0.0) <= self._clock()

    def _is_shown(self, event: Event) -> bool:
        if self._tag is None or event.execution is not None or event.instance_id in self._tagged:
            return True
        why = "unanswered" if self._is_unknown(event) else "untagged"
        self._counts["events_not_shown", why] += 1
        if why == "unanswered":
            self.doubt(event)
        return False

    def _named(self, event: Event) -> Event:
        """With the instance's name, for it is the newest event that a new viewer gets."""
        known = self._tagged.get(event.instance_id or "")
        if event.execution is not None or known is None or known.name is None:
            return event
        return msgspec.structs.replace(event, detail={**event.detail, "name": known.name})

    async def _learn(self, ids: set[str]) -> None:
        """Ask EC2 which of these have the tag: one call at a time, for all who wait by then."""
        self._wanted |= ids
        async with self._asking:
            while asked := set(islice(self._wanted & ids, MAX_VALUES)):
                asked |= set(islice(self._wanted - asked, MAX_VALUES - len(asked)))
                self._wanted -= asked
                if (pause_s := self._next_s - self._clock()) > CALL_GAP_S:
                    continue  # it did not answer a moment ago
                await asyncio.sleep(max(0.0, pause_s))
                try:
                    found = await self._describe(_by_id(asked))
                except NotDescribed:
                    self._counts["reconcile_errors", "DescribeInstances"] += 1
                    self._next_s = self._clock() + SILENT_S
                    continue
                self._next_s = self._clock() + CALL_GAP_S
                self._take(found)
                until_s = self._clock() + UNTAGGED_S
                self._untagged |= dict.fromkeys(asked, until_s)

    async def _describe(
        self, filters: list["FilterTypeDef"], *, any_tag: bool = False
    ) -> list[tuple[Any, int]]:
        """Instances in EC2's words, each with the time at which its page was asked for."""
        tag = None if any_tag else self._tag
        if tag is not None:
            filters = [*filters, {"Name": f"tag:{tag[0]}", "Values": [tag[1]]}]
        found: list[tuple[Any, int]] = []
        more: dict[str, Any] = {}
        try:
            while True:
                begun_ms = self._now_ms()
                answer = await self._ec2.describe_instances(
                    Filters=filters, MaxResults=MAX_PAGE, **more
                )
                for reservation in answer["Reservations"]:
                    found += [(raw, begun_ms) for raw in reservation["Instances"]]
                if not answer.get("NextToken"):
                    break
                more = {"NextToken": answer["NextToken"]}
        except aws.FAILURES as error:
            raise NotDescribed(f"DescribeInstances: {aws.name_of(error)}") from error
        # A filter's value may hold wildcards, and a tag's value the same characters.
        return [one for one in found if tag is None or _tags(one[0]).get(tag[0]) == tag[1]]

    def _take(self, found: Iterable[tuple[Any, int]]) -> list[Event]:
        told = []
        for raw, begun_ms in found:
            id_, name = raw["InstanceId"], _tags(raw).get("Name")
            self._tagged[id_] = Known(name, self._clock())
            if raw["State"]["Name"] in events.INSTANCE_STATUSES:
                detail = {"name": name} if name else {}
                told.append(described.instance(id_, raw["State"]["Name"], begun_ms, detail))
        return told


def _by_id(ids: Iterable[str]) -> list["FilterTypeDef"]:
    """By filter, EC2 leaves out what it does not know; by `InstanceIds` it would refuse."""
    return [{"Name": "instance-id", "Values": sorted(ids)}]


def _tags(raw: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in raw.get("Tags", ())}
