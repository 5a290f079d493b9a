"""The quick form of `make soak`: a few seeds of each trouble, in one minute on two cores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from infra.local.folder import run_folder
from tests.soak import crowd, trials
from tests.soak.outcome import Outcome
from tests.soak.silence import silence
from tests.soak.stage import embedded_sqs
from tests.soak.trials import Place

SEEDS = range(1, 6)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    async with _place() as place:
        yield place


@pytest_asyncio.fixture(loop_scope="module")
async def inhabited() -> AsyncIterator[Place]:
    """With instances of its own, which consumers elsewhere must not find."""
    async with _place() as place:
        yield place


@asynccontextmanager
async def _place() -> AsyncIterator[Place]:
    with run_folder() as folder:
        async with embedded_sqs(folder) as (endpoint, sqs):
            yield Place(endpoint, sqs, folder)


async def test_nothing_is_lost_on_a_bad_way_to_sqs(place: Place) -> None:
    """Five seeds of delays, resets, errors, replays and silence, at once."""
    outcomes = await asyncio.gather(*(trials.faults(place, seed) for seed in SEEDS))
    _hold(dict(zip(SEEDS, outcomes, strict=True)))
    assert all(outcome.figures["faults"] > 0 for outcome in outcomes)


async def test_what_nobody_tells_is_found_and_nothing_else(inhabited: Place) -> None:
    """Endings and changes that go untold, on a bad way to AWS, one of two with kill -9."""
    seeds = (1, 2)
    outcomes = await asyncio.gather(*(silence(inhabited, seed) for seed in seeds))
    _hold(dict(zip(seeds, outcomes, strict=True)))
    assert all(outcome.figures["found by asking"] > 0 for outcome in outcomes)


async def test_nothing_is_lost_by_kill_nine(place: Place) -> None:
    """Five kills at random moments, start-up included."""
    _hold({1: await trials.kills(place, 1)})


async def test_nothing_is_lost_on_a_full_disk(place: Place) -> None:
    """Nothing is acknowledged until there is room again, as kill -9 in the middle shows."""
    _hold({1: await trials.full_disk(place, 1)})


async def test_a_client_that_comes_back_again_and_again_has_everything(tmp_path: Path) -> None:
    """Fifty connections during a thousand events: each of them once, or told."""
    _, problems = await crowd.reconnects(tmp_path / "crowd", 1, visits=50, count=1_000)
    assert not problems


async def test_memory_and_descriptors_are_measured(place: Place) -> None:
    """A soak of a few seconds: too short for a leak, long enough to try how it is looked for."""
    outcome = await trials.soak(place, 1, minutes=0.12)
    _hold({1: outcome})
    assert outcome.figures["memory MB"] > 10
    assert outcome.figures["descriptors after"] > 5
    assert outcome.figures["tasks after"] > 5


def _hold(outcomes: dict[int, Outcome]) -> None:
    broken = {seed: one.objections[:3] for seed, one in outcomes.items() if one.objections}
    assert not broken, f"replay: make soak ONLY=… SEED={min(broken)} RUNS=1"
