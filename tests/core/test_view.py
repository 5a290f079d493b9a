"""The newest entry of every key."""

from consumer.core import events
from consumer.core.view import View
from tests.core import examples


def test_newest_by_pattern() -> None:
    """A key is found by the patterns that its newest event matches, and by those alone."""
    view = View()
    first, second = examples.step(1), examples.step(2, instance_id=None)
    view.apply(examples.entry(1, first))
    other = examples.entry(2, examples.step(1, run="run-2"))
    view.apply(other)
    newest = examples.entry(3, second)
    view.apply(newest)
    assert view.matching(["*"]) == [other, newest]
    assert view.matching([f"instance:{examples.INSTANCE}"]) == [other]
    assert view.matching(["execution:run-1", "machine:standard"]) == [other, newest]
    assert view.matching(["machine:express"]) == []
    assert len(view) == 2


def test_a_key_that_changes_moves_to_the_end() -> None:
    """A snapshot is in the order of the log, whichever way its keys were found."""
    view = View()
    view.apply(examples.entry(1, examples.step(1)))
    other, newest = examples.entry(2, examples.step(1, run="run-2")), None
    view.apply(other)
    for place in (3, 4):
        newest = examples.entry(place, examples.step(place))
        view.apply(newest)
    for pattern in ("*", "machine:standard", f"instance:{examples.INSTANCE}"):
        assert view.matching([pattern]) == [other, newest]


def test_a_late_entry_changes_nothing() -> None:
    """Late entries are history, not status."""
    view = View()
    newest = examples.entry(1, examples.step(2))
    view.apply(newest)
    view.apply(examples.entry(2, examples.step(1), late=True))
    assert view.matching(["*"]) == [newest]


def test_an_instance_that_is_told_late_leads_to_the_newest() -> None:
    """Who watches the instance sees the status of a run whose first events did not name it."""
    view = View()
    view.apply(examples.entry(1, examples.step(2, instance_id=None)))
    assert view.matching([f"instance:{examples.INSTANCE}"]) == []
    view.apply(examples.entry(2, examples.step(1), late=True))
    (found,) = view.matching([f"instance:{examples.INSTANCE}"])
    assert (found.place, found.event) == (1, examples.step(2))


def test_a_late_entry_of_a_forgotten_key_changes_nothing() -> None:
    """It is history of something that is not shown."""
    view = View()
    view.apply(examples.entry(2, examples.step(1), late=True))
    assert len(view) == 0


def test_the_ended_fade_out() -> None:
    """What ended long ago is let go of; what goes on is kept, however old."""
    view = View()
    view.apply(examples.entry(1, examples.step(1)))
    ended = examples.step(5, "SUCCEEDED", run="run-2")
    view.apply(examples.entry(2, ended))
    ended_ms = events.milliseconds(ended.time)
    assert view.forget_ended(ended_ms) == 0
    assert view.forget_ended(ended_ms + 1) == 1
    assert [entry.place for entry in view.matching(["*"])] == [1]


def test_what_fades_out_leaves_nothing_behind() -> None:
    """Each execution has patterns of its own: kept, they would pile up for ever."""
    view = View()
    view.apply(examples.entry(1, examples.step(5, "SUCCEEDED")))
    assert view.forget_ended(10**15) == 1
    assert not any(vars(view).values())
