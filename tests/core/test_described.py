"""What Describe calls answered, as events: they obey the contract, and the order."""

import msgspec
import pytest

from consumer.core import described, events, statuses
from consumer.core.events import Event
from tests.core import examples

NOW_MS = events.milliseconds("2026-01-01T00:01:00.789Z")


def as_sent(event: Event) -> Event:
    """As any reader of the contract would decode it."""
    return events.decode(events.encode(event))


def test_an_instance_is_stamped_with_the_second_in_which_the_call_began() -> None:
    """So that what EC2 told within it goes first, and what it told before does not."""
    event = described.instance(examples.INSTANCE, "running", NOW_MS, {"name": "web-1"})
    assert as_sent(event) == event
    assert (event.key, event.time) == (f"instance:{examples.INSTANCE}", "2026-01-01T00:01:00.000Z")
    assert (event.source, event.detail, event.terminal) == ("reconcile", {"name": "web-1"}, False)
    told = examples.decode(examples.instance_change() | {"time": "2026-01-01T00:01:00Z"})
    assert statuses.order(event) < statuses.order(told)
    assert described.instance(examples.INSTANCE, "terminated", NOW_MS, {}).terminal


def test_each_look_at_an_instance_is_an_event_of_its_own() -> None:
    """Unchanged or not; what is unchanged is a confirmation by the log's rule, not a repeat."""
    looks = [described.instance(examples.INSTANCE, "running", NOW_MS + n, {}) for n in (0, 1000)]
    looks.append(described.instance(examples.INSTANCE, "stopped", NOW_MS, {}))
    assert len({look.identity for look in looks}) == 3


def test_an_ending_is_told_of_the_execution_and_its_instance() -> None:
    """With the service's time and reason, cut to what an event may hold."""
    newest = examples.step(seq=3, status="STOPPING")
    event = described.ending(newest, "FAILED", NOW_MS, 2, error="E" * 999, cause="\0" * 9_999)
    assert as_sent(event) == event
    assert (event.key, event.instance_id) == (newest.key, newest.instance_id)
    assert event.execution is not None
    assert (event.execution.seq, event.execution.redrive, event.state) == (None, 2, None)
    assert (event.time, event.terminal) == ("2026-01-01T00:01:00.789Z", True)
    assert event.error == "E" * events.MAX_ERROR_CHARS
    assert statuses.order(event) > statuses.order(newest)
    assert described.ending(newest, "SUCCEEDED", NOW_MS, 0, error=None, cause=None).reason is None


def test_an_inferred_ending_says_so_and_gives_way() -> None:
    """Newer than every step, older than whatever the workflow or the service says."""
    newest = examples.step(seq=3, status="STOPPING")
    event = described.inferred_ending(newest, "TIMED_OUT", NOW_MS, "silence")
    assert as_sent(event) == event
    assert event.detail == {"inferred": True}
    assert event.reason == {"error": None, "cause": "silence"}
    told = examples.step(seq=4, status="SUCCEEDED")
    assert statuses.order(newest) < statuses.order(event) < statuses.order(told)


def test_an_inferred_ending_is_sent_once() -> None:
    """Inferred again, after a restart say, it is the same event; a described one is another."""
    newest = examples.step(seq=3, status="STOPPING")
    first, second = (
        described.inferred_ending(newest, "ABORTED", NOW_MS + n, "silence") for n in (0, 9_999)
    )
    assert first.identity == second.identity
    assert described.ending(newest, "ABORTED", NOW_MS, 0).identity != first.identity


def test_each_redrive_ends_by_itself() -> None:
    """And may end otherwise than was told of it first."""
    newest = examples.step()
    assert newest.execution is not None
    again = msgspec.structs.replace(
        newest, execution=msgspec.structs.replace(newest.execution, redrive=2)
    )
    inferred = described.inferred_ending(again, "ABORTED", NOW_MS, "silence")
    assert inferred.execution is not None
    assert inferred.execution.redrive == 2
    ends = [
        described.ending(newest, "FAILED", NOW_MS, 0),
        described.ending(newest, "SUCCEEDED", NOW_MS, 0),
        described.ending(newest, "FAILED", NOW_MS, 2),
    ]
    assert len({end.identity for end in ends}) == 3


def test_an_instance_has_no_ending() -> None:
    """Whoever asks for one has mixed up what is silent."""
    event = described.instance(examples.INSTANCE, "running", NOW_MS, {})
    with pytest.raises(TypeError):
        described.ending(event, "FAILED", NOW_MS, 0)
