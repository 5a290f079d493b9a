"""Which instances are shown: EC2's word for it, asked for seldom, and lived without."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from consumer.core import events
from consumer.core.events import Event
from consumer.edges import fleet as fleet_module
from consumer.edges.aws import NotDescribed
from consumer.edges.fleet import SILENT_S, UNTAGGED_S, Fleet
from consumer.pipeline import Counts
from tests.core import examples

NOW_MS = events.milliseconds("2026-01-01T00:01:00.500Z")
TAG = ("statuswire", "managed")
DENIED = ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "DescribeInstances")


def id_of(number: int) -> str:
    return f"i-{number:08x}"


class FakeEc2:
    """Instances by their number, with tags; `page` of them in one answer."""

    def __init__(self, page: int = 1000) -> None:
        self.instances: dict[str, dict[str, Any]] = {}
        self.calls: list[list[str]] = []
        self.fails: list[Exception] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.when_asked: Callable[[], None] = lambda: None
        self.lenient = False  # as an EC2 whose filter takes wildcards
        self._page = page

    def put(self, number: int, status: str = "running", **tags: str) -> None:
        self.instances[id_of(number)] = {
            "InstanceId": id_of(number),
            "State": {"Name": status},
        }
        if tags:
            told = [{"Key": key, "Value": value} for key, value in tags.items()]
            self.instances[id_of(number)]["Tags"] = told

    async def describe_instances(self, **asked: Any) -> dict[str, Any]:
        assert asked["MaxResults"] <= 1000
        by_name = {one["Name"]: one["Values"] for one in asked["Filters"]}
        ids = by_name.pop("instance-id", None)
        assert ids is None or len(ids) <= 200
        self.calls.append(ids or ["all"])
        self.when_asked()
        await self.answering.wait()
        if self.fails:
            raise self.fails.pop(0)
        found = [
            one
            for id_, one in self.instances.items()
            if (ids is None or id_ in ids)
            and all(
                {"Key": name.removeprefix("tag:"), "Value": values[0]} in one.get("Tags", ())
                for name, values in by_name.items()
                if not self.lenient
            )
        ]
        start = int(asked.get("NextToken", 0))
        more = {"NextToken": str(start + self._page)} if start + self._page < len(found) else {}
        page = found[start : start + self._page]
        return {"Reservations": [{"Instances": [one]} for one in page], **more}


class Scene:
    def __init__(self, tag: tuple[str, str] | None = TAG, page: int = 1000) -> None:
        self.ec2 = FakeEc2(page)
        self.counts = Counts()
        self.now_s = 1000.0
        self.now_ms = NOW_MS
        ec2: Any = self.ec2
        self.fleet = Fleet(
            ec2, tag, self.counts, now_ms=lambda: self.now_ms, clock=lambda: self.now_s
        )

    async def shown(self, *numbers: int) -> list[str | None]:
        batch = [change(number) for number in numbers]
        return [event.instance_id for event in await self.fleet.shown(batch)]


def change(number: int, state: str = "running") -> Event:
    body = examples.instance_change(**{"instance-id": id_of(number), "state": state})
    return examples.decode(body | {"id": f"change-{number}", "time": "2026-01-01T00:01:00Z"})


@pytest.fixture(autouse=True)
def _no_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "CALL_GAP_S", 0.0)


async def test_an_instance_without_the_tag_is_counted_and_not_shown() -> None:
    """EventBridge tells of the whole account."""
    scene = Scene()
    scene.ec2.put(1, statuswire="managed")
    scene.ec2.put(2, statuswire="other")
    assert await scene.shown(1, 2, 3) == [id_of(1)]
    assert scene.counts["events_not_shown", "untagged"] == 2
    scene.now_ms += 1000
    assert await scene.fleet.settle() == []
    assert scene.ec2.calls == [[id_of(1), id_of(2), id_of(3)]]


async def test_ec2_is_asked_once_about_many_and_then_not_again() -> None:
    """Those that wait share a call; an answer is good for a while."""
    scene = Scene()
    scene.ec2.put(1, statuswire="managed")
    scene.ec2.answering.clear()
    waiting = [asyncio.create_task(scene.shown(number)) for number in (1, 2, 3, 1)]
    await asyncio.sleep(0)
    scene.ec2.answering.set()
    assert await asyncio.gather(*waiting) == [[id_of(1)], [], [], [id_of(1)]]
    assert len(scene.ec2.calls) <= 2
    calls = len(scene.ec2.calls)
    await scene.shown(1, 2, 3)
    assert len(scene.ec2.calls) == calls


async def test_a_tag_that_comes_after_the_launch_is_found() -> None:
    """That an instance has no tag is believed for seconds only."""
    scene = Scene()
    scene.ec2.put(1)
    assert await scene.shown(1) == []
    scene.ec2.put(1, statuswire="managed")
    assert await scene.shown(1) == []
    scene.now_s += UNTAGGED_S
    assert await scene.shown(1) == [id_of(1)]


async def test_executions_are_always_shown() -> None:
    """Whatever instance they are for, and without a question."""
    scene = Scene()
    event = examples.step()
    assert await scene.fleet.shown([event]) == [event]
    assert scene.ec2.calls == []


async def test_without_a_tag_every_instance_is_shown() -> None:
    """And EC2 is asked nothing about tags."""
    scene = Scene(tag=None)
    scene.ec2.put(1)
    assert await scene.shown(1, 2) == [id_of(1), id_of(2)]
    assert scene.ec2.calls == []
    assert [event.instance_id for event in await scene.fleet.sweep()] == [id_of(1)]


@pytest.mark.parametrize(
    "failure", [DENIED, EndpointConnectionError(endpoint_url="x"), TimeoutError(), OSError("DNS")]
)
async def test_while_ec2_does_not_answer_unknown_instances_wait_for_their_state(
    failure: Exception,
) -> None:
    """Their events are let go and hold nothing up; once EC2 answers, it says what they are."""
    scene = Scene()
    scene.ec2.put(1, "stopped", statuswire="managed")
    scene.ec2.put(2, "running")
    scene.ec2.fails = [failure]
    run = examples.step()
    assert await scene.fleet.shown([change(1), change(2), run]) == [run]
    assert await scene.shown(1) == []
    assert len(scene.ec2.calls) == 1, "nobody waits for EC2 again so soon"
    assert scene.counts["events_not_shown", "unanswered"] == 3
    assert scene.counts["reconcile_errors", "DescribeInstances"] == 1
    scene.now_ms += 1000
    learned = await scene.fleet.settle()
    assert [(event.instance_id, event.status) for event in learned] == [(id_of(1), "stopped")]
    assert await scene.fleet.settle() == []
    assert await scene.shown(1) == [id_of(1)]
    scene.now_s += SILENT_S
    assert await scene.shown(2) == []
    assert scene.counts["events_not_shown", "untagged"] == 1


async def test_a_failing_question_about_a_doubt_is_asked_again() -> None:
    """What is not answered stays doubtful."""
    scene = Scene()
    scene.ec2.put(1, statuswire="managed")
    scene.fleet.doubt(change(1))
    scene.now_ms += 1000
    scene.ec2.fails = [DENIED]
    with pytest.raises(NotDescribed, match="UnauthorizedOperation"):
        await scene.fleet.settle()
    assert len(await scene.fleet.settle()) == 1


async def test_a_doubt_is_settled_in_a_later_second() -> None:
    """Within the same second, EC2's event would go before the answer."""
    scene = Scene()
    scene.ec2.put(1, statuswire="managed")
    scene.fleet.doubt(change(1))
    assert await scene.fleet.settle() == []
    assert scene.ec2.calls == []
    scene.now_ms += 500
    (event,) = await scene.fleet.settle()
    assert event.time == "2026-01-01T00:01:01.000Z"


