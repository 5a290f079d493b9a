"""THE PATH: acknowledged after the commit, never before; refused by receives, never by deletion."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from consumer import pipeline
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.ports import LogUnavailable, Message, SourceUnavailable
from consumer.timings import Timings
from tests.core import examples


class FakeSource:
    """A queue that hands out what it is given, and writes down what happens to it."""

    name = "fake"

    def __init__(self, *answers: list[Message] | Exception) -> None:
        self.answers = list(answers)
        self.story: list[str] = []
        self.emptied = asyncio.Event()

    async def receive(self) -> list[Message]:
        if not self.answers:
            self.emptied.set()
            await asyncio.sleep(0)
            return []
        answer = self.answers.pop(0)
        self.story.append("receive")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def delete(self, messages: Sequence[Message]) -> None:
        self.story += [f"delete {message.id}" for message in messages]

    async def release(self, messages: Sequence[Message]) -> None:
        self.story += [f"release {message.id}" for message in messages]


class FakeLog:
    """A log that refuses as often as it is told to."""

    epoch = "e"

    def __init__(self, story: list[str], refusals: int = 0) -> None:
        self.story = story
        self.refusals = refusals

    async def append(self, events: Sequence[Event]) -> list[Verdict]:
        if self.refusals:
            self.refusals -= 1
            self.story.append("refused")
            raise LogUnavailable("disk full")
        self.story.append(f"commit {len(events)}")
        return [Verdict.APPENDED] * len(events)


def good(id_: str, receive_count: int = 1) -> Message:
    return Message(id_, json.dumps(examples.step_body(id=id_)), f"handle-{id_}", "g", receive_count)


def bad(id_: str, receive_count: int = 1) -> Message:
    return Message(id_, "{}", f"handle-{id_}", "g", receive_count)


def pipe(
    source: Any,
    log: Any,
    counts: Counts | None = None,
    *,
    timings: Timings | None = None,
    gate: Gate | None = None,
    most_polls: int = 1,
) -> Pipeline:
    return Pipeline(
        source,
        log,
        Counts() if counts is None else counts,
        timings or Timings(lambda: 0),
        gate or Gate(lambda: 0),
        choose=but_not_c,
        most_polls=most_polls,
    )


async def but_not_c(batch: Sequence[Event]) -> list[Event]:
    return [event for event in batch if event.id != "c"]


async def play(source: FakeSource, refusals: int = 0) -> Counts:
    """Run the pipeline until the source is empty."""
    counts = Counts()
    stop = asyncio.Event()
    log = FakeLog(source.story, refusals)
    task = asyncio.create_task(pipe(source, log, counts).run(stop))
    async with asyncio.timeout(10):
        await source.emptied.wait()
        stop.set()
        await task
    return counts


async def test_acknowledged_after_the_commit() -> None:
    """The log has it before the queue forgets it."""
    source = FakeSource([good("a"), good("b")])
    counts = await play(source)
    assert source.story == ["receive", "commit 2", "delete a", "delete b"]
    assert counts["events", "appended"] == counts["messages_deleted", "fake"] == 2


async def test_what_is_not_for_our_viewers_is_acknowledged_and_not_appended() -> None:
    """It would come back for ever, and end in the dead letters."""
    source = FakeSource([good("a"), good("c")])
    await play(source)
    assert source.story == ["receive", "commit 1", "delete a", "delete c"]


async def test_a_malformed_message_holds_up_nobody() -> None:
    """It goes back at once and is never deleted; what surrounds it is taken."""
    source = FakeSource([good("a"), bad("x"), good("b")])
    counts = await play(source)
    assert source.story == ["receive", "commit 2", "delete a", "delete b", "release x"]
    assert counts["messages_malformed", "fake"] == 1
    assert counts["messages_deleted", "fake"] == 2


async def test_a_malformed_message_is_counted_once() -> None:
    """It is received until the queue gives up on it, and is one malformed message all the time."""
    source = FakeSource([bad("x")], [bad("x", 2)], [bad("x", 3)])
    counts = await play(source)
    assert counts["messages_malformed", "fake"] == 1
    assert counts["messages_received", "fake"] == 3


async def test_a_queue_without_dead_letters_does_not_spin() -> None:
    """A message that nothing removes comes back by its visibility timeout in the end."""
    source = FakeSource([bad("x", pipeline.MAX_RELEASES)], [bad("x", pipeline.MAX_RELEASES + 1)])
    await play(source)
    assert source.story == ["receive", "release x", "receive"]


async def test_while_the_log_refuses_nothing_is_received_or_deleted() -> None:
    """The same batch is offered until it is taken."""
    source = FakeSource([good("a")], [good("b")])
    counts = await play(source, refusals=2)
    assert source.story == [
        "receive", "refused", "refused", "commit 1", "delete a", "receive", "commit 1", "delete b",
    ]  # fmt: skip
    assert counts["log_errors", "append"] == 2


async def test_told_to_stop_while_the_log_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deleted, what was in hand is given back, and no pause is waited for."""
    monkeypatch.setattr(pipeline, "RETRY_S", (60.0,))
    source = FakeSource([good("a")])
    stop, counts = asyncio.Event(), Counts()
    log = FakeLog(source.story, refusals=1_000)
    task = asyncio.create_task(pipe(source, log, counts).run(stop))
    while "refused" not in source.story:  # noqa: ASYNC110  # one turn of the loop at a time
        await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert source.story[:2] == ["receive", "refused"]
    assert not any(line.startswith(("delete", "commit")) for line in source.story)
    assert source.story[-1] == "release a"
    assert counts["polls_held_back", "fake"] == 0, "they end, and wait for nothing"


