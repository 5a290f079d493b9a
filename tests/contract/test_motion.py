"""Snapshot and live are one motion, and a cursor is a promise, whatever else goes on."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from consumer.core import statuses, watch
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.messages import Subscribe
from consumer.core.recent import Recent
from consumer.core.statuses import Verdict
from consumer.hub import Hub
from consumer.ports import LogUnavailable, StatusLog
from tests import redis_processes
from tests.contract.conftest import Logs
from tests.contract.test_log import now_ms
from tests.contract.trace import RecordingClient
from tests.core import examples

RUNS = 4
SEEDS = {"sqlite": 60, **dict.fromkeys(redis_processes.BINARIES, 8)}
PATTERNS = ["*", "machine:standard", f"instance:{examples.INSTANCE}", "execution:run-2"]


class HesitantLog:
    """The log, taking a moment longer to answer: so that much happens meanwhile."""

    away_s = 0.0

    def __init__(self, log: StatusLog, dice: random.Random) -> None:
        self._log = log
        self._dice = dice
        self.epoch = log.epoch

    async def read(self, after: int, upto: int) -> list[Entry]:
        entries = await self._log.read(after, upto)
        await self._hesitate()
        return entries[: self._dice.randint(1, 20)]

    async def history(self, key: str, upto: int) -> list[Entry]:
        entries = await self._log.history(key, upto)
        await self._hesitate()
        return entries

    async def newest(self) -> tuple[int, list[Entry]]:
        return await self._log.newest()

    def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        return self._log.changes(after)

    async def _hesitate(self) -> None:
        for _ in range(self._dice.randint(0, 40)):
            await asyncio.sleep(0)


class Viewer:
    """One client across its connections: it loses them anywhere, and resumes by its cursor.

    It watches one thing or several that overlap, and more as time goes by.
    """

    def __init__(self, hub: Hub, epoch: str, dice: random.Random) -> None:
        self.wanted = dice.sample(PATTERNS, dice.randint(1, 2))
        self.frames: list[dict[str, Any]] = []
        self.client: RecordingClient | None = None
        self._hub = hub
        self._epoch = epoch
        self._dice = dice

    def act(self) -> None:
        """Something that a client may do, or that may happen to it."""
        if self.client is None:
            self._connect()
        elif self._dice.random() < 0.2:
            self._lose_connection()
        elif self._dice.random() < 0.3:
            self.client.stall()
        elif self._dice.random() < 0.2:
            more = self._dice.choice(PATTERNS)
            self.wanted = list(dict.fromkeys([*self.wanted, more]))
            self._hub.request(self.client, Subscribe([more], id=more))
        else:
            self.client.go_on()

    def come_back(self) -> None:
        if self.client is None:
            self._connect()
        assert self.client is not None
        self.client.go_on()

    def take(self) -> None:
        assert self.client is not None
        self.frames += self.client.frames

    def _connect(self) -> None:
        self.client = RecordingClient(self._epoch, outbox=self._dice.choice([3, 256]))
        self._hub.admit(self.client)
        since = next((f["cursor"] for f in reversed(self.frames) if "cursor" in f), None)
        if begun := begins(self.frames):
            self._hub.request(self.client, Subscribe(list(begun), since=since))
        if more := [each for each in self.wanted if each not in begun]:
            self._hub.request(self.client, Subscribe(more, id=" ".join(more)))

    def _lose_connection(self) -> None:
        """Some of what was written never arrives: the cut is anywhere between two frames."""
        assert self.client is not None
        frames = self.client.frames
        self.frames += frames[: self._dice.randint(0, len(frames))]
        self.client.close(1006, "lost")
        self._hub.dismiss(self.client)
        self.client = None


def begins(frames: list[dict[str, Any]]) -> dict[str, int]:
    """The place of the first snapshot of each pattern, which is its request's id."""
    places: dict[str, int] = {}
    for frame in frames:
        if frame["op"] == "snapshot":
            for pattern in frame["id"].split():
                places.setdefault(pattern, int(frame["cursor"].rpartition("-")[2]))
    return places


