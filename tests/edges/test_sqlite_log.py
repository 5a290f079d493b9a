"""The SQLite file: what it survives, and what it refuses."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core import events
from consumer.edges.sqlite_log import LogUnusable, SqliteLog
from consumer.ports import LogUnavailable
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
    with pytest.raises(LogUnusable, match="in use"):
        await make(tmp_path / "log.db").open()


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


async def test_a_log_of_another_schema_is_refused(tmp_path: Path) -> None:
    """An older release does not write into a newer one's file."""
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(LogUnusable, match="schema version 99"):
        await make(path).open()


async def test_a_new_file_is_a_new_epoch(log: SqliteLog, tmp_path: Path) -> None:
    """No cursor of one log is taken for a cursor of another."""
    other = make(tmp_path / "other.db")
    await other.open()
    assert other.epoch != log.epoch
    await other.close()


async def test_a_log_that_refuses_takes_nothing(log: SqliteLog, tmp_path: Path) -> None:
    """While the disk is full nothing is appended, half or whole; afterwards all of it is."""
    await log.append([examples.step(1)])
    log._connection.execute(f"PRAGMA max_page_count = {_pages(tmp_path / 'log.db')}")
    batch = [examples.step(n, run=f"run-{n}", detail={"pad": "x" * 9_000}) for n in range(2, 22)]
    with pytest.raises(LogUnavailable, match="full"):
        await log.append(batch)
    assert (await log.newest())[0] == 1
    log._connection.execute("PRAGMA max_page_count = 1000000")
    assert {verdict.is_sent for verdict in await log.append(batch)} == {True}
    assert [entry.place for entry in await log.read(0, 100)] == list(range(1, 22))


def _pages(path: Path) -> int:
    with sqlite3.connect(path) as other:
        pages: int = other.execute("PRAGMA page_count").fetchone()[0]
        return pages


WRITER = """
import asyncio, sys
from pathlib import Path
from tests.core import examples
from tests.edges.test_sqlite_log import make

async def main():
    log = make(Path(sys.argv[1]))
    await log.open()
    for n in range(1_000_000):
        await log.append([examples.step(1, run=f"run-{n}")])
        print(n, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """After `kill -9` in mid-write, everything that append had returned for is there."""
    path = tmp_path / "log.db"
    with subprocess.Popen(  # noqa: ASYNC220  # nothing else runs meanwhile
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as writer:
        assert writer.stdout is not None
        acknowledged = -1
        while acknowledged < 100:
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
    log = make(path)
    await log.open()
    head, newest = await log.newest()
    await log.close()
    assert head >= acknowledged + 1
    assert len(newest) == head
