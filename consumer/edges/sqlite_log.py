"""The status log in one SQLite file: one process, no server, durable.

A batch is judged and stored in one transaction, which it shares with those that wait beside it;
nothing is published before the commit. `synchronous=FULL` makes each commit survive a power cut
(https://sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from consumer.core import entries, events, statuses
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Standing, Verdict
from consumer.edges.group_commit import GroupCommit, Work
from consumer.ports import LogUnavailable, Trimmed

SCHEMA_VERSION: Final = 1
READ_ENTRIES: Final = 100  # × ~600 B = 60 kB, a chunk of a replay; × 16 kB = 1.6 MB at the most
LAST_PLACE: Final = 2**63 - 1
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL, late INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX entries_by_key ON entries (key, place);
CREATE TABLE keys (
    key TEXT PRIMARY KEY, standing BLOB NOT NULL, place INTEGER NOT NULL,
    ended_ms INTEGER, payload BLOB
) WITHOUT ROWID;
CREATE INDEX keys_by_end ON keys (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE seen (identity TEXT PRIMARY KEY, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen (time_ms);
"""

T = TypeVar("T")


class Commit(NamedTuple):
    """What one piece of the writer's work made: its answer, and the entries it appended."""

    result: Any
    entries: list[Entry]


class LogUnusable(Exception):
    """The file cannot be used as a log. The operator must act."""


