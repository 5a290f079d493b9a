"""What `--until` waits for."""

from typing import Any

import pytest

from consumer.terminal.goal import BadGoal, Goal
from tests.terminal.telling import FAILURE, INSTANCE, OTHER, STANDARD, instance, run

THIS, THAT = f"instance:{INSTANCE}", f"instance:{OTHER}"


def goal(*patterns: str, until: str = "SUCCEEDED", stands: Any = ()) -> Goal:
    """One that has had its first snapshot, which decided nothing."""
    made = Goal(patterns, until.split())
    assert made.snapshot(stands) is None
    return made


def test_an_instance_that_is_there_already_counts_at_once() -> None:
    """A script that comes late does not wait."""
    outcome = Goal([THIS], ["running"]).snapshot([instance("running")])
    assert outcome is not None
    assert outcome.is_reached
    assert outcome.text == f"{INSTANCE}: running"


def test_an_instance_gets_there() -> None:
    """What it passes on its way, and other instances, count for nothing."""
    waiting = goal(THIS, until="running", stands=[instance("stopped")])
    assert waiting.hear(instance("pending", second=2)) is None
    assert waiting.hear(instance("running", of=OTHER, second=3)) is None
    outcome = waiting.hear(instance("running", second=4))
    assert outcome is not None
    assert outcome.is_reached


def test_a_late_event_decides_nothing() -> None:
    """Something newer is known already."""
    waiting = goal(THIS, until="running", stands=[instance("stopped", second=9)])
    assert waiting.hear(instance("running", second=2), is_late=True) is None


@pytest.mark.parametrize("status", ["terminated", "shutting-down"])
def test_an_instance_that_goes_for_good_never_gets_there(status: str) -> None:
    """Nothing comes back from these; a stop on the way to running is no end."""
    waiting = goal(THIS, until="running", stands=[instance("running", of=OTHER)])
    assert waiting.hear(instance("stopping", second=2)) is None
    outcome = waiting.hear(instance(status, second=3))
    assert outcome is not None
    assert not outcome.is_reached


def test_an_instance_may_be_waited_for_until_it_is_gone() -> None:
    """Then its going is no failure."""
    waiting = goal(THIS, until="terminated")
    assert waiting.hear(instance("shutting-down")) is None
    outcome = waiting.hear(instance("terminated", second=2))
    assert outcome is not None
    assert outcome.is_reached


def test_a_run_that_fails_ends_the_waiting_with_its_reason() -> None:
    """A script reads the reason in the log of its pipeline."""
    waiting = goal("execution:nightly-7", stands=[run("CHECKING")])
    outcome = waiting.hear(run("FAILED", seq=2, reason=FAILURE))
    assert outcome is not None
    assert not outcome.is_reached
    assert outcome.text == (
        "standard run nightly-7: FAILED (InsufficientCapacity: EC2 has no room for it now)"
    )


def test_a_run_that_had_ended_counts_as_it_ended() -> None:
    """By name or by ARN, either way."""
    for pattern in ("execution:nightly-7", f"execution:{STANDARD}:nightly-7"):
        outcome = Goal([pattern], ["SUCCEEDED"]).snapshot([run("CHECKING"), run("FAILED", seq=2)])
        assert outcome is not None
        assert not outcome.is_reached


def test_a_step_that_a_run_has_passed_counts() -> None:
    """The snapshot of one execution tells all its steps."""
    outcome = Goal(["execution:nightly-7"], ["STARTING"]).snapshot(
        [run("CHECKING"), run("STARTING", seq=2), run("SUCCEEDED", seq=3)]
    )
    assert outcome is not None
    assert outcome.is_reached


def test_what_a_run_was_before_it_was_redriven_counts_no_more() -> None:
    """It begins anew."""
    waiting = goal(
        "execution:nightly-7", until="FAILED", stands=[run("FAILED"), run("CHECKING", redrive=1)]
    )
    outcome = waiting.hear(run("SUCCEEDED", seq=2, redrive=1))
    assert outcome is not None
    assert not outcome.is_reached


def test_of_runs_with_one_name_the_last_is_meant() -> None:
    """Names of Express runs may repeat; yesterday's success is no success of today's."""
    yesterdays = run("SUCCEEDED", machine="express", part="1")
    waiting = goal(
        "execution:nightly-7", stands=[yesterdays, run("CHECKING", machine="express", part="2")]
    )
    outcome = waiting.hear(run("FAILED", machine="express", part="2", seq=2))
    assert outcome is not None
    assert not outcome.is_reached


