"""What a table shows: a row per instance and per execution, by the newest of what was told.

Pure: no I/O, clock or terminal.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from consumer.client.items import (
    Gap,
    Heartbeat,
    Item,
    Live,
    Lost,
    Resumed,
    Skipped,
    Snapshot,
    Stale,
    Status,
)
from consumer.terminal.events import Event, is_inferred, key_of, reason_of

MAX_ENDED: Final = 500  # rows of runs that have ended: more than a screen, × ~1 kB for weeks
MAX_TRAIL: Final = 8  # a run of the Standard machine has seven steps


class Row(Struct, frozen=True):
    """`name` is an instance's id, or a run's name. `trail` are a run's statuses so far."""

    key: str
    kind: Literal["instance", "execution"]
    name: str
    machine: str
    instance_id: str
    status: str
    state: str
    time: str
    is_ended: bool
    is_inferred: bool
    reason: str
    trail: tuple[str, ...] = ()


class Board:
    """All that is known, and what was not heard. `connection` None: there was none yet."""

    def __init__(self) -> None:
        self.connection: Live | Stale | Lost | None = None
        self.lag_ms: int | None = None
        self.has_snapshot = False
        self.gaps = 0
        self.skipped = 0
        self.late = 0
        self.forgotten = 0
        self.remark = ""
        self._rows: dict[str, Row] = {}

    def take(self, item: Item) -> None:
        """Whatever is told next."""
        match item:
            case Live() | Stale() | Lost():
                self.connection = item
            case Snapshot(events):
                self._replace(events)
            case Status(event, late=False):
                self._put(event, self._rows)
            case Status():
                self.late += 1
            case Gap():
                self.gaps += 1
            case Skipped(count):
                self.skipped += count
            case Heartbeat(lag_ms):
                self.lag_ms = lag_ms
            case Resumed():
                pass

    def instances(self) -> list[Row]:
        """Newest change first."""
        return self._sorted("instance")

    def executions(self) -> list[Row]:
        """Those under way first, then newest change first."""
        return sorted(self._sorted("execution"), key=lambda row: row.is_ended)

    def _sorted(self, kind: str) -> list[Row]:
        rows = [row for row in self._rows.values() if row.kind == kind]
        return sorted(rows, key=lambda row: (row.time, row.key), reverse=True)

    def _replace(self, events: Iterable[Event]) -> None:
        """A run's steps so far are the snapshot's where it tells them, else those we heard."""
        before = self._rows
        self._rows = {}
        self.has_snapshot = True
        self.forgotten = 0
        told = [(key_of(event), event) for event in events]
        times = Counter(key for key, _ in told)
        for key, event in told:
            self._put(event, before if times[key] == 1 else self._rows)

    def _put(self, event: Event, known: dict[str, Row]) -> None:
        key = key_of(event)
        self._rows[key] = _row(key, event, known.get(key))
        if len(self._rows) > 2 * MAX_ENDED:  # looked for now and then: it sorts them all
            self._forget()

    def _forget(self) -> None:
        ended = [row for row in self._sorted("execution") if row.is_ended]
        for row in ended[MAX_ENDED:]:
            del self._rows[row.key]
            self.forgotten += 1


def _row(key: str, event: Event, before: Row | None) -> Row:
    run = event.get("execution")
    status = str(event["status"])
    trail = before.trail if before else ()
    if run and (not trail or trail[-1] != status):
        trail = (*trail, status)[-MAX_TRAIL:]
    return Row(
        key=key,
        kind="execution" if run else "instance",
        name=str(run["name"] if run else event.get("instance_id")),
        machine=str(run["machine"]) if run else "",
        instance_id=str(event.get("instance_id") or (before.instance_id if before else "")),
        status=status,
        state=str(event.get("state") or ""),
        time=str(event["time"]),
        is_ended=bool(event.get("terminal")),
        is_inferred=is_inferred(event),
        reason=reason_of(event),
        trail=trail,
    )
