"""A million viewers that come back at once, on paper: a simulation, by what was measured.

Its figures are not measurements. What they rest on is in docs/scaling.md, and here in one place.
"""

import random
from collections.abc import Callable
from typing import Final, NamedTuple

from consumer.core.limits import Limits
from consumer.edges.server import RETRY_MS
from tests.bench.goals import OURS
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import Sample
from tests.bench.storm import BACKOFF_FIRST_S, Costs, Fleet
from tests.bench.storm import play as play_storm

VIEWERS: Final = 1_000_000
INSTANCES: Final = 100_000
EVENTS_PER_S: Final = 5_000
WITHIN_S: Final = 300.0

# Measured: of one core, in docs/performance.md, or beside it, as docs/scaling.md says.
HANDSHAKE_US: Final = 329.0  # `idle`: with a subscription and its snapshot
DELIVERY_US: Final = 28.0  # `topics-10000`: one event to one viewer of ten thousand
# `replicas`: one that only follows takes 313 µs for an event that comes alone, and 19 for each of
# many: a read of ten is 280 + 10 × 19 = 470.
FOLLOW_US: Final = 47.0
KNOCK_US: Final = 50.0  # 30 for one that the rate refuses, up to 70 for one that is pushed out
EVENT_US: Final = 0.5
EVENT_BYTES: Final = 467  # `keys`: a snapshot's bytes per key

# Assumed.
SNAPSHOT_EVENTS: Final = 5  # of a viewer of one instance: its own state, and some executions
NETWORK_BYTES_PER_S: Final = 125_000_000  # 1 Gbit/s for each replica
COSTS: Final = Costs(HANDSHAKE_US, KNOCK_US, EVENT_US)


class Case(NamedTuple):
    """So many replicas, and when each viewer comes first."""

    replicas: int
    how: str
    arrives_s: Callable[[random.Random], float]
    connections: int = Limits().connections

    @property
    def name(self) -> str:
        return f"{OURS}, {self.replicas} replicas, {self.how}"


def _at_once(dice: random.Random) -> float:
    """All connections are lost in the same moment: each waits as the dashboard does at first."""
    return BACKOFF_FIRST_S * dice.uniform(0.5, 1.0)


def _drained(dice: random.Random) -> float:
    """All replicas drain in the same moment."""
    return dice.uniform(*RETRY_MS) / 1_000


def _spread(dice: random.Random) -> float:
    """Evenly over the time in which they are to be back."""
    return dice.uniform(0, WITHIN_S)


CASES: Final = (
    Case(25, "all at once", _at_once, 50_000),
    Case(60, "all at once", _at_once),
    Case(60, "all drained at once", _drained),
    Case(60, "spread over 300 s", _spread),
    Case(100, "all at once", _at_once),
    Case(45, "15 of 60 are gone, all at once", _at_once),
)


def busy(replicas: int) -> float:
    """The share of a replica's core that is taken while nobody comes: it follows every event, and
    tells its part of the viewers, each of whom watches one instance.
    """
    deliveries_per_s = EVENTS_PER_S * VIEWERS / INSTANCES / replicas
    return (EVENTS_PER_S * FOLLOW_US + deliveries_per_s * DELIVERY_US) / 1e6


def _play(case: Case, part: int) -> Sample:
    viewers = round(VIEWERS / case.replicas / part)
    fleet = Fleet(
        viewers,
        SNAPSHOT_EVENTS,
        EVENT_BYTES,
        busy(case.replicas),
        NETWORK_BYTES_PER_S,
        Limits(connections=case.connections),
    )
    told = play_storm(fleet, COSTS, case.arrives_s, random.Random(1), within_s=WITHIN_S)
    return {
        "viewers": viewers,
        "busy": fleet.busy,
        **{
            f"{name}_s": seconds
            for name, share in (("half", 0.5), ("most", 0.99), ("all", 1.0))
            if (seconds := told.until_s(share, viewers)) < float("inf")
        },
        "out": viewers - len(told.back_s),
        "tries": told.tries / viewers,
        "refused": told.refused,
        "pushed_out": told.pushed_out,
        "over_capacity": told.over_capacity,
        "used_s": told.used_s,
        "mb": len(told.back_s) * SNAPSHOT_EVENTS * EVENT_BYTES / 1e6,
    }


def play(run: Run) -> Results:
    results = Results()
    for case in CASES:
        sample = _play(case, run.scale.part)
        results.add(case.name, sample)
        run.tell(f"storm: {case.name}: {sample}")
    return results


STORM: Final = Scenario(
    "storm",
    f"On paper: {VIEWERS:,} viewers come back, each to one of {INSTANCES:,} instances, while"
    f" {EVENTS_PER_S:,} events/s go on; of one replica",
    play,
    {
        "viewers": "viewers",
        "busy": "share of its core without them",
        "half_s": "s until half are back",
        "most_s": "99 %",
        "all_s": "all",
        "out": f"not back after {WITHIN_S:.0f} s",
        "tries": "tries each",
        "refused": "refused for their rate",
        "pushed_out": "pushed out by newer ones",
        "over_capacity": "closed with 1013",
        "used_s": "CPU s for it",
        "mb": "MB of snapshots",
    },
)
