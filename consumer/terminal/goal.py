"""What `--until` waits for: a pure decision on what is told.

A pattern that names one thing is judged by how that thing stands, so the snapshot counts. One
that covers many waits for something to happen, so it does not. All patterns must be reached, each
once; the first thing that can never get there ends the waiting. Late events count for nothing.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, Protocol

from msgspec import Struct

from consumer.core.events import EXECUTION_STATUSES, INSTANCE_STATUSES
from consumer.terminal.events import Event, is_inferred, key_of, reason_of

GOING: Final = frozenset({"shutting-down", "terminated"})  # no instance comes back from these


class BadGoal(Exception):
    """Statuses that are none, or that these patterns can never show. Who typed them must act."""


class Outcome(Struct, frozen=True):
    """How the waiting ended. `event` decided it; `text` says it in one line."""

    is_reached: bool
    text: str
    event: Event


class Condition(Protocol):
    """What one pattern waits for. `is_heard`: whether anything that it names was ever told of.

    `stands`: it is judged by how a thing stands, so every snapshot is looked at like the first.
    """

    pattern: str
    is_heard: bool
    stands: bool

    def begin(self, events: Sequence[Event]) -> Outcome | None:
        """The first snapshot, newest of a key last."""

    def hear(self, event: Event) -> Outcome | None:
        """An event that is the newest of its key."""


class Goal:
    """All conditions together."""

    def __init__(self, patterns: Sequence[str], statuses: Iterable[str]) -> None:
        """Raises `BadGoal`."""
        wanted = check(patterns, statuses)
        self._open: list[Condition] = [_condition(pattern, wanted) for pattern in patterns]
        self._seen: dict[str, object] = {}  # each key's newest event, by its id
        self._has_begun = False

    @property
    def unheard(self) -> list[str]:
        """Patterns that name what nobody has told of yet: misspelled, or just quiet."""
        return [each.pattern for each in self._open if not each.is_heard]

    def snapshot(self, events: Sequence[Event]) -> Outcome | None:
        """What stands. One after a gap tells what has happened since, as far as it shows."""
        if self._has_begun:
            return self._catch_up(events)
        self._has_begun = True
        for event in events:
            self._seen[key_of(event)] = event.get("id")
        return self._settle([(each, each.begin(events)) for each in self._open], None)

    def hear(self, event: Event, *, is_late: bool = False) -> Outcome | None:
        """An event of the stream."""
        if is_late:
            return None
        self._seen[key_of(event)] = event.get("id")
        return self._settle([(each, each.hear(event)) for each in self._open], event)

    def _catch_up(self, events: Sequence[Event]) -> Outcome | None:
        newest = {key_of(event): event for event in events}
        # What stood before us, or was heard, is no news.
        news = [each for key, each in newest.items() if self._seen.get(key) != each.get("id")]
        self._seen = {key: each.get("id") for key, each in newest.items()}
        return self._settle(
            [
                (each, each.begin(events) if each.stands else _first(each, news))
                for each in self._open
            ],
            None,
        )

    def _settle(
        self, judged: Sequence[tuple[Condition, Outcome | None]], last: Event | None
    ) -> Outcome | None:
        failed = [outcome for _, outcome in judged if outcome and not outcome.is_reached]
        if failed:
            return failed[0]
        self._open = [each for each, outcome in judged if outcome is None]
        reached = [outcome for _, outcome in judged if outcome]
        if self._open or not reached:
            return None
        texts = dict.fromkeys(outcome.text for outcome in reached)
        return Outcome(True, "; ".join(texts), last or reached[-1].event)


def _first(condition: Condition, news: Iterable[Event]) -> Outcome | None:
    return next((outcome for event in news if (outcome := condition.hear(event))), None)


def check(patterns: Sequence[str], statuses: Iterable[str]) -> frozenset[str]:
    """The statuses, if these patterns can show them. Raises `BadGoal`."""
    wanted = frozenset(statuses)
    known = EXECUTION_STATUSES | INSTANCE_STATUSES
    for status in sorted(wanted - known):
        near = [each for each in known if each.lower() == status.lower()]
        near = near or get_close_matches(status.upper(), known) or get_close_matches(status, known)
        hint = f"did you mean {' or '.join(sorted(near))}?" if near else _all_statuses()
        raise BadGoal(f"{status} is no status: {hint}")
    if wanted & EXECUTION_STATUSES and wanted & INSTANCE_STATUSES:
        raise BadGoal(
            "statuses of executions (capitals) and of instances cannot be waited for at once"
        )
    if wanted & INSTANCE_STATUSES:
        for pattern in patterns:
            if pattern.startswith(("execution:", "machine:")):
                which = ", ".join(sorted(wanted))
                raise BadGoal(f"{pattern} shows executions, and {which} is a status of instances")
    return wanted


def _all_statuses() -> str:
    return (
        f"executions have {', '.join(sorted(EXECUTION_STATUSES))};"
        f" instances {', '.join(sorted(INSTANCE_STATUSES))}"
    )


def _condition(pattern: str, wanted: frozenset[str]) -> Condition:
    kind = pattern.partition(":")[0]
    if kind == "execution":
        return _Run(pattern, wanted)
    if kind == "instance":
        of_instances = bool(wanted & INSTANCE_STATUSES)
        return _Instance(pattern, wanted) if of_instances else _NextRun(pattern, wanted)
    return _Anything(pattern, wanted)


class _Instance:
    """An instance as it stands, and what becomes of it."""

    stands = True

    def __init__(self, pattern: str, wanted: frozenset[str]) -> None:
        self.pattern = pattern
        self.is_heard = False
        self._wanted = wanted

    def begin(self, events: Sequence[Event]) -> Outcome | None:
        for event in events:
            if outcome := self.hear(event):
                return outcome
        return None

    def hear(self, event: Event) -> Outcome | None:
        if key_of(event) != self.pattern:
            return None
        self.is_heard = True
        status = event["status"]
        if status in self._wanted:
            return Outcome(True, told(event), event)
        if status in GOING and (status == "terminated" or not self._wanted & GOING):
            return Outcome(False, told(event), event)
        return None


class _Run:
    """An execution by ARN, or the latest one of a name; its steps so far count."""

    stands = True

    def __init__(self, pattern: str, wanted: frozenset[str]) -> None:
        self.pattern = pattern
        self.is_heard = False
        self._wanted = wanted
        self._is_arn = pattern.startswith("execution:arn:")

    def begin(self, events: Sequence[Event]) -> Outcome | None:
        newest = {key_of(event): event for event in events if self._is_it(event)}
        if not newest:
            return None
        self.is_heard = True
        # Names of Express runs repeat: the one that was heard of last is meant.
        last = max(newest.values(), key=lambda event: str(event["time"]))
        run = [event for event in events if key_of(event) == key_of(last)]
        for event in run:
            # A redriven run begins anew: what it was before counts no more.
            if event["status"] in self._wanted and _redrive(event) == _redrive(last):
                return Outcome(True, told(event), event)
        return self._judge(last)

    def hear(self, event: Event) -> Outcome | None:
        if not self._is_it(event):
            return None
        self.is_heard = True
        return self._judge(event)

    def _is_it(self, event: Event) -> bool:
        run = event.get("execution")
        named = run and (run["arn"] if self._is_arn else run["name"])
        return bool(run) and f"execution:{named}" == self.pattern

    def _judge(self, event: Event) -> Outcome | None:
        if event["status"] in self._wanted:
            return Outcome(True, told(event), event)
        return Outcome(False, told(event), event) if event["terminal"] else None


class _NextRun:
    """The next run of an instance that gets there or ends; one that had ended before is history."""

    stands = False

    def __init__(self, pattern: str, wanted: frozenset[str]) -> None:
        self.pattern = pattern
        self.is_heard = True  # it waits for what has not begun: that is nothing odd
        self._wanted = wanted

    def begin(self, events: Sequence[Event]) -> Outcome | None:
        newest = {key_of(event): event for event in events}
        for event in newest.values():
            if not event["terminal"] and (outcome := self.hear(event)):
                return outcome
        return None

    def hear(self, event: Event) -> Outcome | None:
        if not event.get("execution") or f"instance:{event.get('instance_id')}" != self.pattern:
            return None
        if event["status"] in self._wanted:
            return Outcome(True, told(event), event)
        return Outcome(False, told(event), event) if event["terminal"] else None


class _Anything:
    """Whatever gets there next, of the many that a machine or `*` covers; it cannot fail."""

    stands = False

    def __init__(self, pattern: str, wanted: frozenset[str]) -> None:
        self.pattern = pattern
        self.is_heard = True
        self._wanted = wanted

    def begin(self, events: Sequence[Event]) -> Outcome | None:
        del events  # what was so before is not what one waits for
        return None

    def hear(self, event: Event) -> Outcome | None:
        run = event.get("execution")
        covers = self.pattern == "*" or (run and f"machine:{run['machine']}" == self.pattern)
        if covers and event["status"] in self._wanted:
            return Outcome(True, told(event), event)
        return None


def _redrive(event: Event) -> int:
    redrive: int = event["execution"].get("redrive", 0)
    return redrive


def told(event: Event) -> str:
    """An event in one line: what it is about, its status, its reason."""
    run = event.get("execution")
    what = f"{run['machine']} run {run['name']}" if run else str(event.get("instance_id"))
    inferred = " (inferred from silence)" if is_inferred(event) else ""
    reason = reason_of(event)
    return f"{what}: {event['status']}{inferred}" + (f" ({reason})" if reason else "")
