"""The whole product on the embedded AWS, started once for all of these tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from infra.local.daemon import Consumer
from infra.local.folder import run_folder
from infra.local.places import Ports
from infra.local.redis import Redis
from infra.local.run import RUNNING_INSTANCES, LocalRun, local_run

# The machine's waits are the template's parameters; shorter here than its defaults.
# People sign in, beside all who call as ever; without a second factor, which a test has none of.
PARAMETERS = {
    **{"DelaySeconds": "2", "VerifyIntervalSeconds": "1", "DeadlineSeconds": "8"},
    **{"SignIn": "cognito", "SignInDomainPrefix": "statuswire-local", "SignInMfa": "off"},
}
PATIENCE_S = 60

Frame = dict[str, Any]


class Viewer:
    """A WebSocket client that keeps what it gets."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    @property
    def events(self) -> list[Frame]:
        return [frame["event"] for frame in self.frames if frame["op"] == "status"]

    @property
    def cursor(self) -> str:
        return str([frame["cursor"] for frame in self.frames if "cursor" in frame][-1])

    async def until(self, seen: Callable[[list[Frame]], bool]) -> list[Frame]:
        """Read until the status events satisfy; returns them."""
        async with asyncio.timeout(PATIENCE_S):
            while not seen(self.events):
                await self.read()
        return self.events

    async def read(self) -> Frame:
        frame: Frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        return frame


class Product:
    """The local run, one consumer on it, and HTTP to its REST API."""

    def __init__(self, run: LocalRun, consumer: Consumer, http: aiohttp.ClientSession) -> None:
        self.run = run
        self.consumer = consumer
        self.http = http
        self.running = run.instances[:RUNNING_INSTANCES]
        self.stopped = run.instances[RUNNING_INSTANCES:]

    async def watch(self, query: str) -> Viewer:
        """A viewer that has its snapshot, or has resumed."""
        viewer = Viewer(await connect(f"{self.consumer.websocket_url}?{query}", max_queue=None))
        while (await viewer.read())["op"] not in ("snapshot", "resumed"):
            pass
        return viewer

    async def fleet(self) -> dict[str, Frame]:
        """Wait for the instances to be in the snapshot, and return those in it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                viewer = await self.watch("watch=*")
                await viewer.socket.close()
                instances = {
                    event["instance_id"]: event
                    for event in viewer.frames[-1]["events"]
                    if event["execution"] is None
                }
                if instances.keys() >= set(self.run.instances):
                    return instances

    async def post(self, route: str, body: Any, **options: Any) -> tuple[int, Any]:
        async with self.http.post(self.run.rest_url + route, json=body, **options) as answer:
            return answer.status, await answer.json()

    async def get(self, route: str) -> tuple[int, Any]:
        async with self.http.get(self.run.rest_url + route) as answer:
            return answer.status, await answer.json()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded_aws() -> AsyncIterator[LocalRun]:
    with run_folder() as folder:
        async with local_run(folder, parameters=PARAMETERS) as run:
            yield run


@pytest_asyncio.fixture(loop_scope="session")
async def product(embedded_aws: LocalRun, request: pytest.FixtureRequest) -> AsyncIterator[Product]:
    """A consumer with a log of its own for each test."""
    consumer = embedded_aws.consumer(f"consumer-{abs(hash(request.node.name))}")
    await consumer.start()
    async with aiohttp.ClientSession() as http:
        product = Product(embedded_aws, consumer, http)
        await product.fleet()
        yield product
    await consumer.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(embedded_aws: LocalRun) -> AsyncIterator[Redis]:
    """A server for the log of several consumers."""
    server = Redis(Ports().settle().redis, embedded_aws.folder)
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def replicas(product: Product, redis: Redis) -> AsyncIterator[Product]:
    """Three of them behind one port, instead of the one that runs."""
    await product.consumer.stop()
    settings = {
        "STATUSWIRE_LOG": redis.url,
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_HEARTBEAT_S": "1",
    }
    consumer = product.run.consumer(
        "replicas", ports=Ports().settle(), settings=settings, workers=3
    )
    await consumer.start()
    yield Product(product.run, consumer, product.http)
    await consumer.stop()
