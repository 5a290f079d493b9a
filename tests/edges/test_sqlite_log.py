"""The SQLite file: what it survives, and what it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core import events
from consumer.edges.sqlite_log import LogUnusable, SqliteLog
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


async def test_a_new_file_is_a_new_epoch(log: SqliteLog, tmp_path: Path) -> None:
    """No cursor of one log is taken for a cursor of another."""
    other = make(tmp_path / "other.db")
    await other.open()
    assert other.epoch != log.epoch
    await other.close()


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
