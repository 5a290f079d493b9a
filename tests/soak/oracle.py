"""The one judge of every run: what was sent, against the log's file and each client's frames.

It reads the file with SQL of its own and knows the contract, not the product's code, except for
the decoder of what was stored and the patterns that an event matches.
"""

import bisect
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from consumer.core import events, watch
from consumer.core.events import Event

Frame = dict[str, Any]

DRAINING: Final = 1012  # of the protocol's close codes
TOO_SLOW: Final = 4408


class Sent(NamedTuple):
    """A message that a queue took, by the queue's own id for it."""

    message_id: str
    identity: str | None
    is_step: bool
    is_old: bool
    may_hide: bool = False


class Entry(NamedTuple):
    """An entry of the log as it stands in the file."""

    place: int
    event: Event
    payload: Frame
    late: bool
    patterns: tuple[str, ...]
    epoch: str = ""
    """In which it was appended, where a log has seen several."""


@dataclass
class Evidence:
    """What a log has, read when its consumers are gone or at rest."""

    epoch: str
    entries: list[Entry]
    seen: frozenset[str]
    current: dict[str, str]
    head: int
    epochs: Sequence[str] = ()
    """All of them, the present one last."""

    @classmethod
    def read(cls, path: Path) -> "Evidence":
        """Raises `sqlite3.Error` where the file is damaged."""
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
            if sound != "ok":
                raise sqlite3.DatabaseError(sound)
            meta = dict(connection.execute("SELECT name, value FROM meta"))
            rows = connection.execute("SELECT place, payload, late FROM entries ORDER BY place")
            entries = [entry(*row) for row in rows]
            seen = connection.execute("SELECT identity FROM seen").fetchall()
            keys = connection.execute("SELECT key, payload FROM keys WHERE payload IS NOT NULL")
            current = {key: msgspec.json.decode(payload)["status"] for key, payload in keys}
        finally:
            connection.close()
        head = int(meta["head"])
        epoch = meta["epoch"]
        seen_ids = frozenset(one for (one,) in seen)
        return cls(epoch, entries, seen_ids, current, head, [epoch])

    def has_survived(self, epoch: str) -> int:
        """The place up to which nothing of an epoch was lost, as far as can be said."""
        if epoch == self.epoch:
            return self.head
        later = self.epochs[self.epochs.index(epoch) + 1 :]
        return min((one.place - 1 for one in self.entries if one.epoch in later), default=self.head)


def entry(place: int, payload: bytes, late: int, epoch: str = "") -> Entry:
    """An entry from what a log stores."""
    event = events.decode_stored(payload)
    told = msgspec.json.decode(payload)
    return Entry(place, event, told, bool(late), watch.matching(event, event.key), epoch)


def judge_queue(
    sent: Sequence[Sent], dead: Iterable[str], queued: int, log: Evidence
) -> tuple[Counter[str], list[str]]:
    """What became of each message that was sent, and what is wrong with it.

    appended + repeats + confirmations + expired + not shown + still queued + dead-lettered = sent

    What the reconciler says was sent by nobody: `judge_learned` looks at that.
    """
    fates: Counter[str] = Counter()
    problems: list[str] = []
    dead = frozenset(dead)
    identities = [entry.event.identity for entry in log.entries]
    if len(set(identities)) != len(identities):
        problems.append("an event is in the log twice")
    learned = {entry.event.identity for entry in _learned(log)}
    if invented := set(identities) - learned - {message.identity for message in sent}:
        problems.append(f"{len(invented)} entries were never sent")
    if [entry.place for entry in log.entries] != list(range(1, log.head + 1)):
        problems.append("the places do not run from 1 to the head")
    appended = frozenset(identities)
    unknown = 0
    counted: set[str] = set()
    for message in sent:
        fate = _fate(message, dead, log.seen, appended, counted)
        if fate is None:
            unknown += 1
            continue
        fates[fate] += 1
        if fate == "dead-lettered" and message.identity is not None:
            problems.append(f"a good message is a dead letter: {message.identity}")
        if fate == "confirmation" and message.is_step:
            problems.append(f"a publish step is not in the log: {message.identity}")
    fates["still queued"] = queued
    if unknown != queued:
        problems.append(f"{unknown} messages have no fate, and the queues hold {queued}")
    return fates, problems


