"""How long things take, as Prometheus histograms: once per event, message or batch, and never per
delivery.

One observation costs 0.2 µs, a bisection of the buckets, where prometheus_client's own take a lock
and walk: 3 µs, and a message makes three of them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from operator import attrgetter
from typing import Final, get_args

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event, milliseconds
from consumer.ports import Message

# From the path's own few milliseconds to an outage. EC2 tells whole seconds, so its events seem up
# to a second older than they are.
DELAYS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
# From when SQS had it: past a minute is a backlog, past an hour an outage.
AGES_S: Final = (0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 3600)
# From one commit on a fast disk to the 5 s for which SQLite waits.
APPENDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_source: Final = attrgetter("source")
ANSWERS: Final = (0, 1, 2, 5, 9)  # messages; what is above is a full answer of ten


class Timings(Collector):
    """The histograms. They may be read from any thread, each number by itself."""

    def __init__(self, now_ms: Callable[[], int], queues: Iterable[str] = ()) -> None:
        """`queues` are those that are shown before anything came from them."""
        self._now_ms = now_ms
        # What has not happened yet is exported too, as nothing, so that its first time shows.
        sources = get_args(events.Source)
        self._to_log = _Histogram(
            "event_to_log_seconds",
            "From an event's own time to its commit",
            DELAYS_S,
            "source",
            sources,
        )
        self._to_socket = _Histogram(
            "event_to_socket_seconds",
            "From an event's own time to when its frame was written to all who watch, slow ones"
            " aside; once per event that anybody watches",
            DELAYS_S,
            "source",
            sources,
        )
        self._append = _Histogram(
            "log_append_seconds", "From giving the log a batch to its commit", APPENDS_S
        )
        self._age = _Histogram(
            "message_age_seconds",
            "From SQS taking a message to our receiving it",
            AGES_S,
            "queue",
            queues,
        )
        self._answer = _Histogram(
            "poll_messages", "Messages in the answer to a poll", ANSWERS, "queue", queues
        )

    def received(self, queue: str, messages: Sequence[Message]) -> None:
        """A poll was answered."""
        self._answer.of(queue).observe(len(messages))
        sent_ms = [one.sent_ms for one in messages if one.sent_ms is not None]
        self._age.of(queue).observe_since(sent_ms, self._now_ms())

    def appended(self, batch: Iterable[Event], took_s: float) -> None:
        """The log committed a batch, and these events of it will be sent."""
        self._append.of("").observe(took_s)
        self._to_log.observe_events(batch, self._now_ms())

    def sent(self, watched: Iterable[Entry]) -> None:
        """The frames of these entries were written to those who watch them."""
        self._to_socket.observe_events([entry.event for entry in watched], self._now_ms())

    def collect(self) -> Iterator[Metric]:
        """All of them, as of now."""
        for each in (self._to_log, self._to_socket, self._append, self._age, self._answer):
            yield each.metric()


class _Buckets:
    """How many values there were up to each bound, and their sum."""

    __slots__ = ("_bounds", "sum", "within")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.within = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.within[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def observe_since(self, times_ms: Iterable[int], now_ms: int) -> None:
        """How long ago each was, in seconds; never below zero, for two clocks differ."""
        bounds, within = self._bounds, self.within
        for time_ms in times_ms:
            age_s = (now_ms - time_ms) / 1000 if now_ms > time_ms else 0.0
            within[bisect_left(bounds, age_s)] += 1
            self.sum += age_s


class _Histogram:
    """One of Prometheus' histograms, by at most one label."""

    def __init__(
        self,
        name: str,
        text: str,
        bounds: Sequence[float],
        label: str | None = None,
        values: Iterable[str] = (),
    ) -> None:
        self._name = f"statuswire_{name}"
        self._text = text
        self._bounds = bounds
        self._label = label
        self._of = {value: _Buckets(bounds) for value in (values if label else ("",))}

    def of(self, value: str) -> _Buckets:
        """The buckets of one value of the label."""
        if (found := self._of.get(value)) is None:
            found = self._of[value] = _Buckets(self._bounds)
        return found

    def observe_events(self, batch: Iterable[Event], now_ms: int) -> None:
        """How old they are, by their source: that of neighbours is the same, as a rule."""
        for source, those in groupby(batch, _source):
            self.of(source).observe_since([milliseconds(one.time) for one in those], now_ms)

    def metric(self) -> HistogramMetricFamily:
        labels = [self._label] if self._label else []
        family = HistogramMetricFamily(self._name, self._text, labels=labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for value, found in list(self._of.items()):
            running = accumulate(list(found.within))
            family.add_metric(
                [value] if labels else [], list(zip(bounds, running, strict=True)), found.sum
            )
        return family
