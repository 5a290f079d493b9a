"""The SQLite file: what it survives, and what it refuses."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core import events
from consumer.core.statuses import Verdict
from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import LogUnavailable, LogUnusable
from tests.core import examples


def now_ms() -> int:
    return events.milliseconds("2026-01-01T00:01:00.000Z")


def make(path: Path) -> SqliteLog:
    return SqliteLog(path, retention_s=3600, retention_events=1000, now_ms=now_ms)


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = make(tmp_path / "log.db")
    await log.open()
    yield log
    await log.close()


async def test_one_process_at_a_time(log: SqliteLog, tmp_path: Path) -> None:
    """A second consumer on the same file would not hear of the first one's appends."""
    before = _opened(tmp_path)
    with pytest.raises(LogUnusable, match="in use"):
        await make(tmp_path / "log.db").open()
    assert _opened(tmp_path) == before


async def test_a_folder_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    """The operator learns what to look at."""
    with pytest.raises(LogUnusable, match="folder"):
        await make(tmp_path / "nowhere" / "log.db").open()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but text" * 100, b"SQLite format 3\0"]
)
async def test_a_file_that_is_no_log_is_refused(tmp_path: Path, content: bytes) -> None:
    """It is neither overwritten nor taken for an empty log, and can be opened once it is mended."""
    path = tmp_path / "log.db"
    path.write_bytes(content)
    with pytest.raises(LogUnusable, match="move it away"):
        await make(path).open()
    assert path.read_bytes() == content
    path.unlink()
    log = make(path)
    await log.open()
    await log.close()


async def test_a_new_file_is_a_new_epoch(log: SqliteLog, tmp_path: Path) -> None:
    """No cursor of one log is taken for a cursor of another."""
    other = make(tmp_path / "other.db")
    await other.open()
    assert other.epoch != log.epoch
    await other.close()


def _append_before(log: SqliteLog, table: str) -> None:
    """Have another event appended at the moment when that table is about to be read."""
    loop = asyncio.get_running_loop()
    others = [examples.step(1, run="another")]

    def look(query: str) -> None:
        if f"FROM {table}" in query and others:
            asyncio.run_coroutine_threadsafe(log.append([others.pop()]), loop).result()

    log._reader.set_trace_callback(look)


async def test_the_newest_and_their_place_are_of_one_moment(log: SqliteLog) -> None:
    """What is appended between the two reads is in neither."""
    await log.append([examples.step(1)])
    _append_before(log, "keys")
    head, newest = await log.newest()
    assert (head, [entry.place for entry in newest]) == (1, [1])
    assert log.head == 2


async def test_what_is_read_and_published_is_told_once(log: SqliteLog) -> None:
    """An entry that is appended after the feed began, and before it read, is in both."""
    await log.append([examples.step(1)])
    _append_before(log, "entries")
    feed = log.changes(after=0)
    assert [entry.place for entry in await anext(feed)] == [1, 2]
    following = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await log.newest()  # one thread reads: by now the feed has, and found nothing more
    await log.append([examples.step(2)])
    assert [entry.place for entry in await following] == [3]
    await feed.aclose()  # type: ignore[attr-defined]
    assert not log._feeds, "it would be published to for ever"


async def test_what_is_published_while_the_feed_reads_is_told(log: SqliteLog) -> None:
    """An entry that came too late to be read, and before the feed waits for what is new."""
    await log.append([examples.step(1)])
    _append_before(log, "meta")  # when the entries have been read
    feed = log.changes(after=1)
    async with asyncio.timeout(5):
        assert [entry.place for entry in await anext(feed)] == [2]
    await feed.aclose()  # type: ignore[attr-defined]


async def test_damage_in_an_open_log_is_not_served(log: SqliteLog) -> None:
    """What was whole at open may rot later."""
    await log.append([examples.step(1)])
    log._connection.execute("UPDATE entries SET payload = CAST(payload || ' ' AS BLOB)")
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.read(0, 1)


async def test_damage_is_not_written_over(log: SqliteLog) -> None:
    """A checksum goes with what it was made of: of a damaged row none is made that would fit."""
    await log.append([examples.step(2)])
    log._connection.execute("UPDATE keys SET payload = CAST(payload || ' ' AS BLOB)")
    log._draft.forget([examples.step(2).key])
    await log.append([examples.step(1)])  # late: the row is written again, its newest the same
    with pytest.raises(LogUnavailable, match="damaged"):
        await log.newest()


async def test_an_epoch_needs_no_entry_to_last(tmp_path: Path) -> None:
    """Clients are given cursors of an empty log too."""
    epochs = set()
    for _ in range(2):
        log = make(tmp_path / "log.db")
        await log.open()
        epochs.add(log.epoch)
        await log.close()
    assert len(epochs) == 1


async def test_a_note_that_fails_fails_nothing(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed is answered and told, whatever becomes of the note."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "pwrite", refuse)
    assert await log.append([examples.step(1)]) == [Verdict.APPENDED]
    assert log.head == 1


def _opened(folder: Path) -> list[Path]:
    """What this process has open in a folder."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if folder in link.parents]


@pytest.mark.parametrize("content", [b"", b"not a database at all, but text" * 100])
async def test_a_closed_log_leaves_nothing_open(tmp_path: Path, content: bytes) -> None:
    """Neither a descriptor nor a thread, after a close or an open that failed."""
    path = tmp_path / "log.db"
    path.write_bytes(content)
    log = make(path)
    try:
        await log.open()
        await log.newest()
        await log.close()
    except LogUnusable:
        pass
    assert not _opened(tmp_path)
    assert not [each for each in threading.enumerate() if each.name.startswith("sqlite")]


async def test_what_was_seen_is_forgotten_in_time(tmp_path: Path) -> None:
    """Identities are kept as long as their events could come again, those of the future too."""
    clock = [now_ms()]
    log = SqliteLog(
        tmp_path / "log.db", retention_s=3600, retention_events=1000, now_ms=lambda: clock[0]
    )
    await log.open()
    future = examples.decode(examples.step_body(time="2099-01-01T00:00:00Z"))
    await log.append([examples.step(2), examples.step(3), future])
    clock[0] += 4_000_000
    await log.append([examples.decode(examples.instance_change())])
    await log.prune()
    rows = log._connection.execute("SELECT count(*) FROM seen").fetchone()
    await log.close()
    assert rows == (0,)