async def test_a_sweep_brings_every_page() -> None:
    """And the instances' names, which their later events carry too."""
    scene = Scene(page=2)
    for number in range(5):
        scene.ec2.put(number, "stopped", statuswire="managed", Name=f"web-{number}")
    for number in (7, 8, 9):
        scene.ec2.put(number)
    swept = await scene.fleet.sweep()
    assert len(scene.ec2.calls) == 3, "the others are left out by EC2"
    assert [event.instance_id for event in swept] == [id_of(number) for number in range(5)]
    assert swept[0].detail == {"name": "web-0"}
    told = msgspec.structs.replace(change(0), detail={"more": 1})
    run = examples.step(instance_id=id_of(0))
    assert await scene.fleet.shown([told, run]) == [
        msgspec.structs.replace(told, detail={"more": 1, "name": "web-0"}), run,
    ]  # fmt: skip


async def test_a_sweep_forgets_the_instances_that_lost_the_tag() -> None:
    """But not if it ends half-way: then all is as it was."""
    scene = Scene(page=1)
    scene.ec2.put(1, statuswire="managed")
    scene.ec2.put(2, statuswire="managed")
    await scene.fleet.sweep()
    scene.now_s += 1
    scene.ec2.put(1)
    scene.ec2.fails = [DENIED]
    with pytest.raises(NotDescribed):
        await scene.fleet.sweep()
    assert await scene.shown(1) == [id_of(1)]
    await scene.fleet.sweep()
    assert await scene.shown(1, 2) == [id_of(2)]


