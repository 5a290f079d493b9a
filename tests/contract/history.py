"""Histories of runs and instances, and the contract's section 1 said a second time, to judge by.

Nothing here uses `consumer.core.statuses`: what both say alike is what the contract says.
"""

import functools
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from consumer.core import events
from consumer.core.events import Event, Execution
from tests.contract import trace

RUNS = ("run-1", "run-2")
INSTANCES = (trace.INSTANCE, "i-0aaaaaaaaaaaaaaaa")
STEPS = ("CHECKING", "WAITING", "STARTING", "VERIFYING")
ENDINGS = ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
LIFECYCLE = ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")
START_MS = round(trace.START.timestamp() * 1_000)
# Few moments, so that many are equal and what is compared after them decides.
MOMENTS_MS = st.sampled_from([1_000, 1_200, 1_900, 2_000, 3_000])


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """All that is said of a few runs and instances, each thing once."""
    said = [each for run in RUNS for redrive in range(2) for each in draw(_run(run, redrive))]
    return said + [each for instance in INSTANCES for each in draw(_instance(instance))]


@st.composite
def _run(draw: st.DrawFn, name: str, redrive: int) -> list[Event]:
    """One drive of a run: its steps, some of which were not published, and what others say."""
    said = []
    seqs = sorted(draw(st.sets(st.integers(1, 6), max_size=5)))
    for seq in seqs:
        ends = seq == seqs[-1] and draw(st.booleans())
        status = draw(st.sampled_from(ENDINGS if ends else STEPS))
        said.append(draw(_event("workflow", status, _execution(name, redrive, seq))))
    for source in draw(st.lists(st.sampled_from(["states", "reconcile", "inferred"]), max_size=4)):
        status = draw(st.sampled_from(ENDINGS if source == "inferred" else ("RUNNING", *ENDINGS)))
        said.append(draw(_event(source, status, _execution(name, redrive))))
    return said


@st.composite
def _instance(draw: st.DrawFn, instance: str) -> list[Event]:
    sources = draw(st.lists(st.sampled_from(["ec2", "reconcile"]), max_size=4))
    return [
        draw(_event(source, draw(st.sampled_from(LIFECYCLE)), None, instance)) for source in sources
    ]


@st.composite
def _event(
    draw: st.DrawFn, source: str, status: str, execution: Any, instance: str | None = None
) -> Event:
    error = draw(st.sampled_from([None, "A", "B"])) if status == "FAILED" else None
    if source == "workflow":
        instance = trace.INSTANCE
    elif execution is not None:
        instance = draw(st.sampled_from([None, trace.INSTANCE]))
    event: Event = events.decode(
        events.encode(
            Event(
                v=1,
                id=draw(st.uuids()).hex,
                source="reconcile" if source == "inferred" else source,  # type: ignore[arg-type]
                instance_id=instance,
                execution=execution,
                state=None,
                status=status,  # type: ignore[arg-type]
                time=events.timestamp(START_MS + draw(MOMENTS_MS)),
                terminal=status in (*ENDINGS, "terminated"),
                reason=error and {"error": error, "cause": None},  # type: ignore[arg-type]
                detail={"inferred": True} if source == "inferred" else {},
            )
        )
    )
    return event


def _execution(name: str, redrive: int, seq: int | None = None) -> Execution:
    return Execution(trace.arn(name), name, "standard", seq, redrive)


def newest(said: Iterable[Event]) -> Event:
    """Of what was said of one key, what comes last in the contract's order."""
    return functools.reduce(lambda one, other: other if _beats(other, one) else one, said)


def same(one: Event, other: Event) -> bool:
    """Whether two arrivals are one event."""
    if one.source == other.source == "workflow":
        return _step(one) == _step(other)
    return one.id == other.id


def _step(event: Event) -> tuple[str, int, int | None]:
    assert event.execution is not None
    return event.execution.arn, event.execution.redrive, event.execution.seq


def _beats(one: Event, other: Event) -> bool:
    """The contract's comparisons, in turn; the first that differs decides."""
    for compare in _RUN_COMPARISONS if one.execution else _INSTANCE_COMPARISONS:
        left, right = compare(one), compare(other)
        if left != right:
            return bool(left > right)
    return False


def _rank(event: Event) -> int:
    match event.source, event.terminal, bool(event.detail.get("inferred")):
        case "workflow", ended, _:
            return 4 if ended else 2
        case _, False, _:
            return 1
        case _, True, inferred:
            return 3 if inferred else 5
    raise AssertionError(event)


_RUN_COMPARISONS: Any = (
    lambda event: event.execution.redrive,
    _rank,
    lambda event: event.execution.seq or 0,
    lambda event: events.milliseconds(event.time),
    lambda event: event.id,
)
_INSTANCE_COMPARISONS: Any = (
    lambda event: events.milliseconds(event.time) // 1000,
    lambda event: event.source == "ec2",
    lambda event: LIFECYCLE.index(event.status),
    lambda event: event.id,
)


class Judge:
    """What becomes of each arrival, found by looking through everything that came before."""

    def __init__(self, retention_ms: int) -> None:
        self._retention_ms = retention_ms
        self._arrived: list[Event] = []
        self._remembered: list[Event] = []
        self._said: dict[str, tuple[str, str | None]] = {}  # key → what viewers were told last

    def take(self, event: Event, now_ms: int) -> str:
        if now_ms - events.milliseconds(event.time) > self._retention_ms:
            return "expired"
        if any(same(event, before) for before in self._remembered):
            return "repeat"
        verdict = self._compare(event)
        if verdict != "confirmation" or event.source != "reconcile":
            self._remembered.append(event)
        return verdict

    def _compare(self, event: Event) -> str:
        others = [before for before in self._arrived if before.key == event.key]
        self._arrived.append(event)
        if others and event.source != "workflow":
            status, error = self._said[event.key]
            if event.status == status and (event.error is None or event.error == error):
                return "confirmation"
        if others and newest([*others, event]) is not event:
            return "late"
        self._said[event.key] = event.status, event.error
        return "appended"
