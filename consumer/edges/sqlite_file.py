"""The SQLite log's file: locked, checked, brought to the current schema, its head noted beside it.

The note is what proves a head. It is written after each commit, so it never runs ahead of the file;
a file that is behind its note, or that was put in the place of the noted one, has lost its head.
Not seen is a disk, or a file and its note together, set back in place to an earlier state.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import zlib
from pathlib import Path
from typing import Final

from consumer.ports import LogUnusable

log = logging.getLogger(__name__)

NOTE_BYTES: Final = 64  # an epoch, a place and an inode: 8 + 19 + 20 characters and two spaces

# One step per schema version, never changed once released. A new file takes them all.
_STEPS: Final = (
    """
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
INSERT INTO meta VALUES ('epoch', ''), ('head', '0'), ('floor', '0');
""",
    """
ALTER TABLE entries ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE entries SET crc = checksum(place, late, payload);
ALTER TABLE keys ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
UPDATE keys SET crc = checksum(place, 0, payload), standing = CAST(json_set(
    CAST(standing AS TEXT), '$.instance_id', json_extract(CAST(payload AS TEXT), '$.instance_id')
) AS BLOB);
""",
    # Publish steps are kept with their key, entries of a key are chained, newest first, and what
    # is written again and again lies together. `step_of` and `:` + 1 = `;` find a run's steps.
    """
