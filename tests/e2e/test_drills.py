"""docs/drills.md, as a person would play it: its commands, and what it says that one sees."""

import asyncio
import contextlib
import inspect
import re
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed, WebSocketException

from infra.local.demo import exports, surroundings
from infra.local.places import ROOT
from infra.local.redis import Redis
from tests.e2e.conftest import PATIENCE_S, Product, Viewer
from tests.e2e.test_path import beginner, ended, new_name

pytestmark = pytest.mark.asyncio(loop_scope="session")

SHEET = (ROOT / "docs" / "drills.md").read_text()
DRILLS = dict(re.findall(r"^## ([^\n]+)\n\n```sh\n(.+?)```", SHEET, re.MULTILINE | re.DOTALL))
HASTE = 'sleep() { command sleep "$(awk "BEGIN { print $1 / %d }")"; }\n'


async def play(product: Product, drill: str, redis: Redis | None = None, *, haste: int = 10) -> str:
    """What its commands print; they sleep for a tenth of the time."""
    return await tell(product, HASTE % haste + DRILLS[drill], redis)


async def tell(product: Product, commands: str, redis: Redis | None = None) -> str:
    """What they print in a shell beside the demo."""
    environment = exports(surroundings(product.run, product.consumer, redis))
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-ec", environment + commands),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await shell.communicate()
    assert shell.returncode == 0, said.decode()
    return said.decode()


@pytest_asyncio.fixture(loop_scope="session")
async def alive(product: Product) -> AsyncIterator[Product]:
    """One consumer whose heartbeats need not be waited for."""
    async with beginner(product, STATUSWIRE_HEARTBEAT_S="1") as other:
        await other.fleet()
        yield other


@contextlib.asynccontextmanager
async def watched(product: Product) -> AsyncIterator[Viewer]:
    """Somebody who watches everything, and has its snapshot."""
    viewer = await product.watch("watch=*")
    yield viewer
    await viewer.socket.close()