def check(viewer: Viewer, appended: list[Event]) -> None:
    """Every matching event after a snapshot came once, or was told to be skipped."""
    skipped = 0
    got: list[int] = []
    for frame in viewer.frames:
        cursor = int(str(frame.get("cursor", "e-0")).rpartition("-")[2])
        if frame["op"] == "snapshot":
            newest: dict[str, Event] = {}
            for event in appended[:cursor]:
                if not set(frame["id"].split()).isdisjoint(watch.matching(event, event.key)):
                    newest[event.key] = max(event, newest.get(event.key, event), key=statuses.order)
            assert {event["id"] for event in frame["events"]} >= {e.id for e in newest.values()}
        elif frame["op"] == "status":
            got.append(cursor)
            assert frame["event"]["id"] == appended[cursor - 1].id
        elif frame["op"] == "skipped":
            skipped += frame["count"]
        assert frame["op"] != "gap"
    begun = begins(viewer.frames)
    wanted = [
        place
        for place, event in enumerate(appended, 1)
        if any(place > begun.get(pattern, place) for pattern in watch.matching(event, event.key))
    ]
    assert got == sorted(set(got)), "in rising order, each once"
    assert set(got) <= set(wanted)
    assert len(wanted) - len(got) <= skipped
    if not skipped:
        assert got == wanted


class SilentLog:
    """One that does not answer."""

    async def newest(self) -> tuple[int, list[Entry]]:
        raise LogUnavailable("no answer")


async def test_loading_leaves_garbage_collection_on(logs: Logs) -> None:
    """It pauses while a hub loads, and goes on whether or not that succeeds."""
    log = await logs.open(now_ms)
    await Hub(log, now_ms).load()
    assert gc.isenabled()
    with pytest.raises(LogUnavailable):
        await Hub(SilentLog(), now_ms).load()  # type: ignore[arg-type]
    assert gc.isenabled()
    await logs.close(log)


@pytest.mark.parametrize(
    ("logs", "seed"),
    [(kind, seed) for kind, seeds in SEEDS.items() for seed in range(seeds)],
    indirect=["logs"],
)
async def test_clients_that_come_and_go_while_events_arrive(logs: Logs, seed: int) -> None:
    """No interleaving loses an event, repeats one, or moves a cursor too far."""
    dice = random.Random(seed)
    log = await logs.open(now_ms)
    recent = Recent((0, 8, 1_000)[seed % 3])
    hub = Hub(HesitantLog(log, dice), now_ms, recent=recent)  # type: ignore[arg-type]
    await hub.load()
    following = asyncio.create_task(hub.follow())
    viewers = [Viewer(hub, log.epoch, dice) for _ in range(5)]
    appended: list[Event] = []
    try:
        for number in range(60):
            batch = [
                examples.step(1 + number // 2, run=f"run-{dice.randint(1, RUNS)}-{number}")
                if dice.random() < 0.5
                else examples.step(1 + number % 50, run=f"run-{dice.randint(1, RUNS)}")
                for _ in range(dice.randint(0, 4))
            ]
            verdicts = await log.append(batch)
            appended += [e for e, v in zip(batch, verdicts, strict=True) if v is not Verdict.REPEAT]
            for viewer in viewers:
                if dice.random() < 0.4:
                    viewer.act()
                if dice.random() < 0.1:
                    hub.beat(hub.clients)
                for _ in range(dice.randint(0, 8)):
                    await asyncio.sleep(0)
        for viewer in viewers:
            viewer.come_back()
        async with asyncio.timeout(10):
            while hub.place < len(appended) or hub._tasks:  # noqa: ASYNC110  # one turn each
                await asyncio.sleep(0)
        for viewer in viewers:
            viewer.take()
            check(viewer, appended)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await hub.close()
        await logs.close(log)
