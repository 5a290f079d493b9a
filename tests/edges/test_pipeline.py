"""THE PATH: acknowledged after the commit, never before; refused by receives, never by deletion."""

import asyncio
import json
from collections.abc import Sequence

from consumer import pipeline
from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.pipeline import Counts
from consumer.ports import LogUnavailable, Message, SourceUnavailable
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


async def play(source: FakeSource, refusals: int = 0) -> Counts:
    """Run the pipeline until the source is empty."""
    counts = Counts()
    stop = asyncio.Event()
    log = FakeLog(source.story, refusals)
    task = asyncio.create_task(pipeline.run(source, log, counts, stop))  # type: ignore[arg-type]
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


async def test_a_malformed_message_holds_up_nobody() -> None:
    """It goes back at once and is never deleted; what surrounds it is taken."""
    source = FakeSource([good("a"), bad("x"), good("b")])
    counts = await play(source)
    assert source.story == ["receive", "commit 2", "delete a", "delete b", "release x"]
    assert counts["messages_malformed", "fake"] == 1


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
    assert source.story == ["receive", f"release {'x'}", "receive"]


async def test_while_the_log_refuses_nothing_is_received_or_deleted() -> None:
    """The same batch is offered until it is taken."""
    source = FakeSource([good("a")], [good("b")])
    counts = await play(source, refusals=2)
    assert source.story == [
        "receive", "refused", "refused", "commit 1", "delete a", "receive", "commit 1", "delete b",
    ]  # fmt: skip
    assert counts["log_errors", "append"] == 2


async def test_told_to_stop_while_the_log_refuses() -> None:
    """Nothing is deleted, and what was in hand is given back."""
    source = FakeSource([good("a")])
    stop = asyncio.Event()
    log = FakeLog(source.story, refusals=1_000)
    task = asyncio.create_task(pipeline.run(source, log, Counts(), stop))  # type: ignore[arg-type]
    while "refused" not in source.story:  # noqa: ASYNC110  # one turn of the loop at a time
        await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(5):
        await task
    assert source.story[:2] == ["receive", "refused"]
    assert not any(line.startswith(("delete", "commit")) for line in source.story)
    assert source.story[-1] == "release a"


async def test_a_failing_poll_is_tried_again() -> None:
    """The queue's troubles pass; the consumer outlives them."""
    source = FakeSource(SourceUnavailable("throttled"), SourceUnavailable("reset"), [good("a")])
    counts = await play(source)
    assert source.story == ["receive", "receive", "receive", "commit 1", "delete a"]
    assert counts["poll_errors", "fake"] == 2