async def last_words(viewer: Viewer) -> int | None:
    """Read to the end of the connection; its close code, if one was said."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                await viewer.read()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None


async def come_back(product: Product, viewer: Viewer) -> list[str]:
    """What a client that comes back with its cursor is told first."""
    resumed = None
    while resumed is None:  # a worker that ended resets whom it had not accepted
        with contextlib.suppress(OSError, WebSocketException):
            resumed = await product.watch(f"watch=*&since={viewer.cursor}")
    await resumed.socket.close()
    return [frame["op"] for frame in resumed.frames if frame["op"] in ("gap", "resumed")]


async def run_through(product: Product, viewer: Viewer) -> None:
    """Whatever happened, a run is told to its end."""
    name = new_name()
    await product.post("/express-instance", {"instance_id": product.stopped[1], "name": name})
    await viewer.until(ended(name))


async def missing(product: Product) -> str:
    """What keeps it from being ready, in its own words."""
    async with product.http.get(f"{product.consumer.url}/readyz") as answer:
        return await answer.text()


async def test_the_consumer_is_killed(alive: Product) -> None:
    """Who comes back has lost nothing."""
    async with watched(alive) as viewer:
        await play(alive, "The consumer is killed")
        assert await last_words(viewer) is None
        await alive.consumer.start()
        assert await come_back(alive, viewer) == ["resumed"]


async def test_the_consumer_is_told_to_end(alive: Product) -> None:
    """It says when to come back, and exits with 0."""
    async with watched(alive) as viewer:
        await play(alive, "The consumer is told to end")
        assert await last_words(viewer) == 1012
        draining = next(frame for frame in viewer.frames if frame["op"] == "draining")
        assert draining["retry_ms"] > 0
        with pytest.raises(Exception, match=r"ended \(0\)"):
            await alive.consumer.watch()


async def test_the_consumer_hangs(alive: Product) -> None:
    """Nothing answers meanwhile; afterwards what was said arrives."""
    async with watched(alive) as viewer:
        drill = asyncio.create_task(play(alive, "The consumer hangs"))
        impatience = aiohttp.ClientTimeout(total=0.5)
        while not drill.done():
            try:
                url = f"{alive.consumer.url}/healthz"
                async with alive.http.get(url, timeout=impatience) as answer:
                    await answer.read()
            except TimeoutError:
                break
        assert not drill.done(), "it answered all the time"
        await run_through(alive, viewer)
        await drill


async def test_aws_does_not_answer(alive: Product) -> None:
    """Viewers hear that the consumer is there; afterwards it goes on."""
    async with watched(alive) as viewer:
        drill = asyncio.create_task(play(alive, "AWS does not answer"))
        while not drill.done():
            frame = asyncio.create_task(viewer.read())
            await asyncio.wait([drill, frame], return_when=asyncio.FIRST_COMPLETED)
            if not frame.done():
                frame.cancel()
        await drill
        await run_through(alive, viewer)


async def test_a_message_that_nobody_understands(alive: Product) -> None:
    """It is among the dead letters, with its reason, and holds up nobody."""
    async with watched(alive) as viewer:
        said = await play(alive, "A message that nobody understands")
        await run_through(alive, viewer)
        async with asyncio.timeout(PATIENCE_S):
            while "malformed: v" not in said:  # the drill's own wait was cut short
                said = await tell(alive, ".venv/bin/statuswire dlq list")
    purge = ".venv/bin/statuswire dlq purge --queue status --malformed-only --yes"
    await tell(alive, purge)  # of which others would have to know


async def test_the_disk_is_full(alive: Product) -> None:
    """Nothing is told that is not in the log; with room again, all of it."""
    async with watched(alive) as viewer:
        before = len(viewer.events)
        said = await play(alive, "The disk is full")
        assert "not ready: log" in said
        await viewer.until(
            lambda events: any(
                event["source"] == "workflow" and event["terminal"] for event in events[before:]
            )
        )
        ids = [event["id"] for event in viewer.events]
        assert len(ids) == len(set(ids))


async def test_the_log_is_lost(alive: Product) -> None:
    """A gap, and the fleet again."""
    async with watched(alive) as viewer:
        await play(alive, "The log is lost")
        await last_words(viewer)
        await alive.consumer.start()
        assert await come_back(alive, viewer) == ["gap"]
        assert (await alive.fleet()).keys() >= set(alive.run.instances)


async def test_one_of_several_is_killed(replicas: Product) -> None:
    """Whoever watched through it comes back to another."""
    viewer = await replicas.watch("watch=*")
    await play(replicas, "One of several is killed")
    assert await come_back(replicas, viewer) == ["resumed"]
    await viewer.socket.close()


async def test_redis_stands_still(replicas: Product, redis: Redis) -> None:
    """Heartbeats say so, and that nothing is received; afterwards there is no gap."""
    async with watched(replicas) as viewer:
        drill = asyncio.create_task(play(replicas, "Redis stands still", redis, haste=2))
        async with asyncio.timeout(PATIENCE_S):
            while "away_ms" not in await viewer.read():
                pass
            while await missing(replicas) != "not ready: log\n":  # noqa: ASYNC110  # each by itself
                await asyncio.sleep(0.1)
            await drill
        await run_through(replicas, viewer)
        assert not any(frame["op"] == "gap" for frame in viewer.frames)


async def test_redis_loses_everything(replicas: Product, redis: Redis) -> None:
    """A gap, and the fleet again."""
    async with watched(replicas) as viewer:
        await play(replicas, "Redis loses everything", redis)
        async with asyncio.timeout(PATIENCE_S):
            while (await viewer.read())["op"] != "gap":
                pass
        assert (await replicas.fleet()).keys() >= set(replicas.run.instances)


async def test_every_drill_is_played() -> None:
    """The sheet holds no other."""
    played = re.findall(r'play\(\w+, "(.+?)"', inspect.getsource(sys.modules[__name__]))
    assert sorted(played) == sorted(DRILLS)
