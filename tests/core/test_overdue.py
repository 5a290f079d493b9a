"""Who has been silent for too long, by our own clock."""

from typing import Any

import pytest

from consumer.core.events import Event
from consumer.core.overdue import EXPRESS_S, Overdue
from tests.core import examples

QUIET_S = 60.0


def standard(run: str = "run-1", status: str = "WAITING") -> Event:
    return examples.step(run=run, status=status)


def express(**changes: Any) -> Event:
    body = examples.step_body(**changes)
    body["execution"]["machine"] = "express"
    return examples.decode(body)


def listener(*heard: tuple[float, Event]) -> Overdue:
    overdue = Overdue(QUIET_S)
    for at_s, event in heard:
        overdue.hear(examples.entry(1, event), at_s)
    return overdue


def test_an_execution_is_due_when_it_has_been_silent_for_its_bound() -> None:
    """Neither sooner, nor by what its own clock says."""
    event = standard()
    overdue = listener((1000.0, event))
    assert overdue.due(1000.0 + QUIET_S - 0.1) == []
    assert overdue.due(1000.0 + QUIET_S) == [event]


def test_an_express_run_has_its_own_bound() -> None:
    """Its 25 s and the minute that SQS takes to count what it sent."""
    event = express()
    overdue = listener((0.0, event))
    assert overdue.due(EXPRESS_S - 0.1) == []
    assert overdue.due(EXPRESS_S) == [event]
    assert EXPRESS_S > 85


def test_the_longest_silence_comes_first() -> None:
    """Where not all can be asked about at once, nobody waits for ever."""
    overdue = listener((5.0, standard("b")), (0.0, standard("a")), (9.0, standard("c")))
    assert [event.execution and event.execution.name for event in overdue.due(900.0)] == [
        "a", "b", "c",
    ]  # fmt: skip


def test_whoever_speaks_is_not_silent() -> None:
    """The time counts from the last word, and the newest event is the one to ask with."""
    later = standard(status="CHECKING")
    overdue = listener((0.0, standard()), (50.0, later))
    assert overdue.due(QUIET_S) == []
    assert overdue.due(50.0 + QUIET_S) == [later]


def test_a_late_word_is_a_word_too() -> None:
    """It breaks the silence and does not become the newest; it opens nothing that has ended."""
    newest = standard(status="CHECKING")
    overdue = listener((0.0, newest))
    overdue.hear(examples.entry(1, standard(), late=True), 50.0)
    assert overdue.due(QUIET_S) == []
    assert overdue.due(50.0 + QUIET_S) == [newest]
    ended = listener((0.0, standard(status="SUCCEEDED")))
    ended.hear(examples.entry(1, standard(), late=True), 1.0)
    assert ended.due(10_000.0) == []


def test_an_ending_ends_it() -> None:
    """Whether or not it was known before, or says that nothing follows."""
    overdue = listener((0.0, standard()), (1.0, standard(status="FAILED")))
    overdue.hear(examples.entry(1, standard("other", status="SUCCEEDED")), 1.0)
    assert overdue.due(10_000.0) == []
    for end in (
        express(status="TIMED_OUT", terminal=False),
        express(status="WAITING", terminal=True),
    ):
        assert listener((0.0, express()), (1.0, end)).due(10_000.0) == []


def test_pauses_between_questions_grow() -> None:
    """Twice as long each time, up to ten minutes; a word begins anew."""
    event = standard()
    overdue = listener((0.0, event))
    now_s, pauses = QUIET_S, []
    for _ in range(6):
        assert overdue.put_off(event.key, now_s)
        asked_s = now_s
        while not overdue.due(now_s):
            now_s += 1
        pauses.append(now_s - asked_s)
    assert pauses == [120, 240, 480, 600, 600, 600]
    overdue.hear(examples.entry(1, event), now_s)
    assert overdue.due(now_s + QUIET_S) == [event]


def test_a_long_bound_never_shrinks() -> None:
    """Who chose an hour is not asked about every ten minutes."""
    overdue = Overdue(3600.0)
    event = standard()
    overdue.hear(examples.entry(1, event), 0.0)
    assert overdue.put_off(event.key, 3600.0)
    assert overdue.due(7199.0) == []
    assert overdue.due(7200.0) == [event]


@pytest.mark.parametrize("status", ["CHECKING", "SUCCEEDED"])
def test_who_spoke_meanwhile_is_not_asked_about(status: str) -> None:
    """Found due, and heard of before its turn came."""
    event = standard()
    overdue = listener((0.0, event))
    assert overdue.due(QUIET_S) == [event]
    overdue.hear(examples.entry(1, standard(status=status)), QUIET_S)
    assert not overdue.put_off(event.key, QUIET_S)
