"""50 events per second to 1,000 viewers, so that nothing is joined: CPU and latency."""

from typing import Final

from tests.bench import contestants
from tests.bench.goals import PEERS, Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

RATE: Final = 50.0  # one each 20 ms, three times what a sweep over 1,000 sockets takes
LONGER: Final = 2  # than other plays: 100 events × 1,000 for a p99


def play(run: Run) -> Results:
    clients = run.scale.clients

    def prepare(stand: Stand) -> None:
        stand.viewers.connect(stand.port, clients, 0)

    def one(stand: Stand) -> Sample:
        seconds = run.scale.seconds * LONGER
        return stand.play(seconds, rate=RATE, most=0, fanout=clients, topics=1)

    contesting = [contestants.product(), contestants.raw(1), *contestants.peers()]
    return take_turns(run, STEADY.name, contesting, prepare, one)


_RAW: Final = "raw C, one write per client"
STEADY: Final = Scenario(
    "steady",
    "One topic, 1,000 viewers, 50 events/s: nothing to join",
    play,
    {
        "cpu_us": "CPU µs/delivery",
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "p999_us": "p99.9 µs",
        "writes_per_delivery": "`write`s per delivery",
        "events_per_read": "events per read",
    },
    (
        Goal("CPU per delivery, of raw C", "cpu_us", "at most", 1.2, _RAW),
        Goal("CPU per delivery, of the best peer", "cpu_us", "at most", 1.0, PEERS),
        Goal("p99 at 50,000 deliveries/s, of raw C", "p99_us", "at most", 1.15, _RAW),
        Goal("p99 at 50,000 deliveries/s, of the best peer", "p99_us", "at most", 1.0, PEERS),
    ),
    ("cpu_us", "p99_us"),
)
