"""The process that is attacked: the product's own log, hub, door and server, without queues.

It asks for tokens, appends events that carry the moment at which they were due, and tells on a port
of its own what it has counted, and how long after that moment each event was on its sockets.
"""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, cast

import jwt
import msgspec
import uvloop

from consumer.core.entries import Entry
from consumer.core.grant import Terms
from consumer.core.limits import Limits
from consumer.edges.door import Door, make_room
from consumer.edges.http import Site
from consumer.edges.keys import Keyring
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.tokens import Verifier
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.timings import Timings
from tests.attacks.windows import Window, summary
from tests.core import examples

HOST: Final = "127.0.0.1"
KID: Final = "key-1"
KEY: Final = b"an attack's own key, 32 bytes long or more"
TERMS: Final = Terms(issuer="statuswire", audience="attacked")
RUN_STEPS: Final = 50


class OneKey:
    """A keyring that holds one key, as if read from its source already."""

    is_ready = True
    _key = jwt.PyJWK.from_dict(
        {"kty": "oct", "k": jwt.utils.base64url_encode(KEY).decode(), "alg": "HS256"}
    )

    async def find(self, kid: str) -> jwt.PyJWK | None:
        return self._key if kid == KID else None


@functools.cache  # signing would cost an attacker more than what it attacks with
def token(watch: str = "*", key: bytes = KEY, kid: str = KID) -> str:
    """One that the victim takes, unless it is signed with another key."""
    claims = {
        "iss": TERMS.issuer, "aud": TERMS.audience, "exp": int(time.time()) + 3_600,
        "watch": [watch],
    }  # fmt: skip
    return jwt.encode(claims, key, "HS256", {"kid": kid})


class Probe(Timings):
    """Notices when the frames of an event were on the sockets of all who watch it.

    From when the event was due, not from when the loop came round to it: an attack that holds the
    loop up holds up what should have been appended meanwhile.
    """

    def __init__(self) -> None:
        super().__init__(_now_ms)
        self._latencies_ms: list[float] = []

    def sent(self, watched: Iterable[Entry]) -> None:
        due = [entry.event.detail["at"] for entry in watched]
        # uvloop writes at the end of a turn of the loop what was given to its transports in it.
        asyncio.get_running_loop().call_soon(self._written, due)

    def _written(self, due: Iterable[int]) -> None:
        now_ns = time.monotonic_ns()
        self._latencies_ms += [(now_ns - each) / 1e6 for each in due]

    def window(self) -> Window:
        """What was measured since the last time."""
        seen, self._latencies_ms = self._latencies_ms, []
        return summary(seen)


def pin(cores: str) -> None:
    """Stay on these cores (`0` or `1,2`), where the system can; anywhere, where none is named."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, map(int, cores.split(",")))


async def serve(folder: Path, limits: Limits, rate: float, heartbeat_s: float) -> None:
    """Append and serve until killed; prints its ports."""
    make_room(limits)
    async with AsyncExitStack() as closing:
        log = SqliteLog(
            folder / "log.db", retention_s=1e9, retention_events=100_000, now_ms=_now_ms
        )
        await log.open()
        closing.push_async_callback(log.close)
        counts, probe = Counts(), Probe()
        hub = Hub(log, _now_ms, counts, probe)
        await hub.load()
        door = Door(limits, counts, verifier=Verifier(cast(Keyring, OneKey()), TERMS))
        server = Server(hub, Site(None, list), counts, door, heartbeat_s=heartbeat_s)
        port = await server.listen(HOST, 0)

        async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told: dict[str, Any] = {" ".join(key): n for key, n in counts.items()}
            told["half-open"], told["viewers"] = len(door.half_open), door.admitted
            told["window"], told["cpu_s"] = probe.window(), time.process_time()
            writer.write(msgspec.json.encode(told))
            writer.close()

        telling = await asyncio.start_server(tell, HOST, 0)
        told_on = telling.sockets[0].getsockname()[1]
        print(json.dumps({"port": port, "told_on": told_on}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            for service in (hub.follow(), server.beat(), server.sweep()):
                tasks.create_task(service)
            await _append(log, rate)


async def _append(log: SqliteLog, rate: float) -> None:
    """For ever, all that is due together: a slow disk is no slow server."""
    begun_ns, number = time.monotonic_ns(), 0
    while True:
        due_ns = begun_ns + round(number / rate * 1e9)
        await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        batch = []
        while due_ns <= time.monotonic_ns():
            run, seq = divmod(number, RUN_STEPS)
            batch.append(examples.step(seq + 1, run=f"run-{run}", detail={"at": due_ns}))
            number += 1
            due_ns = begun_ns + round(number / rate * 1e9)
        if batch:
            await log.append(batch)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    pin(sys.argv[5])  # before there are threads
    uvloop.run(
        serve(
            Path(sys.argv[1]),
            msgspec.json.decode(sys.argv[2], type=Limits),
            float(sys.argv[3]),
            float(sys.argv[4]),
        )
    )
