"""A scenario: something that contestants do round after round, and what is asked of it."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.bench import rounds
from tests.bench.contestants import Contestant, present
from tests.bench.goals import Goal
from tests.bench.stand import Sample, Stand, stand


@dataclass(frozen=True)
class Scale:
    """How much of it."""

    rounds: int = rounds.ROUNDS
    clients: int = 1_000
    seconds: float = 1.0  # of one play
    part: int = 1  # what is large is divided by it


FULL: Final = Scale()
QUICK: Final = Scale(rounds=1, clients=50, seconds=0.1, part=200)


@dataclass
class Results:
    """Each contestant's samples, one per round, and why others have none."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    lacks: dict[str, str] = field(default_factory=dict)

    def add(self, contestant: str, sample: Sample) -> None:
        self.samples.setdefault(contestant, []).append(sample)


@dataclass(frozen=True)
class Run:
    """Where and how large a scenario is played."""

    folder: Path
    scale: Scale

    def tell(self, line: str) -> None:
        """Progress, for a person."""
        print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Scenario:
    """`columns` are the figures that its table shows, with their headings; some are plotted."""

    name: str
    title: str
    play: Callable[[Run], Results]
    columns: Mapping[str, str]
    goals: Sequence[Goal] = ()
    plotted: Sequence[str] = ()


@contextmanager
def stands(run: Run, contestants: Iterable[Contestant]) -> Iterator[list[Stand]]:
    """One for each that can be started, all up at once: who waits uses nothing."""
    with ExitStack() as closing:
        yield [closing.enter_context(stand(each, run.folder)) for each in present(contestants)]


def take_turns(
    run: Run, name: str, contestants: Sequence[Contestant],
    prepare: Callable[[Stand], None], play: Callable[[Stand], Sample],
) -> Results:  # fmt: skip
    """Prepare each once, then play rounds; the first, in which all is cold, does not count."""
    results = Results(lacks={each.name: each.lacks for each in contestants if each.lacks})
    with stands(run, contestants) as found:
        for each in found:
            prepare(each)
        for each in found:
            play(each)
        for number, each in rounds.turns(found, run.scale.rounds):
            sample = play(each)
            results.add(each.contestant.name, sample)
            run.tell(
                f"{name} {number + 1}/{run.scale.rounds} {each.contestant.name}:"
                f" {sample['deliveries_per_s']:,.0f} deliveries/s,"
                f" {sample['cpu_us']:.2f} µs of CPU, p99 {sample['p99_us'] / 1000:.1f} ms"
                + (f", LOST {sample['lost']:.0f}" if sample["lost"] else "")
            )
    return results
