"""The log's file as another release, or another program, left it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.core import events
from consumer.core.statuses import Verdict
from consumer.edges.sqlite_file import SCHEMA_VERSION
from consumer.ports import LogUnusable
from tests.core import examples
from tests.edges.test_sqlite_log import make

VERSION_1 = """
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
INSERT INTO meta VALUES ('epoch', '9f3c02aa'), ('head', '4'), ('floor', '1');
PRAGMA user_version = 1;
"""

TOLD = examples.decode(examples.instance_change())


@pytest.fixture
def version_1(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A log as the first release left it: one entry trimmed, a run that goes on, another's step."""
    connection = sqlite3.connect(tmp_path / "log.db")
    connection.executescript(VERSION_1)
    event = examples.step(1)
    standing = (
        b'{"status":"CHECKING","error":null,"order":[0,1,1,"2026-01-01T00:00:01.000Z","run-1.1"]}'
    )
    earlier = examples.step(3)
    other = examples.step(1, run="run-10")  # whose identity begins like the first one's
    entries = [
        (place, each.key, late, 0, events.encode(each))
        for place, each, late in ((2, event, 0), (3, earlier, 1), (4, other, 0))
    ]
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", entries)
    for place, each in ((2, event), (4, other)):
        connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, NULL, ?)",
            (each.key, standing, place, events.encode(each)),
        )
    seen = [(each.identity, 5_000) for each in (event, earlier, other, TOLD)]
    connection.executemany("INSERT INTO seen VALUES (?, ?)", seen)
    connection.commit()
    yield connection
    connection.close()


async def test_a_log_of_version_1_is_brought_up(
    version_1: sqlite3.Connection, tmp_path: Path
) -> None:
    """What it held is there, what is known of a run's instance too, and it opens again."""
    version_1.close()
    silent = examples.execution_change(status="ABORTED", executionArn=examples.step(1).key[10:])
    silent["detail"]["input"] = None
    known = [examples.step(1), examples.step(3), examples.step(1, run="run-10"), TOLD]
    new = [examples.decode(silent), examples.step(2)]
    log = make(tmp_path / "log.db")
    await log.open()
    assert await log.append(known) == [Verdict.REPEAT] * 4
    assert await log.append(new) == [Verdict.APPENDED, Verdict.LATE]
    assert [(entry.place, entry.event.instance_id) for entry in await log.read(1, 9)] == [
        (place, examples.INSTANCE) for place in (2, 3, 4, 5, 6)
    ]
    history = await log.history(examples.step(1).key, 9)
    assert [entry.place for entry in history] == [2, 3, 5, 6]
    await log.close()
    log = make(tmp_path / "log.db")
    await log.open()
    assert await log.append([*known, *new]) == [Verdict.REPEAT] * 6
    await log.close()


async def test_a_migration_that_fails_changes_nothing(
    version_1: sqlite3.Connection, tmp_path: Path
) -> None:
    """All steps or none: the older release can still open the file."""
    version_1.execute("UPDATE keys SET standing = 'no JSON'")
    version_1.commit()
    before = list(version_1.iterdump())
    with pytest.raises(LogUnusable, match="move it away"):
        await make(tmp_path / "log.db").open()
    assert list(version_1.iterdump()) == before
    assert version_1.execute("PRAGMA user_version").fetchone() == (1,)


async def test_a_log_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    """An older release does not write into a newer one's file, and says what to do."""
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    other.close()
    content = path.read_bytes()
    with pytest.raises(LogUnusable, match=f"version {SCHEMA_VERSION + 1}.*newer release"):
        await make(path).open()
    assert path.read_bytes() == content


async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A wrong path must not cost somebody their data."""
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(LogUnusable, match="another program"):
        await make(path).open()
    assert path.read_bytes() == content
    path.unlink()
    log = make(path)
    await log.open()  # the attempt did not keep the lock
    await log.close()
