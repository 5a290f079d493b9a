"""Power cuts: what the log wrote is recorded, and its disk rebuilt as a cut may leave it.

A file holds what it held at its last sync. Of what came after, each sector of 512 bytes may hold
any of its versions, whichever the others hold: lost, torn and out of order. So may its size. Names
that were made or removed since their folder was synced are kept up to any of them.
https://sqlite.org/atomiccommit.html (section 2) and https://sqlite.org/psow.html say what SQLite
expects of a disk.
"""

import asyncio
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from consumer.core.events import Event
from consumer.core.statuses import Verdict
from consumer.edges.sqlite_file import meta
from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import LogUnavailable, LogUnusable
from tests.contract import history
from tests.soak import power_load
from tests.soak.outcome import Outcome

SURVIVES: Final = "what was acknowledged or sent survives a power cut"
SITTINGS: Final = 4  # the second and fourth end as by kill -9
SECTOR_BYTES: Final = 512
DATABASE: Final = "log.db"
_HEAD: Final = struct.Struct("=cQIB")


class Note(NamedTuple):
    """Something that the process had done to a file; see power.c."""

    kind: str
    name: str
    offset: int
    content: bytes


def compile_recorder(folder: Path) -> Path:
    """The library that records. Raises `FileNotFoundError` where there is no C compiler."""
    library = folder / "power.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)  # noqa: S607
    return library


def record(library: Path, folder: Path, seed: int, sittings: int, synchronous: str) -> list[Note]:
    """All that a log did in the folder under load, through several sittings."""
    notes = folder.with_name(f"{folder.name}.notes")
    for sitting in range(sittings):
        what = [str(folder), str(seed), str(sitting), synchronous]
        subprocess.run(
            [sys.executable, "-m", "tests.soak.power_load", *what],
            check=True,
            env={
                **os.environ,
                "LD_PRELOAD": str(library),
                "POWER_FOLDER": str(folder),
                "POWER_NOTES": str(notes),
                "PYTHONPATH": os.pathsep.join(sys.path),
            },
        )
    # What readers share is memory, which a cut empties.
    return [note for note in _parse(notes.read_bytes()) if not note.name.endswith("-shm")]


def _parse(raw: bytes) -> Iterator[Note]:
    at = 0
    while at < len(raw):
        kind, offset, length, name_length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        name, content = raw[at : at + name_length], raw[at + name_length :][:length]
        at += name_length + length
        yield Note(kind.decode(), name.decode(), offset, content)


class File:
    """A file as its process sees it, and as it may be on the disk."""

    def __init__(self) -> None:
        self._synced = b""
        self._since: list[Note] = []

    def take(self, note: Note) -> None:
        if note.kind == "s":
            self._synced = self.seen()
            self._since = []
        else:
            self._since.append(note)

    def seen(self) -> bytes:
        """What its process reads."""
        content = bytearray(self._synced)
        for note in self._since:
            _apply(content, note)
        return bytes(content)

    def after_cut(self, dice: random.Random) -> bytes:
        """What the disk may hold: of each sector and of the size, any version since the sync."""
        seen, disk, size = bytearray(self._synced), bytearray(self._synced), len(self._synced)
        likely = dice.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for note in self._since:
            _apply(seen, note)
            if dice.random() < likely:
                size = len(seen)
            first = note.offset // SECTOR_BYTES * SECTOR_BYTES
            for start in range(first, note.offset + len(note.content), SECTOR_BYTES):
                if dice.random() < likely:
                    _write(disk, start, seen[start : start + SECTOR_BYTES])
        # Room that was given and never written to may hold anything.
        beyond = max(0, size - len(disk))
        return bytes(disk[:size]) + dice.choice([bytes(beyond), dice.randbytes(beyond)])


def _apply(content: bytearray, note: Note) -> None:
    if note.kind == "t":
        del content[note.offset :]
        content.extend(bytes(note.offset - len(content)))
    else:
        _write(content, note.offset, note.content)


def _write(content: bytearray, offset: int, new: bytes | bytearray) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(new)] = new


