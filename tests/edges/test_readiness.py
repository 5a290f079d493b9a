"""Readiness: said by name, and taken back when it is over."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from consumer.pipeline import Gate
from consumer.readiness import Readiness, patience_s


@dataclass
class Parts:
    """What readiness looks at, all in order; `now_s` is the clock."""

    gate: Gate = field(default_factory=lambda: Gate(lambda: 0))
    queues: list[Any] = field(
        default_factory=lambda: [
            SimpleNamespace(name=name, answered_s=100.0) for name in ("status", "service")
        ]
    )
    has_keys: bool = True
    is_draining: bool = False
    now_s: float = 100.0

    def missing(self) -> list[str]:
        return Readiness(
            self.gate,
            self.queues,
            patience_s=60.0,
            has_keys=lambda: self.has_keys,
            is_draining=lambda: self.is_draining,
            clock=lambda: self.now_s,
        ).missing()


def test_nothing_is_missing_when_all_is_there() -> None:
    """Log, both queues, keys, and no end in sight."""
    assert Parts().missing() == []


def test_before_the_queues_are_open_nothing_is_ready() -> None:
    """None of them silent is not the same as all of them heard."""
    assert Parts(queues=[]).missing() == ["queues"]


def test_a_queue_that_never_answered_is_missing() -> None:
    """By its name, for its address may be the wrong one."""
    parts = Parts()
    parts.queues[1].answered_s = None
    assert parts.missing() == ["service queue"]


def test_a_queue_that_fell_silent_is_missing_until_it_answers_again() -> None:
    """Once is not enough: what answered an hour ago says nothing about now."""
    parts = Parts(now_s=160.0)
    assert parts.missing() == []
    parts.now_s = 160.1
    parts.queues[0].answered_s = 150.0
    assert parts.missing() == ["service queue"]
    parts.queues[1].answered_s = 160.0
    assert parts.missing() == []


def test_one_lost_poll_is_no_reason() -> None:
    """A poll that hangs until its end, and the next one that is answered at its own end."""
    assert patience_s(20) >= (20 + 10) + 20


def test_a_log_that_refuses_is_missing() -> None:
    """Its disk may be full: what comes in can't be shown."""
    parts = Parts()
    parts.gate.refusals = 1
    assert parts.missing() == ["log"]


def test_keys_that_are_not_there_are_missing() -> None:
    """Every viewer would be told to come back later."""
    assert Parts(has_keys=False).missing() == ["token keys"]


def test_who_drains_is_not_ready() -> None:
    """New viewers go elsewhere; all reasons are told together."""
    assert Parts(is_draining=True, has_keys=False).missing() == ["draining", "token keys"]
