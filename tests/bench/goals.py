"""Goals, and whether the rounds show that they are reached."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from tests.bench import rounds
from tests.bench.rounds import Ratio

OURS: Final = "Statuswire"
BASELINE: Final = "raw C"
PEERS: Final = "every peer"
"""Of all that are neither ours nor a baseline, the one that comes nearest to spoiling the goal."""

Samples = Mapping[str, Sequence[Mapping[str, float]]]


@dataclass(frozen=True)
class Goal:
    """`figure` of ours: on that side of `bound`, or of `bound` times what `theirs` is."""

    text: str
    figure: str
    side: Literal["at least", "at most"]
    bound: float
    theirs: str | None = None


class Verdict(NamedTuple):
    """What came out. `is_reached` is None where something was not measured.

    A difference of two figures may come out below zero where the rounds are too noisy for it: it
    was not measured then either.
    """

    goal: Goal
    figure: float | None = None
    ratio: Ratio | None = None
    against: str = ""
    is_reached: bool | None = None


def judge(goal: Goal, samples: Samples) -> Verdict:
    """Whether the whole 95 % interval lies on the goal's side."""
    ours = _figures(goal, samples, OURS)
    if not ours:
        return Verdict(goal)
    median = statistics.median(ours)
    if goal.theirs is None:
        ratio = Ratio(median, *rounds.interval(ours))
        return Verdict(goal, median, ratio, "", _is_reached(goal, ratio))
    found = [
        (rounds.paired(ours, theirs), name)
        for name in _names(goal, samples)
        if (theirs := _figures(goal, samples, name)) and min(*ours, *theirs) > 0
    ]
    if not found:
        return Verdict(goal, median)
    ratio, name = max(found) if goal.side == "at most" else min(found)
    return Verdict(goal, median, ratio, name, _is_reached(goal, ratio))


def _names(goal: Goal, samples: Samples) -> list[str]:
    if goal.theirs == PEERS:
        return [name for name in samples if name != OURS and not name.startswith(BASELINE)]
    return [name for name in samples if name == goal.theirs]


def _figures(goal: Goal, samples: Samples, name: str) -> list[float]:
    return [sample[goal.figure] for sample in samples.get(name, ())]


def _is_reached(goal: Goal, ratio: Ratio) -> bool:
    if goal.side == "at least":
        return ratio.is_at_least(goal.bound)
    return ratio.is_at_most(goal.bound)
