"""The status log in one SQLite file: one process, no server, durable.

One thread writes. It takes every batch that waits, judges and stores them in one transaction
(group commit) and tells the event loop after the commit; nothing is sent before. `synchronous=FULL`
makes each commit survive a power cut (https://sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import contextlib
import fcntl
import os
import queue
import secrets
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from consumer.core import entries, events, statuses
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Standing, Verdict
from consumer.ports import LogUnavailable, Trimmed

SCHEMA_VERSION: Final = 1
READ_ENTRIES: Final = 100  # × ~600 B = 60 kB, a chunk of a replay; × 16 kB = 1.6 MB at the most
MAX_COMMIT_BATCHES: Final = 256  # bounds the time that one commit takes
_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    place INTEGER PRIMARY KEY, key TEXT NOT NULL, late INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, payload BLOB NOT NULL
);
CREATE INDEX entries_by_key ON entries (key, place);
CREATE TABLE keys (
    key TEXT PRIMARY KEY, standing BLOB NOT NULL, place INTEGER NOT NULL,
    ended_ms INTEGER, payload BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_end ON keys (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE TABLE seen (identity TEXT PRIMARY KEY, time_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen (time_ms);
"""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], tuple[Any, list[Entry]]]


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
        self._head = 0
        self._lock_fd = -1
        self._work: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._feeds: set[asyncio.Queue[list[Entry]]] = set()
        self._reading = ThreadPoolExecutor(1, "sqlite-reader")
        self._writer = threading.Thread(target=self._write_until_closed, name="sqlite-writer")

    async def open(self) -> None:
        """Open or create the file, which one process may have open. Raises `LogUnusable`."""
        self._loop = asyncio.get_running_loop()
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
        self._writer.start()

    async def close(self) -> None:
        """Finish what was given to the writer, then close the file."""
        self._work.put(None)
        await asyncio.to_thread(self._writer.join)
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
            while standing := await self.read(after, self._head):
                yield standing
                after = standing[-1].place
            while True:
                if fresh := [entry for entry in await feed.get() if entry.place > after]:
                    yield fresh
        finally:
            self._feeds.discard(feed)

    # The writer's side.

    def _take(
        self, connection: sqlite3.Connection, batch: Sequence[Event]
    ) -> tuple[list[Verdict], list[Entry]]:
        """Judge and store a batch; within the writer's transaction."""
        now_ms = self._now_ms()
        verdicts, appended = [], []
        for event in batch:
            verdict, payload = self._take_one(connection, event, now_ms)
            verdicts.append(verdict)
            if verdict.is_sent:
                late = verdict is Verdict.LATE
                appended.append(
                    entries.committed(self.epoch, self._head, event, payload, late=late)
                )
        return verdicts, appended

    def _take_one(
        self, connection: sqlite3.Connection, event: Event, now_ms: int
    ) -> tuple[Verdict, bytes]:
        time_ms = events.milliseconds(event.time)
        if time_ms < now_ms - self._retention_ms:
            return Verdict.EXPIRED, b""
        new = connection.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (event.identity, time_ms)
        )
        if not new.rowcount:
            return Verdict.REPEAT, b""
        row = connection.execute("SELECT standing FROM keys WHERE key = ?", (event.key,)).fetchone()
        current = None if row is None else _decode_standing(row[0])
        verdict, standing = statuses.judge(event, current)
        payload = b""
        if verdict.is_sent:
            payload = events.encode(event)
            self._head += 1
            connection.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                # Of an event from the future, only our own clock can say when it grows old.
                (self._head, event.key, verdict is Verdict.LATE, min(time_ms, now_ms), payload),
            )
        if verdict is Verdict.APPENDED:
            connection.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)",
                (
                    event.key,
                    msgspec.json.encode(standing),
                    self._head,
                    time_ms if event.terminal else None,
                    payload,
                ),
            )
        elif standing != current:
            connection.execute(
                "UPDATE keys SET standing = ? WHERE key = ?",
                (msgspec.json.encode(standing), event.key),
            )
        return verdict, payload

    def _prune(self, connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
        horizon_ms = self._now_ms() - self._retention_ms
        # Places are trimmed from the beginning only: what is left is everything after the floor.
        young = connection.execute(
            "SELECT place FROM entries WHERE time_ms >= ? ORDER BY place LIMIT 1", (horizon_ms,)
        ).fetchone()
        aged = self._head if young is None else young[0] - 1
        floor = max(self._floor(connection), aged, self._head - self._retention_events)
        connection.execute("DELETE FROM entries WHERE place <= ?", (floor,))
        connection.execute("UPDATE meta SET value = ? WHERE name = 'floor'", (str(floor),))
        connection.execute("DELETE FROM seen WHERE time_ms < ?", (horizon_ms,))
        connection.execute("DELETE FROM keys WHERE ended_ms < ?", (horizon_ms,))
        return horizon_ms, []

    def _write_until_closed(self) -> None:
        """The writer thread: one transaction for all that waits."""
        closed = False
        while not closed:
            group = [self._work.get()]
            while len(group) < MAX_COMMIT_BATCHES and not self._work.empty():
                group.append(self._work.get())
            closed = None in group
            self._commit([work for work in group if work is not None])

    def _commit(self, group: list[tuple[Work, asyncio.Future[Any]]]) -> None:
        if not group:
            return
        head = self._head
        try:
            if self._connection.in_transaction:  # an earlier rollback failed too
                self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN IMMEDIATE")
            done = [work(self._connection) for work, _ in group]
            # The head outlives the entries: trimmed to none, places still go on rising.
            self._connection.execute(
                "UPDATE meta SET value = ? WHERE name = 'head'", (str(self._head),)
            )
            self._connection.execute("COMMIT")
        except Exception as error:  # handed to whoever waits, who retries or ends the process
            self._head = head
            failure: Exception = error
            if isinstance(error, sqlite3.Error):
                failure = LogUnavailable(f"{self._path}: {error}")
                failure.__cause__ = error
            self._loop.call_soon_threadsafe(_fail, [future for _, future in group], failure)
            with contextlib.suppress(sqlite3.Error):  # the next commit rolls back first
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            return
        appended = [entry for _, added in done for entry in added]
        results = [(future, result) for (_, future), (result, _) in zip(group, done, strict=True)]
        self._loop.call_soon_threadsafe(self._committed, appended, results)

    def _committed(
        self, appended: list[Entry], results: list[tuple[asyncio.Future[Any], Any]]
    ) -> None:
        if appended:
            for feed in self._feeds:
                feed.put_nowait(appended)
        for future, result in results:
            if not future.done():
                future.set_result(result)

    async def _write(self, work: Work) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        self._work.put((work, future))
        return await future

    # The reader's side.

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._loop.run_in_executor(self._reading, query, self._reader)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    def _newest(self, connection: sqlite3.Connection) -> tuple[int, list[Entry]]:
        connection.execute("BEGIN")  # one view of the file for both
        head = _meta(connection, "head")
        rows = connection.execute("SELECT place, payload FROM keys ORDER BY place").fetchall()
        connection.execute("COMMIT")
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
        self._head = int(_meta(connection, "head"))
        return connection

    def _unlock(self) -> None:
        os.close(self._lock_fd)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _meta(connection: sqlite3.Connection, name: str) -> str:
    value: str = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
    return value


def _decode_standing(blob: bytes) -> Standing:
    return _STANDING.decode(blob)


def _fail(futures: list[asyncio.Future[Any]], error: Exception) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)


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
