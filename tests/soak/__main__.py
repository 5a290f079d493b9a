"""`make soak`: every promise of docs/reliability.md put to the test, and a report.

SEED=n begins with that seed (RUNS=1: that one alone), ONLY=kind plays one kind of trouble,
MINUTES=n sets how long the soak lasts. A seed fixes the load and the faults; the system's own
timing it cannot fix, so a rare failure may take several replays.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from infra.local.folder import run_folder
from tests.soak import crowd, fuzz, power, trials
from tests.soak.fleet import fleet, rolling
from tests.soak.outcome import (
    ALL_TOLD,
    AT_REST,
    DOCUMENTED,
    FLAT,
    HELD_BACK,
    NOT_HELD_UP,
    ONE_FATE,
    RIGHT_STATUS,
    TRUE,
    Outcome,
    Report,
)
from tests.soak.silence import silence
from tests.soak.stage import embedded_sqs
from tests.soak.trials import Place

ABREAST: Final = 4  # trials at once: they wait more than they work
FUZZ_INPUTS: Final = 1_000_000
WITHIN_NOISE: Final = 1.5  # two runs of the same differ by some 20 %; p99 more
MEMORY_BOUND_MB: Final = 110  # 100 stalled × (1 MiB outbox + 64 kB of the socket's buffer)
ACCOUNTED: Final = (ONE_FATE, RIGHT_STATUS, ALL_TOLD, AT_REST)


class Kind(NamedTuple):
    """A kind of trouble: what it tries, how often in long mode, and how."""

    promises: tuple[str, ...]
    runs: int
    play: Callable[[Place, Path, int], Awaitable[Outcome]]
    abreast: int = ABREAST


async def _reconnects(_: Place, folder: Path, seed: int) -> Outcome:
    figures, problems = await crowd.reconnects(folder, seed, visits=1_000, count=20_000)
    return Outcome(dict(figures), [(ALL_TOLD, problem) for problem in problems])


async def _stalled(_: Place, folder: Path, __: int) -> Outcome:
    """First without stalled readers, then with: what counts is the ratio."""
    rate, seconds = 20.0, crowd.STALLED_S
    without = await crowd.stalled(
        folder / "without", readers=900, stuck=0, rate=rate, seconds=seconds
    )
    beside = await crowd.stalled(
        folder / "beside", readers=1_000, stuck=100, rate=rate, seconds=seconds
    )
    outcome = Outcome(
        {
            "p99 ms without": without["p99_ms"], "p99 ms beside 100 stalled": beside["p99_ms"],
            "p50 ms without": without["p50_ms"], "p50 ms beside": beside["p50_ms"],
            "grown MB": beside["grown_mb"],
        }
    )  # fmt: skip
    if beside["p99_ms"] > without["p99_ms"] * WITHIN_NOISE:
        outcome.object_to(NOT_HELD_UP, ["the p99 of the others is larger"])
    if beside["grown_mb"] > MEMORY_BOUND_MB:
        outcome.object_to(NOT_HELD_UP, ["memory is past its bound"])
    return outcome


async def _fuzz(_: Place, __: Path, seed: int) -> Outcome:
    outcome = Outcome()
    try:
        outcome.figures["inputs"] = await asyncio.to_thread(fuzz.run, seed, FUZZ_INPUTS)
    except AssertionError as error:
        outcome.object_to(DOCUMENTED, [str(error)])
    return outcome


def _kinds(minutes: float) -> dict[str, Kind]:
    return {
        "faults": Kind(ACCOUNTED, 200, lambda place, _, seed: trials.faults(place, seed)),
        "silence": Kind((*ACCOUNTED, TRUE), 50, lambda place, _, seed: silence(place, seed)),
        "kills": Kind(ACCOUNTED, 20, lambda place, _, seed: trials.kills(place, seed)),
        "fleet": Kind(ACCOUNTED, 500, lambda place, _, seed: fleet(place, seed), abreast=6),
        "rolling": Kind(ACCOUNTED, 50, lambda place, _, seed: rolling(place, seed), abreast=6),
        "disk": Kind(
            (*ACCOUNTED, HELD_BACK), 10, lambda place, _, seed: trials.full_disk(place, seed)
        ),
        "power": Kind(
            (power.SURVIVES,), 50, lambda _, folder, seed: power.play(folder, seed, moments=200)
        ),
        "reconnects": Kind((ALL_TOLD,), 1, _reconnects),
        "stalled": Kind((NOT_HELD_UP,), 1, _stalled, abreast=1),
        "fuzz": Kind((DOCUMENTED,), 1, _fuzz),
        "soak": Kind(
            (*ACCOUNTED, FLAT), 1, lambda place, _, seed: trials.soak(place, seed, minutes=minutes)
        ),
    }


def _say(text: str) -> None:
    print(text, flush=True)


async def _play(
    kind: str, what: Kind, seeds: range, place: Place, folder: Path
) -> dict[int, Outcome]:
    """All seeds of a kind, some at once."""
    room = asyncio.Semaphore(what.abreast)
    outcomes: dict[int, Outcome] = {}

    async def one(seed: int) -> None:
        async with room:
            begun_s = time.monotonic()
            try:
                outcome = await what.play(place, folder / f"{kind}-{seed}-alone", seed)
            except Exception as error:  # the other seeds still have something to say
                outcome = Outcome()
                outcome.object_to(what.promises[0], [f"the trial did not end: {error!r}"])
            outcomes[seed] = outcome
            figures = ", ".join(f"{name} {value}" for name, value in outcome.figures.items())
            took_s = time.monotonic() - begun_s
            _say(f"{kind} seed {seed} ({len(outcomes)}/{len(seeds)}, {took_s:.0f} s): {figures}")
            for promise, problem in outcome.objections[:10]:
                _say(f"  BROKEN: {promise}: {problem}")

    async with asyncio.TaskGroup() as tasks:
        for seed in seeds:
            tasks.create_task(one(seed))
    return dict(sorted(outcomes.items()))


async def _run(asked: argparse.Namespace) -> bool:
    kinds = _kinds(asked.minutes)
    chosen = [asked.only] if asked.only else list(kinds)
    played: dict[str, dict[int, Outcome]] = {}

    async def play(these: Iterable[str]) -> None:
        for kind in these:
            seeds = range(asked.seed, asked.seed + (asked.runs or kinds[kind].runs))
            _say(f"{kind}: seeds {seeds.start} to {seeds.stop - 1}")
            # Each kind has an AWS to itself: one's instances would be found by another's consumer.
            with run_folder() as folder:
                async with embedded_sqs(folder) as (endpoint, sqs):
                    place = Place(endpoint, sqs, folder)
                    played[kind] = await _play(kind, kinds[kind], seeds, place, folder)

    async with asyncio.TaskGroup() as tasks:  # the soak takes its time beside the others
        tasks.create_task(play(kind for kind in chosen if kind != "soak"))
        tasks.create_task(play(kind for kind in chosen if kind == "soak"))
    report = Report()
    for kind in chosen:
        report.add(kind, kinds[kind].promises, played[kind])
    _say(f"\n{report}")
    return not report.failed


def main() -> int:
    """Returns 0 when every promise was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--runs", type=int, help="of each kind, instead of the long mode's")
    parser.add_argument("--only", choices=list(_kinds(0)))
    parser.add_argument("--minutes", type=float, default=60.0)
    return 0 if asyncio.run(_run(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
