"""Newest wins: the one place that says which event of a key is current.

The order is total, so any order of arrival ends in the same status. Pure: no I/O, clock or logging.
"""

from enum import StrEnum
from typing import Final

from msgspec import Struct, structs

from consumer.core.events import EXECUTION_ENDINGS, Event

Order = tuple[int | str, ...]
"""A key's place in time; compared with others of the same key only."""
Steps = tuple[tuple[int, int, int], ...]
"""Publish steps: `(redrive, first seq, last seq)` of each run without a hole, in any order.

A run of a machine whose steps all arrived is one of these, however long it is.
"""


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
        return self in _SENT


# Looked up once: on Python 3.11 each `Verdict.LATE` takes 0.2 µs, and judging took five of them.
APPENDED, LATE, CONFIRMATION, REPEAT, EXPIRED = Verdict
_SENT: Final = frozenset({APPENDED, LATE})


class Standing(Struct, frozen=True, gc=False):
    """What a log keeps of a key, to judge the next event by."""

    status: str
    error: str | None
    order: Order
    instance_id: str | None = None
    """The instance that an execution is about, once anyone has told."""
    steps: Steps = ()
    """The publish steps that have been taken."""


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
    """What becomes of an event, and where its key stands afterwards.

    Whether another than a publish step comes for the first time is the caller's to know.
    """
    place = order(event)
    step = event.step
    if current is None:
        first_steps = () if step is None else ((step[0], step[1], step[1]),)
        told = Standing(event.status, event.error, place, event.instance_id, first_steps)
        return APPENDED, told
    steps = current.steps
    if step is not None:
        if (joined := _with(steps, *step)) is None:
            return REPEAT, current
        steps = joined
    newest = place > current.order
    first, second = (event, current) if newest else (current, event)
    instance_id = first.instance_id or second.instance_id
    if _confirms(event, current):
        last = max(place, current.order)
        raised = Standing(current.status, current.error, last, instance_id, steps)
        return CONFIRMATION, raised
    if newest:
        return APPENDED, Standing(event.status, event.error, place, instance_id, steps)
    as_it_was = Standing(current.status, current.error, current.order, instance_id, steps)
    return LATE, as_it_was


def is_remembered(event: Event, verdict: Verdict) -> bool:
    """Whether an event must be known when it comes again, by what its key stands at or by its `id`.

    Not what our own looks confirm, which is in no queue to be delivered again: a sweep of 2,000
    instances every 300 s would leave 576,000 of them a day.
    """
    return verdict.is_sent or event.source != "reconcile"


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


def _with(steps: Steps, redrive: int, seq: int) -> Steps | None:
    """With one more step, in one with its neighbours; None where it is among them."""
    first = last = seq
    others = []
    for each in steps:
        drive, begin, end = each
        if drive != redrive or seq < begin - 1 or seq > end + 1:
            others.append(each)
        elif seq < begin:
            last = end
        elif seq > end:
            first = begin
        else:
            return None
    return (*others, (redrive, first, last))
