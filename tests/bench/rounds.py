"""Rounds: contestants take turns, and what is compared is each pair of neighbours in time.

Machines drift by more than most differences that matter; what two contestants did within the same
minute does not. So a figure is a ratio per round, and its interval comes from the rounds.
"""

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

RESAMPLES: Final = 2_000  # of the rounds: the interval's ends are then good to some 1 %
ROUNDS: Final = 15  # fewer leave an interval that says little

T = TypeVar("T")


class Ratio(NamedTuple):
    """Ours over theirs: the median of the rounds' ratios, and its 95 % interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.low:.2f}–{self.high:.2f})"

    def is_at_most(self, bound: float) -> bool:
        """Whether the whole interval is on that side."""
        return self.high <= bound

    def is_at_least(self, bound: float) -> bool:
        """Whether the whole interval is on that side."""
        return self.low >= bound


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """The ratio of what was measured in the same rounds; a bootstrap over the rounds."""
    ratios = [math.log(a / b) for a, b in zip(ours, theirs, strict=True)]
    low, high = interval(ratios)
    return Ratio(math.exp(statistics.median(ratios)), math.exp(low), math.exp(high))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the values' median, by resampling; the same at every call."""
    chance = random.Random(1)  # not a secret
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    return medians[round(RESAMPLES * 0.025)], medians[round(RESAMPLES * 0.975) - 1]


def turns(contestants: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Each contestant once per round, begun by another one each time."""
    for number in range(rounds):
        first = number % len(contestants)
        for contestant in (*contestants[first:], *contestants[:first]):
            yield number, contestant
