"""What the log keeps in memory of its file: never anything else than what the file has."""

import asyncio
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.view import View
from consumer.edges import sqlite_draft, sqlite_file
from consumer.edges.sqlite_draft import Draft
from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import LogUnavailable
from tests.core import examples

SEEDS: Final = 200 if os.environ.get("LONG") else 8
STEPS: Final = 60
RETENTION_S: Final = 100
TABLES: Final = {
    "entries": ("INSERT", "DELETE"), "keys": ("INSERT", "UPDATE", "DELETE"),
    "seen": ("INSERT", "DELETE"), "meta": ("UPDATE",),
}  # fmt: skip


class Faults:
    """Statements that fail half-way: `ABORT` undoes the statement, `ROLLBACK` all before it."""

    def __init__(self, dice: random.Random) -> None:
        self.due: int | None = None
        self.way = "ABORT"
        self.calm = dice.choice([2, 100])
        self._dice = dice

    def lay(self, connection: sqlite3.Connection) -> None:
        """In the way of every write, and of the commit."""
        connection.create_function("fault", 1, self._is_due)
        for table, changes in TABLES.items():
            for change in changes:
                for way in ("ABORT", "FAIL", "ROLLBACK"):
                    connection.execute(
                        f"CREATE TEMP TRIGGER {table}_{change}_{way} AFTER {change} ON main.{table}"
                        f" WHEN fault('{way}') BEGIN SELECT RAISE({way}, 'a fault'); END"
                    )

    def threaten(self) -> None:
        """One of the next writes may fail; in calmer times, few of them."""
        self.due = self._dice.choice([*[None] * self.calm, 0, 1, 2, 5, 20])
        self.way = self._dice.choice(["ABORT", "FAIL", "ROLLBACK"])

    def _is_due(self, way: str) -> bool:
        if self.due is None or way != self.way:
            return False
        self.due -= 1
        if self.due >= 0:
            return False
        self.due = None
        return True


