"""Fill a log as the pipeline does, from several tasks at once: `fill_log FILE KEYS`.

Each append is of ten events of other executions, all new. Prints how it went as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import uvloop

from consumer.core import events
from consumer.core.events import Event, Execution
from consumer.edges.sqlite_log import SqliteLog

TASKS: Final = 16  # polls under way
BATCH: Final = 10
INSTANCES: Final = 10_000
PARTS: Final = 10  # of the time: how it slows down as the file grows
RETENTION_S: Final = 7 * 86_400.0


def executions(keys: int) -> Iterator[Event]:
    """The first publish step of so many."""
    now = events.timestamp(_now_ms())
    for number in range(keys):
        name = f"run-{number:07d}-0000-0000"
        arn = f"arn:aws:states:us-east-1:000000000000:execution:standard:{name}"
        yield Event(
            v=1,
            id=f"{arn}#0#1",
            source="workflow",
            instance_id=f"i-{number % INSTANCES:017x}",
            execution=Execution(arn=arn, name=name, machine="standard", seq=1, redrive=0),
            state="PublishChecking",
            status="CHECKING",
            time=now,
            terminal=False,
            reason=None,
            detail={"action": "toggle"},
        )


async def fill(path: Path, keys: int) -> dict[str, float]:
    """Returns events per second, over all and in the first and last part, and CPU µs per event."""
    log = SqliteLog(path, retention_s=RETENTION_S, retention_events=2 * keys, now_ms=_now_ms)
    await log.open()
    coming = executions(keys)
    took_s: list[float] = []
    begun_s, used_s = time.monotonic(), time.process_time()

    async def append() -> None:
        while batch := list(islice(coming, BATCH)):
            await log.append(batch)
            if log.head // max(1, keys // PARTS) > len(took_s):
                took_s.append(time.monotonic() - begun_s)

    await asyncio.gather(*(append() for _ in range(TASKS)))
    whole_s, used_s = time.monotonic() - begun_s, time.process_time() - used_s
    await log.close()
    part = keys / PARTS
    return {
        "appends_per_s": keys / whole_s,
        "first_per_s": part / took_s[0],
        "last_per_s": part / (took_s[-1] - took_s[-2]),
        "append_cpu_us": used_s * 1e6 / keys,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    print(json.dumps(uvloop.run(fill(Path(sys.argv[1]), int(sys.argv[2])))), flush=True)