async def test_a_failing_poll_is_tried_again() -> None:
    """The queue's troubles pass; the consumer outlives them."""
    source = FakeSource(
        SourceUnavailable("RequestThrottled", "throttled"), SourceUnavailable("x"), [good("a")]
    )
    counts = await play(source)
    assert source.story == ["receive", "receive", "receive", "commit 1", "delete a"]
    assert counts["poll_errors", "fake", "throttled"] == 1
    assert counts["poll_errors", "fake", "other"] == 1


class Pauses(tuple[float, ...]):
    """None takes any time; which of them were made is written down."""

    def __new__(cls) -> "Pauses":
        return super().__new__(cls, (0.0, 0.0, 0.0))

    def __init__(self) -> None:
        self.made: list[int] = []

    def __getitem__(self, place: Any) -> Any:
        self.made.append(place)
        return super().__getitem__(place)


async def test_pauses_grow_while_it_fails_and_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of polls and of the log alike: neither is asked without a pause."""
    pauses = Pauses()
    monkeypatch.setattr(pipeline, "RETRY_S", pauses)
    down = SourceUnavailable("throttled")
    await play(FakeSource(down, down, down, down, [], down))
    assert pauses.made == [0, 1, 2, 2, 0]
    pauses.made.clear()
    await play(FakeSource([good("a")]), refusals=4)
    assert pauses.made == [0, 1, 2, 2]


class HeldSource:
    """A queue that answers when it is told to, and knows how many polls are open."""

    name = "held"

    def __init__(self) -> None:
        self.open: list[asyncio.Future[list[Message]]] = []
        self.fails = False
        self.deleted: list[str] = []

    async def receive(self) -> list[Message]:
        poll: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self.open.append(poll)
        answer = await poll
        if self.fails:
            raise SourceUnavailable("reset")
        return answer

    async def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += [message.id for message in messages]

    async def release(self, messages: Sequence[Message]) -> None:
        pass

    async def answer(self, messages: list[Message]) -> None:
        """To the poll that has waited longest; returns when nothing more happens by itself."""
        self.open.pop(0).set_result(messages)
        await settle()


async def settle() -> None:
    """Until what can happen by itself has happened."""
    for _ in range(20):
        await asyncio.sleep(0)


def full(start: int) -> list[Message]:
    return [good(f"m{n}") for n in range(start, start + pipeline.FULL)]


async def test_more_polls_while_they_come_back_full_and_one_when_empty() -> None:
    """Demand sizes the polls: up to the setting, and down to one that waits."""
    source = HeldSource()
    stop = asyncio.Event()
    task = asyncio.create_task(pipe(source, FakeLog([]), most_polls=3).run(stop))
    await settle()
    assert len(source.open) == 1
    seen = []
    for answer in ([good("w")], full(0), full(10), full(20), [good("x")], [], [], [], []):
        await source.answer(answer)
        seen.append(len(source.open))
    assert seen == [1, 2, 3, 3, 3, 2, 1, 1, 1]
    assert len(source.deleted) == 32
    stop.set()
    await source.answer([])
    await task


async def test_while_the_queue_fails_one_poll_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others end: a queue that is down or throttled is not asked by all at once."""
    monkeypatch.setattr(pipeline, "RETRY_S", (0.0,))
    source, stop = HeldSource(), asyncio.Event()
    task = asyncio.create_task(pipe(source, FakeLog([]), most_polls=3).run(stop))
    await settle()
    await source.answer(full(0))
    await source.answer(full(10))
    assert len(source.open) == 3
    source.fails = True
    for _ in range(3):
        await source.answer([])
    assert len(source.open) == 1
    stop.set()
    await source.answer([])
    await task


