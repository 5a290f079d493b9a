"""Executions that stopped talking, and when to ask about each. Pure: time comes in as a number.

A silence is measured by our own clock, from when we heard: no other clock can make it seem longer,
and after a start everyone has the whole of it again.
"""

from typing import Final

from msgspec import Struct

from consumer.core.entries import Entry
from consumer.core.events import EXECUTION_ENDINGS, Event

# An Express run is over after 25 s; what it sent at the very end shows in SQS' counts a minute
# later (GetQueueAttributes' API reference); and 5 s more.
EXPRESS_S: Final = 25.0 + 60.0 + 5.0
MAX_PAUSE_S: Final = 600.0  # between two questions about one execution that goes on


class Silence(Struct, gc=False):
    """Of one execution without an ending."""

    newest: Event
    since_s: float
    bound_s: float


class Overdue:
    """Executions without an ending, by their key."""

    def __init__(self, quiet_s: float) -> None:
        """`quiet_s` is how long a Standard execution may be silent before it is asked about."""
        self._quiet_s = quiet_s
        self._silences: dict[str, Silence] = {}

    def hear(self, entry: Entry, now_s: float) -> None:
        """Take note of what the log appended; a late event breaks a silence and changes nothing."""
        event = entry.event
        if entry.late:
            if silence := self._silences.get(entry.key):
                silence.since_s = now_s
        elif event.terminal or event.status in EXECUTION_ENDINGS:
            self._silences.pop(entry.key, None)
        else:
            self._silences[entry.key] = Silence(event, now_s, self._bound_s(event))

    def due(self, now_s: float) -> list[Event]:
        """The newest event of each that has been silent for too long, the longest first."""
        due = [one for one in self._silences.values() if now_s - one.since_s >= one.bound_s]
        return [one.newest for one in sorted(due, key=lambda one: one.since_s)]

    def put_off(self, key: str, now_s: float) -> bool:
        """It is being asked about; if it goes on, the next question is twice as far away.

        False if it spoke meanwhile, and need not be asked about.
        """
        silence = self._silences.get(key)
        if silence is None or now_s - silence.since_s < silence.bound_s:
            return False
        silence.since_s = now_s
        silence.bound_s = max(silence.bound_s, min(2 * silence.bound_s, MAX_PAUSE_S))
        return True

    def _bound_s(self, event: Event) -> float:
        return EXPRESS_S if is_express(event) else self._quiet_s


def is_express(event: Event) -> bool:
    """Whether nobody can be asked about it: Step Functions describes no Express execution."""
    return event.execution is not None and event.execution.machine == "express"
