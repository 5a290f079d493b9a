"""Every attack in small: it ends as documented, the server goes on, memory stays bounded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import pytest
import pytest_asyncio

from consumer.core.limits import Limits
from tests.attacks.attacks import ATTACKS, Attack
from tests.attacks.scene import Readers, Scene, readers, scene
from tests.soak.crowd import resident_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS: Final = Limits(half_open=50, handshake_s=1.0, connections=200, messages_per_s=20)
GROWN_BYTES: Final = 30_000_000  # 250 connections × (64 kB of a message + 20 kB), and the events


class Attacked(NamedTuple):
    """One victim for all, as in life."""

    scene: Scene
    honest: Readers


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def attacked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Attacked]:
    folder = tmp_path_factory.mktemp("attacked")
    async with scene(folder, LIMITS, heartbeat_s=0.3) as found, readers(found.port, 5) as honest:
        yield Attacked(found, honest)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_an_attack_ends_as_documented(attacked: Attacked, attack: Attack) -> None:
    """With a code that the contract has, or without a word; honest readers go on reading."""
    victim, honest = attacked
    before = resident_bytes(victim.pid)
    endings = await victim.play(attack, attack.least, 0.0, attack.least)
    assert sum(endings.values()) == attack.least
    assert endings.keys() <= attack.endings
    assert victim.peak_bytes - before < GROWN_BYTES
    await honest.window()
    async with asyncio.timeout(20):
        while not (await honest.window()).count:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.05)
    counts = (await victim.told()).counts
    assert counts["half-open"] <= LIMITS.half_open
    assert "connections_closed 1011" not in counts
