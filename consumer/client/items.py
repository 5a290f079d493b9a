"""What a stream yields: told apart by type, each a plain value."""

from dataclasses import dataclass
from typing import Any, Literal, TypedDict


class Execution(TypedDict):
    """Of which run an event speaks."""

    arn: str
    name: str
    machine: Literal["express", "standard"]
    seq: int | None
    redrive: int


class Event(TypedDict):
    """A status event, contract version 1, as it came; later versions may add fields.

    `infra/status-event.schema.json` says what each means.
    """

    v: Literal[1]
    id: str
    source: Literal["workflow", "states", "ec2", "reconcile"]
    instance_id: str | None
    execution: Execution | None
    state: str | None
    status: str
    time: str
    terminal: bool
    reason: dict[str, Any] | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What stands: the newest event of every key, and all those of a run watched by name or ARN.

    Always whole. It replaces everything that was known.
    """

    events: tuple[Event, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Status:
    """One event, as it happens or made up for. A late one is not the newest of its key."""

    event: Event
    late: bool
    cursor: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Everything that was missed while there was no connection has been yielded."""

    cursor: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Some events were missed for good; a `Snapshot` follows."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """This client was slow: so many events, of whose keys there are newer ones, are left out."""

    count: int
    cursor: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The server is there. `lag_ms`: the age of its newest event when that was sent, if any."""

    lag_ms: int | None


@dataclass(frozen=True, slots=True)
class Live:
    """From here on, what is shown is what is."""


@dataclass(frozen=True, slots=True)
class Stale:
    """What is shown may be old: nothing was heard for two heartbeats, or the server's log is away.

    `Live` says that this is over, `Lost` that the connection is.
    """

    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """There is no connection; the next attempt is made after so many seconds."""

    why: str
    retry_s: float


Item = Snapshot | Status | Resumed | Gap | Skipped | Heartbeat | Live | Stale | Lost
