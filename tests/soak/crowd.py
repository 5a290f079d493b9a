"""What clients do to each other and to themselves, on the product's own log, hub and server.

The server is a process of its own, without queues: what is measured is its side alone. It appends
at a steady rate events that carry the moment of their making, by the clock that processes share.
"""

import asyncio
import itertools
import json
import random
import socket
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from consumer.core.events import Event
from consumer.core.limits import Limits
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.hub import Hub
from consumer.pipeline import Counts
from infra.local.child import Child
from infra.local.places import HOST, ROOT
from tests.core import examples
from tests.soak.oracle import Evidence, judge_client
from tests.soak.viewer import Viewer

RUN_STEPS: Final = 50
APPENDS: Final = 50  # a second at most: each waits for the disk
VISIT_S: Final = 0.06  # of one connection, its coming and going included
KEPT: Final = 10_000_000
STALLED_S: Final = 20.0  # less than the 30 s after which the server closes


async def serve(path: Path, rate: float, count: int, pad: int) -> None:
    """Append `count` events at a rate, and serve until killed; prints its port."""
    async with AsyncExitStack() as closing:
        log = SqliteLog(path, retention_s=1e9, retention_events=KEPT, now_ms=_now_ms)
        await log.open()
        closing.push_async_callback(log.close)
        hub = Hub(log, _now_ms)
        await hub.load()
        counts = Counts()
        door = Door(Limits(), counts)
        server = Server(hub, Site(None, list), counts, door, heartbeat_s=1.0)
        port = await server.listen(HOST, 0)
        print(json.dumps({"port": port}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            for service in (hub.follow(), server.beat(), server.sweep()):
                tasks.create_task(service)
            while not hub.clients:  # noqa: ASYNC110 # the product has no event for it
                await asyncio.sleep(0.05)
            begun_s = time.monotonic()
            together = max(1, round(rate / APPENDS))
            for first in range(0, count, together):
                await asyncio.sleep(max(0.0, begun_s + first / rate - time.monotonic()))
                numbers = range(first, min(count, first + together))
                await log.append([_event(number, pad) for number in numbers])


def _event(number: int, pad: int) -> Event:
    run, seq = divmod(number, RUN_STEPS)
    detail = {"at": time.monotonic_ns(), "pad": "x" * pad}
    return examples.step(seq + 1, run=f"run-{run}", detail=detail)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def crowd_server(
    folder: Path, *, rate: float, count: int, pad: int = 0
) -> AsyncIterator[tuple[str, Child]]:
    """A server in a process of its own: its address, and the process."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 # nothing else runs yet
    output = folder / "server.log"
    numbers = map(str, (rate, count, pad))
    child = await Child.start(
        [sys.executable, "-m", "tests.soak.crowd", folder / "log.db", *numbers],
        output=output, environment={"PYTHONUNBUFFERED": "1"}, cwd=ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while not (told := output.read_bytes()).endswith(b"}\n"):  # noqa: ASYNC110 # a file
                await asyncio.sleep(0.05)
        yield f"ws://{HOST}:{json.loads(told)['port']}/v1/status", child
    finally:
        await child.kill()


async def reconnects(
    folder: Path, seed: int, *, visits: int, count: int
) -> tuple[dict[str, int], list[str]]:
    """One client comes back again and again while events come; the oracle looks at all it got."""
    dice = random.Random(seed)
    seconds = visits * VISIT_S
    async with crowd_server(folder, rate=count / seconds, count=count) as (url, _):
        viewer = Viewer(lambda: url, "*", dice, stay_s=VISIT_S / 2, forgets=0.0)
        watching = asyncio.create_task(viewer.run())
        while len(viewer.visits) < visits:
            await asyncio.wait([watching], timeout=0.05)
            if watching.done():
                watching.result()
        viewer.settle()
        async with asyncio.timeout(300):
            while not (viewer.cursor or "").endswith(f"-{count}"):  # noqa: ASYNC110 # as above
                await asyncio.sleep(0.05)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    log = Evidence.read(folder / "log.db")
    problems = judge_client("*", viewer.visits, log)
    if log.head != count:
        problems.append(f"{count} events were appended, the log has {log.head}")
    told = sum(frame["op"] == "status" for visit in viewer.visits for frame in visit.frames)
    skipped = sum(
        frame["count"]
        for each in viewer.visits
        for frame in each.frames
        if frame["op"] == "skipped"
    )
    fruitful = sum(
        any(frame["op"] == "status" for frame in visit.frames) for visit in viewer.visits
    )
    figures = {"visits": len(viewer.visits), "with events": fruitful, "events": count}
    return {**figures, "told": told, "skipped": skipped}, problems


class Reader(asyncio.Protocol):
    """A cheap client: it looks for the moment in each frame, or never reads at all."""

    def __init__(self, url_path: str, *, stalled: bool) -> None:
        self.latencies_ms: list[float] = []
        self._path = url_path
        self.is_stalled = stalled
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n" % self._path.encode()
        )
        if self.is_stalled:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        *whole, self._rest = (self._rest + data).split(b'"at":')
        for piece in [*whole[1:], self._rest] if whole else []:
            digits = piece[:20].split(b",")[0]
            if digits.isdigit():
                self.latencies_ms.append((now_ns - int(digits)) / 1e6)
        self._rest = self._rest[-40:] if not whole else b""


async def stalled(
    folder: Path, *, readers: int, stuck: int, rate: float, seconds: float
) -> dict[str, Any]:
    """The latency of those who read, and the server's memory, beside some that never read."""
    count = round(rate * seconds)
    loop = asyncio.get_running_loop()
    async with crowd_server(folder, rate=rate, count=count, pad=4_000) as (url, child):
        port = int(url.split(":")[2].split("/")[0])
        path = "/v1/status?watch=*"
        crowd: list[Reader] = []
        for number in range(readers):
            reader = Reader(path, stalled=number < stuck)
            connected = socket.socket()
            if reader.is_stalled:  # or the system's buffers would read in its place
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connected.setblocking(False)
            await loop.sock_connect(connected, (HOST, port))
            await loop.create_connection(lambda reader=reader: reader, sock=connected)  # type: ignore[misc]
            crowd.append(reader)
        begun_bytes = peak_bytes = resident_bytes(child.pid)
        ends_s = time.monotonic() + seconds + 1
        while time.monotonic() < ends_s:
            await asyncio.sleep(0.5)
            peak_bytes = max(peak_bytes, resident_bytes(child.pid))
    # The first fifth is left out: it holds the crowd's arrival.
    seen = list(
        itertools.chain.from_iterable(r.latencies_ms[len(r.latencies_ms) // 5 :] for r in crowd)
    )
    quantiles = statistics.quantiles(seen, n=100)
    return {
        "readers": readers, "stuck": stuck, "frames": len(seen),
        "p50_ms": round(quantiles[49], 1), "p99_ms": round(quantiles[98], 1),
        "grown_mb": round((peak_bytes - begun_bytes) / 1e6),
    }  # fmt: skip


def resident_bytes(pid: int) -> int:
    """The memory of a process, as proc(5) tells it in `statm`, in pages of 4 KiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
