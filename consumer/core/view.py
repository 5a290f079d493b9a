"""The view: the newest entry of every key, in memory, as of one place in the log. Pure.

A snapshot is read from here, so a crowd that reconnects asks nothing of the log's store.
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

from consumer.core import events
from consumer.core.entries import Entry

BROAD: Final = ("*", "machine:express", "machine:standard")  # found by looking at every key


class View:
    """Applies entries in the order of their places."""

    def __init__(self) -> None:
        # In order of place, so that a snapshot of very many keys (50,000) need not be sorted.
        self._newest: dict[str, Entry] = {}
        # By the patterns that are neither broad nor the key itself.
        self._keys: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def apply(self, entry: Entry) -> None:
        """Take an entry in; of a late one nothing but the instance, where it was not known."""
        before = self._newest.get(entry.key)
        if entry.late:
            if before is None or (told := before.told_by(entry)) is before:
                return
            self._keep(before, told)
            self._newest[told.key] = told  # where it stood
        else:
            self._keep(before, entry)
            if before is not None:
                del self._newest[entry.key]
            self._newest[entry.key] = entry

    def matching(self, patterns: Iterable[str]) -> list[Entry]:
        """The newest entries that match any of the patterns, oldest place first."""
        asked = set(patterns)
        if not asked.isdisjoint(BROAD):
            found = self._newest.values()
            return [entry for entry in found if not asked.isdisjoint(entry.patterns)]
        keys = set().union(*(self._keys.get(pattern, ()) for pattern in asked))
        keys |= asked & self._newest.keys()
        return sorted((self._newest[key] for key in keys), key=attrgetter("place"))

    def forget_ended(self, before_ms: int) -> int:
        """Let go of what ended before then; returns how many keys faded out."""
        gone = [
            entry
            for entry in self._newest.values()
            if entry.event.terminal and events.milliseconds(entry.event.time) < before_ms
        ]
        for entry in gone:
            del self._newest[entry.key]
            self._keep(entry, None)
        return len(gone)

    def _keep(self, before: Entry | None, after: Entry | None) -> None:
        """Find a key by the patterns of its newest entry, which rarely change."""
        old = before.patterns if before else ()
        new = after.patterns if after else ()
        if old == new:
            return
        if before:
            for pattern in set(old).difference(new, BROAD, (before.key,)):
                keys = self._keys[pattern]
                keys.discard(before.key)
                if not keys:
                    del self._keys[pattern]
        if after:
            for pattern in set(new).difference(old, BROAD, (after.key,)):
                self._keys.setdefault(pattern, set()).add(after.key)
