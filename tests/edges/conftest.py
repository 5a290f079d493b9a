"""A real server on a port of its own, and a real WebSocket client to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from consumer.app import App
from consumer.core.limits import Limits
from consumer.edges.door import Door
from consumer.edges.http import Site
from consumer.edges.mass_write import mass_writer
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.tls import Certificates
from consumer.hub import Hub
from consumer.pipeline import Counts
from consumer.settings import Settings
from consumer.sign_in import SignIn
from tests.edges.test_sqlite_log import make, now_ms


class Service:
    """Log, hub and server, as the composition root wires them, without queues."""

    log: SqliteLog
    hub: Hub
    server: Server
    port: int

    def __init__(self) -> None:
        self.counts = Counts()
        self.missing: list[str] = []
        self.closing = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/status"

    async def connect(self, query: str = "", **options: Any) -> ClientConnection:
        """A client that has been welcomed."""
        client = await connect(self.url + query, **options)
        self.closing.push_async_callback(client.close)
        assert (await read(client))["op"] == "welcome"
        return client


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # see above
            await asyncio.sleep(0.005)


async def rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the connection ends, however it does."""
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def read(client: ClientConnection) -> Any:
    """The next message that the client gets."""
    async with asyncio.timeout(10):
        return msgspec.json.decode(await client.recv())


async def consumer_on(sqs: Any, url: str, folder: Path, **settings: Any) -> App:
    """The whole consumer, not yet running, on a queue of moto's AWS and a service queue beside it;
    the environment says where that is.
    """
    service = await sqs.create_queue(QueueName="service")
    return App(
        Settings(
            queue_url=url,
            service_queue_url=service["QueueUrl"],
            log=f"sqlite:{folder}/log.db",
            port=0,
            metrics_port=0,
            instance_tag="*",
            poll_wait_s=1,
            **settings,
        )
    )


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    limits: Limits | None = None,
    certificates: Certificates | None = None,
    heartbeat_s: float = 0.2,
    rest_url: str = "http://127.0.0.1:1/live",
    sign_in: SignIn | None = None,
    **policy: Any,
) -> AsyncIterator[Service]:
    """A service whose door has these limits and this policy."""
    service = Service()
    async with service.closing as closing:
        service.log = make(folder / "log.db")
        await service.log.open()
        closing.push_async_callback(service.log.close)
        mass = mass_writer()
        if mass is not None:
            closing.callback(mass.close)
        service.hub = Hub(service.log, now_ms, spread=mass)
        await service.hub.load()
        closing.push_async_callback(service.hub.close)
        site = Site(rest_url, lambda: service.missing, sign_in)
        door = Door(limits or Limits(), service.counts, certificates=certificates, **policy)
        service.server = Server(
            service.hub, site, service.counts, door,
            heartbeat_s=heartbeat_s, mass=mass,
        )  # fmt: skip
        service.port = await service.server.listen("127.0.0.1", 0)
        closing.push_async_callback(service.server.drain)
        tasks = [
            asyncio.create_task(running)
            for running in (service.hub.follow(), service.server.beat(), service.server.sweep())
        ]
        yield service
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path) as service:
        yield service