async def test_while_the_log_refuses_no_poll_of_any_queue_begins() -> None:
    """One gate for all: another queue's polls wait too, and go on when the log accepts."""
    refused, other = HeldSource(), HeldSource()
    stop, gate = asyncio.Event(), Gate(lambda: 0)
    counts = Counts()
    log = FakeLog([], refusals=3)
    first = asyncio.create_task(pipe(refused, log, gate=gate).run(stop))
    second = asyncio.create_task(pipe(other, log, counts, gate=gate).run(stop))
    await settle()
    await refused.answer([good("a")])
    assert not gate.is_open
    await other.answer([])
    assert other.open == []
    assert counts["polls_held_back", "held"] == 1
    async with asyncio.timeout(10):
        while not (other.open and refused.open):  # noqa: ASYNC110  # when the log has accepted
            await asyncio.sleep(0.01)
    assert gate.is_open
    assert refused.deleted == ["a"]
    stop.set()
    await refused.answer([])
    await other.answer([])
    await asyncio.gather(first, second)


async def test_the_gate_opens_when_all_that_was_refused_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One batch that goes in does not speak for another that the log still refuses."""
    monkeypatch.setattr(pipeline, "RETRY_S", (0.0,))
    stop, gate = asyncio.Event(), Gate(lambda: 0)
    taken, refused = HeldSource(), HeldSource()
    hopeless, hesitant = FakeLog([], refusals=1_000_000), FakeLog([], refusals=1)
    first = asyncio.create_task(pipe(refused, hopeless, gate=gate).run(stop))
    second = asyncio.create_task(pipe(taken, hesitant, gate=gate).run(stop))
    await settle()
    await refused.answer([good("a")])
    await taken.answer([good("b")])
    async with asyncio.timeout(10):
        while not taken.deleted:  # noqa: ASYNC110  # when the log has accepted
            await asyncio.sleep(0)
    assert not gate.is_open
    stop.set()
    await asyncio.gather(first, second)


async def test_told_to_stop_while_the_gate_is_closed() -> None:
    """Whoever waits for room goes too."""
    source, stop = HeldSource(), asyncio.Event()
    gate = Gate(lambda: pipeline.MAX_BEHIND)
    task = asyncio.create_task(pipe(source, FakeLog([]), gate=gate).run(stop))
    await settle()
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert source.open == []


async def test_while_the_hub_is_behind_nothing_is_received() -> None:
    """Clients first: what is in the log and not sent stays bounded."""
    behind = pipeline.MAX_BEHIND
    source, stop = HeldSource(), asyncio.Event()
    gate = Gate(lambda: behind)
    task = asyncio.create_task(pipe(source, FakeLog([]), gate=gate).run(stop))
    await asyncio.sleep(2 * pipeline.LOOK_S)
    assert source.open == []
    behind = 0
    async with asyncio.timeout(10):
        while not source.open:  # noqa: ASYNC110  # when there is room again
            await asyncio.sleep(0.01)
    stop.set()
    await source.answer([])
    await task
