"""The product without SQS: its own pipeline, log, hub, door and server, all on.

Usage: python -m tests.bench.product LOG HEARTBEAT_S. LOG is where the status log is, as
STATUSWIRE_LOG says it: `sqlite:<path>`, or `redis://host:port`, which several can share.

What a queue would bring comes as lines on a TCP port instead, one event each. Prints its ports;
a line on standard input is answered with how long commits took since the last; SIGTERM drains.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import uvloop

from consumer import daemon
from consumer.core.events import Event
from consumer.core.limits import Limits
from consumer.core.recent import Recent
from consumer.edges.door import Door, make_room
from consumer.edges.http import Site
from consumer.edges.mass_write import mass_writer
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.ports import StatusLog
from consumer.redis_address import address
from consumer.timings import Timings
from tests.bench.lines import LineSource
from tests.bench.timed_log import TimedLog

if TYPE_CHECKING:
    from consumer.edges.redis_log import RedisLog

HOST: Final = "127.0.0.1"
NAME: Final = "bench"  # of a log in Redis
POLLS: Final = 16
RETENTION_S: Final = 3600.0
KEPT_EVENTS: Final = 100_000
KEPT_RECENT: Final = 10_000  # the default
PRUNE_S: Final = 60.0
# The door's bounds on strangers are not what is measured, and all viewers come from one machine.
LIMITS: Final = Limits(connections=60_000, half_open=4_000, handshakes_per_s=100_000.0)


async def serve(where: str, heartbeat_s: float) -> None:
    """Until SIGTERM; then drain."""
    make_room(LIMITS)
    daemon.tune()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as closing:
        kept = _log(where)
        await kept.open()
        closing.push_async_callback(kept.close)
        log = TimedLog(kept)
        counts, timings = Counts(), Timings(_now_ms)
        mass = mass_writer()
        hub = Hub(log, _now_ms, counts, timings, mass, Recent(KEPT_RECENT))
        await hub.load()
        closing.push_async_callback(hub.close)
        server = Server(
            hub,
            Site(None, list),
            counts,
            Door(LIMITS, counts),
            heartbeat_s=heartbeat_s,
            mass=mass,
        )
        port = await server.listen(HOST, 0)
        source = LineSource()
        feeds = await asyncio.get_running_loop().create_server(lambda: source, HOST, 0)
        pipeline = Pipeline(
            source,
            log,
            counts,
            timings,
            Gate(lambda: log.head - hub.place),
            choose=_all,
            most_polls=POLLS,
        )
        await _answer_lines(log)
        print(json.dumps({"port": port, "feed": feeds.sockets[0].getsockname()[1]}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            services = [
                tasks.create_task(service)
                for service in (
                    *(hub.follow(), server.beat(), server.sweep()),
                    *(pipeline.run(stop), _prune(log, hub)),
                )
            ]
            await stop.wait()
            await server.drain()
            for task in services:
                task.cancel()


def _log(where: str) -> "SqliteLog | RedisLog":
    """It is still to be opened."""
    kind, _, path = where.partition(":")
    if kind == "sqlite":
        return SqliteLog(
            Path(path), retention_s=RETENTION_S, retention_events=KEPT_EVENTS, now_ms=_now_ms
        )
    # Where they are not needed they would only take memory, which is measured.
    from consumer.edges.redis_log import RedisLog  # noqa: PLC0415
    from consumer.edges.redis_server import RedisServer  # noqa: PLC0415

    return RedisLog(
        RedisServer(address(where), name=NAME),
        retention_s=RETENTION_S,
        retention_events=KEPT_EVENTS,
        now_ms=_now_ms,
    )


async def _all(batch: Sequence[Event]) -> list[Event]:
    return list(batch)


async def _prune(log: StatusLog, hub: Hub) -> None:
    while True:
        hub.forget_ended(await log.prune())
        await asyncio.sleep(PRUNE_S)


class _Answers(asyncio.Protocol):
    def __init__(self, log: TimedLog) -> None:
        self._log = log

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\n")):
            print(json.dumps({**self._log.told(), "places": self._log.head}), flush=True)


async def _answer_lines(log: TimedLog) -> None:
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _Answers(log), sys.stdin)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], float(sys.argv[2])))
