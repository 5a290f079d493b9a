"""The process that is attacked: the product's own log, hub, door and server, without queues.

It asks for tokens, appends events that carry the moment of their making, and tells on a port of
its own what it has counted.
"""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, cast

import jwt
import msgspec
import uvloop

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


def token(watch: str = "*", key: bytes = KEY, kid: str = KID) -> str:
    """One that the victim takes, unless it is signed with another key."""
    claims = {
        "iss": TERMS.issuer, "aud": TERMS.audience, "exp": int(time.time()) + 3_600,
        "watch": [watch],
    }  # fmt: skip
    return jwt.encode(claims, key, "HS256", {"kid": kid})


async def serve(folder: Path, limits: Limits, rate: float, heartbeat_s: float) -> None:
    """Append and serve until killed; prints its ports."""
    make_room(limits)
    async with AsyncExitStack() as closing:
        log = SqliteLog(
            folder / "log.db", retention_s=1e9, retention_events=100_000, now_ms=_now_ms
        )
        await log.open()
        closing.push_async_callback(log.close)
        hub = Hub(log, _now_ms)
        await hub.load()
        counts = Counts()
        door = Door(limits, counts, verifier=Verifier(cast(Keyring, OneKey()), TERMS))
        server = Server(
            hub, Site(None, list), counts, door, epoch=log.epoch, heartbeat_s=heartbeat_s
        )
        port = await server.listen(HOST, 0)

        async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told: dict[str, Any] = {" ".join(key): n for key, n in counts.items()}
            told["half-open"], told["viewers"] = len(door.half_open), door.admitted
            writer.write(json.dumps(told).encode())
            writer.close()

        telling = await asyncio.start_server(tell, HOST, 0)
        told_on = telling.sockets[0].getsockname()[1]
        print(json.dumps({"port": port, "told_on": told_on}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            for service in (hub.follow(), server.beat(), server.sweep()):
                tasks.create_task(service)
            number = 0
            while True:
                await asyncio.sleep(1 / rate)
                run, seq = divmod(number, RUN_STEPS)
                detail = {"at": time.monotonic_ns()}
                await log.append([examples.step(seq + 1, run=f"run-{run}", detail=detail)])
                number += 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    uvloop.run(
        serve(
            Path(sys.argv[1]),
            msgspec.json.decode(sys.argv[2], type=Limits),
            float(sys.argv[3]),
            float(sys.argv[4]),
        )
    )
