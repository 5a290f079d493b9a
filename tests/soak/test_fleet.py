"""The quick form of the fleets' trials: three consumers on one Redis, of which each may fail."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from infra.local.folder import run_folder
from tests.soak.fleet import fleet
from tests.soak.stage import embedded_sqs
from tests.soak.trials import Place

SEEDS = (1, 2)  # an odd one fails over, an even one restarts


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    with run_folder() as folder:
        async with embedded_sqs(folder) as (endpoint, sqs):
            yield Place(endpoint, sqs, folder)


async def test_nothing_is_lost_whoever_of_a_fleet_fails(place: Place) -> None:
    """Kills, pauses, cut wires, and Redis itself, at once in two fleets."""
    outcomes = await asyncio.gather(*(fleet(place, seed) for seed in SEEDS))
    assert [outcome.objections[:3] for outcome in outcomes] == [[], []]
    assert all(outcome.figures["faults"] > 0 for outcome in outcomes)