def test_an_inferred_ending_says_that_it_is() -> None:
    """It may be corrected."""
    waiting = goal("execution:nightly-7")
    outcome = waiting.hear(run("TIMED_OUT", detail={"inferred": True}))
    assert outcome is not None
    assert outcome.text.endswith("TIMED_OUT (inferred from silence)")


def test_an_instances_next_run_is_waited_for() -> None:
    """One that had ended before is history; one under way counts."""
    old = run("SUCCEEDED", name="yesterday")
    waiting = goal(THIS, stands=[old, run("CHECKING", name="today"), instance("stopped")])
    assert waiting.hear(run("SUCCEEDED", name="others", of=OTHER)) is None
    outcome = waiting.hear(run("FAILED", name="today", seq=2, reason=FAILURE))
    assert outcome is not None
    assert not outcome.is_reached
    assert "today: FAILED" in outcome.text


def test_where_a_pattern_covers_many_the_next_one_counts() -> None:
    """What stands was so before; an ending of another kind is somebody else's."""
    waiting = goal("machine:standard", until="FAILED", stands=[run("FAILED", name="old")])
    assert waiting.hear(run("SUCCEEDED", name="a")) is None
    assert waiting.hear(run("FAILED", name="b", machine="express")) is None
    outcome = waiting.hear(run("FAILED", name="c"))
    assert outcome is not None
    assert outcome.is_reached


def test_everything_covers_instances_too() -> None:
    """`*` and a status of instances."""
    waiting = goal("*", until="terminated stopping")
    assert waiting.hear(instance("stopped")) is None
    outcome = waiting.hear(instance("stopping", second=2))
    assert outcome is not None
    assert outcome.is_reached


def test_all_patterns_must_be_reached_each_once() -> None:
    """One may have moved on while the other is still on its way."""
    waiting = goal(THIS, THAT, until="running")
    assert waiting.hear(instance("running")) is None
    assert waiting.hear(instance("stopping", second=2)) is None
    outcome = waiting.hear(instance("running", of=OTHER, second=3))
    assert outcome is not None
    assert outcome.is_reached


def test_the_first_that_cannot_get_there_ends_the_waiting() -> None:
    """Whatever the others do."""
    waiting = goal(THIS, THAT, until="running")
    outcome = waiting.hear(instance("terminated"))
    assert outcome is not None
    assert not outcome.is_reached


def test_after_a_gap_what_changed_meanwhile_counts() -> None:
    """What stood before the gap does not; nor does what was heard."""
    old, heard = run("FAILED", name="old"), run("CHECKING", name="new")
    waiting = goal("machine:standard", until="FAILED", stands=[old])
    assert waiting.hear(heard) is None
    assert waiting.snapshot([old, heard]) is None
    outcome = waiting.snapshot([old, run("FAILED", name="new", seq=2)])
    assert outcome is not None
    assert outcome.is_reached


def test_after_a_gap_a_named_thing_is_looked_at_as_it_stands() -> None:
    """Its steps, too, where the snapshot tells them."""
    waiting = goal("execution:nightly-7", until="STARTING", stands=[run("CHECKING")])
    outcome = waiting.snapshot([run("CHECKING"), run("STARTING", seq=2), run("SUCCEEDED", seq=3)])
    assert outcome is not None
    assert outcome.is_reached


def test_what_nobody_has_heard_of_is_known() -> None:
    """It may be misspelled."""
    assert goal(THIS, THAT, until="running", stands=[instance("stopped")]).unheard == [THAT]
    assert goal(THIS, "*").unheard == []


@pytest.mark.parametrize(
    ("pattern", "statuses", "hint"),
    [
        ("*", ["succeeded"], "did you mean SUCCEEDED"),
        ("*", ["RUNNING", "running"], "at once"),
        ("*", ["Running"], "RUNNING or running"),
        ("*", ["gone"], "executions have"),
        ("execution:x", ["running"], "shows executions"),
        ("machine:express", ["stopped"], "shows executions"),
    ],
)
def test_what_can_never_come_is_refused(pattern: str, statuses: list[str], hint: str) -> None:
    """Rather than waited for."""
    with pytest.raises(BadGoal, match=hint):
        Goal([pattern], statuses)
