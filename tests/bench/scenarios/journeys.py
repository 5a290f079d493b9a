"""From the queue to the viewer, the whole consumer: curves over viewers, events and executions."""

from contextlib import ExitStack
from typing import Final, NamedTuple

from tests.bench import rounds
from tests.bench.consumer import Journey, journey, lacks
from tests.bench.goals import OURS
from tests.bench.scenario import Results, Run, Scenario

SETTLE_S: Final = 0.5
FEWER: Final = 3  # rounds by this: nothing is compared here


class Point(NamedTuple):
    """Of a curve."""

    viewers: int
    keys: int
    rate: float | None
    """None: as many events as it takes."""

    def __str__(self) -> str:
        rate = "as many as it takes" if self.rate is None else f"{self.rate:,.0f} events/s"
        return f"{OURS}, {self.viewers:,} viewers, {self.keys:,} executions, {rate}"


KEYS: Final = 1_000
POINTS: Final = (
    *(Point(viewers, KEYS, None) for viewers in (1, 10, 100, 1_000)),
    *(Point(1_000, KEYS, rate) for rate in (10, 50, 100, 200, 500)),
    *(Point(100, keys, None) for keys in (10, 100_000)),
)
QUICK: Final = (Point(10, 10, 50), Point(10, 10, None))


def play(run: Run) -> Results:
    results = Results()
    if lacking := lacks():
        results.lacks[OURS] = lacking
        return results
    points = POINTS if run.scale.part == 1 else QUICK
    with ExitStack() as closing:
        journeys: dict[tuple[int, int], Journey] = {}
        for place, (viewers, keys) in enumerate(sorted({point[:2] for point in points})):
            folder = run.folder / str(place)
            journeys[viewers, keys] = closing.enter_context(journey(folder, viewers, keys))
        settle_s = min(SETTLE_S, run.scale.seconds)
        for number, point in rounds.turns(points, max(1, run.scale.rounds // FEWER)):
            found = journeys[point.viewers, point.keys]
            sample = found.travel(point.rate, run.scale.seconds, settle_s)
            sample["events_per_s"] = sample["deliveries_per_s"] / point.viewers
            results.add(str(point), sample)
            run.tell(
                f"{JOURNEYS.name} {number + 1} {point}: {sample['events_per_s']:,.0f} events/s,"
                f" p99 {sample['p99_us'] / 1000:.1f} ms"
            )
    return results


JOURNEYS: Final = Scenario(
    "journeys",
    "From the queue to the viewer: the whole consumer, everything on",
    play,
    {
        "events_per_s": "events/s",
        "deliveries_per_s": "deliveries/s",
        "p50_us": "p50 µs",
        "p99_us": "p99 µs",
        "p999_us": "p99.9 µs",
        "cpu_share": "its share of its core",
        "load_share": "the load's share of its core",
    },
    plotted=("events_per_s", "p99_us"),
)