def _fate(
    message: Sent,
    dead: frozenset[str],
    seen: frozenset[str],
    appended: frozenset[str],
    counted: set[str],
) -> str | None:
    """None for what is in no log and no dead letter: still queued, or lost."""
    identity = message.identity
    fate = None
    if message.message_id in dead:
        fate = "dead-lettered"
    elif message.is_old and identity not in seen | appended:
        fate = "expired"
    elif identity in counted:
        fate = "repeat"
    elif identity in appended:
        fate = "appended"
    elif identity in seen:
        fate = "confirmation"
    elif message.may_hide:
        fate = "not shown"
    if identity is not None and fate in ("appended", "confirmation"):
        counted.add(identity)
    return fate


def judge_learned(truth: Mapping[str, Sequence[str]], log: Evidence) -> list[str]:
    """Whether the reconciler told only what it could have found.

    `truth` has the statuses that each key had and that asking may tell; no others, and none more
    often than a key could change.
    """
    told: Counter[str] = Counter()
    problems = []
    for entry in _learned(log):
        key, status = entry.event.key, entry.event.status
        told[key] += not entry.late
        if status not in truth.get(key, ()):
            problems.append(f"{key} was said to be {status}, which nobody could find")
    return problems + [
        f"{key} was told {times} times"
        for key, times in told.items()
        if key in truth and times > len(truth[key])
    ]


def _learned(log: Evidence) -> list[Entry]:
    return [entry for entry in log.entries if entry.event.source == "reconcile"]


def judge_endings(endings: Mapping[str, str | None], log: Evidence) -> list[str]:
    """Whether each key shows the status in which it must have ended."""
    return [
        f"{key} shows {log.current.get(key)} and ended {status}"
        for key, status in endings.items()
        if log.current.get(key) != status
    ]


@dataclass
class Visit:
    """One connection of a client: with which cursor it came, and what it got."""

    since: str | None
    frames: list[Frame] = field(default_factory=list)
    closed: int | None = None
    """The code with which the server ended it; None where it did not."""


def judge_client(
    pattern: str, visits: Sequence[Visit], log: Evidence, *, gaps_allowed: bool = False
) -> list[str]:
    """Whether a client was told everything that matches, once and in order, or told otherwise."""
    witness = _Witness(pattern, log, gaps_allowed=gaps_allowed)
    for number, visit in enumerate(visits):
        witness.arrives(visit.since)
        for frame in visit.frames:
            witness.hears(frame)
        if witness.problems:
            heard = [f"{frame['op']} {frame.get('cursor', '')}" for frame in visit.frames[:8]]
            told = f"came with {visit.since}, and heard {heard} …"
            return [f"{pattern}, visit {number + 1}, {told}: {each}" for each in witness.problems]
    if missing := witness.missing(log.head):
        return [f"{pattern}: {len(missing)} entries were never told"]
    return []


def judge_farewells(visits: Iterable[Visit], *, expected: bool = False) -> list[str]:
    """Whether each client that a server sent away as it drained was told before when to come back.

    Where a drain is `expected`, no server may have ended a connection in any other way, but for a
    client that left pings unanswered: a busy machine does, where they come every 0.2 s.
    """
    problems = []
    for visit in visits:
        last = visit.frames[-1]["op"] if visit.frames else "nothing"
        if visit.closed == DRAINING and last != "draining":
            problems.append(f"closed with {DRAINING} after {last}, and no draining")
        if expected and visit.closed not in (None, DRAINING, TOO_SLOW):
            problems.append(f"closed with {visit.closed} after {last} by who was to drain")
    return problems


