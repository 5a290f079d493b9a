"""One viewer per topic: what finding it costs, whatever the number of subscriptions."""

from typing import Final

from tests.bench import contestants
from tests.bench.contestants import Contestant
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

RATE: Final = 20_000.0
QUICK_RATE: Final = 500.0
_RAW: Final = "raw C, one write per client"


def _scenario(subscriptions: int, each: int, *, with_peers: bool) -> Scenario:
    name = f"topics-{subscriptions}"
    viewers = subscriptions // each

    def play(run: Run) -> Results:
        contesting: list[Contestant] = [contestants.product(), contestants.raw(1)]
        contesting += contestants.peers() if with_peers else []
        connections = max(10, viewers // run.scale.part)
        seconds = run.scale.seconds
        rate = RATE if run.scale.part == 1 else QUICK_RATE

        def prepare(stand: Stand) -> None:
            stand.viewers.connect(stand.port, connections, each)

        def one(stand: Stand) -> Sample:
            topics = connections * each
            sample = stand.play(seconds, rate=rate, most=0, fanout=1, topics=topics)
            unwatched = stand.play_unwatched(seconds, rate=rate, most=0, topics=topics)
            sample["alone_us"] = sample["cpu_us"] - unwatched["cpu_us"]
            return sample

        return take_turns(run, name, contesting, prepare, one)

    return Scenario(
        name,
        f"One viewer per topic, 20,000 events/s, {subscriptions:,} subscriptions"
        f" of {viewers:,} viewers",
        play,
        {
            "cpu_us": "CPU µs/event",
            "alone_us": "of it the delivery, CPU µs",
            "events_per_s": "events/s",
            "p99_us": "p99 µs",
        },
        (
            Goal(
                f"CPU per event, {subscriptions:,} topics, of raw C", "cpu_us", "at most", 1.4, _RAW
            ),
            Goal(
                f"CPU of the delivery alone, {subscriptions:,} topics, of raw C",
                *("alone_us", "at most", 1.4, _RAW),
            ),
        ),
        ("cpu_us",),
    )


TOPICS: Final = (
    _scenario(1_000, 1, with_peers=True),
    _scenario(10_000, 1, with_peers=False),
    _scenario(100_000, 10, with_peers=False),
)
