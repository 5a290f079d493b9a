"""What trials find: figures, and objections by the promise that they are about."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

ONE_FATE: Final = "each message has one fate, and none is lost"
RIGHT_STATUS: Final = "each key shows the status in which it ended"
ALL_TOLD: Final = "each client is told all that matches, once, in order, or told otherwise"
TRUE: Final = "asking AWS brings out what is true, and nothing else"
AT_REST: Final = "the queues drain and clients catch up without a restart"
HELD_BACK: Final = "nothing is acknowledged while the log refuses"
DOCUMENTED: Final = "the decoders raise the documented errors only"
NOT_HELD_UP: Final = "stalled readers hold nobody up"
FLAT: Final = "memory, descriptors and tasks stay flat"

Figures = dict[str, float]


@dataclass
class Outcome:
    """Of one trial."""

    figures: Figures = field(default_factory=dict)
    objections: list[tuple[str, str]] = field(default_factory=list)

    def object_to(self, promise: str, problems: Iterable[str]) -> None:
        """Add what speaks against a promise."""
        self.objections += [(promise, problem) for problem in problems]


class Report:
    """A table: each promise, under which trouble, in how many runs, with what result."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, int]] = []
        self._rows: list[tuple[str, str, int, int]] = []
        self._figures: dict[str, Counter[str]] = {}

    def add(self, kind: str, promises: Iterable[str], outcomes: dict[int, Outcome]) -> None:
        """All runs of a kind, by seed."""
        for promise in promises:
            broken = sum(
                any(about == promise for about, _ in outcome.objections)
                for outcome in outcomes.values()
            )
            self._rows.append((promise, kind, len(outcomes), broken))
        self.failed += [(kind, seed) for seed, one in outcomes.items() if one.objections]
        total: Counter[str] = Counter()
        for outcome in outcomes.values():
            total.update(outcome.figures)
        self._figures[kind] = total

    def __str__(self) -> str:
        lines = ["| promise | trouble | runs | result |", "|---|---|---|---|"]
        for promise, kind, runs, broken in self._rows:
            result = f"BROKEN in {broken}" if broken else "kept"
            lines.append(f"| {promise} | {kind} | {runs} | {result} |")
        lines.append("")
        for kind, total in self._figures.items():
            told = ", ".join(f"{name} {value:,.12g}" for name, value in total.items())
            lines.append(f"- {kind}: {told}")
        for kind, seed in self.failed:
            lines.append(f"  replay: make soak ONLY={kind} SEED={seed} RUNS=1")
        if self.failed:
            lines.append("  what they left: .local/soak")
        return "\n".join(lines)
