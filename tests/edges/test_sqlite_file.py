"""The log's file between two runs: damaged, copied, put back."""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.core.statuses import Verdict
from consumer.ports import LogUnavailable, LogUnusable
from tests.core import examples
from tests.edges.log_child import child, contents
from tests.edges.test_sqlite_log import make

DAMAGES = 1_000 if os.environ.get("LONG") else 80
COUNT = 360
FILES = ("log.db", "log.db-wal", "log.db-lock")

DIES = """
async def main():
    log = await opened()
    for n in range(120):
        await log.append(batch(n, 3))
        if n == 60:  # so far it is in the file itself
            log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(log.epoch, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


class Killed:
    """A log whose consumer was killed: much of what it holds is in the WAL only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.db"
        with child(DIES, self.path) as process:
            self.epoch = process.communicate()[0].strip()
        self._kept = folder / "kept"
        self._kept.hardlink_to(self.path)
        self._bytes = {name: (folder / name).read_bytes() for name in FILES}

    def restore(self) -> Path:
        """As it was, written in place: to those who look at inodes, the same file."""
        self.path.with_name("log.db-shm").unlink(missing_ok=True)
        self.path.unlink()
        self.path.hardlink_to(self._kept)
        for name, content in self._bytes.items():
            self.path.with_name(name).write_bytes(content)
        return self.path

    async def check(self) -> str:
        """Open it: refused, or what it serves is right, and a lost head is a new epoch."""
        log = make(self.path)
        try:
            await log.open()
        except LogUnusable as error:
            return str(error)
        try:
            _, newest = await log.newest()
            for entry in [*await contents(log), *newest]:
                number, size = divmod(entry.place - 1, 3)
                assert entry.event.id == f"run-{number}-{size}.1"
                assert entry.event.detail == {"n": number}
            assert log.epoch != self.epoch or (log.head, len(newest)) == (COUNT, COUNT)
        except LogUnavailable as error:
            return str(error)
        finally:
            await log.close()
        return "new epoch" if log.epoch != self.epoch else "whole"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("killed"))


def _lose_the_wal(path: Path) -> None:
    path.with_name("log.db-wal").unlink()