ALTER TABLE entries RENAME TO old_entries;
ALTER TABLE keys RENAME TO old_keys;
CREATE TABLE keys (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, standing BLOB NOT NULL,
    place INTEGER NOT NULL, last INTEGER NOT NULL, latest_ms INTEGER NOT NULL,
    ended INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE entries (
    place INTEGER PRIMARY KEY, previous INTEGER NOT NULL, late INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL
);
INSERT INTO keys SELECT
    NULL, key,
    CAST(json_set(CAST(standing AS TEXT), '$.steps', (
        SELECT json_group_array(json(step_of(identity))) FROM seen
        WHERE identity > 'step:' || substr(key, 11) || ':'
        AND identity < 'step:' || substr(key, 11) || ';'
    )) AS BLOB),
    place,
    max(place, ifnull((SELECT max(place) FROM old_entries AS one WHERE one.key = old_keys.key), 0)),
    max(ifnull(ended_ms, 0), ifnull((
        SELECT max(time_ms) FROM seen
        WHERE identity > 'step:' || substr(key, 11) || ':'
        AND identity < 'step:' || substr(key, 11) || ';'
    ), 0)),
    ended_ms IS NOT NULL, payload, crc
    FROM old_keys ORDER BY place;
INSERT INTO entries SELECT
    place, ifnull(lag(place) OVER (PARTITION BY key ORDER BY place), 0),
    late, time_ms, payload, crc
    FROM old_entries;
DROP TABLE old_entries;
DROP TABLE old_keys;
CREATE INDEX keys_by_end ON keys (latest_ms) WHERE ended;
DELETE FROM seen WHERE identity LIKE 'step:%';
""",
)
SCHEMA_VERSION: Final = len(_STEPS)
_DAMAGED: Final = """
SELECT 'the entry at place ' || place FROM entries WHERE crc != checksum(place, late, payload)
UNION ALL SELECT 'the newest of ' || key FROM keys WHERE crc != checksum(place, 0, payload)
UNION ALL SELECT 'the number of entries' FROM meta WHERE name = 'floor'
    AND (SELECT value FROM meta WHERE name = 'head') - value != (SELECT count(*) FROM entries)
LIMIT 1
"""
_DAMAGE: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")  # the last: a table is missing


class LogFile:
    """A log's file, which one process may have open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = -1  # the descriptor of the file that holds lock and note
        self._inode = 0

    def open(self) -> sqlite3.Connection:
        """Open or create it, for writing. Raises `LogUnusable`."""
        self._beside = _lock(self._path)
        try:
            connection = connect(self._path)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise LogUnusable(f"{self._path}: {error}; {_advice(error)}") from error
        except BaseException:
            self.close()
            raise
        return connection

    def note(self, epoch: str, head: int) -> None:
        """Note what is committed; to be called before any of it is sent."""
        # Without it a loss goes unnoticed, but the commit stands: not a reason to fail.
        with contextlib.suppress(OSError):
            os.pwrite(self._beside, self._noted(epoch, head), 0)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._beside)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.create_function("checksum", 3, checksum, deterministic=True)
        connection.create_function("step_of", 1, _step_of, deterministic=True)
        version = self._version(connection)
        # 0.2 s of CPU for 100,000 entries and keys (200 MB); the checksums take another 0.3 s.
        if (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        steps = "".join(_STEPS[version:])
        connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}")
        if damaged := connection.execute(_DAMAGED).fetchone():
            raise sqlite3.DatabaseError(f"{damaged[0]} is wrong")
        self._begin_epoch_unless_proven(connection)
        connection.execute("COMMIT")
        self.note(meta(connection, "epoch"), int(meta(connection, "head")))
        os.fsync(self._beside)

    def _version(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise LogUnusable(
                f"{self._path} has schema version {version}, this release reads {SCHEMA_VERSION} "
                "at most; start the newer release, or move the file away to begin a new one"
            )
        if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise LogUnusable(f"{self._path} is another program's database; choose another file")
        return version

    def _begin_epoch_unless_proven(self, connection: sqlite3.Connection) -> None:
        self._inode = self._path.stat().st_ino  # a copy has another
        epoch, head = meta(connection, "epoch"), int(meta(connection, "head"))
        noted_epoch, noted_head, noted_inode = self._read_note()
        if (noted_epoch, noted_inode) == (epoch, self._inode) and noted_head <= head:
            return
        if epoch:
            log.warning("a new epoch: nothing proves the log's head", extra={"head": head})
        set_meta(connection, "epoch", secrets.token_hex(4))

    def _read_note(self) -> tuple[str, int, int]:
        try:
            epoch, head, inode = os.pread(self._beside, NOTE_BYTES, 0).decode().split()
            return epoch, int(head), int(inode)
        except ValueError:
            return "", 0, 0

    def _noted(self, epoch: str, head: int) -> bytes:
        # Always the same length: written over in place, it needs no room on a full disk.
        return f"{epoch} {head} {self._inode}".ljust(NOTE_BYTES).encode()


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose transactions are said in SQL, for one thread at a time."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def meta(connection: sqlite3.Connection, name: str) -> str:
    """One of `epoch`, `head`, `floor` (the newest place that was trimmed)."""
    value: str = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
    return value


def set_meta(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Set what `meta` reads."""
    connection.execute("UPDATE meta SET value = ? WHERE name = ?", (str(value), name))


def checksum(place: int, late: int, payload: bytes) -> int:
    """Of what clients get; SQLite keeps none, and would hand out whatever the disk holds."""
    return zlib.crc32(payload, zlib.crc32(b"%d %d" % (place, late)))


def _step_of(identity: str) -> str:
    """A step as `statuses.Steps` has it, from what versions 1 and 2 knew it by."""
    _, redrive, seq = identity.rsplit(":", 2)
    return f"[{redrive},{seq},{seq}]"


def _advice(error: Exception) -> str:
    """What the operator can do: only a damaged file is to be given up."""
    # Ours have no code. https://sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
    if code.startswith("SQLITE_BUSY"):
        return "another program holds it; end that one"
    if isinstance(error, sqlite3.Error) and code.startswith(_DAMAGE):
        return (
            "it is damaged; move it away, with its -wal and -shm, to begin a new one: clients are "
            "told of the gap, and what is still true is asked for again"
        )
    return "is its folder there, writable, and with room? The file may well be whole"


def _lock(path: Path) -> int:
    """Keep other processes out: their appends would never reach our change feed."""
    try:
        descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LogUnusable(f"{path}: {error.strerror}; is its folder there and writable?") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise LogUnusable(f"{path} is in use by another consumer") from error
    return descriptor