class World:
    """A log, its faults, its clock, and all that it was ever given."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.dice = dice
        self.faults = Faults(dice)
        self.now_ms = events.milliseconds("2026-01-01T00:01:00.000Z")
        self.failed = 0
        self.forgotten_until = 0
        self.view = View()
        self.told: list[Entry] = []
        self._path = path
        self._number = 0
        self._said: list[Event] = []
        self._steps: dict[str, Event] = {}

    async def open(self) -> None:
        self.log = SqliteLog(
            self._path, retention_s=RETENTION_S, retention_events=40, now_ms=lambda: self.now_ms
        )
        await self.log.open()
        self.faults.lay(self.log._connection)
        await self._hear()

    async def reopen(self) -> None:
        await self.log.close()
        await self.open()

    def say(self) -> list[Event]:
        """What happens next, or happened a while ago; or what was said before."""
        batch = []
        for _ in range(self.dice.randint(1, 6)):
            if self._said and self.dice.random() < 0.3:
                batch.append(self.dice.choice(self._said[-40:]))
            else:
                batch.append(self._event())
        self._said += batch
        return batch

    def _event(self) -> Event:
        self._number += 1
        run = f"run-{self._number // 100 + self.dice.randint(1, 5)}"
        ago_ms = self.dice.choice([0, 0, 0, 1_000, 30_000, RETENTION_S * 1000 - 1, 10**6, -5_000])
        at_ms = self.now_ms - ago_ms
        if self.dice.random() < 0.6:
            body: dict[str, Any] = examples.step_body(
                status=self.dice.choice(["CHECKING", "WAITING", "SUCCEEDED"])
            )
            body["terminal"] = body["status"] == "SUCCEEDED"
            body["execution"]["seq"] = self.dice.randint(1, 12)
            body["execution"]["redrive"] = self.dice.choice([0, 0, 1])
            body["execution"] |= {"name": run, "arn": examples.ARN.replace("run-1", run)}
            body |= {"id": f"e{self._number}", "time": events.timestamp(at_ms)}
        else:
            body = examples.execution_change(
                executionArn=examples.ARN.replace("run-1", run), name=run, startDate=at_ms,
                status=self.dice.choice(["RUNNING", "SUCCEEDED", "FAILED"]),
                redriveCount=self.dice.choice([0, 0, 1]),
            )  # fmt: skip
            body["id"] = f"e{self._number}"
            if self.dice.random() < 0.6:
                body["detail"]["input"] = None
        event = examples.decode(body)
        return event if event.step is None else self._steps.setdefault(event.identity, event)

    async def do(self) -> None:
        """Some pieces of work at once, which share a transaction or follow one another."""
        self.faults.threaten()
        work: list[Any] = [self.log.append(self.say()) for _ in range(self.dice.randint(1, 4))]
        if self.dice.random() < 0.4:
            work.insert(self.dice.randint(0, len(work)), self.log.prune())
        done = await asyncio.gather(*work, return_exceptions=True)
        for each in done:
            assert not isinstance(each, BaseException) or isinstance(each, LogUnavailable), each
        self.faults.due = None
        self.failed += any(isinstance(each, LogUnavailable) for each in done)
        await self._hear()
        for each in done:
            if isinstance(each, int):
                self.forgotten_until = self.log.head
                self.view.forget_ended(each)

    async def _hear(self) -> None:
        """What was told since, as the hub hears it."""
        after = self.told[-1].place if self.told else 0
        floor = int(sqlite_file.meta(self.log._connection, "floor"))
        while fresh := await self.log.read(max(after, floor), self.log.head):
            self.told += fresh
            after = fresh[-1].place
            for entry in fresh:
                self.view.apply(entry)

    async def check(self) -> None:
        """The file proves all of it."""
        draft, connection = self.log._draft, self.log._connection
        assert not connection.in_transaction
        assert not any((draft._keys, draft._entries, draft._seen))
        assert len(draft._known) <= sqlite_draft.MAX_KNOWN
        afresh = Draft(connection, self.log.head)
        assert draft.head == self.log.head
        assert draft._last_id >= afresh._last_id
        for key, known in draft._known.items():
            assert known == afresh.find(key)
        assert connection.execute(sqlite_file._DAMAGED).fetchone() is None
        await self._check_chains()
        await self._check_view()

    async def _check_chains(self) -> None:
        """A history is all that is kept of a key; of one that was forgotten, what came since."""
        rows = self.log._connection.execute("SELECT place, payload, late, crc FROM entries")
        kept: dict[str, list[int]] = {}
        for row in rows:
            entry = self.log._entry(*row)
            kept.setdefault(entry.key, []).append(entry.place)
        for key, places in kept.items():
            found = [entry.place for entry in await self.log.history(key, self.log.head)]
            forgotten = [place for place in places if place not in found]
            assert forgotten + found == places
            assert not forgotten or forgotten[-1] <= self.forgotten_until

    async def _check_view(self) -> None:
        """What is in memory is what a restart would read."""
        _, newest = await self.log.newest()
        stands = {entry.key: (entry.place, entry.event, entry.payload) for entry in newest}
        for entry in self.view.matching(["*"]):
            assert stands[entry.key] == (entry.place, entry.event, entry.payload)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("most", [1, 3, 1_000])
async def test_memory_is_what_the_file_has(
    tmp_path: Path, monkeypatch: Any, seed: int, most: int
) -> None:
    """After whatever failed, whoever shared its transaction, and however much is remembered."""
    monkeypatch.setattr(sqlite_draft, "MAX_KNOWN", most)
    dice = random.Random(seed)
    world = World(tmp_path / "log.db", dice)
    await world.open()
    for _ in range(STEPS):
        await world.do()
        world.now_ms += dice.choice([0, 0, 500, 20_000])
        if dice.random() < 0.1:
            await world.reopen()
        await world.check()
    steps = Counter(entry.event.identity for entry in world.told)
    assert max(steps.values()) == 1, "each event once"
    assert world.faults.calm > 2 or 5 < world.failed < STEPS
    assert [entry.place for entry in world.told] == sorted({entry.place for entry in world.told})
    await world.log.close()
