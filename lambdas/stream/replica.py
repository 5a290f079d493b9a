"""The newest entry of every key, kept in a function's memory from one invocation to the next.

Read once, it is brought up by the log's last entries: a snapshot costs what happened since the last
one, not all that stands.
"""

import threading
from collections.abc import Iterable

from consumer.core.entries import Entry
from consumer.core.view import View
from lambdas.stream.draft import Head
from lambdas.stream.log import DynamoLog, Trimmed


class Replica:
    """For all threads of one process."""

    def __init__(self, status_log: DynamoLog) -> None:
        self._log = status_log
        self._view = View()
        self._at: Head | None = None
        self._lock = threading.Lock()

    def matching(self, patterns: Iterable[str]) -> tuple[Head, list[Entry]]:
        """What stands and matches, oldest place first, and the head as of which it is."""
        with self._lock:
            head = self._bring_up()
            self._view.forget_ended(self._log.oldest_ms)
            return head, self._view.matching(patterns)

    def _bring_up(self) -> Head:
        head = self._log.head()
        at = self._at
        if at is None or at.epoch != head.epoch or at.place > head.place:
            return self._begin()
        try:
            for entry in self._log.read(head, at.place):
                self._view.apply(entry)
                # Noted at once: half-way through, the rest may fail to be read.
                self._at = Head(head.epoch, entry.place, None)
        except Trimmed:
            return self._begin()
        self._at = head
        return head

    def _begin(self) -> Head:
        """Read all that stands, and bring it to one place: what stands was not read at once."""
        self._at = None
        while True:
            before = self._log.head()
            found = {entry.key: entry for entry in self._log.newest(before.epoch)}
            head = self._log.head()
            if head.epoch != before.epoch:
                continue
            try:
                for entry in self._log.read(head, before.place):
                    _take_in(found, entry)
            except Trimmed:
                continue
            # What was written after that head stands here too; such keys are applied again.
            view = View()
            for entry in sorted(found.values(), key=lambda each: each.place):
                view.apply(entry)
            self._view, self._at = view, head
            return head


def _take_in(found: dict[str, Entry], entry: Entry) -> None:
    stands = found.get(entry.key)
    if stands is None:
        if not entry.late:
            found[entry.key] = entry
    elif entry.late:
        found[entry.key] = stands.told_by(entry)
    elif stands.place < entry.place:
        found[entry.key] = entry
