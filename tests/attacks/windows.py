"""Windows: what others notice, in turns without an attack and under it. Pure.

The quiet windows among themselves say how far the machine strays by itself; an attack is judged by
them and by nothing else.
"""

import itertools
import statistics
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from tests.bench.rounds import Ratio, paired

# A window's p99, when hardly anything was measured, cannot be divided by: a hundredth of a
# millisecond is less than any of them.
LEAST_MS: Final = 0.01


class Window(Struct, frozen=True):
    """What was measured between two moments."""

    p50_ms: float
    p99_ms: float
    count: int


def summary(latencies_ms: Sequence[float]) -> Window:
    """The quantiles of what was measured."""
    cuts = statistics.quantiles(latencies_ms, n=100) if len(latencies_ms) > 1 else [0.0] * 99
    return Window(round(cuts[49], 2), round(cuts[98], 2), len(latencies_ms))


class Spread(Struct, frozen=True):
    """Some windows' figures."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.1f} ({self.low:.1f}–{self.high:.1f})"


def spread(values: Sequence[float]) -> Spread:
    """Their median and their ends."""
    return Spread(statistics.median(values), min(values), max(values))


class Comparison(Struct, frozen=True):
    """p99 in milliseconds, of quiet windows and of those under attack that lay between them."""

    quiet: Spread
    attacked: Spread
    ratio: Ratio
    """Attacked over the two quiet neighbours, with its 95 % interval."""
    noise: Ratio
    """Each quiet window over the one before it: what the ratio is where nothing was done."""

    @property
    def is_noise(self) -> bool:
        """Whether the attack's effect is no larger than what quiet windows do by themselves."""
        return self.attacked.median <= self.quiet.high or self.ratio.low <= 1.0

    def __str__(self) -> str:
        """The verdict, in words."""
        if self.attacked.median <= self.quiet.high:
            return "within the quiet windows' spread"
        if self.ratio.low <= 1.0:
            return "not told from the quiet windows"
        return f"slower by {self.attacked.median - self.quiet.median:.1f} ms"


def compare(quiet: Sequence[float], attacked: Sequence[float]) -> Comparison:
    """Of p99s in the order in which they were taken: quiet, attacked, quiet, …, quiet."""
    calm = [max(LEAST_MS, each) for each in quiet]
    hard = [max(LEAST_MS, each) for each in attacked]
    between = [(before * after) ** 0.5 for before, after in itertools.pairwise(calm)]
    return Comparison(
        spread(calm), spread(hard), paired(hard, between), paired(calm[1:], calm[:-1])
    )
