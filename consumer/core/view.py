"""The view: the newest entry of every key, in memory, as of one place in the log. Pure.

A snapshot is read from here, so a crowd that reconnects asks nothing of the log's store.
"""

from collections.abc import Iterable

from consumer.core import events
from consumer.core.entries import Entry


class View:
    """Applies entries in the order of their places."""

    def __init__(self) -> None:
        self._newest: dict[str, Entry] = {}
        self._keys: dict[str, set[str]] = {}  # pattern → keys whose newest entry matches it

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
            self._keys.setdefault(pattern, set()).add(entry.key)

    def matching(self, patterns: Iterable[str]) -> list[Entry]:
        """The newest entries that match any of the patterns, oldest place first."""
        keys = set().union(*(self._keys.get(pattern, ()) for pattern in patterns))
        return sorted((self._newest[key] for key in keys), key=lambda entry: entry.place)

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
            keys.discard(key)
            if not keys:
                del self._keys[pattern]
