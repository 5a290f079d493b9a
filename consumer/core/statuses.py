"""Newest wins: the one place that says which event of a key is current.

The order is total, so any order of arrival ends in the same status. Pure: no I/O, clock or logging.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct, structs

from consumer.core.events import EXECUTION_ENDINGS, Event

Order = tuple[int | str, ...]
"""A key's place in time; compared with others of the same key only."""


class Verdict(StrEnum):
    """What became of an event that arrived."""

    APPENDED = "appended"
    LATE = "late"  # appended and sent too, and changes nothing: it is not the newest of its key
    CONFIRMATION = "confirmation"
    REPEAT = "repeat"
    EXPIRED = "expired"

    @property
    def is_sent(self) -> bool:
        """Whether the event entered the log, and so goes out to clients."""
        return self in (Verdict.APPENDED, Verdict.LATE)


class Standing(Struct, frozen=True):
    """What a log keeps of a key, to judge the next event by."""

    status: str
    error: str | None
    order: Order
    instance_id: str | None = None
    """The instance that an execution is about, once anyone has told."""


_LIFECYCLE: Final = {
    status: rank
    for rank, status in enumerate(
        ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")
    )
}

# Ranks of what is said of an execution, lowest first.
_SERVICE_RUNNING, _STEP, _INFERRED_ENDING, _STEP_ENDING, _SERVICE_ENDING = range(5)


def order(event: Event) -> Order:
    """Where an event stands among those of its key."""
    run = event.execution
    if run is None:
        # EC2 tells whole seconds; our own call is stamped with the second in which it began.
        source = 0 if event.source == "reconcile" else 1
        return (event.time[:19], source, _LIFECYCLE[event.status], event.id)
    return (run.redrive, _rank(event), run.seq or 0, event.time, event.id)


def judge(event: Event, current: Standing | None) -> tuple[Verdict, Standing]:
    """What becomes of an event never seen before, and where its key stands afterwards."""
    place = order(event)
    if current is None:
        return Verdict.APPENDED, Standing(event.status, event.error, place, event.instance_id)
    newest = place > current.order
    first, second = (event, current) if newest else (current, event)
    instance_id = first.instance_id or second.instance_id
    if _confirms(event, current):
        last = max(place, current.order)
        return Verdict.CONFIRMATION, Standing(current.status, current.error, last, instance_id)
    if newest:
        return Verdict.APPENDED, Standing(event.status, event.error, place, instance_id)
    return Verdict.LATE, structs.replace(current, instance_id=instance_id)


def complete(event: Event, standing: Standing) -> Event:
    """The event with the instance that others of its key told of, if it has none itself.

    EventBridge leaves a long input out, and with it the instance:
    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    if event.instance_id == standing.instance_id or event.instance_id is not None:
        return event
    return structs.replace(event, instance_id=standing.instance_id)


def _rank(event: Event) -> int:
    ending = event.terminal or event.status in EXECUTION_ENDINGS
    if event.source == "workflow":
        return _STEP_ENDING if ending else _STEP
    if not ending:
        return _SERVICE_RUNNING
    # An ending that nobody reported, concluded from silence, says so.
    return _INFERRED_ENDING if event.detail.get("inferred") is True else _SERVICE_ENDING


def _confirms(event: Event, current: Standing) -> bool:
    """Whether an event repeats what is known; every publish step is worth telling."""
    return (
        event.source != "workflow"
        and event.status == current.status
        and event.error in (None, current.error)
    )
