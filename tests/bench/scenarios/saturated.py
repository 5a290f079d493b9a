"""One topic as fast as its viewers take it: what joining writes is worth.

How much there is to join depends on how much is under way, so that is said: `saturated` is a
backlog, `saturated-8` the pace of publishers that wait.
"""

from typing import Final

from tests.bench import contestants
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

BACKLOG: Final = 128  # events under way: × 405 B = 52 kB per viewer, less than any socket holds
JOINED: Final = 8
_FIGURE: Final = "deliveries_per_s"
_RAW: Final = f"raw C, {JOINED} events per write"


def _scenario(name: str, most: int, *goals: Goal) -> Scenario:
    def play(run: Run) -> Results:
        clients = run.scale.clients

        def prepare(stand: Stand) -> None:
            stand.viewers.connect(stand.port, clients, 0)

        def one(stand: Stand) -> Sample:
            sample = stand.play(run.scale.seconds, rate=0, most=most, fanout=clients, topics=1)
            sample["viewers_share"] = sample["viewers_cpu_s"] / sample["seconds"]
            return sample

        contesting = [
            contestants.product(),
            contestants.raw(1),
            contestants.raw(JOINED),
            contestants.raw(most),
            *contestants.peers(),
        ]
        seen = {each.name: each for each in contesting}  # where `most` is what is joined anyway
        return take_turns(run, name, list(seen.values()), prepare, one)

    return Scenario(
        name,
        f"One topic, 1,000 viewers, as many events as they take with {most} under way",
        play,
        {
            "deliveries_per_s": "deliveries/s",
            "deliveries_per_cpu_s": "deliveries per second of CPU",
            "cpu_us": "CPU µs/delivery",
            "writes_per_delivery": "`write`s per delivery",
            "events_per_read": "events per read",
            "viewers_share": "viewers' share of their core",
            "p99_us": "p99 µs",
        },
        goals,
        (_FIGURE,),
    )


SATURATED: Final = (
    _scenario(
        "saturated",
        BACKLOG,
        Goal("deliveries/s on one core", _FIGURE, "at least", 800_000),
        Goal("deliveries/s, of raw C with 8 events per write", _FIGURE, "at least", 0.6, _RAW),
        Goal("deliveries/s, of nats-server", _FIGURE, "at least", 2.0, "nats-server"),
        Goal("deliveries/s, of node ws", _FIGURE, "at least", 6.0, "node ws, prepared frame"),
    ),
    _scenario(
        "saturated-8",
        JOINED,
        Goal(
            "deliveries/s with 8 under way, of nats-server", _FIGURE, "at least", 2.0, "nats-server"
        ),
    ),
)
