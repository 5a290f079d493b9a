"""Prometheus metrics, on a port of their own. docs/metrics.md has a row for each."""

import asyncio
import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, get_args

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer import __version__
from consumer.core.messages import CloseCode
from consumer.core.statuses import Verdict
from consumer.edges import aws
from consumer.edges.backlog import Backlogs
from consumer.edges.sqs import SqsQueue
from consumer.hub import INTERNAL_ERROR, Hub
from consumer.pipeline import Counts, Pipeline
from consumer.ports import StatusLog
from consumer.readiness import Readiness
from consumer.timings import Timings

QUEUES: Final = ("status", "service")
_QUEUE: Final = {"queue": QUEUES}
_VERDICT: Final = {"verdict": tuple(Verdict)}
_REFUSALS: Final = (
    *("connections", "address", "rate", "address_rate", "half_open", "handshake_time"),
    *("tls", "token", "origin", "insecure"),
)


class Counted(NamedTuple):
    """A counter's help, and its labels with the values that are known before they happen: those
    are exported as 0 from the start, so that their first time shows.
    """

    text: str
    labels: Mapping[str, Sequence[str]] = {}


# Name without `statuswire_` and `_total` → what `Counts` has under it.
COUNTERS: Final = {
    "messages_received": Counted("Messages received from SQS, redeliveries included", _QUEUE),
    "messages_malformed": Counted("Messages left for the dead-letter queue", _QUEUE),
    "messages_deleted": Counted("Messages acknowledged after the log's commit", _QUEUE),
    "poll_errors": Counted(
        "Polls that SQS did not answer as it should", {**_QUEUE, "kind": get_args(aws.Kind)}
    ),
    "polls_held_back": Counted("Polls that waited for the log or the hub", _QUEUE),
    "delete_errors": Counted("Batches whose delete failed and was tried again", _QUEUE),
    "visibility_errors": Counted("Batches whose visibility was not changed", _QUEUE),
    "receipts_expired": Counted("Messages that were redelivered before their delete", _QUEUE),
    "backlog_errors": Counted("Questions for a queue's backlog that were not answered", _QUEUE),
    "log_errors": Counted("Times that the log refused", {"operation": ("append", "prune")}),
    "events": Counted("Events by what became of them", _VERDICT),
    "events_not_shown": Counted(
        "Events of instances without the tag, or of which EC2 did not answer whether they have it",
        {"reason": ("untagged", "unanswered")},
    ),
    "reconciled": Counted("What the reconciler learned, by what became of it", _VERDICT),
    "reconcile_errors": Counted(
        "Questions of the reconciler that were not answered",
        {"about": ("DescribeInstances", "sweep", "look", "queues", "the log")},
    ),
    "connections_opened": Counted("WebSocket connections accepted"),
    "connections_closed": Counted(
        "Connections closed, by our code, `client` or `none`",
        {"code": (*map(str, (INTERNAL_ERROR, *map(int, CloseCode))), "client", "none")},
    ),
    "connections_refused": Counted(
        "Connections refused, by the limit or the reason", {"reason": _REFUSALS}
    ),
    "token_errors": Counted(
        "Times that the keys of tokens could not be read", {"kind": ("unreachable", "unusable")}
    ),
    "tls_reloads": Counted(
        "Times that the certificate's files changed", {"result": ("done", "failed")}
    ),
    "messages_from_clients": Counted("Messages that clients sent"),
    "snapshots": Counted("Snapshots sent to clients"),
    "resumes": Counted("Clients brought up from their cursor"),
    "gaps": Counted("Clients told that their cursor can't be resumed"),
    "bytes_sent": Counted("Bytes of frames written to clients, snapshots and heartbeats included"),
    "frames_sent": Counted("Status frames written to clients as events came"),
    "events_skipped": Counted("Events of which slow clients were told the newest per key only"),
}


@dataclass(frozen=True)
class Observed:
    """What gauges look at, from the scrape's thread: one step each, so nothing is seen half."""

    hub: Hub
    queues: Sequence[SqsQueue]
    pipelines: Sequence[Pipeline]
    backlogs: Backlogs
    readiness: Readiness
    half_open: Callable[[], int]
    loop: asyncio.AbstractEventLoop
    status_log: StatusLog
    log_path: Path | None
    """SQLite's file; None of another log."""


Values = Iterable[tuple[tuple[str, ...], float]]


class Gauge(NamedTuple):
    """A gauge's help, its labels, and its values as of now."""

    text: str
    labels: tuple[str, ...]
    values: Callable[[Observed], Values]