class SqliteLog:
    """A `StatusLog`; see `consumer.ports` for what it promises."""

    epoch: str

    def __init__(
        self, path: Path, *, retention_s: float, retention_events: int, now_ms: Callable[[], int]
    ) -> None:
        self._path = path
        self._retention_ms = round(retention_s * 1000)
        self._retention_events = retention_events
        self._now_ms = now_ms
        self.head = 0
        self._lock_fd = -1
        self._feeds: set[asyncio.Queue[list[Entry]]] = set()
        self._reading = ThreadPoolExecutor(1, "sqlite-reader")

    async def open(self) -> None:
        """Open or create the file, which one process may have open. Raises `LogUnusable`."""
        self._lock_fd = _lock(self._path)
        try:
            self._connection = self._prepare()
            self._reader = _connect(self._path)
        except sqlite3.Error as error:
            self._unlock()
            raise LogUnusable(
                f"{self._path} cannot be used as a log ({error}); move it away to begin a new one"
            ) from error
        except LogUnusable:
            self._unlock()
            raise
        self._writer = GroupCommit(self._connection, self._publish)

    async def close(self) -> None:
        """Finish what was given to the writer, then close the file."""
        await self._writer.close()
        self._reading.shutdown(wait=True)
        self._reader.close()
        self._connection.close()
        self._unlock()

    async def append(self, batch: Sequence[Event]) -> list[Verdict]:
        """See `StatusLog.append`."""
        verdicts: list[Verdict] = await self._write(lambda writer: self._take(writer, batch))
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
                connection, "key = ? AND place <= ? ORDER BY place", (key, upto)
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

    # The writer's side.

    def _take(self, connection: sqlite3.Connection, batch: Sequence[Event]) -> Commit:
        """Judge and store a batch; within the writer's transaction."""
        now_ms = self._now_ms()
        head = int(_meta(connection, "head"))
        commit = Commit([], [])
        for event in batch:
            time_ms = events.milliseconds(event.time)
            if time_ms < now_ms - self._retention_ms:
                commit.result.append(Verdict.EXPIRED)
                continue
            verdict, payload = self._judge(connection, event, time_ms)
            commit.result.append(verdict)
            if verdict.is_sent:
                head += 1
                late = verdict is Verdict.LATE
                entry = entries.committed(self.epoch, head, event, payload, late=late)
                # Of an event from the future, only our own clock can say when it grows old.
                self._store(connection, entry, time_ms, aged_from_ms=min(time_ms, now_ms))
                commit.entries.append(entry)
        # The head outlives the entries: trimmed to none, places still go on rising.
        connection.execute("UPDATE meta SET value = ? WHERE name = 'head'", (str(head),))
        return commit

    def _judge(
        self, connection: sqlite3.Connection, event: Event, time_ms: int
    ) -> tuple[Verdict, bytes]:
        """What becomes of an event, and its JSON if it is sent; keeps its key's standing."""
        new = connection.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (event.identity, time_ms)
        )
        if not new.rowcount:
            return Verdict.REPEAT, b""
        row = connection.execute("SELECT standing FROM keys WHERE key = ?", (event.key,)).fetchone()
        current = None if row is None else _STANDING.decode(row[0])
        verdict, standing = statuses.judge(event, current)
        if standing != current:
            connection.execute(
                "INSERT INTO keys (key, standing, place) VALUES (?, ?, 0)"
                " ON CONFLICT (key) DO UPDATE SET standing = excluded.standing",
                (event.key, msgspec.json.encode(standing)),
            )
        return verdict, events.encode(event) if verdict.is_sent else b""

    @staticmethod
    def _store(
        connection: sqlite3.Connection, entry: Entry, time_ms: int, *, aged_from_ms: int
    ) -> None:
        connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
            (entry.place, entry.key, entry.late, aged_from_ms, entry.payload),
        )
        if not entry.late:
            connection.execute(
                "UPDATE keys SET place = ?, ended_ms = ?, payload = ? WHERE key = ?",
                (entry.place, time_ms if entry.event.terminal else None, entry.payload, entry.key),
            )

    def _prune(self, connection: sqlite3.Connection) -> Commit:
        horizon_ms = self._now_ms() - self._retention_ms
        # Places are trimmed from the beginning only: what is left is everything after the floor.
        young = connection.execute(
            "SELECT place FROM entries WHERE time_ms >= ? ORDER BY place LIMIT 1", (horizon_ms,)
        ).fetchone()
        head = int(_meta(connection, "head"))
        aged = head if young is None else young[0] - 1
        floor = max(self._floor(connection), aged, head - self._retention_events)
        connection.execute("DELETE FROM entries WHERE place <= ?", (floor,))
        connection.execute("UPDATE meta SET value = ? WHERE name = 'floor'", (str(floor),))
        connection.execute("DELETE FROM seen WHERE time_ms < ?", (horizon_ms,))
        connection.execute("DELETE FROM keys WHERE ended_ms < ?", (horizon_ms,))
        return Commit(horizon_ms, [])

    def _publish(self, commits: list[Commit]) -> None:
        appended = [entry for commit in commits for entry in commit.entries]
        if appended:
            self.head = appended[-1].place
            for feed in self._feeds:
                feed.put_nowait(appended)

    async def _write(self, work: Work[Commit]) -> Any:
        try:
            return (await self._writer.run(work)).result
        except sqlite3.Error as error:
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
            head = _meta(connection, "head")
            rows = connection.execute("SELECT place, payload FROM keys ORDER BY place").fetchall()
        return int(head), [entries.stored(self.epoch, *row, late=False) for row in rows]

    def _entries(self, connection: sqlite3.Connection, after: int, upto: int) -> list[Entry]:
        found = self._select(
            connection,
            "place > ? AND place <= ? ORDER BY place LIMIT ?",
            (after, upto, READ_ENTRIES),
        )
        # Looked at after the entries: had any been trimmed meanwhile, the floor would show it.
        if after < min(self._floor(connection), upto):
            raise Trimmed(f"the log begins after place {self._floor(connection)}")
        return found

    def _select(
        self, connection: sqlite3.Connection, where: str, values: tuple[Any, ...]
    ) -> list[Entry]:
        query = f"SELECT place, payload, late FROM entries WHERE {where}"  # noqa: S608  # constants
        rows = connection.execute(query, values)
        return [
            entries.stored(self.epoch, place, payload, late=bool(late))
            for place, payload, late in rows
        ]

    @staticmethod
    def _floor(connection: sqlite3.Connection) -> int:
        return int(_meta(connection, "floor"))

    # Opening.

    def _prepare(self) -> sqlite3.Connection:
        connection = _connect(self._path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                # A new file is a new epoch: no cursor of another may be taken for one of its own.
                [("epoch", secrets.token_hex(4)), ("head", "0"), ("floor", "0")],
            )
            connection.execute("COMMIT")
        elif version != SCHEMA_VERSION:
            raise LogUnusable(
                f"{self._path} has schema version {version}, this release reads {SCHEMA_VERSION}; "
                "move the file away to begin a new one"
            )
        self.epoch = _meta(connection, "epoch")
        self.head = int(_meta(connection, "head"))
        return connection

    def _unlock(self) -> None:
        os.close(self._lock_fd)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _meta(connection: sqlite3.Connection, name: str) -> str:
    value: str = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
    return value


def _lock(path: Path) -> int:
    """Keep other processes out: their appends would never reach our change feed."""
    try:
        descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LogUnusable(f"{path}: {error.strerror}; is its folder there and writable?") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise LogUnusable(f"{path} is in use by another consumer") from error
    return descriptor


_STANDING: Final = msgspec.json.Decoder(Standing)
