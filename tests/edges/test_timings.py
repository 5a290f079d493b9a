"""Histograms: once per event, message or batch, however many clients there are."""

import asyncio
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.messages import Subscribe
from consumer.core.statuses import Verdict
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.ports import Message
from consumer.timings import Timings
from tests.contract.trace import RecordingClient
from tests.core import examples
from tests.edges.test_pipeline import FakeLog, FakeSource, good, pipe

NOW_MS = events.milliseconds("2026-01-01T00:00:05.000Z")


class Read:
    """Timings whose clock stands still, and what a scrape reads of them."""

    def __init__(self) -> None:
        self.timings = Timings(lambda: NOW_MS, ["fake"])
        self._registry = CollectorRegistry()
        self._registry.register(self.timings)

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(f"statuswire_{name}", labels)


class SecondIsARepeat(FakeLog):
    """A log that knows the second event of each batch."""

    async def append(self, events: Sequence[Event]) -> list[Verdict]:
        return [Verdict.APPENDED, Verdict.REPEAT]


class OneFeed:
    """A log that tells some entries, once asked for its changes."""

    epoch = "e"
    head = 0

    def __init__(self, *entries: Entry) -> None:
        self.entries = list(entries)

    async def newest(self) -> tuple[int, list[Entry]]:
        return 0, []

    async def changes(self, after: int) -> Any:
        yield self.entries


def test_what_has_not_happened_is_exported_as_nothing() -> None:
    """A first time would not show where there was no series before it."""
    read = Read()
    assert read("event_to_log_seconds_count", source="ec2") == 0
    assert read("event_to_socket_seconds_count", source="workflow") == 0
    assert read("message_age_seconds_count", queue="fake") == 0
    assert read("poll_messages_count", queue="fake") == 0


def test_a_poll_tells_how_full_it_was_and_how_old_its_messages_were() -> None:
    """From SQS taking them, redeliveries included."""
    read = Read()
    messages = [Message(f"m{age}", "", "h", None, 1, NOW_MS - age) for age in (90, 3_000)]
    read.timings.received("fake", [*messages, Message("m", "", "h", None, 1)])
    read.timings.received("fake", [])
    assert read("poll_messages_count", queue="fake") == 2
    assert read("poll_messages_sum", queue="fake") == 3
    assert read("message_age_seconds_count", queue="fake") == 2
    assert read("message_age_seconds_sum", queue="fake") == 3.09
    assert read("message_age_seconds_bucket", queue="fake", le="0.1") == 1


def test_clocks_that_differ_make_no_negative_delay() -> None:
    """A sum that falls looks like a restart to Prometheus."""
    read = Read()
    read.timings.received("fake", [Message("m", "", "h", None, 1, NOW_MS + 5)])
    read.timings.appended([examples.step(9)], 0.002)
    assert read("message_age_seconds_sum", queue="fake") == 0
    assert read("event_to_log_seconds_sum", source="workflow") == 0
    assert read("event_to_log_seconds_count", source="workflow") == 1


async def test_the_pipeline_times_polls_appends_and_what_will_be_sent() -> None:
    """Not what the log dropped: a repeat's delay is its sender's."""
    read = Read()
    source = FakeSource([good("a"), good("b")])
    stop = asyncio.Event()
    log = SecondIsARepeat(source.story)
    task = asyncio.create_task(pipe(source, log, timings=read.timings).run(stop))
    async with asyncio.timeout(10):
        await source.emptied.wait()
        stop.set()
        await task
    assert read("log_append_seconds_count") == 1
    assert read("event_to_log_seconds_count", source="workflow") == 1
    assert read("event_to_log_seconds_sum", source="workflow") == 4
    assert read("poll_messages_sum", queue="fake") == 2


async def test_an_event_is_timed_once_however_many_watch_it_and_not_when_nobody_does() -> None:
    """The histogram is of events, not of deliveries."""
    read = Read()
    watched, other = examples.step(1), examples.step(2, run="run-2")
    log = OneFeed(examples.entry(1, watched), examples.entry(2, other))
    hub = Hub(log, lambda: NOW_MS, timings=read.timings)  # type: ignore[arg-type]
    for _ in range(3):
        client = RecordingClient("e")
        hub.admit(client)
        client.session.begin(["execution:run-1"], 0)
        hub._attach(client)
    await hub.follow()
    assert read("event_to_socket_seconds_count", source="workflow") == 1
    assert read("event_to_socket_seconds_sum", source="workflow") == 4
    assert hub.tally.frames == 3


async def test_what_slow_clients_skip_is_counted() -> None:
    """They get the newest per key, and are told how many they missed."""
    log = OneFeed(*(examples.entry(n, examples.step(n)) for n in range(1, 6)))
    hub = Hub(log, lambda: NOW_MS)  # type: ignore[arg-type]
    client = RecordingClient("e", outbox=2)
    hub.admit(client)
    client.session.begin(["*"], 0)
    hub._attach(client)
    client.stall()
    await hub.follow()
    assert (hub.tally.frames, hub.tally.skipped) == (0, 0)
    client.go_on()
    assert (hub.tally.frames, hub.tally.skipped) == (1, 4)


async def test_snapshots_resumes_and_gaps_are_counted() -> None:
    """A gap is a viewer who missed something, and knows it."""
    counts = Counts()
    hub = Hub(OneFeed(), lambda: NOW_MS, counts)  # type: ignore[arg-type]
    client = RecordingClient("e")
    hub.admit(client)
    for since in (None, "e-0", "other-3"):
        hub.request(client, Subscribe(watch=["*"], since=since))
    async with asyncio.timeout(10):
        while not client.session.is_live:  # noqa: ASYNC110  # until all three are served
            await asyncio.sleep(0)
    assert counts == {("snapshots", ""): 2, ("resumes", ""): 1, ("gaps", ""): 1}


def test_subscriptions_are_counted_as_often_as_they_are_watched() -> None:
    """By two clients, one of which watches two patterns."""
    hub = Hub(OneFeed(), lambda: NOW_MS)  # type: ignore[arg-type]
    for patterns in (["*"], ["*", "machine:express"]):
        client = RecordingClient("e")
        client.session.begin(patterns, 0)
        hub.admit(client)
    assert hub.subscriptions == 3
