"""The whole consumer on moto's AWS: in which order it ends."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from consumer.app import App
from consumer.edges.exposition import MetricsServer
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.sqs import SqsQueue
from consumer.hub import Hub
from consumer.pipeline import Pipeline
from tests.core.examples import step_body
from tests.edges.conftest import consumer_on, read, until
from tests.edges.test_sqs import client, endpoint, url, visible

_ = (client, endpoint, url)  # fixtures


class Running:
    """A consumer that polls both queues, and a viewer of everything."""

    def __init__(self, app: App, task: asyncio.Task[None], viewer: ClientConnection) -> None:
        self.app = app
        self.task = task
        self.viewer = viewer

    async def told(self) -> list[str]:
        """The rest of what the viewer is told, heartbeats aside."""
        ops = []
        try:
            while True:
                ops.append((await read(self.viewer))["op"])
        except ConnectionClosed:
            return [op for op in ops if op != "heartbeat"]

    async def ended(self) -> None:
        async with asyncio.timeout(20):
            await self.task


async def send(client: Any, url: str) -> None:
    """A status that is of now, or it would be too old to be shown."""
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    await client.send_message(
        QueueUrl=url,
        MessageBody=json.dumps(step_body(time=time)),
        MessageGroupId="g",
        MessageDeduplicationId="1",
    )


@pytest.fixture
async def app(
    request: pytest.FixtureRequest,
    client: Any,
    url: str,
    endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> App:
    """With 20 s to drain, or what a test asks for."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return await consumer_on(client, url, tmp_path, drain_s=getattr(request, "param", 20.0))


@pytest_asyncio.fixture
async def running(app: App, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Running]:
    caplog.set_level(logging.INFO)
    task = asyncio.create_task(app.run())
    await until(lambda: task.done() or len(app.pipelines) == 2)
    (listening,) = [each for each in caplog.records if each.message == "listening"]
    port = listening.__dict__["port"]
    async with connect(f"ws://127.0.0.1:{port}/v1/status?watch=*") as viewer:
        assert [(await read(viewer))["op"] for _ in range(2)] == ["welcome", "snapshot"]
        yield Running(app, task, viewer)
    app.stop.set()
    await asyncio.wait([task])


class Held:
    """Polls that are not answered before they may be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go = asyncio.Event()
        self.waiting = asyncio.Event()
        receive = SqsQueue.receive

        async def held(queue: SqsQueue) -> Any:
            self.waiting.set()
            await self.may_go.wait()
            return await receive(queue)

        monkeypatch.setattr(SqsQueue, "receive", held)


@pytest.fixture
async def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


async def test_what_a_poll_under_way_brings_is_still_told(
    held: Held, running: Running, client: Any, url: str
) -> None:
    """It is ours until its visibility timeout ends: told, acknowledged, and only then goodbye."""
    await held.waiting.wait()
    running.app.stop.set()
    await send(client, url)
    held.may_go.set()
    assert await running.told() == ["status", "draining"]
    assert running.viewer.close_code == 1012
    await running.ended()
    assert await visible(client, url) == (0, 0)


async def test_who_drains_says_so_while_it_still_serves(held: Held, running: Running) -> None:
    """A balancer sends nobody here any more, and viewers are there for what is under way."""
    await held.waiting.wait()
    running.app.stop.set()
    assert "draining" in running.app.readiness.missing()
    await running.viewer.send('{"op":"ping","id":"1"}')
    assert (await read(running.viewer))["op"] == "pong"
    held.may_go.set()
    await running.ended()


async def test_acknowledgements_leave_before_viewers_are_sent_away(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Viewers may take 5 s to go, in which a supervisor may lose its patience."""
    closed = asyncio.Event()
    close = SqsQueue.close

    async def slow(queue: SqsQueue, timeout_s: float) -> None:
        await asyncio.sleep(0.2)
        await close(queue, timeout_s)
        closed.set()

    monkeypatch.setattr(SqsQueue, "close", slow)
    running.app.stop.set()
    assert await running.told() == ["draining"]
    assert closed.is_set()
    await running.ended()


class Endless(Pipeline):
    """One whose poll is never answered."""

    async def run(self, stop: asyncio.Event) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.app.Pipeline", Endless)


@pytest.mark.parametrize("app", [1.5], indirect=True)
async def test_a_drain_has_its_time_and_no_more(never_answered: None, running: Running) -> None:
    """Then polls are broken off, and viewers are told all the same."""
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    running.app.stop.set()
    assert await running.told() == ["draining"]
    await running.ended()
    assert 1.5 <= loop.time() - begun_s < 6


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was closed, in order."""
    order: list[str] = []
    for part in (SqliteLog, Hub, MetricsServer):
        note_close(part, order, monkeypatch)
    return order


def note_close(part: Any, order: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    close = part.close

    def noted(self: Any) -> Any:
        order.append(part.__name__)
        return close(self)

    monkeypatch.setattr(part, "close", noted)


async def test_what_is_opened_first_is_closed_last(closed: list[str], running: Running) -> None:
    """So that whatever is under way at the end finds its log."""
    running.app.stop.set()
    await running.ended()
    assert closed == ["MetricsServer", "Hub", "SqliteLog"]
