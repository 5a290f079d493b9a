"""What a batch of events comes to, judged by what its keys stood at. Pure: `log` reads and writes.

The rule itself is `consumer.core.statuses`, the same for every log.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from consumer.core import entries, events, statuses
from consumer.core.entries import Entry
from consumer.core.events import Event
from consumer.core.statuses import Standing, Verdict

MAX_PLACES: Final = 400  # of one key, newest: × ~6 B = 2.4 kB in its item; a run has some ten


class Head(Struct, frozen=True):
    """Where the log ends. `lag_ms`: the newest event's age when it was taken, before any None."""

    epoch: str
    place: int
    lag_ms: int | None


class Known(Struct, frozen=True):
    """A key, as it stood at a revision; 0 of one that does not stand at all."""

    revision: int = 0
    standing: Standing | None = None
    payload: bytes = b""
    place: int = 0
    """Of the newest entry, whose JSON `payload` is."""
    places: tuple[int, ...] = ()
    """Of its entries, late ones included."""
    latest_ms: int = 0

    def entry(self, epoch: str) -> Entry:
        """The newest entry."""
        return entries.stored(epoch, self.place, self.payload, late=False)


class Outcome(NamedTuple):
    """What became of an event; it knows its instance, if anyone has told."""

    verdict: Verdict
    event: Event


class Draft:
    """A batch judged. What it comes to holds only while all of it stands as it was read."""

    def __init__(
        self,
        head: Head,
        known: Mapping[str, Known],
        seen: Collection[str],
        *,
        oldest_ms: int,
        now_ms: int,
    ) -> None:
        """`seen`: identities that came before; an event older than `oldest_ms` has expired."""
        self.outcomes: list[Outcome] = []
        self.entries: list[Entry] = []
        self.keys: dict[str, Known] = {}
        """Those that it changes, as they will stand; with the revision that they were read at."""
        self.identities: dict[str, int] = {}
        """Those that are to be remembered, and the times from which they age."""
        self._head = head
        self._known = known
        self._seen = seen
        self._oldest_ms = oldest_ms
        self._now_ms = now_ms

    @property
    def head(self) -> Head:
        """Where the log ends with it."""
        if not self.entries:
            return self._head
        newest = self.entries[-1]
        lag_ms = max(0, self._now_ms - events.milliseconds(newest.event.time))
        return Head(self._head.epoch, newest.place, lag_ms)

    def judge(self, batch: Sequence[Event]) -> None:
        """Decide on every event, in turn."""
        for event in batch:
            self.outcomes.append(self._judge(event))

    def _judge(self, event: Event) -> Outcome:
        known = self.keys.get(event.key) or self._known[event.key]
        time_ms = events.milliseconds(event.time)
        if time_ms < self._oldest_ms:
            return Outcome(Verdict.EXPIRED, event)
        is_step = event.step is not None
        if not is_step and (event.identity in self._seen or event.identity in self.identities):
            return _repeat(event, known)
        verdict, standing = statuses.judge(event, known.standing)
        if verdict is Verdict.REPEAT:
            return _repeat(event, known)
        if not is_step and statuses.is_remembered(event, verdict):
            self.identities[event.identity] = self._aged_from(time_ms)
        told = statuses.complete(event, standing)
        after = msgspec.structs.replace(known, standing=standing)
        if verdict.is_sent:
            after = self._append(told, after, time_ms, late=verdict is Verdict.LATE)
        self.keys[event.key] = after
        return Outcome(verdict, told)

    def _append(self, told: Event, known: Known, time_ms: int, *, late: bool) -> Known:
        place = self._head.place + len(self.entries) + 1
        payload = events.encode(told)
        entry = entries.committed(self._head.epoch, place, told, payload, late=late)
        self.entries.append(entry)
        places = (*known.places, place)[-MAX_PLACES:]
        latest_ms = max(known.latest_ms, self._aged_from(time_ms))
        if late:
            payload = entries.told_late(known.payload, entry)
            place = known.place
        return Known(known.revision, known.standing, payload, place, places, latest_ms)

    def _aged_from(self, time_ms: int) -> int:
        """Of an event from the future, only our own clock can say when it grows old."""
        return min(time_ms, self._now_ms)


def _repeat(event: Event, known: Known) -> Outcome:
    told = event if known.standing is None else statuses.complete(event, known.standing)
    return Outcome(Verdict.REPEAT, told)
