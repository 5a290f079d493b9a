"""One topic as fast as its viewers take it: what joining writes is worth."""

from typing import Final

from tests.bench import contestants
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

MOST: Final = 128  # events under way: × 405 B = 52 kB per viewer, less than any socket holds
JOINED: Final = 8


def play(run: Run) -> Results:
    clients = run.scale.clients

    def prepare(stand: Stand) -> None:
        stand.viewers.connect(stand.port, clients, 0)

    def one(stand: Stand) -> Sample:
        return stand.play(run.scale.seconds, rate=0, most=MOST, fanout=clients, topics=1)

    contesting = [
        contestants.product(),
        contestants.raw(JOINED),
        contestants.raw(1),
        *contestants.peers(),
    ]
    return take_turns(run, SATURATED.name, contesting, prepare, one)


_FIGURE: Final = "deliveries_per_s"
SATURATED: Final = Scenario(
    "saturated",
    "One topic, 1,000 viewers, as many events as they take",
    play,
    {
        "deliveries_per_s": "deliveries/s",
        "deliveries_per_cpu_s": "deliveries per second of CPU",
        "cpu_us": "CPU µs/delivery",
        "events_per_read": "events per read",
        "p99_us": "p99 µs",
    },
    (
        Goal("deliveries/s on one core", _FIGURE, "at least", 800_000),
        Goal("of raw C, 8 events per write", _FIGURE, "at least", 0.6, "raw C, 8 events per write"),
        Goal("of nats-server", _FIGURE, "at least", 2.0, "nats-server"),
        Goal("of node ws", _FIGURE, "at least", 6.0, "node ws, prepared frame"),
    ),
)
