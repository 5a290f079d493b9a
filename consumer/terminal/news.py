"""What a viewer is told, in order: the stream's events and how the connection fares.

An event is the JSON object of the contract as it came: fields that are added later go through.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Event = Mapping[str, Any]
State = Literal["connecting", "live", "stale", "reconnecting"]


class Connection(Struct, frozen=True):
    """How it fares from now on. `why` is empty while all is well; `retry_s` until the next try."""

    state: State
    why: str = ""
    retry_s: float | None = None


class Snapshot(Struct, frozen=True):
    """All that matches, whole: it replaces what was known. Newest of a key last."""

    events: tuple[Event, ...]
    cursor: str | None = None


class Status(Struct, frozen=True):
    """One event. A late one changes nothing of what is known."""

    event: Event
    cursor: str | None = None
    is_late: bool = False


class Resumed(Struct, frozen=True):
    """Back in a new connection, and nothing was missed."""

    cursor: str | None = None


class Gap(Struct, frozen=True):
    """Events were missed for good; a snapshot follows."""


class Skipped(Struct, frozen=True):
    """So many events were left out, but the newest of every key came or comes."""

    count: int


class Lag(Struct, frozen=True):
    """A heartbeat: how old the newest event was when it was sent."""

    ms: float


News = Connection | Snapshot | Status | Resumed | Gap | Skipped | Lag


def key_of(event: Event) -> str:
    """What an event is the status of: `execution:<ARN>`, else `instance:<id>`."""
    run = event.get("execution")
    return f"execution:{run['arn']}" if run else f"instance:{event.get('instance_id')}"


def reason_of(event: Event) -> str:
    """Its reason in one line, in EC2's words too; empty where there is none."""
    reason = event.get("reason") or {}
    error = reason.get("error") or reason.get("code") or reason.get("Code")
    cause = reason.get("cause") or reason.get("message") or reason.get("Message")
    return ": ".join(str(part) for part in (error, cause) if part)


def is_inferred(event: Event) -> bool:
    """Whether nobody reported this ending: it was concluded from silence, and may be corrected."""
    return (event.get("detail") or {}).get("inferred") is True