class Disk:
    """A folder's files and names, note by note."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._names: dict[str, File] = {}
        self._renaming: list[dict[str, File]] = [{}]  # the names as synced, and after each change

    def take(self, note: Note) -> None:
        if note.name == power_load.TOLD:
            self.told += [json.loads(line) for line in note.content.splitlines()]
        elif note.kind in "cu":
            self._names = {name: file for name, file in self._names.items() if name != note.name}
            if note.kind == "c":
                self._names[note.name] = File()
            self._renaming.append(self._names)
        elif note.name == ".":
            self._renaming = [self._names]
        else:
            self._names[note.name].take(note)

    def seen(self) -> dict[str, bytes]:
        """What its process reads, by name."""
        return {name: file.seen() for name, file in self._names.items()}

    def after_cut(self, dice: random.Random) -> dict[str, bytes]:
        """What a power cut may leave, by name."""
        names = dice.choice(self._renaming)
        return {name: file.after_cut(dice) for name, file in names.items()}


class Folder:
    """Where cuts are looked at: the database keeps its inode, by which the log knows it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept = folder.with_name(f"{folder.name}.kept")
        self._kept.hardlink_to(folder / DATABASE)

    def contents(self) -> dict[str, bytes]:
        """All that is recorded and that a cut may undo."""
        paths = [path for path in self._folder.iterdir() if not path.name.endswith("-shm")]
        return {path.name: path.read_bytes() for path in paths if path.name != power_load.TOLD}

    def restore(self, files: dict[str, bytes]) -> None:
        """Hold these files and no others."""
        for path in self._folder.iterdir():
            path.unlink()
        if DATABASE in files:
            (self._folder / DATABASE).hardlink_to(self._kept)
        for name, content in files.items():
            (self._folder / name).write_bytes(content)


class Truth:
    """What the load appended, where it was placed, and so what stands after each place."""

    def __init__(self, seed: int, sittings: int, told: list[dict[str, Any]]) -> None:
        made = [batch for each in range(sittings) for batch in power_load.batches(seed, each)]
        self.events = {event.id: event for batch in made for event in batch}
        self.placed: dict[int, tuple[Event, bool]] = {
            place: (self.events[id_], late)
            for line in told
            for place, id_, late in line.get("entries", ())
        }

    def newest(self, head: int) -> dict[str, Event]:
        by_key: dict[str, list[Event]] = {}
        for place in range(1, head + 1):
            event, _ = self.placed[place]
            by_key.setdefault(event.key, []).append(event)
        return {key: history.newest(said) for key, said in by_key.items()}


async def look(log: SqliteLog, truth: Truth, told: list[dict[str, Any]]) -> list[str]:
    """What is wrong with an open log, by what it had promised when the power went."""
    floor = int(meta(log._connection, "floor"))
    problems = []
    place = floor
    while entries := await log.read(place, log.head):
        for entry in entries:
            place += 1
            if (entry.event, entry.late) != truth.placed.get(place) or entry.place != place:
                return [f"another entry at place {place}"]
    if place != log.head:
        problems.append(f"entries end at {place}, the head is {log.head}")
    _, newest = await log.newest()
    if {entry.key: entry.event for entry in newest} != truth.newest(log.head):
        problems.append(f"another status than at place {log.head}")
    sent = [line["entries"][-1][0] for line in told if "entries" in line]
    if sent and sent[-1] > log.head:
        problems.append(f"clients were given place {sent[-1]}, the head is {log.head}")
    appended = [truth.events[id_] for line in told for id_ in line.get("appended", ())]
    lost = [verdict for verdict in await log.append(appended) if verdict is not Verdict.REPEAT]
    if lost:
        problems.append(f"{len(lost)} of {len(appended)} acknowledged events are lost")
    return problems


async def cut(folder: Path, truth: Truth, told: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the log in a folder that a power cut left like this."""
    log = power_load.make(folder)
    try:
        await log.open()
    except LogUnusable as error:
        return [f"refused: {error}"]
    try:
        problems = await look(log, truth, told)
        # The note is synced before anyone is told of its epoch.
        if {line["opened"] for line in told if "opened" in line} - {log.epoch}:
            problems.append("a new epoch, though the head was provable")
    except LogUnavailable as error:
        return [f"unreadable: {error}"]
    finally:
        await log.close()
    return problems


async def play(
    place: Path, seed: int, *, moments: int, sittings: int = SITTINGS, synchronous: str = ""
) -> Outcome:
    """Cut the power at that many moments of one recorded load."""
    folder = place / "disk"
    folder.mkdir(parents=True)
    library = await asyncio.to_thread(compile_recorder, place)
    notes = await asyncio.to_thread(record, library, folder, seed, sittings, synchronous)
    dice = random.Random(seed)
    disk, whole = Disk(), Disk()
    for note in notes:
        whole.take(note)
    rebuilt = Folder(folder)
    outcome = Outcome({"moments": moments, "notes": len(notes)})
    if whole.seen() != rebuilt.contents():
        outcome.object_to(SURVIVES, ["the recorder missed something"])
    truth = Truth(seed, sittings, whole.told)
    moment = 0
    # Most notes are writes; at the others more can go wrong.
    weights = [1 if note.kind == "w" else 10 for note in notes]
    for until in sorted(dice.choices(range(1, len(notes) + 1), weights, k=moments)):
        for note in notes[moment:until]:
            disk.take(note)
        moment = until
        rebuilt.restore(disk.after_cut(dice))
        problems = await cut(folder, truth, disk.told)
        outcome.object_to(SURVIVES, [f"after {until} of {len(notes)}: {p}" for p in problems])
    return outcome
