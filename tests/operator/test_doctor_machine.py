"""What the doctor makes of settings, this machine and its log."""

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from consumer.edges.sqlite_file import SCHEMA_VERSION, LogFile
from consumer.operator import log_file, machine
from consumer.operator.finding import Level
from consumer.operator.scene import Scene
from tests.operator.doctor_checks import forget, told


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


def test_one_bad_setting_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What contradicts another is told, and each side is still looked at."""
    monkeypatch.setenv("STATUSWIRE_VISIBILITY_S", "100")
    monkeypatch.setenv("STATUSWIRE_POLLS", "many")
    monkeypatch.setenv("STATUSWIRE_HOST", "0.0.0.0")  # noqa: S104
    monkeypatch.setenv("STATUSWIRE_ORIGINS", "no origin")
    scene = Scene()
    assert scene.unusable == {"queue_url", "service_queue_url", "polls", "host", "origins"}
    assert (scene.settings.visibility_s, scene.settings.polls) == (100, 8)
    assert scene.settings.host == "127.0.0.1"
    assert scene.queues == []


@pytest.mark.parametrize(
    ("hard", "level"), [(1024 + 76 + 256, Level.OK), (1024 + 76 + 255, Level.WARNING)]
)
async def test_each_connection_needs_an_open_file(
    monkeypatch: pytest.MonkeyPatch, hard: int, level: Level
) -> None:
    """And the consumer some of its own; the soft limit it raises by itself."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (64, hard))
    found = await told(machine.files, max_connections=1024, max_half_open=76)
    assert found.level is level


async def test_a_misspelled_setting_is_told() -> None:
    """Nobody else would notice it; the fix names the nearest one."""
    found = await told(
        machine.settings,
        AWS_DEFAULT_REGION="us-east-1",
        queue_url="http://h/q.fifo",
        service_queue_url="http://h/q",
        max_conections=5,
    )
    assert (found.level, found.title) == (
        Level.WARNING,
        "STATUSWIRE_MAX_CONECTIONS is no setting",
    )
    assert "Is it STATUSWIRE_MAX_CONNECTIONS?" in found.fix


async def test_what_viewers_set_is_not_misspelled() -> None:
    """Their commands read variables of their own, perhaps in the same shell."""
    found = await told(
        machine.settings,
        AWS_DEFAULT_REGION="us-east-1",
        queue_url="http://h/q.fifo",
        service_queue_url="http://h/q",
        token="eyJ.a.b",  # noqa: S106 # no secret
        stack="statuswire",
    )
    assert found.level is Level.OK


@pytest.mark.parametrize(("user", "level"), [(0, Level.WARNING), (1000, Level.OK)])
async def test_root_is_not_needed(monkeypatch: pytest.MonkeyPatch, user: int, level: Level) -> None:
    """Least privilege."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert (await told(machine.user)).level is level


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    file = LogFile(path)
    file.open().close()
    file.close()
    return path


async def test_a_log_that_is_whole(log: Path) -> None:
    """And nothing appears beside it."""
    before = sorted(log.parent.iterdir())
    found = await told(log_file.file, log=f"sqlite:{log}")
    assert found.level is Level.OK
    assert found.title.startswith(f"the log is whole (schema {SCHEMA_VERSION}, epoch ")
    assert sorted(log.parent.iterdir()) == before


async def test_a_log_that_a_consumer_holds(log: Path) -> None:
    """Is fine, is said, and stays the consumer's."""
    file = LogFile(log)
    with contextlib.closing(file), contextlib.closing(file.open()):
        os.truncate(f"{log}-lock", 0)  # its note is not judged while it is being written
        found = await told(log_file.file, log=f"sqlite:{log}")
    assert found.level is Level.OK
    assert found.title.endswith("a running consumer holds it")


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        ("PRAGMA user_version = 99", "the log has schema 99"),
        ("PRAGMA user_version = 0", "is another program's database"),
    ],
)
async def test_a_log_that_is_not_ours(log: Path, statement: str, title: str) -> None:
    """Of a newer release, or of another program."""
    with contextlib.closing(sqlite3.connect(log)) as connection:
        connection.execute(statement)
    found = await told(log_file.file, log=f"sqlite:{log}")
    assert found.level is Level.ERROR
    assert title in found.title


async def test_a_copy_of_a_log_is_told(log: Path) -> None:
    """Its head is not proven, so the next start begins a new epoch."""
    copy = log.with_name("copy.db")
    shutil.copy(log, copy)
    shutil.copy(f"{log}-lock", f"{copy}-lock")
    found = await told(log_file.file, log=f"sqlite:{copy}")
    assert (found.level, found.title) == (Level.WARNING, "nothing proves the log's head")


async def test_a_log_to_come(tmp_path: Path) -> None:
    """A first start needs the folder only."""
    assert (await told(log_file.file, log=f"sqlite:{tmp_path}/log.db")).level is Level.OK
    assert (await told(log_file.folder, log=f"sqlite:{tmp_path}/log.db")).level is Level.OK
    found = await told(log_file.folder, log=f"sqlite:{tmp_path}/none/log.db")
    assert found.fix.startswith("mkdir -p")


async def test_a_file_and_a_folder_in_each_others_place(tmp_path: Path) -> None:
    """Neither is a log that is damaged, or a folder to make."""
    (tmp_path / "file").touch()
    found = await told(log_file.folder, log=f"sqlite:{tmp_path}/file/log.db")
    assert found.title == f"{tmp_path}/file is no folder"
    found = await told(log_file.file, log=f"sqlite:{tmp_path}")
    assert found.title == f"the log {tmp_path} is a folder"


@pytest.mark.parametrize(
    ("free", "level"), [(10**12, Level.OK), (10**8, Level.WARNING), (10**6, Level.ERROR)]
)
async def test_room_for_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    """For the next minute, and for as many events as are kept."""
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert (await told(log_file.room, log=f"sqlite:{tmp_path}/log.db")).level is level
