"""The view: the newest entry of every key, in memory, as of one place in the log. Pure.

A snapshot is read from here, so a crowd that reconnects asks nothing of the log's store.
"""

import itertools
from collections.abc import Iterable
from operator import attrgetter

from consumer.core import events
from consumer.core.entries import Entry


class View:
    """Applies entries in the order of their places."""

    def __init__(self) -> None:
        self._newest: dict[str, Entry] = {}
        # Pattern → keys whose newest entry matches it, mostly in order of place: what is in order
        # is sorted soon, and nobody is served meanwhile (50,000 keys: 25 ms, from a set 165 ms).
        self._keys: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def apply(self, entry: Entry) -> None:
        """Take an entry in; of a late one nothing but the instance, where it was not known."""
        if entry.late:
            newest = self._newest.get(entry.key)
            if newest is None or newest.told_by(entry) is newest:
                return
            entry = newest.told_by(entry)
        self._drop(entry.key)
        self._newest[entry.key] = entry
        for pattern in entry.patterns:
            self._keys.setdefault(pattern, {})[entry.key] = None

    def matching(self, patterns: Iterable[str]) -> list[Entry]:
        """The newest entries that match any of the patterns, oldest place first."""
        found = (self._keys.get(pattern, ()) for pattern in patterns)
        keys = dict.fromkeys(itertools.chain.from_iterable(found))
        return sorted((self._newest[key] for key in keys), key=attrgetter("place"))

    def forget_ended(self, before_ms: int) -> int:
        """Let go of what ended before then; returns how many keys faded out."""
        gone = [
            key
            for key, entry in self._newest.items()
            if entry.event.terminal and events.milliseconds(entry.event.time) < before_ms
        ]
        for key in gone:
            self._drop(key)
        return len(gone)

    def _drop(self, key: str) -> None:
        entry = self._newest.pop(key, None)
        if entry is None:
            return
        for pattern in entry.patterns:
            keys = self._keys[pattern]
            del keys[key]
            if not keys:
                del self._keys[pattern]
