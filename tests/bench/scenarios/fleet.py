"""Three replicas on Redis beside one process on SQLite: what the way through Redis adds.

Events go into one replica and come out of another; both logs sync each commit to the same disk.
"""

from typing import Final

from tests.bench import contestants
from tests.bench.fleet import costs, fleet
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

REPLICAS: Final = 3
ONE: Final = "one process on SQLite"
LONGER: Final = 3  # than other plays: 30 commits at 10 events/s
SETTLE_S: Final = 0.5  # for the viewers' snapshots: what is in one does not come as an event


def _scenario(name: str, viewers: int, rate: float) -> Scenario:
    def play(run: Run) -> Results:
        clients = min(viewers, run.scale.clients)

        def prepare(stand: Stand) -> None:
            stand.viewers.connect(stand.port, clients, 0)
            stand.viewers.wait(SETTLE_S)

        def one(stand: Stand) -> Sample:
            stand.commits()
            seconds = run.scale.seconds * LONGER
            sample = stand.play(seconds, rate=rate, most=0, fanout=clients, topics=1)
            return {**sample, **stand.commits(), **costs(sample)}

        return take_turns(run, name, [fleet(REPLICAS), contestants.product(ONE)], prepare, one)

    return Scenario(
        name,
        f"Three replicas on Redis, {viewers:,} viewers, {rate:g} events/s:"
        " into one replica, out of another",
        play,
        {
            "p50_us": "p50 µs",
            "p99_us": "p99 µs",
            "p999_us": "p99.9 µs",
            "commit_p50_ms": "commit p50 ms",
            "commit_p99_ms": "commit p99 ms",
            "server_us": "CPU µs/event, with the viewers",
            "taker_us": "of who takes",
            "follower_us": "of who only follows",
            "redis_us": "of Redis",
            "all_us": "of all",
        },
        (
            Goal(
                f"p99 of three replicas, {viewers:,} viewers, of {ONE}",
                "p99_us",
                "at most",
                2.0,
                ONE,
            ),
        ),
        ("p99_us",),
    )


FLEET: Final = (_scenario("fleet", 100, 10.0), _scenario("fleet-1000", 1_000, 50.0))
