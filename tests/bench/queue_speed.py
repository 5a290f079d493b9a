"""Messages per second that one core receives, decodes, logs and deletes; peers log nothing.

All contestants stay up, each with a mock of its own that gives nothing unless it is their turn: so
a turn is short, and nobody's start or warming is measured.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench import processor, rounds, rows
from tests.bench.programs import compiled
from tests.bench.queue_contestants import (
    AIOBOTO3,
    AIOBOTOCORE,
    NAIVE,
    POLLS,
    PRODUCT,
    SQS_CONSUMER,
    Contestant,
    Entrant,
    entered,
)
from tests.bench.rows import Row

SETTLE_S: Final = 0.3  # from the first message of a turn to what is counted
DRAIN_S: Final = 30.0
FIELD: Final = (PRODUCT, SQS_CONSUMER, AIOBOTO3, NAIVE, AIOBOTOCORE)
DELAYS_MS: Final = (0, 20)


class Turn(NamedTuple):
    """What one contestant did while it was its turn."""

    messages_per_s: float
    cpu_us: float
    """Per message."""
    mock_share: float
    """Of the load's core that the mock took: near 1, it would be what limits."""


async def take_turn(entrant: Entrant, seconds: float) -> Turn:
    """Let one contestant work, and count."""
    await entrant.mock.pace(None)
    await asyncio.sleep(SETTLE_S)
    cpu_us, before = processor.cpu_us(entrant.child.pid), await entrant.mock.counts()
    await asyncio.sleep(seconds)
    cpu_us, after = processor.cpu_us(entrant.child.pid) - cpu_us, await entrant.mock.counts()
    await entrant.mock.pace(0)
    await entrant.mock.drained(DRAIN_S)
    took_us = (after.at_ns - before.at_ns) / 1e3
    messages = max(1, after.deleted - before.deleted)
    return Turn(
        messages / took_us * 1e6, cpu_us / messages, (after.cpu_us - before.cpu_us) / took_us
    )


async def compare(
    contestants: Sequence[Contestant], scenario: str, count: int, seconds: float, **mock: float
) -> list[Row]:
    """Their turns, as rows; `mock` are its options."""
    figures: dict[tuple[str, str], list[float]] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="statuswire-bench-")))
        program = compiled("mock_sqs", folder)
        entrants = [
            await stack.enter_async_context(entered(one, program, folder / str(place), **mock))
            for place, one in enumerate(contestants)
        ]
        for _, entrant in rounds.turns(entrants, count):
            turn = await take_turn(entrant, seconds)
            for measure, figure in zip(MEASURES, turn, strict=True):
                figures.setdefault((entrant.name, measure), []).append(figure)
    return [Row(scenario, *of, found) for of, found in figures.items()]


MEASURES: Final = ("messages/s", "CPU µs/message", "mock's share of core")


async def run(count: int, seconds: float) -> list[Row]:
    """Both delays, everyone who is installed."""
    processor.pin(0, processor.LOAD)
    field = [one for one in FIELD if one.is_installed]
    found = []
    for delay_ms in DELAYS_MS:
        scenario = f"answers after {delay_ms} ms"
        found += await compare(field, scenario, count, seconds, delay_ms=delay_ms)
    limit = POLLS * 10 / 0.020  # each poll brings ten at most, and takes 20 ms
    found.append(Row("answers after 20 ms", "the latency's limit", "messages/s", [limit] * count))
    return found


if __name__ == "__main__":
    rows.tell(run, PRODUCT.name)