async def test_what_is_in_the_log_was_shown() -> None:
    """After a start, its events wait for nothing; an execution says nothing about a tag."""
    scene = Scene()
    scene.ec2.fails = [DENIED]
    named = msgspec.structs.replace(change(1), detail={"name": "web-1"})
    scene.fleet.remember(named)
    assert await scene.fleet.shown([change(1)]) == [named]
    scene.fleet.remember(examples.step(instance_id=id_of(2)))
    assert await scene.shown(2) == []


async def test_a_tag_is_compared_as_text() -> None:
    """EC2's filters know wildcards; a tag's value may hold the same characters."""
    scene = Scene(tag=("statuswire", "man*"))
    scene.ec2.lenient = True
    scene.ec2.put(1, statuswire="managed")
    scene.ec2.put(2, statuswire="man*")
    assert [event.instance_id for event in await scene.fleet.sweep()] == [id_of(2)]


async def test_what_ec2_has_forgotten_is_gone() -> None:
    """An instance that is there without the tag is not."""
    scene = Scene()
    scene.ec2.put(1)
    (event,) = await scene.fleet.gone([id_of(1), id_of(2)])
    assert (event.instance_id, event.status) == (id_of(2), "terminated")
    assert event.detail == {"inferred": True}
    scene.ec2.put(450)
    assert len(await scene.fleet.gone(map(id_of, range(10, 500)))) == 489


def second_by_second(scene: Scene) -> None:
    """A second passes with each question."""

    def pass_() -> None:
        scene.now_ms += 1000

    scene.ec2.when_asked = pass_


async def test_each_page_is_as_old_as_its_question() -> None:
    """A sweep that took long must not seem newer than what EC2 told meanwhile, nor older."""
    scene = Scene(page=1)
    scene.ec2.put(1, statuswire="managed")
    scene.ec2.put(2, statuswire="managed")
    second_by_second(scene)
    assert [event.time[-7:-5] for event in await scene.fleet.sweep()] == ["00", "01"]


async def test_what_is_gone_was_gone_before_the_question() -> None:
    """An instance that speaks while EC2 is asked is newer than our word."""
    scene = Scene()
    second_by_second(scene)
    (event,) = await scene.fleet.gone([id_of(1)])
    assert event.time == "2026-01-01T00:01:00.000Z"