class _Witness:
    """Follows one client's frames; `told` is the place up to which it was promised everything."""

    def __init__(self, pattern: str, log: Evidence, *, gaps_allowed: bool) -> None:
        self.problems: list[str] = []
        self._log = log
        self._pattern = pattern
        self._gaps_allowed = gaps_allowed
        self._matching = [entry for entry in log.entries if pattern in entry.patterns]
        self._by_place = {entry.place: entry for entry in self._matching}
        self._newest = {entry.event.key: entry.place for entry in log.entries if not entry.late}
        self._told: int | None = None
        self._skips = 0  # announced on this connection and not yet found missing
        self._snapshot: list[Frame] = []
        self._expects_snapshot = False
        self._is_new_epoch = False
        self._epoch: str | None = None  # of the cursor that the client has now

    def arrives(self, since: str | None) -> None:
        """A new connection; it may name no other cursor than the last that it was given."""
        self._skips = 0
        self._snapshot = []
        self._expects_snapshot = since is None
        self._epoch, self._told = None, None
        if since is not None:
            self._epoch, self._told = self._read(since)

    def missing(self, upto: int) -> Sequence[Entry]:
        """What matches, up to a place, and was neither told nor skipped."""
        told = self._told or 0
        found = self._between(told, upto)
        return found[self._skips :] if self._skips else found

    def hears(self, frame: Frame) -> None:
        """One frame."""
        op = frame["op"]
        if "cursor" in frame:
            self._turns_to(self._read(frame["cursor"])[0], op)
        if op == "status":
            self._status(frame)
        elif op == "snapshot":
            self._hears_snapshot(frame)
        elif op == "gap":
            self._expects_snapshot = True
            if not self._gaps_allowed and not self._is_new_epoch:
                self.problems.append("a gap, though the log has everything")
        elif op == "error":
            self.problems.append(f"an error: {frame['code']}")
        elif "cursor" in frame:  # resumed, skipped, heartbeat
            if self._told is not None:
                self._promise(self._place(frame["cursor"]), op)
            if op == "skipped":
                self._skips += frame["count"]

    def _turns_to(self, epoch: str, op: str) -> None:
        """A cursor of another epoch comes with a gap, or with the first snapshot."""
        self._is_new_epoch = self._epoch is not None and epoch != self._epoch
        if self._is_new_epoch and op != "gap":
            self.problems.append(f"a {op} of another epoch, and no gap")
        if self._is_new_epoch:
            self._told = (
                None  # what lies between is not promised, and the snapshot says what stands
            )
            self._skips = 0
        self._epoch = epoch

    def _is_lost(self, place: int) -> bool:
        """Whether what stood there in the client's epoch did not survive it."""
        return place > self._log.has_survived(str(self._epoch))

    def _status(self, frame: Frame) -> None:
        place = self._place(frame["cursor"])
        if self._is_lost(place):
            self._told = max(place, self._told or 0)
            return
        entry = self._by_place.get(place)
        if entry is None:
            self.problems.append(f"place {place} does not match, or is not in the log")
            return
        if self._told is None or self._expects_snapshot:
            self.problems.append(f"place {place} came before the snapshot")
        elif place <= self._told:
            self.problems.append(f"place {place} came again, or out of order")
        if frame["event"] != entry.payload or frame.get("late", False) != entry.late:
            self.problems.append(f"place {place} is not what the log has")
        self._promise(place - 1, "status")
        self._told = place

    def _promise(self, place: int, op: str) -> None:
        """The client is promised everything up to a place: what it lacks must have been skipped."""
        if self._told is None:
            return
        if place < self._told:
            if op != "status":
                self.problems.append(f"the cursor of a {op} fell from {self._told} to {place}")
            return
        for entry in self._between(self._told, place):
            self._skips -= 1
            if self._skips < 0:
                self.problems.append(f"place {entry.place} was left out before a {op}")
                return
            if not entry.late and self._newest[entry.event.key] == entry.place:
                self.problems.append(f"place {entry.place}, the newest of its key, was skipped")
        self._told = place

    def _between(self, after: int, upto: int) -> Sequence[Entry]:
        """What matches, in (after, upto]. Found by bisection: an hour has 150,000 entries."""
        upto = min(upto, self._log.has_survived(str(self._epoch))) if self._epoch else upto
        first = bisect.bisect_right(self._matching, after, key=_place_of)
        return self._matching[first : bisect.bisect_right(self._matching, upto, key=_place_of)]

    def _hears_snapshot(self, frame: Frame) -> None:
        if not self._expects_snapshot:
            self.problems.append("a snapshot that nobody asked for")
        self._snapshot += frame["events"]
        if frame["more"]:
            return
        place = self._place(frame["cursor"])
        if not self._is_lost(place) and _ids(self._snapshot) != _ids(self._standing(place)):
            self.problems.append(f"the snapshot at {place} is not what stood then")
        self._snapshot = []
        self._expects_snapshot = False
        self._told = place

    def _standing(self, place: int) -> Iterable[Frame]:
        """What a snapshot shows: the newest of each key, or all of a single execution."""
        before = [entry for entry in self._log.entries if entry.place <= place]
        if self._pattern.startswith("execution:"):
            return [entry.payload for entry in before if self._pattern in entry.patterns]
        newest = {entry.event.key: entry for entry in before if not entry.late}
        return [entry.payload for entry in newest.values() if self._pattern in entry.patterns]

    def _place(self, cursor: str) -> int:
        return self._read(cursor)[1]

    def _read(self, cursor: str) -> tuple[str, int]:
        """Its epoch and its place."""
        epoch, _, place = cursor.rpartition("-")
        if epoch not in self._log.epochs:
            self.problems.append("a cursor of no epoch that the log has had")
            epoch = self._log.epoch
        return epoch, int(place)


def _place_of(entry: Entry) -> int:
    return entry.place


def _ids(told: Iterable[Frame]) -> list[str]:
    return sorted(event["id"] for event in told)
