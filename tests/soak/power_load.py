"""The process whose power is cut: the log under load, telling in a file what it was promised.

`python -m tests.soak.power_load FOLDER SEED SITTING [SYNCHRONOUS]`. A sitting opens the log,
appends its share of the events from several tasks at once, prunes, and ends with a close or not.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from consumer.core import events
from consumer.core.events import Event
from consumer.edges.sqlite_log import SqliteLog
from tests.core import examples

BATCHES: Final = 60  # in one sitting; × some 15 pages: a checkpoint (1,000 pages) in the second
TASKS: Final = 3
RUNS: Final = 24
NOW_MS: Final = events.milliseconds("2026-01-01T00:01:00.000Z")
TOLD: Final = "told"
"""The file of what the log promised: a line when it happened, which no power cut takes back."""


def make(folder: Path) -> SqliteLog:
    return SqliteLog(
        folder / "log.db", retention_s=3_600, retention_events=200, now_ms=lambda: NOW_MS
    )


def batches(seed: int, sitting: int) -> list[list[Event]]:
    """Steps of a few runs, out of order: some are late; their sizes differ, and so do pages."""
    dice = random.Random(f"{seed} {sitting}")
    steps = [(run, seq) for run in range(RUNS) for seq in range(1, 11)]
    dice.shuffle(steps)
    made = []
    for _ in range(BATCHES):
        size = dice.randint(1, 4)
        made.append([_step(sitting, *step, dice) for step in steps[:size]])
        del steps[:size]
    return made


def _step(sitting: int, run: int, seq: int, dice: random.Random) -> Event:
    pad = "x" * dice.choice([0, 10, 100, 6_000])
    status = "SUCCEEDED" if seq == 10 else dice.choice(["STARTING", "VERIFYING"])
    # Half of the runs go on from sitting to sitting.
    name = f"run-{run}" if run % 2 else f"run-{run}-{sitting}"
    return examples.step(seq + 10 * sitting * (run % 2), status, name, detail={"pad": pad})


async def sit(folder: Path, seed: int, sitting: int, synchronous: str = "") -> None:
    descriptor = os.open(folder / TOLD, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def tell(**what: Any) -> None:
        os.write(descriptor, json.dumps(what).encode() + b"\n")

    log = make(folder)
    await log.open()
    if synchronous:  # other than the log's own
        log._connection.execute(f"PRAGMA synchronous = {synchronous}")
    tell(opened=log.epoch)
    following = asyncio.create_task(_follow(log, tell, _last_place(folder)))
    waiting = batches(seed, sitting)
    await asyncio.gather(*(_append(log, waiting, tell) for _ in range(TASKS)))
    if sitting % 2:
        os._exit(0)  # as by kill -9: the WAL stays, and what was committed may not be told
    while log.head > _last_place(folder):  # noqa: ASYNC110  # one turn of the loop, not a poll
        await asyncio.sleep(0)
    following.cancel()
    await log.close()


async def _append(log: SqliteLog, waiting: list[list[Event]], tell: Callable[..., None]) -> None:
    while waiting:
        batch = waiting.pop()
        await log.append(batch)
        tell(appended=[event.id for event in batch])
        if len(waiting) % 20 == 0:
            await log.prune()


async def _follow(log: SqliteLog, tell: Callable[..., None], after: int) -> None:
    async for entries in log.changes(after):
        tell(entries=[(entry.place, entry.event.id, entry.late) for entry in entries])


def _last_place(folder: Path) -> int:
    told = [json.loads(line) for line in (folder / TOLD).read_bytes().splitlines()]
    return max((line["entries"][-1][0] for line in told if "entries" in line), default=0)


if __name__ == "__main__":
    asyncio.run(sit(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