async def test_an_execution_waits_for_no_instance() -> None:
    """While EC2 is asked about one, what needs no answer goes on."""
    scene = Scene()
    scene.ec2.answering.clear()
    asked = asyncio.Event()
    scene.ec2.when_asked = asked.set
    waiting = asyncio.create_task(scene.shown(1))
    await asked.wait()
    async with asyncio.timeout(5):
        assert await scene.fleet.shown([examples.step()]) == [examples.step()]
    scene.ec2.answering.set()
    assert await waiting == []


async def test_what_was_heard_during_a_sweep_outlives_it() -> None:
    """Its page may have been told before."""
    scene = Scene()
    scene.ec2.when_asked = lambda: scene.fleet.remember(change(1))
    assert await scene.fleet.sweep() == []
    assert await scene.shown(1) == [id_of(1)]
    assert scene.ec2.calls == [["all"]]


async def test_a_sweep_forgets_what_need_not_be_believed_any_more() -> None:
    """And nothing else: the account may have many instances, and events of all come."""
    scene = Scene()
    await scene.shown(1)
    await scene.fleet.sweep()
    await scene.shown(1)
    assert scene.ec2.calls == [[id_of(1)], ["all"]]
    scene.now_s += UNTAGGED_S
    await scene.fleet.sweep()
    assert not scene.fleet._untagged


async def test_doubts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep tells of the others."""
    monkeypatch.setattr(fleet_module, "MAX_DOUBTS", 2)
    scene = Scene()
    for number in range(3):
        scene.fleet.doubt(change(number))
    scene.now_ms += 1000
    await scene.fleet.settle()
    assert scene.ec2.calls == [[id_of(0), id_of(1)]]


async def test_a_doubt_is_as_old_as_the_event() -> None:
    """One of an earlier second is settled at once, one of a clock that is ahead in a second."""
    scene = Scene()
    ahead = msgspec.structs.replace(change(2), time="2027-01-01T00:00:00.000Z")
    scene.fleet.doubt(msgspec.structs.replace(change(1), time="2026-01-01T00:00:59.000Z"))
    scene.fleet.doubt(ahead)
    await scene.fleet.settle()
    scene.now_ms += 1000
    await scene.fleet.settle()
    assert scene.ec2.calls == [[id_of(1)], [id_of(2)]]


async def test_many_doubts_are_settled_in_turn() -> None:
    """EC2 takes so many values of a filter and no more."""
    scene = Scene()
    for number in range(201):
        scene.fleet.doubt(change(number))
    scene.now_ms += 1000
    for _ in range(3):
        await scene.fleet.settle()
    assert [len(call) for call in scene.ec2.calls] == [200, 1]


async def test_those_who_wait_together_do_not_overfill_a_question() -> None:
    """As above, and each is answered."""
    scene = Scene()
    for number in (140, 290):
        scene.ec2.put(number, statuswire="managed")
    scene.ec2.answering.clear()
    batches = ([999], range(150), range(150, 300))
    waiting = [asyncio.create_task(scene.shown(*numbers)) for numbers in batches]
    await asyncio.sleep(0)
    scene.ec2.answering.set()
    assert await asyncio.gather(*waiting) == [[], [id_of(140)], [id_of(290)]]
    assert [len(call) for call in scene.ec2.calls] == [1, 200, 100]


async def test_questions_keep_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account's other callers share EC2's allowance."""
    scene = Scene()
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        scene.now_s += delay_s

    monkeypatch.setattr(fleet_module, "CALL_GAP_S", 0.25)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    for number in (1, 2):
        await scene.shown(number)
    assert slept == [0.0, 0.25]


async def test_a_state_that_we_do_not_know_is_not_told() -> None:
    """The contract names six; the instance is shown all the same."""
    scene = Scene()
    scene.ec2.put(1, "hibernated", statuswire="managed")
    scene.ec2.put(2, statuswire="managed")
    (event,) = await scene.fleet.sweep()
    assert (event.instance_id, event.detail) == (id_of(2), {})
    assert await scene.shown(1) == [id_of(1)]