def _cut_the_wal(path: Path) -> None:
    os.truncate(path.with_name("log.db-wal"), path.with_name("log.db-wal").stat().st_size // 2)


def _spoil_the_wal(path: Path) -> None:
    _write(path.with_name("log.db-wal"), 40_000, b"garbage")


def _put_back_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def _lose_the_note(path: Path) -> None:
    path.with_name("log.db-lock").unlink()


def _empty_the_file(path: Path) -> None:
    path.write_bytes(b"")


def _cut_the_file(path: Path) -> None:
    path.with_name("log.db-wal").unlink()
    os.truncate(path, path.stat().st_size // 2)


def _write(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


async def test_a_killed_log_is_whole(killed: Killed) -> None:
    """The WAL brings everything back, and the note proves it."""
    killed.restore()
    assert await killed.check() == "whole"


@pytest.mark.parametrize(
    "lose",
    [
        _lose_the_wal,
        _cut_the_wal,
        _spoil_the_wal,
        _put_back_a_copy,
        _lose_the_note,
        _empty_the_file,
    ],
)
async def test_a_head_that_nothing_proves_begins_an_epoch(
    killed: Killed, lose: Callable[[Path], None]
) -> None:
    """Places that clients knew may be given again, so none of their cursors may fit."""
    lose(killed.restore())
    assert await killed.check() == "new epoch"
    assert await killed.check() == "new epoch"


async def test_another_log_written_over_it_begins_an_epoch(tmp_path: Path) -> None:
    """It has the inode and a head as far, and clients who knew it may still be elsewhere."""
    epochs = []
    for name in ("log.db", "other.db"):
        log = make(tmp_path / name)
        await log.open()
        await log.append([examples.step(1)])
        epochs.append(log.epoch)
        await log.close()
    (tmp_path / "log.db").write_bytes((tmp_path / "other.db").read_bytes())
    log = make(tmp_path / "log.db")
    await log.open()
    assert log.epoch not in epochs
    await log.close()


async def test_a_new_epoch_goes_on_from_then(killed: Killed) -> None:
    """Once begun, it stays through further restarts, and takes appends."""
    _lose_the_note(killed.restore())
    epochs = []
    for verdict in (Verdict.APPENDED, Verdict.REPEAT):
        log = make(killed.path)
        await log.open()
        epochs.append(log.epoch)
        assert await log.append([examples.step(1)]) == [verdict]
        await log.close()
    assert epochs[0] == epochs[1] != killed.epoch


async def test_a_cut_file_is_refused(killed: Killed) -> None:
    """The operator is told how to begin a new one, and the file stays as it is."""
    _cut_the_file(killed.restore())
    cut = killed.path.read_bytes()
    assert "move it away" in await killed.check()
    assert killed.path.read_bytes() == cut


@pytest.mark.parametrize("is_settled", [True, False], ids=["settled", "killed"])
async def test_damage_is_never_served(killed: Killed, *, is_settled: bool) -> None:
    """Garbage anywhere: the log refuses, or what it serves is what was appended."""
    dice = random.Random(7)
    outcomes = set()
    for _ in range(DAMAGES):
        path = killed.restore()
        if is_settled:  # all of it in the file itself
            with sqlite3.connect(path) as other:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.close()
        victim = path if is_settled else path.with_name(dice.choice(FILES))
        size = victim.stat().st_size
        _write(victim, dice.randrange(size), dice.randbytes(dice.choice([1, 8, 5_000])))
        outcome = await killed.check()
        outcomes.add("refused" if ":" in outcome else outcome)
    assert outcomes >= ({"refused", "whole"} if is_settled else {"new epoch", "whole"})


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET payload = payload || ' ' WHERE place = 5",
        "UPDATE entries SET late = 1 WHERE place = 5",
        "UPDATE entries SET place = 100 WHERE place = 5",
        "DELETE FROM entries WHERE place = 5",
        "UPDATE keys SET payload = payload || ' '",
    ],
)
async def test_rows_that_differ_are_found_at_open(filled: Path, damage: str) -> None:
    """Whatever is not as it was appended, though SQLite finds nothing wrong with the file."""
    with sqlite3.connect(filled) as other:
        other.execute(damage)
    other.close()
    with pytest.raises(LogUnusable, match="move it away"):
        await make(filled).open()


async def test_a_page_that_no_read_would_meet_is_checked_at_open(filled: Path) -> None:
    """A spoilt page of what was seen would otherwise fail some append, much later."""
    with sqlite3.connect(filled) as other:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'seen'"
        page = other.execute(query).fetchone()[0]
    other.close()
    _write(filled, (page - 1) * 4_096, b"garbage" * 500)
    with pytest.raises(LogUnusable, match="move it away"):
        await make(filled).open()


@pytest.fixture
async def filled(tmp_path: Path) -> Path:
    """A closed log with some entries."""
    log = make(tmp_path / "log.db")
    await log.open()
    await log.append([examples.step(n) for n in range(1, 50)])
    await log.close()
    return tmp_path / "log.db"


def test_the_process_says_how_to_begin_anew(tmp_path: Path) -> None:
    """With a damaged file it ends with 1 and says what to do, in one line of its log."""
    (tmp_path / "log.db").write_bytes(b"garbage" * 1_000)
    queue = "http://127.0.0.1:9/000000000000/queue"
    ended = subprocess.run(
        [sys.executable, "-m", "consumer"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "AWS_DEFAULT_REGION": "us-east-1",
            "STATUSWIRE_LOG": f"sqlite:{tmp_path / 'log.db'}",
            "STATUSWIRE_QUEUE_URL": f"{queue}.fifo",
            "STATUSWIRE_SERVICE_QUEUE_URL": queue,
        },
    )
    assert ended.returncode == 1
    assert "move it away" in ended.stderr.splitlines()[-1]