def _one(value: Callable[[Observed], float]) -> Callable[[Observed], Values]:
    return lambda observed: [((), value(observed))]


def _log_bytes(observed: Observed) -> Values:
    """SQLite's file and, beside it, its write-ahead log's."""
    if (path := observed.log_path) is not None:
        files = (path, path.with_name(f"{path.name}-wal"))
        yield (), sum(file.stat().st_size for file in files if file.exists())


def _free_bytes(observed: Observed) -> Values:
    if (path := observed.log_path) is not None:
        yield (), shutil.disk_usage(path.parent).free


def _backlogs(observed: Observed) -> Values:
    for queue, backlog in observed.backlogs.read().items():
        for state, messages in backlog._asdict().items():
            yield (queue, state), messages


GAUGES: Final = {
    "build_info": Gauge(
        "1, for the version that runs", ("version",), lambda _: [((__version__,), 1)]
    ),
    "ready": Gauge(
        "1 when ready to serve", (), _one(lambda seen: int(not seen.readiness.missing()))
    ),
    "tasks": Gauge(
        "Tasks of the event loop", (), _one(lambda seen: len(asyncio.all_tasks(seen.loop)))
    ),
    "queue_messages": Gauge("Messages in a queue, as SQS counts", ("queue", "state"), _backlogs),
    "messages_in_flight": Gauge(
        "Messages received and neither deleted nor given back",
        ("queue",),
        lambda seen: [((queue.name,), queue.in_hand) for queue in list(seen.queues)],
    ),
    "polls": Gauge(
        "Polls under way, and those whose answer is on its way to the log",
        ("queue",),
        lambda seen: [((each.name,), each.polls) for each in list(seen.pipelines)],
    ),
    "log_place": Gauge("Place of the newest event sent", (), _one(lambda seen: seen.hub.place)),
    "log_size_bytes": Gauge("Size of the SQLite log's files", (), _log_bytes),
    "log_free_bytes": Gauge("Room on the SQLite log's disk", (), _free_bytes),
    "log_away_seconds": Gauge(
        "For how long the log has not answered", (), _one(lambda seen: seen.status_log.away_s)
    ),
    "keys": Gauge("Executions and instances in the view", (), _one(lambda s: len(s.hub.view))),
    "lag_seconds": Gauge(
        "Age of the newest event when it was sent", (), _one(lambda s: (s.hub.lag_ms or 0) / 1000)
    ),
    "half_open": Gauge(
        "Connections that have not finished their handshake", (), _one(lambda s: s.half_open())
    ),
    "clients": Gauge("WebSocket clients connected", (), _one(lambda s: len(s.hub.clients))),
    "subscriptions": Gauge(
        "Patterns watched, by all clients", (), _one(lambda s: s.hub.subscriptions)
    ),
}


class Metrics(Collector):
    """Reads what the product keeps; nothing is measured here."""

    def __init__(self, counts: Counts, timings: Timings, observed: Observed) -> None:
        self._counts = counts
        self._timings = timings
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """All metrics as of now."""
        counts = self._counts.copy()  # in one step: the event loop's thread goes on counting
        tally = self._observed.hub.tally
        counts.update(
            {
                ("frames_sent", ""): tally.frames,
                ("events_skipped", ""): tally.skipped,
                ("bytes_sent", ""): tally.bytes,
            }
        )
        for name, counter in COUNTERS.items():
            yield _counter(name, counter, counts)
        for name, gauge in GAUGES.items():
            family = GaugeMetricFamily(f"statuswire_{name}", gauge.text, labels=gauge.labels)
            for labels, value in gauge.values(self._observed):
                family.add_metric(labels, value)
            yield family
        yield from self._timings.collect()


def _counter(name: str, counter: Counted, counts: Counts) -> Metric:
    family = CounterMetricFamily(f"statuswire_{name}", counter.text, labels=tuple(counter.labels))
    values = dict.fromkeys(itertools.product(*counter.labels.values()), 0)
    for (what, *labels), value in counts.items():
        if what == name:
            values[tuple(labels) if counter.labels else ()] = value
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def registry_of(metrics: Metrics) -> prometheus_client.CollectorRegistry:
    """All that is exported: ours, and what prometheus_client knows of the process."""
    # A series more for each of a histogram's, that nobody asks for.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = prometheus_client.CollectorRegistry()
    registry.register(metrics)
    prometheus_client.ProcessCollector(registry=registry)
    prometheus_client.PlatformCollector(registry=registry)
    return registry
