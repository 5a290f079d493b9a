"""What the SQLite log goes through: kills, full and failing disks, locks."""

import errno
import os
import random
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from consumer.core.statuses import Verdict
from consumer.edges import sqlite_file
from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import LogUnavailable, LogUnusable
from tests.core import examples
from tests.edges.log_child import child, contents
from tests.edges.test_sqlite_log import make

KILLS = 40 if os.environ.get("LONG") else 8

APPENDS = """
async def main():
    log = await opened()
    print(log.epoch, flush=True)
    n = log.head
    while True:
        await asyncio.gather(*(log.append(batch(n + m, 1)) for m in range(3)))
        n += 3
        print(n, flush=True)

asyncio.run(main())
"""
WRITES_TO_A_FULL_DISK = """
async def main():
    log = await opened()
    await log.append(batch(0, 1))
    room = Path(f"{sys.argv[1]}-wal").stat().st_size + 4_096
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    refused = 0
    for n in range(1, 30):
        try:
            await log.append(batch(n, 3))
        except LogUnavailable:
            refused += 1
            assert log.head == (await log.newest())[0]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for n in range(1, 30):
        await log.append(batch(n, 3))
    places = [entry.place for entry in await log.read(0, 100)]
    assert (log.head, places) == (88, list(range(1, 89))), (log.head, places)
    await log.close()
    print(refused)

asyncio.run(main())
"""
OPENS_WITHOUT_PRIVILEGES = """
if os.getuid() == 0:
    os.setuid(65534)
try:
    asyncio.run(opened())
except LogUnusable as error:
    print(error)
"""
LEAVES_IT_OPEN = """
async def main():
    log = await opened()
    await log.append(batch(0, 1))
    print(await log.newest() is not None)

asyncio.run(main())
"""
HOLDS_THE_LOCK = """
import sqlite3
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = make(tmp_path / "log.db")
    await log.open()
    yield log
    await log.close()


async def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    """Killed in mid-write again and again: all that append returned for is there, in order, once,
    the head never goes back, and the epoch goes on.
    """
    dice = random.Random(20)
    epochs, head = set(), 0
    for _ in range(KILLS):
        with child(APPENDS, tmp_path / "log.db") as writer:
            assert writer.stdout is not None
            epochs.add(writer.stdout.readline().strip())
            acknowledged = [writer.stdout.readline() for _ in range(dice.randint(1, 80))]
            writer.send_signal(signal.SIGKILL)
            acknowledged += writer.stdout.read().split()
        log = make(tmp_path / "log.db")
        await log.open()
        entries = await contents(log)
        assert log.head >= int(acknowledged[-1]) > head
        head = log.head
        epochs.add(log.epoch)
        assert [entry.place for entry in entries] == list(range(1, head + 1))
        assert [entry.event.detail["n"] for entry in entries] == list(range(head))
        await log.close()
    assert len(epochs) == 1, "with its file whole, a killed consumer goes on in the same epoch"


def test_a_process_that_leaves_the_log_open_ends(tmp_path: Path) -> None:
    """Nobody needs to kill one that failed before it closed the log."""
    with child(LEAVES_IT_OPEN, tmp_path / "log.db") as process:
        try:
            assert process.communicate(timeout=60)[0] == "True\n"
        finally:
            process.kill()
    assert process.returncode == 0


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


def test_a_write_that_fails_in_the_file_system_is_taken_back(tmp_path: Path) -> None:
    """Past a bound that the kernel sets, appends are refused whole; without it they go on."""
    with child(WRITES_TO_A_FULL_DISK, tmp_path / "log.db") as writer:
        printed, _ = writer.communicate()
    assert writer.returncode == 0
    assert int(printed) >= 20


async def test_a_commit_that_fails_leaves_everything_as_it_was(log: SqliteLog) -> None:
    """The last step of a transaction fails: head, epoch and feeds know nothing of it."""
    await log.append([examples.step(1)])
    feed = log.changes(after=0)
    assert [entry.place for entry in await anext(feed)] == [1]
    log._connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE parent (id INTEGER PRIMARY KEY);"
        "CREATE TABLE child (id REFERENCES parent DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TRIGGER fault AFTER INSERT ON entries BEGIN INSERT INTO child VALUES (1); END;"
    )
    epoch = log.epoch
    with pytest.raises(LogUnavailable, match="FOREIGN KEY"):
        await log.append([examples.step(2)])
    assert (log.epoch, log.head, (await log.newest())[0]) == (epoch, 1, 1)
    log._connection.execute("DROP TRIGGER fault")
    assert await log.append([examples.step(2)]) == [Verdict.APPENDED]
    assert [entry.place for entry in await anext(feed)] == [2]


async def test_a_standing_that_cannot_be_read_refuses_its_events(log: SqliteLog) -> None:
    """Damage in an open log is the operator's to mend, not a reason to guess or to end."""
    await log.append([examples.step(1)])
    log._connection.execute("UPDATE keys SET standing = 'garbage'")
    log._draft.give_up()  # as if it had not been heard of for long
    with pytest.raises(LogUnavailable, match="malformed"):
        await log.append([examples.step(2)])


async def test_another_process_holds_the_file(log: SqliteLog, tmp_path: Path) -> None:
    """Until it lets go appends are refused, and what was refused can be appended then."""
    log._connection.execute("PRAGMA busy_timeout = 1")
    with child(HOLDS_THE_LOCK, tmp_path / "log.db") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(LogUnavailable, match="locked"):
            await log.append([examples.step(1)])
        assert await log.newest() == (0, []), "reading goes on"
        other.communicate()
    assert await log.append([examples.step(1)]) == [Verdict.APPENDED]


async def test_a_file_that_another_program_holds_is_refused_at_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator learns that it is whole, and who is to let go of it."""
    path = tmp_path / "log.db"
    log = make(path)
    await log.open()
    await log.close()
    monkeypatch.setattr(
        sqlite_file, "connect", lambda path: sqlite3.connect(path, timeout=0, isolation_level=None)
    )
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LogUnusable, match="end that one"):
            await make(path).open()
    other.close()


async def test_a_disk_that_fails_at_open_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator is not told to give up the file for it."""

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(LogUnusable, match="may well be whole"):
        await make(tmp_path / "log.db").open()


async def test_a_file_that_cannot_be_written_is_refused_at_open() -> None:
    """Not at the first append; and the operator is not told to give up a whole file."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to other users
        path = Path(folder) / "log.db"
        log = make(path)
        await log.open()
        await log.append([examples.step(1)])
        await log.close()
        for name, mode in ((folder, 0o777), (f"{path}-lock", 0o666), (path, 0o444)):
            os.chmod(name, mode)  # noqa: PTH101
        with child(OPENS_WITHOUT_PRIVILEGES, path) as process:
            printed, _ = process.communicate()
    assert "readonly" in printed
    assert "move it away" not in printed
