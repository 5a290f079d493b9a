"""Checks of the log: its folder, the room it has, and the file. Nothing is written or locked."""

import asyncio
import os
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from consumer.edges.sqlite_file import NOTE_BYTES, SCHEMA_VERSION, meta
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, warning
from consumer.operator.scene import Scene
from consumer.settings import PREFIX

LEAST_BYTES: Final = 64 << 20  # a minute of 1,000 events a second, 1 kB each
ENTRY_BYTES: Final = 1_000  # as in the setting retention_events
LOCKS: Final = Path("/proc/locks")
_IN_A_SERVER: Final = ok("the log is not a file: see log.server")
NEW_FILE: Final = "Move it away, with its -wal and -shm, to begin a new one: clients are told."


async def folder(scene: Scene) -> list[Finding]:
    """There, and ours to write."""
    if scene.settings.log_path is None:
        return [_IN_A_SERVER]
    path = scene.settings.log_path.absolute().parent
    if path.exists() and not path.is_dir():
        another = f"Another {PREFIX}LOG."
        return [error(f"{path} is no folder", "The log's files would be in it.", another)]
    if not path.is_dir():
        return [
            error(
                f"the log's folder {path} is not there",
                "The consumer makes its file, not the folder.",
                f"mkdir -p {path}, or another {PREFIX}LOG.",
            )
        ]
    if not os.access(path, os.W_OK | os.X_OK) or os.statvfs(path).f_flag & os.ST_RDONLY:
        return [
            error(
                f"the log's folder {path} cannot be written",
                "Beside the log stand its -wal, -shm and -lock.",
                f"chown {os.geteuid()} {path}, or another {PREFIX}LOG.",
            )
        ]
    return [ok(f"the log's folder {path} can be written")]


async def room(scene: Scene) -> list[Finding]:
    """Now, and for as many events as are to be kept."""
    if (path := scene.settings.log_path) is None:
        return [_IN_A_SERVER]
    free = shutil.disk_usage(path.absolute().parent).free
    taken = path.stat().st_size if path.exists() else 0
    full = scene.settings.retention_events * ENTRY_BYTES
    less = f"Make room, or a lower {PREFIX}RETENTION_EVENTS or {PREFIX}RETENTION_S."
    if free < LEAST_BYTES:
        full_disk = "With a full disk the log refuses, and nothing more is received."
        return [error(f"{_megabytes(free)} are left for the log", full_disk, less)]
    if free + taken < full:
        told = f"{scene.settings.retention_events} events may take {_megabytes(full)}."
        return [warning(f"{_megabytes(free)} are left for the log", told, less)]
    return [ok(f"{_megabytes(free)} are left for the log")]


async def file(scene: Scene) -> list[Finding]:
    """Readable, whole, of a schema that we know, and with a head that is proven."""
    if (path := scene.settings.log_path) is None:
        return [_IN_A_SERVER]
    if not path.exists():
        return [ok("the log is not there yet: the consumer will make it")]
    if path.is_dir():
        fix = f"{PREFIX}LOG=sqlite:{path}/statuswire.db"
        return [error(f"the log {path} is a folder", "The log is a file.", fix)]
    try:
        return await asyncio.to_thread(_read, path, scene.check_s * 0.8)
    except (sqlite3.Error, OSError) as failure:
        return [error(f"the log cannot be read: {failure}", _damage(path), NEW_FILE)]


def _read(path: Path, reading_s: float) -> list[Finding]:
    # Without a -wal, everything is in the file: `immutable` then leaves no -shm behind
    # (sqlite.org/wal.html, "Read-Only Databases").
    how = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{how}", uri=True)
    until_s = time.monotonic() + reading_s
    connection.set_progress_handler(lambda: time.monotonic() > until_s, 10_000)
    try:
        return _look(connection, path)
    except sqlite3.OperationalError as failure:
        if failure.sqlite_errorname != "SQLITE_INTERRUPT":
            raise
        size = _megabytes(path.stat().st_size)
        return [ok(f"the log has {size}: too much to read all of it now; a start does")]
    finally:
        connection.close()


def _look(connection: sqlite3.Connection, path: Path) -> list[Finding]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        newer = f"This release reads {SCHEMA_VERSION} at most."
        return [error(f"the log has schema {version}", newer, "Start the newer release.")]
    if version == 0:
        if connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            other = f"{path} is another program's database"
            return [error(other, "It has tables, and none of ours.", f"Another {PREFIX}LOG.")]
        return [ok("the log is empty")]
    if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        return [error("the log is damaged", str(found), NEW_FILE)]
    epoch, head = meta(connection, "epoch"), int(meta(connection, "head"))
    held = _is_held(Path(f"{path}-lock"))
    if not held and not _is_proven(path, epoch, head):
        return [
            warning(
                "nothing proves the log's head",
                "The file is a copy, was set back, or lost its -lock. The next start begins a new "
                "epoch: every client gets a gap and a fresh snapshot.",
                "Nothing to do, unless you have the file that this one replaces.",
            )
        ]
    state = ", and a running consumer holds it" if held else ""
    return [ok(f"the log is whole (schema {version}, epoch {epoch}, head {head}){state}")]


def _is_proven(path: Path, epoch: str, head: int) -> bool:
    """As `LogFile` decides it."""
    try:
        note = Path(f"{path}-lock").read_bytes()[:NOTE_BYTES].decode().split()
        noted_epoch, noted_head, inode = note[0], int(note[1]), int(note[2])
    except (OSError, ValueError, IndexError):
        return False
    return noted_epoch == epoch and inode == path.stat().st_ino and noted_head <= head


def _is_held(lock: Path) -> bool:
    """By the kernel's list: trying the lock would keep out a consumer that starts just now."""
    try:
        inode = lock.stat().st_ino
        held = [line.split() for line in LOCKS.read_text().splitlines()]
    except OSError:
        return False
    # proc_locks(5): number, kind, mode, access, process, major:minor:inode, first and last byte.
    return any("FLOCK" in line and line[5].endswith(f":{inode}") for line in held if len(line) > 5)


def _damage(path: Path) -> str:
    return f"{path} is no SQLite database, is damaged, or is not ours to read."


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


CHECKS: Final = (
    Check("log.folder", folder),
    Check("log.room", room, needs=("log.folder",)),
    Check("log.file", file, needs=("log.folder",)),
)
