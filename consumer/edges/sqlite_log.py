"""The status log in one SQLite file: one process, no server, durable.

A batch is judged and stored in one transaction, which it shares with those that wait beside it;
nothing is published before the commit. `synchronous=FULL` makes each commit survive a power cut
(https://sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from consumer.core import entries, events, statuses
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import EXPIRED, LATE, REPEAT, Standing, Verdict
from consumer.edges.group_commit import GroupCommit, Work
from consumer.edges.sqlite_draft import Draft, Known
from consumer.edges.sqlite_file import (
    LogFile,
    checksum,
    connect,
    meta,
    set_meta,
)
from consumer.ports import LogUnavailable, StatusLog, Trimmed

# From the newest to what is trimmed, by the place before each.
_PLACES_OF_KEY: Final = """
    WITH RECURSIVE chain (place) AS (
        SELECT last FROM keys WHERE key = ?
        UNION ALL SELECT previous FROM chain JOIN entries USING (place)
    ) SELECT place FROM chain
"""
READ_ENTRIES: Final = 100  # × ~600 B = 60 kB, a chunk of a replay; × 16 kB = 1.6 MB at the most
LAST_PLACE: Final = 2**63 - 1

T = TypeVar("T")


class Commit(NamedTuple):
    """What one piece of the writer's work made: its answer, and the entries it appended."""

    result: Any
    entries: list[Entry]


