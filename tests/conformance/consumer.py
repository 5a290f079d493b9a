"""The consumer as a delivery: its own pipeline, log, hub, door and server, all but SQS."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import jwt

from consumer.core.events import Event
from consumer.core.grant import Terms
from consumer.core.limits import Limits
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.keys import Keyring, Keys
from consumer.edges.mass_write import mass_writer
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.tokens import Verifier
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.ports import Message, Source
from consumer.timings import Timings
from tests.conformance import delivery
from tests.conformance.delivery import Kind

HOST: Final = "127.0.0.1"
KEY: Final = "conformance " * 6
TERMS: Final = Terms(issuer="statuswire", audience="conformance")
HEARTBEAT_S: Final = 0.2
RETENTION_S: Final = 3_600
RETENTION_EVENTS: Final = 10_000


class Queue:
    """A queue that hands out what it is given, each message once."""

    name = "status"

    def __init__(self) -> None:
        self._answers: asyncio.Queue[list[Message]] = asyncio.Queue()

    def put(self, bodies: Sequence[str]) -> None:
        self._answers.put_nowait([Message(str(id(body)), body, "", "g", 1) for body in bodies])

    async def receive(self) -> list[Message]:
        return await self._answers.get()

    async def delete(self, messages: Sequence[Message]) -> None:
        """They are gone already."""

    async def release(self, messages: Sequence[Message]) -> None:
        """They do not come back."""


class Consumer:
    """See `Delivery`."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.counts = Counts()
        self.log: SqliteLog
        self.server: Server
        self.url = ""

    def token(self, *watch: str, lifetime_s: float = 900.0) -> str:
        now_s = time.time()
        claims = {
            "iss": TERMS.issuer, "aud": TERMS.audience, "sub": "a case", "watch": watch,
            "iat": now_s, "nbf": now_s, "exp": now_s + lifetime_s,
        }  # fmt: skip
        return jwt.encode(claims, KEY, "HS256", headers={"kid": "1"})

    async def publish(self, *messages: delivery.Message) -> None:
        self.queue.put([json.dumps(message) for message in messages])

    async def beat(self) -> None:
        """They come by themselves."""

    async def drain(self) -> None:
        await self.server.drain()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _keys() -> Keys:
    return {"1": jwt.PyJWK({"kty": "oct", "k": jwt.utils.base64url_encode(KEY.encode()).decode()})}


async def _all(batch: Sequence[Event]) -> list[Event]:
    return list(batch)


@asynccontextmanager
async def serving(
    folder: Path, *, asks: bool = True, port: int = 0, limits: Limits | None = None
) -> AsyncIterator[Consumer]:
    """A consumer on the log of a folder; it need not ask for tokens."""
    started = Consumer()
    counts = started.counts
    async with AsyncExitStack() as closing:
        log = started.log = SqliteLog(
            folder / "log.db",
            retention_s=RETENTION_S,
            retention_events=RETENTION_EVENTS,
            now_ms=_now_ms,
        )
        await log.open()
        closing.push_async_callback(log.close)
        if (mass := mass_writer()) is not None:
            closing.callback(mass.close)
        timings = Timings(_now_ms)
        hub = Hub(log, _now_ms, counts, timings, mass)
        await hub.load()
        closing.push_async_callback(hub.close)
        verifier = Verifier(Keyring(_keys, counts), TERMS) if asks else None
        door = Door(limits or Limits(), counts, verifier=verifier)
        server = started.server = Server(
            hub, Site(None, list), counts, door, heartbeat_s=HEARTBEAT_S, mass=mass
        )
        bound = await server.listen(HOST, port)
        closing.push_async_callback(server.drain)
        started.url = f"ws://{HOST}:{bound}/v1/status"
        source: Source = started.queue
        gate = Gate(lambda: log.head - hub.place)
        pipeline = Pipeline(source, log, counts, timings, gate, choose=_all, most_polls=1)
        services = [
            asyncio.create_task(service)
            for service in (
                *(hub.follow(), server.beat(), server.sweep()),
                pipeline.run(asyncio.Event()),
            )
        ]
        try:
            yield started
        finally:
            for task in services:
                task.cancel()
            await asyncio.gather(*services, return_exceptions=True)


KIND: Final = Kind(open=serving)
