"""10 events per second: how long one takes from the queue's answer to the socket."""

from typing import Final

from tests.bench import contestants
from tests.bench.goals import Goal
from tests.bench.scenario import Results, Run, Scenario, take_turns
from tests.bench.stand import Sample, Stand

RATE: Final = 10.0
VIEWERS: Final = 100  # a sweep over 1,000 sockets alone takes raw C 5 ms
LONGER: Final = 3  # than other plays: 30 commits


def play(run: Run) -> Results:
    clients = min(VIEWERS, run.scale.clients)

    def prepare(stand: Stand) -> None:
        stand.viewers.connect(stand.port, clients, 0)

    def one(stand: Stand) -> Sample:
        is_ours = stand.contestant.dialect == "product"
        if is_ours:
            stand.commits()
        seconds = run.scale.seconds * LONGER
        sample = stand.play(seconds, rate=RATE, most=0, fanout=clients, topics=1)
        if is_ours:
            sample |= stand.commits()
            # The slowest of a round's commits is also what its slowest deliveries waited for.
            sample["over_commit_ms"] = sample["p99_us"] / 1000 - sample["commit_p99_ms"]
        return sample

    return take_turns(run, TRICKLE.name, [contestants.product(), contestants.raw(1)], prepare, one)


TRICKLE: Final = Scenario(
    "trickle",
    "One topic, 100 viewers, 10 events/s: from the queue's answer to the viewer",
    play,
    {
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "commit_p50_ms": "commit p50 ms",
        "commit_p99_ms": "commit p99 ms",
        "over_commit_ms": "p99 over the commit's p99, ms",
    },
    (Goal("p99 over one commit of the log, ms", "over_commit_ms", "at most", 2.0),),
)
