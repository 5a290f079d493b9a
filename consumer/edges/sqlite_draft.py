"""What a transaction of the SQLite log has judged and not written yet, and what it need not read.

Events are judged in memory; what became of them is written by three statements in all, however
many there are. A key's row is written once, where it lies together with those that were new when it
was: 12 to 17 µs an event, where a row for every event in every index took 70.
"""

import sqlite3
from typing import Final

import msgspec
from msgspec import Struct

from consumer.core.entries import Entry
from consumer.core.statuses import Standing
from consumer.edges.sqlite_file import checksum

MAX_KNOWN: Final = 20_000  # × ~1.5 kB (standing, payload) = 30 MB; others are read when told of
_ENCODER: Final = msgspec.json.Encoder()
_STANDING: Final = msgspec.json.Decoder(Standing)


class Known(Struct, frozen=True, gc=False):
    """A key, as its row has it."""

    id: int
    standing: Standing
    place: int
    """Of its newest entry."""
    last: int
    """The place of the last entry that it got, late ones included."""
    latest_ms: int
    """The latest time that any of them told."""
    ended: bool
    payload: bytes
    crc: int
    """Of its newest entry: made once, and not anew of what was read, or damage would be lost."""


class Draft:
    """For the writer's thread. What is not committed in the end must be given up."""

    def __init__(self, connection: sqlite3.Connection, head: int) -> None:
        self.head = head
        self._committed_head = head
        self._connection = connection
        highest = connection.execute("SELECT ifnull(max(id), 0) FROM keys").fetchone()[0]
        self._last_id: int = highest
        self._known: dict[str, Known] = {}  # committed; what was used last comes last
        self._keys: dict[str, Known] = {}
        self._entries: list[tuple[int, int, int, int, bytes, int]] = []
        self._seen: dict[str, int] = {}

    def has_seen(self, identity: str) -> bool:
        """Whether an event, other than a publish step, has come before."""
        return identity in self._seen or bool(
            self._connection.execute(
                "SELECT 1 FROM seen WHERE identity = ?", (identity,)
            ).fetchone()
        )

    def see(self, identity: str, aged_from_ms: int) -> None:
        """Know an event when it comes again."""
        self._seen[identity] = aged_from_ms

    def find(self, key: str) -> Known | None:
        """The key as it stands by now."""
        if (drafted := self._keys.get(key)) is not None:
            return drafted
        if (known := self._known.pop(key, None)) is None:
            row = self._connection.execute(
                "SELECT id, standing, place, last, latest_ms, ended, payload, crc FROM keys"
                " WHERE key = ?",
                (key,),
            ).fetchone()
            if row is None:
                return None
            id_, standing, place, last, latest_ms, ended, payload, crc = row
            known = Known(
                id_, _STANDING.decode(standing), place, last, latest_ms, bool(ended), payload, crc
            )
        self._known[key] = known
        return known

    def put(self, key: str, known: Known) -> None:
        """Have a key stand like this from now on."""
        self._keys[key] = known

    def new_id(self) -> int:
        """For a key that has no row yet."""
        self._last_id += 1
        return self._last_id

    def append(self, entry: Entry, previous: int, aged_from_ms: int) -> int:
        """An entry, and the place of the one before it of its key. Returns its checksum."""
        crc = checksum(entry.place, entry.late, entry.payload)
        self._entries.append(
            (entry.place, previous, int(entry.late), aged_from_ms, entry.payload, crc)
        )
        self.head = entry.place
        return crc

    def write(self) -> None:
        """Write all of it, within the transaction."""
        execute_many = self._connection.executemany
        if self._entries:
            execute_many("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", self._entries)
            # The head outlives the entries: trimmed to none, places still go on rising.
            self._connection.execute(
                "UPDATE meta SET value = ? WHERE name = 'head'", (str(self.head),)
            )
        if self._keys:
            execute_many(_WRITE_KEY, [_row(key, known) for key, known in self._keys.items()])
        if self._seen:
            execute_many("INSERT INTO seen VALUES (?, ?)", self._seen.items())
        self._entries.clear()
        self._seen.clear()
        self._known.update(self._keys)
        self._keys.clear()

    def committed(self) -> None:
        """What was written has become part of the file."""
        self._committed_head = self.head
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]

    def give_up(self) -> None:
        """Nothing of it has: neither what is drafted, nor what was written of it."""
        self.head = self._committed_head
        self._known.clear()
        self._keys.clear()
        self._entries.clear()
        self._seen.clear()

    def forget(self, keys: list[str]) -> None:
        """Rows that are there no more."""
        for key in keys:
            self._known.pop(key, None)


_WRITE_KEY: Final = (
    "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
    " standing = excluded.standing, place = excluded.place, last = excluded.last,"
    " latest_ms = excluded.latest_ms, ended = excluded.ended, payload = excluded.payload,"
    " crc = excluded.crc"
)


def _row(key: str, known: Known) -> tuple[object, ...]:
    # Integers: of a bool sqlite3 asks every time how it is to be adapted.
    return (
        known.id,
        key,
        _ENCODER.encode(known.standing),
        known.place,
        known.last,
        known.latest_ms,
        int(known.ended),
        known.payload,
        known.crc,
    )
