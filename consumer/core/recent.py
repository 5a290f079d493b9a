"""Recent entries, by what they match: what most resumes ask for, without the log's store. Pure.

They are kept in two parts. When the newer one is full the older one goes as a whole: nothing has to
be taken out of an index entry by entry.
"""

import bisect
from collections.abc import Collection
from operator import attrgetter
from typing import Final

from consumer.core import events
from consumer.core.entries import Entry

MEAN_BYTES: Final = 4 * 1024  # of a payload, at most; some are 16 kB, most 0.4
_PLACE: Final = attrgetter("place")


class Recent:
    """The newest entries of one epoch, without a hole."""

    def __init__(self, most: int = 0) -> None:
        """At most so many; half of them at least, once there were as many and if few are large."""
        self.floor = 0
        """Every entry after this place is here."""
        self._most = most
        self._most_bytes = most * MEAN_BYTES
        self._parts: tuple[_Part, ...] = ()

    def begin(self, place: int) -> None:
        """Forget all, and go on after a place: of another epoch, perhaps."""
        self.floor = place
        self._parts = ()

    def add(self, entry: Entry) -> None:
        """Take in the entry of the next place."""
        if self._most < 2:
            self.floor = entry.place
            return
        if not self._parts or self._is_full(self._parts[-1]):
            self._parts = (*self._parts[-1:], _Part(entry.place - 1))
            self.floor = max(self.floor, self._parts[0].after)
        self._parts[-1].add(entry)

    def forget(self, before_ms: int) -> None:
        """Let what happened before then count as gone, from the oldest on: the log may have it no
        more, and nobody is to be told more than the log keeps.
        """
        for part in self._parts:
            for entry in part.after_place(("*",), self.floor, part.size):
                if events.milliseconds(entry.event.time) >= before_ms:
                    return
                self.floor = entry.place

    def matching(
        self, watch: Collection[str], after: int, upto: int, most: int
    ) -> tuple[list[Entry], int]:
        """The first entries in (after, upto] that match any pattern, in order, and the place up to
        which these are all. `after` must not lie before the floor.
        """
        found: list[Entry] = []
        for part in self._parts:
            found += part.after_place(watch, after, most - len(found))
        found = [entry for entry in found if entry.place <= upto]
        return found, found[-1].place if len(found) == most else upto

    def _is_full(self, part: "_Part") -> bool:
        return part.size >= self._most // 2 or part.size_bytes >= self._most_bytes // 2


class _Part:
    """Entries after a place, by each pattern that they match."""

    __slots__ = ("_by_pattern", "after", "size", "size_bytes")

    def __init__(self, after: int) -> None:
        self.after = after
        self.size = 0
        self.size_bytes = 0
        self._by_pattern: dict[str, list[Entry]] = {}

    def add(self, entry: Entry) -> None:
        for pattern in entry.patterns:
            self._by_pattern.setdefault(pattern, []).append(entry)
        self.size += 1
        self.size_bytes += len(entry.payload)

    def after_place(self, watch: Collection[str], place: int, most: int) -> list[Entry]:
        """The first entries after a place that match, in order."""
        slices = []
        for pattern in watch:
            if (those := self._by_pattern.get(pattern)) is not None:
                first = bisect.bisect_right(those, place, key=_PLACE)
                slices.append(those[first : first + most])
        if len(slices) <= 1:
            return slices[0] if slices else []
        once = {entry.place: entry for each in slices for entry in each}
        return [once[place] for place in sorted(once)][:most]
