"""What a batch for the Redis log comes to, judged by what this process knows of its keys.

Others may have written them meanwhile: the script that appends takes the batch only where every key
stands as it was judged by, and no identity has been seen. Else it is judged once more.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from consumer.core import entries, events, statuses
from consumer.core.events import Event
from consumer.core.statuses import Standing, Verdict

MAX_KNOWN: Final = 20_000  # × ~1.5 kB (standing, payload) = 30 MB; others are asked for
_STANDING: Final = msgspec.json.Decoder(Standing)


class Known(Struct, frozen=True, gc=False):
    """A key, as it stood at a revision; 0 of one that does not stand at all."""

    revision: bytes
    standing: Standing | None = None
    latest_ms: int = 0
    ended: bool = False
    payload: bytes = b""


class Knowledge:
    """Keys as this process saw them last; what was used last comes last."""

    def __init__(self) -> None:
        self._keys: dict[str, Known] = {}

    def missing(self, batch: Iterable[Event]) -> list[str]:
        """Keys of a batch that are to be asked for."""
        return list(dict.fromkeys(event.key for event in batch if event.key not in self._keys))

    def learn(self, key: str, standing: bytes | None, newest: bytes | None) -> None:
        """How the server says that a key stands."""
        if standing is None or newest is None:
            self._keys[key] = Known(b"0")
            return
        revision, _, _, latest_ms, ended, standing = standing.split(b" ", 5)
        payload = newest.partition(b" ")[2]
        self._keys[key] = Known(
            revision, _STANDING.decode(standing), int(latest_ms), ended == b"1", payload
        )

    def of(self, key: str) -> Known:
        """A key of which something is known."""
        known = self._keys[key] = self._keys.pop(key)
        return known

    def put(self, key: str, known: Known) -> None:
        """This process wrote it."""
        self._keys.pop(key, None)
        self._keys[key] = known

    def forget(self, keys: Iterable[str]) -> None:
        """They are to be asked for again."""
        for key in keys:
            self._keys.pop(key, None)

    def forget_everything(self) -> None:
        """Another server, or an earlier state of it, may know other things."""
        self._keys.clear()

    def shrink(self) -> None:
        """Between batches."""
        while len(self._keys) > MAX_KNOWN:
            del self._keys[next(iter(self._keys))]


class Draft:
    """A batch judged against what is known."""

    def __init__(
        self, knowledge: Knowledge, seen: Iterable[str], *, oldest_ms: int, now_ms: int
    ) -> None:
        """`seen`: identities that are known to have come before."""
        self.verdicts: list[Verdict] = []
        self._knowledge = knowledge
        self._keys: dict[str, Known] = {}  # as they will stand
        self._numbers: dict[str, int] = {}  # of the keys that it was judged by, from 1
        self._entries: list[tuple[int, int, int, bytes]] = []
        self._before = frozenset(seen)
        # By when they grow old; '' of those that are not to be remembered.
        self._identities: dict[str, int | str] = {}
        self._oldest_ms = oldest_ms
        self._now_ms = now_ms

    def judge(self, batch: Sequence[Event]) -> None:
        """Decide on every event, in turn."""
        for event in batch:
            self.verdicts.append(self._judge(event))

    def values(self) -> list[str | bytes | int]:
        """What the script is given: whether there is anything to write, counts, and all of it."""
        values: list[str | bytes | int] = []
        for key in self._numbers:
            before, after = self._knowledge.of(key), self._keys.get(key)
            if after is None:
                values += (key, before.revision, 0, 0, b"", b"")
                continue
            payload = b"" if after.payload == before.payload else after.payload
            standing = msgspec.json.encode(after.standing)
            values += (key, before.revision, after.latest_ms, int(after.ended), standing, payload)
        for entry in self._entries:
            values += entry
        for identity, time_ms in self._identities.items():
            values += (identity, time_ms)
        counts = (len(self._numbers), len(self._entries), len(self._identities))
        changes = bool(self._keys) or any(self._identities.values())
        return [int(changes), *counts, *values]

    def taken(self, revision: bytes) -> None:
        """The server took it: that is what its keys stand at now."""
        for key, known in self._keys.items():
            self._knowledge.put(key, msgspec.structs.replace(known, revision=revision))

    def _judge(self, event: Event) -> Verdict:
        time_ms = events.milliseconds(event.time)
        if time_ms < self._oldest_ms:
            return Verdict.EXPIRED
        # Of an event from the future, only our own clock can say when it grows old.
        aged_from_ms = min(time_ms, self._now_ms)
        key, is_step = event.key, event.step is not None
        if not is_step and (event.identity in self._before or self._identities.get(event.identity)):
            return Verdict.REPEAT
        known = self._keys.get(key) or self._knowledge.of(key)
        verdict, standing = statuses.judge(event, known.standing)
        if verdict is Verdict.REPEAT:
            return verdict
        number = self._numbers.setdefault(key, len(self._numbers) + 1)
        if not is_step:
            remembered = statuses.is_remembered(event, verdict)
            self._identities[event.identity] = aged_from_ms if remembered else ""
        if verdict.is_sent:
            told = statuses.complete(event, standing)
            payload = events.encode(told)
            late = verdict is Verdict.LATE
            self._entries.append((number, int(late), aged_from_ms, payload))
            self._keys[key] = _after(known, told, payload, standing, time_ms, late=late)
        elif standing != known.standing:
            self._keys[key] = msgspec.structs.replace(known, standing=standing)
        return verdict


def _after(  # what an entry changes
    known: Known, told: Event, payload: bytes, standing: Standing, time_ms: int, *, late: bool
) -> Known:
    """How a key stands with one more entry."""
    latest_ms = max(time_ms, known.latest_ms)
    if not late:
        return Known(known.revision, standing, latest_ms, told.terminal, payload)
    stands = entries.told_late(known.payload, entries.committed("", 0, told, payload, late=True))
    return Known(known.revision, standing, latest_ms, known.ended, stands)
