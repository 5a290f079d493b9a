"""How long things take, as Prometheus histograms: once per event, message or batch, and never per
delivery.

One observation costs 1.2 µs (a lock, and a walk over the buckets), and a message makes three of
them: some 2 % of what it costs to receive and delete one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, get_args

from prometheus_client import Histogram, Metric
from prometheus_client.registry import Collector

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.ports import Message

# From the path's own few milliseconds to an outage. EC2 tells whole seconds, so its events seem up
# to a second older than they are.
DELAYS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
# From when SQS had it: past a minute is a backlog, past an hour an outage.
AGES_S: Final = (0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600)
# From one commit on a fast disk to the 5 s for which SQLite waits.
APPENDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
ANSWERS: Final = (0, 1, 2, 5, 9)  # messages; what is above is a full answer of ten


class Timings(Collector):
    """The histograms. They may be read from any thread: each bucket has a lock of its own."""

    def __init__(self, now_ms: Callable[[], int], queues: Iterable[str] = ()) -> None:
        """`queues` are those that are shown before anything came from them."""
        self._now_ms = now_ms
        self._to_log = _histogram(
            "event_to_log", "From an event's own time to its commit", "source", DELAYS_S
        )
        self._to_socket = _histogram(
            "event_to_socket",
            "From an event's own time to when its frame was written to all who watch, slow ones"
            " aside; once per event that anybody watches",
            "source",
            DELAYS_S,
        )
        self._append = _histogram(
            "log_append", "From giving the log a batch to its commit", "", APPENDS_S
        )
        self._age = _histogram(
            "message_age", "From SQS taking a message to our receiving it", "queue", AGES_S
        )
        self._answer = Histogram(
            "statuswire_poll_messages",
            "Messages in the answer to a poll",
            ["queue"],
            registry=None,
            buckets=ANSWERS,
        )
        # What has not happened yet is exported too, as nothing, so that its first time shows.
        for source in get_args(events.Source):
            self._to_log.labels(source)
            self._to_socket.labels(source)
        for queue in queues:
            self._age.labels(queue)
            self._answer.labels(queue)

    def received(self, queue: str, messages: Sequence[Message]) -> None:
        """A poll was answered."""
        self._answer.labels(queue).observe(len(messages))
        now_ms = self._now_ms()
        for message in messages:
            if message.sent_ms is not None:
                self._age.labels(queue).observe(max(0, now_ms - message.sent_ms) / 1000)

    def appended(self, batch: Iterable[Event], took_s: float) -> None:
        """The log committed a batch, and these events of it will be sent."""
        self._append.observe(took_s)
        now_ms = self._now_ms()
        for event in batch:
            self._to_log.labels(event.source).observe(_since(event, now_ms))

    def sent(self, watched: Iterable[Entry]) -> None:
        """The frames of these entries were written to those who watch them."""
        now_ms = self._now_ms()
        for entry in watched:
            self._to_socket.labels(entry.event.source).observe(_since(entry.event, now_ms))

    def collect(self) -> Iterator[Metric]:
        """All of them, as of now."""
        for each in (self._to_log, self._to_socket, self._append, self._age, self._answer):
            yield from each.collect()


def _histogram(name: str, text: str, label: str, buckets: Sequence[float]) -> Histogram:
    return Histogram(
        f"statuswire_{name}_seconds",
        text,
        [label] if label else [],
        registry=None,
        buckets=buckets,
    )


def _since(event: Event, now_ms: int) -> float:
    """Never below zero: two clocks differ."""
    return max(0, now_ms - events.milliseconds(event.time)) / 1000
