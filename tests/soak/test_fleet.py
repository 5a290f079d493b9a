"""The quick form of the fleets' trials: three consumers on one Redis, of which each may fail."""

import asyncio

import pytest
import pytest_asyncio

from infra.local.folder import run_folder
from tests.soak.fleet import fleet, rolling
from tests.soak.outcome import Outcome
from tests.soak.stage import embedded_sqs
from tests.soak.trials import Place

SEEDS = (1, 2)  # an odd one fails over

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes() -> list[Outcome]:
    """Of a fleet for each seed, and of one that is renewed; all at once, for they wait a lot."""
    with run_folder() as folder:
        async with embedded_sqs(folder) as (endpoint, sqs):
            place = Place(endpoint, sqs, folder)
            return await asyncio.gather(
                *(fleet(place, seed) for seed in SEEDS), rolling(place, SEEDS[0])
            )


async def test_nothing_is_lost_whoever_of_a_fleet_fails(outcomes: list[Outcome]) -> None:
    """Kills, pauses, ways that are cut, and Redis itself, at once in two fleets."""
    *failing, _ = outcomes
    assert [outcome.objections[:3] for outcome in failing] == [[], []]
    assert all(outcome.figures["faults"] > 0 for outcome in failing)


async def test_nobody_is_lost_while_a_fleet_is_renewed(outcomes: list[Outcome]) -> None:
    """Each viewer is told when to come back before its consumer ends, and misses nothing."""
    *_, renewed = outcomes
    assert renewed.objections[:3] == []
    assert renewed.figures["told to come back"] > 0
