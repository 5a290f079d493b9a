"""More and more replicas on one Redis: what each adds, and where the single stream ends."""

from typing import Final

from tests.bench import rounds
from tests.bench.fleet import costs, fleet, shares
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.scenarios.fleet import SETTLE_S
from tests.bench.scenarios.saturated import BACKLOG
from tests.bench.stand import Sample, Stand, stand

NUMBERS: Final = (1, 2, 3, 5, 10)
VIEWERS: Final = 100
RATE: Final = 500.0
LONGER: Final = 2  # than other plays
# Rounds by this. Each starts its 21 replicas anew, for those that wait look at Redis each second.
FEWER: Final = 3


def play(run: Run) -> Results:
    results = Results()
    numbers = NUMBERS[: 2 if run.scale.part > 1 else None]
    clients = min(VIEWERS, run.scale.clients)
    for turn, number in rounds.turns(numbers, max(1, run.scale.rounds // FEWER)):
        name = f"{number} replica" if number == 1 else f"{number} replicas"
        with stand(fleet(number, name), run.folder / str(turn)) as found:
            found.viewers.connect(found.port, clients, 0)
            found.viewers.wait(SETTLE_S)
            sample = _measure(found, clients, run.scale.seconds)
        results.add(name, sample)
        run.tell(
            f"{REPLICAS.name} {turn + 1} {name}: {sample['all_us']:,.0f} µs of CPU/event,"
            f" p99 {sample['p99_us'] / 1000:.1f} ms; {sample['events_per_s']:,.0f} events/s at most"
        )
    return results


def _measure(found: Stand, clients: int, seconds: float) -> Sample:
    """Steady, then saturated; what is cold does not count."""
    found.play(seconds, rate=RATE, most=0, fanout=clients, topics=1)
    steady = found.play(seconds * LONGER, rate=RATE, most=0, fanout=clients, topics=1)
    found.play(seconds / 2, rate=0, most=BACKLOG, fanout=clients, topics=1)
    full = found.play(seconds * LONGER, rate=0, most=BACKLOG, fanout=clients, topics=1)
    full_shares = shares(full)
    busiest = max(share for name, share in full_shares.items() if name != "load_core")
    return {
        "p50_us": steady["p50_us"],
        "p99_us": steady["p99_us"],
        **costs(steady),
        "steady_load_core": shares(steady)["load_core"],
        "events_per_s": full["events_per_s"],
        **full_shares,
        "own_core_per_s": full["events_per_s"] / busiest,
        "deliveries": steady["deliveries"] + full["deliveries"],
        "lost": steady["lost"] + full["lost"],
    }


REPLICAS: Final = Scenario(
    "replicas",
    "Replicas on one Redis, 100 viewers on one of them: 500 events/s, then as many as go through",
    play,
    {
        "p99_us": "p99 µs",
        "redis_us": "CPU µs/event: Redis",
        "taker_us": "who takes",
        "server_us": "who has the viewers",
        "follower_us": "one that only follows",
        "all_us": "all",
        "steady_load_core": "share of the load's core, all together",
        "events_per_s": "events/s that go through",
        "redis_core": "then, share of a core: Redis",
        "taker_core": "who takes",
        "server_core": "who has the viewers",
        "follower_core": "one that only follows",
        "load_core": "the load's core, all together",
        "own_core_per_s": "events/s per core of the busiest",
    },
    (),
    ("events_per_s",),
)