class SqliteLog:
    """A `StatusLog`; see `consumer.ports` for what it promises."""

    epoch: str
    away_s = 0.0  # a file answers, or refuses

    def __init__(
        self, path: Path, *, retention_s: float, retention_events: int, now_ms: Callable[[], int]
    ) -> None:
        self._path = path
        self._retention_ms = round(retention_s * 1000)
        self._retention_events = retention_events
        self._now_ms = now_ms
        self.head = 0
        self._file = LogFile(path)
        self._feeds: set[asyncio.Queue[list[Entry]]] = set()
        self._reading = ThreadPoolExecutor(1, "sqlite-reader")

    async def open(self) -> None:
        """Open or create the file, which one process may have open. Raises `LogUnusable`."""
        self._connection = self._file.open()
        self._reader = connect(self._path)
        self.epoch = meta(self._connection, "epoch")
        self.head = int(meta(self._connection, "head"))
        self._draft = Draft(self._connection, self.head)
        self._writer = GroupCommit(
            self._connection, self._draft, durable=self._note, committed=self._publish
        )

    async def close(self) -> None:
        """Finish what was given to the writer, then close the file."""
        await self._writer.close()
        self._reading.shutdown(wait=True)
        self._reader.close()
        self._connection.close()
        self._file.close()

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        verdicts: list[Verdict] = await self._write(lambda _: self._take(batch))
        return verdicts

    async def prune(self) -> int:
        """See `StatusLog.prune`."""
        before_ms: int = await self._write(self._prune)
        return before_ms

    async def newest(self) -> tuple[int, list[Entry]]:
        """See `StatusLog.newest`."""
        return await self._read(self._newest)

    async def read(self, after: int, upto: int) -> list[Entry]:
        """See `StatusLog.read`."""
        return await self._read(lambda connection: self._entries(connection, after, upto))

    async def history(self, key: str, upto: int) -> list[Entry]:
        """See `StatusLog.history`."""
        return await self._read(
            lambda connection: self._select(
                connection,
                f"place IN ({_PLACES_OF_KEY}) AND place <= ? ORDER BY place",
                (key, upto),
            )
        )

    async def changes(self, after: int) -> AsyncIterator[list[Entry]]:
        """See `StatusLog.changes`."""
        feed: asyncio.Queue[list[Entry]] = asyncio.Queue()
        self._feeds.add(feed)  # before reading, so that nothing falls between the two
        try:
            while standing := await self.read(after, LAST_PLACE):
                yield standing
                after = standing[-1].place
            while True:
                if fresh := [entry for entry in await feed.get() if entry.place > after]:
                    yield fresh
        finally:
            self._feeds.discard(feed)

    async def lead(self, work: Callable[[StatusLog], Awaitable[None]]) -> None:
        """See `StatusLog.lead`: no other process has this file."""
        await work(self)

    # The writer's side.

    def _take(self, batch: Sequence[Event]) -> Commit:
        """Judge a batch; within the writer's transaction."""
        now_ms = self._now_ms()
        commit = Commit([], [])
        for event in batch:
            time_ms = events.milliseconds(event.time)
            if time_ms < now_ms - self._retention_ms:
                commit.result.append(EXPIRED)
                continue
            # Of an event from the future, only our own clock can say when it grows old.
            commit.result.append(self._judge(event, time_ms, min(time_ms, now_ms), commit.entries))
        return commit

    def _judge(
        self, event: Event, time_ms: int, aged_from_ms: int, appended: list[Entry]
    ) -> Verdict:
        """What becomes of an event; drafts it, and its key's standing."""
        draft, key, is_step = self._draft, event.key, event.step is not None
        if not is_step and draft.has_seen(event.identity):
            return REPEAT
        known = draft.find(key)
        verdict, standing = statuses.judge(event, known.standing if known else None)
        if verdict is REPEAT:
            return verdict
        if not is_step and statuses.is_remembered(event, verdict):
            draft.see(event.identity, aged_from_ms)
        if verdict.is_sent:
            told = statuses.complete(event, standing)
            late = verdict is LATE
            entry = entries.committed(
                self.epoch, draft.head + 1, told, events.encode(told), late=late
            )
            crc = draft.append(entry, known.last if known else 0, aged_from_ms)
            appended.append(entry)
            draft.put(key, self._after(entry, crc, known, standing, time_ms))
        elif known is not None and standing != known.standing:
            draft.put(key, msgspec.structs.replace(known, standing=standing))
        return verdict

    def _after(
        self, entry: Entry, crc: int, known: Known | None, standing: Standing, time_ms: int
    ) -> Known:
        """How a key stands with one more entry, whose checksum is `crc`."""
        place, payload, ended = entry.place, entry.payload, entry.event.terminal
        if known is None:
            return Known(self._draft.new_id(), standing, place, place, time_ms, ended, payload, crc)
        latest_ms = max(time_ms, known.latest_ms)
        if entry.late:
            place, payload, crc, ended = known.place, known.payload, known.crc, known.ended
            if (told := entries.told_late(payload, entry)) is not payload:
                payload, crc = told, checksum(place, 0, told)
        return Known(known.id, standing, place, entry.place, latest_ms, ended, payload, crc)

    def _prune(self, connection: sqlite3.Connection) -> Commit:
        self._draft.write()  # of those who share the transaction
        horizon_ms = self._now_ms() - self._retention_ms
        # Places are trimmed from the beginning only: what is left is everything after the floor.
        young = connection.execute(
            "SELECT place FROM entries WHERE time_ms >= ? ORDER BY place LIMIT 1", (horizon_ms,)
        ).fetchone()
        head = self._draft.head
        aged = head if young is None else young[0] - 1
        floor = max(aged, head - self._retention_events)
        connection.execute("DELETE FROM entries WHERE place <= ?", (floor,))
        set_meta(connection, "floor", floor)
        connection.execute("DELETE FROM seen WHERE time_ms < ?", (horizon_ms,))
        gone = connection.execute(
            "DELETE FROM keys WHERE ended AND latest_ms < ? RETURNING key", (horizon_ms,)
        )
        self._draft.forget([key for (key,) in gone])
        return Commit(horizon_ms, [])

    def _note(self, commits: list[Commit]) -> None:
        """Before any of it is sent: what clients know must be in the note."""
        self._draft.committed()
        if appended := [entry for commit in commits for entry in commit.entries]:
            self._file.note(self.epoch, appended[-1].place)

    def _publish(self, commits: list[Commit]) -> None:
        appended = [entry for commit in commits for entry in commit.entries]
        if appended:
            self.head = appended[-1].place
            for feed in self._feeds:
                feed.put_nowait(appended)

    async def _write(self, work: Work[Commit]) -> Any:
        try:
            return (await self._writer.run(work)).result
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    # The reader's side.

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._reading, query, self._reader)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def _newest(self, connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
        with connection:
            connection.execute("BEGIN")  # one view of the file for both
            head = meta(connection, "head")
            rows = connection.execute("SELECT place, payload, 0, crc FROM keys").fetchall()
        rows.sort()  # by place: 0.1 s for 100,000 keys, which SQLite would take 0.6 s for
        return int(head), [self._entry(*row) for row in rows]

    def _entries(self, connection: sqlite3.Connection, after: int, upto: int) -> list[Entry]:
        found = self._select(
            connection,
            "place > ? AND place <= ? ORDER BY place LIMIT ?",
            (after, upto, READ_ENTRIES),
        )
        # Looked at after the entries: had any been trimmed meanwhile, the floor would show it.
        if after < (floor := self._floor(connection)):
            raise Trimmed(f"the log begins after place {floor}")
        return found

    def _select(
        self, connection: sqlite3.Connection, where: str, values: tuple[Any, ...]
    ) -> list[Entry]:
        query = f"SELECT place, payload, late, crc FROM entries WHERE {where}"  # noqa: S608  # constants
        return [self._entry(*row) for row in connection.execute(query, values)]

    def _entry(self, place: int, payload: bytes, late: int, crc: int) -> Entry:
        if checksum(place, late, payload) != crc:
            raise sqlite3.DatabaseError(f"the entry at place {place} is damaged")
        return entries.stored(self.epoch, place, payload, late=bool(late))

    @staticmethod
    def _floor(connection: sqlite3.Connection) -> int:
        return int(meta(connection, "floor"))
