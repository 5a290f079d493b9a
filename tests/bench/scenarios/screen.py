"""Queue to screen: the whole consumer between a mock of SQS and viewers.

Latencies are from the writing of SQS' answer to what a viewer's read brought: the poll's way, the
decoding, one commit of the log, the hub and the socket are in them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from infra.local.places import Ports
from tests.bench.goals import OURS
from tests.bench.mock_sqs import MockSqs, mock_sqs
from tests.bench.pinned import Cores, Pinned
from tests.bench.receivers import CONSUMER, WARM_S, consumer_environment, product
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.scenarios.start import until_ready
from tests.bench.stand import Sample
from tests.bench.viewers import Viewers

KEYS: Final = 1_000  # executions at the same time: more than messages in hand
RATES: Final = (10, 50, 100, 200, 400, 800, 1_600, 3_200)  # until it bends
CLIENTS: Final = (1, 100, 1_000, 5_000)
INSTANCES: Final = (100, 1_000, 10_000)
INSTANCES_RATE: Final = 200.0
CALM_RATE: Final = 10.0
FEWER: Final = 5  # rounds by this: a round of theirs has many plays
BENT: Final = 0.9  # of the events that came due reached the viewers
SETTLE_S: Final = 0.5
DRAIN_S: Final = 60.0
_COLUMNS: Final = {
    "shown_per_s": "events/s on each screen",
    "events_per_s": "events/s taken from the queue",
    "deliveries_per_s": "deliveries/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "p999_us": "p99.9 µs",
    "cpu_us": "CPU µs/event",
    "core": "share of its core",
    "viewers_core": "the viewers' share of theirs",
    "waiting": "left in the queue",
}


class Screen:
    """A mock, a consumer and its viewers; each event is to come to `fanout` of them."""

    def __init__(self, mock: MockSqs, consumer: Pinned, viewers: Viewers, fanout: float) -> None:
        self._fanout = fanout
        self.mock = mock
        self.consumer = consumer
        self.viewers = viewers

    def play(self, seconds: float, rate: float | None) -> Sample:
        """At so many events per second; None: as many as the consumer asks for."""
        self.mock.pace(rate)
        time.sleep(SETTLE_S)
        used_s, before = self.consumer.cpu_s(), self.mock.counts()
        told: dict[str, Any] = self.viewers.play(seconds, rate=0, most=0, fanout=0, topics=1)
        used_s, after = self.consumer.cpu_s() - used_s, self.mock.counts()
        self.mock.pace(0)
        self.mock.drained(DRAIN_S)
        self.viewers.wait(SETTLE_S)
        took_s = (after.at_ns - before.at_ns) / 1e9
        events = max(1, after.deleted - before.deleted)
        return {
            "deliveries": told["deliveries"],
            "deliveries_per_s": told["deliveries"] / told["seconds"],
            "shown_per_s": told["deliveries"] / told["seconds"] / self._fanout,
            "events_per_s": events / took_s,
            "cpu_us": used_s * 1e6 / events,
            "core": used_s / took_s,
            "viewers_core": told["viewers_cpu_s"] / told["seconds"],
            "mock_core": (after.cpu_us - before.cpu_us) / 1e6 / took_s,
            "waiting": max(0, after.due),
            **{name: told[name] for name in ("p50_us", "p99_us", "p999_us", "max_us")},
        }


@contextmanager
def screen(folder: Path, clients: int, instances: int = 1, keys: int = KEYS) -> Iterator[Screen]:
    """Up, connected and warm. With one instance all watch its events, which are all there are;
    otherwise each viewer watches an instance of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cores, port = Cores.here(), Ports().settle().consumer
    with mock_sqs(folder, rate=0, keys=keys, instances=instances) as queue:
        settings = {**product().settings, "STATUSWIRE_PORT": str(port)}
        environment = consumer_environment(queue, folder, **settings)
        consumer = Pinned(CONSUMER, cores.server, folder / "output", environment)
        try:
            until_ready(consumer, port)
            viewers = Viewers("product", cores.load, folder / "viewers")
            try:
                viewers.connect(port, clients, int(instances > 1))
                yield Screen(queue, consumer, viewers, clients / instances)
            finally:
                viewers.kill()
        finally:
            consumer.kill()


def _tell(run: Run, name: str, sample: Sample) -> None:
    run.tell(
        f"{name}: {sample['shown_per_s']:,.0f} shown/s,"
        f" p50 {sample['p50_us'] / 1000:.1f} ms, p99 {sample['p99_us'] / 1000:.1f} ms,"
        f" {sample['waiting']:,.0f} left in the queue"
    )


def _rounds(run: Run) -> int:
    return max(1, run.scale.rounds // FEWER)


def _play_rates(run: Run) -> Results:
    """More and more, until it bends."""
    results = Results()
    clients = run.scale.clients
    with screen(run.folder, clients) as stage:
        stage.play(run.scale.seconds, CALM_RATE)
        for _ in range(_rounds(run)):
            for rate in RATES[: 2 if run.scale.part > 1 else None]:
                sample = stage.play(run.scale.seconds, float(rate))
                name = f"{OURS}, {rate:,} events/s"
                results.add(name, sample)
                _tell(run, name, sample)
                if sample["shown_per_s"] < BENT * rate:
                    break
    return results


def _play_clients(run: Run) -> Results:
    """Few events, and as many as it takes."""
    results = Results()
    for clients in CLIENTS:
        count = max(1, clients // run.scale.part)
        with screen(run.folder / str(clients), count) as stage:
            stage.play(run.scale.seconds, CALM_RATE)
            for _ in range(_rounds(run)):
                for how, rate in ((f"{CALM_RATE:g} events/s", CALM_RATE), ("saturated", None)):
                    name = f"{OURS}, {count:,} clients, {how}"
                    results.add(name, sample := stage.play(run.scale.seconds, rate))
                    _tell(run, name, sample)
    return results


def _play_instances(run: Run) -> Results:
    """Each viewer watches an instance of its own; all instances have an execution, long known."""
    results = Results()
    for instances in INSTANCES:
        count = max(1, instances // run.scale.part)
        clients = min(run.scale.clients, count)
        folder = run.folder / str(instances)
        with screen(folder, clients, count, max(count, KEYS)) as stage:
            stage.mock.pace(None)
            stage.mock.deleted(count, WARM_S)
            stage.play(run.scale.seconds, CALM_RATE)
            for _ in range(_rounds(run)):
                name = f"{OURS}, {count:,} instances, {clients:,} clients"
                results.add(name, sample := stage.play(run.scale.seconds, INSTANCES_RATE))
                _tell(run, name, sample)
    return results


def _scenario(name: str, title: str, play: Callable[[Run], Results]) -> Scenario:
    return Scenario(name, f"Queue to screen: {title}", play, _COLUMNS, (), ("p99_us",))


SCREEN: Final = (
    _scenario("screen", "1,000 clients watching all, more and more events", _play_rates),
    _scenario("screen-clients", "more and more clients watching all", _play_clients),
    _scenario("screen-instances", "more and more instances, a viewer each", _play_instances),
)
