"""What is kept of the newest entries, against a list of all of them."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import events
from consumer.core.entries import Entry
from consumer.core.recent import MEAN_BYTES, Recent
from tests.core import examples

MOST = 10
PATTERNS = ("*", "machine:standard", f"instance:{examples.INSTANCE}", *(
    f"execution:run-{number}" for number in range(3)
))  # fmt: skip
LATER_MS = events.milliseconds("2026-01-01T00:00:02.000Z")


def entry(place: int, run: int = 0, time: str = "2026-01-01T00:00:01.000Z") -> Entry:
    instance_id = examples.INSTANCE if run else None
    event = examples.step(1, run=f"run-{run}", instance_id=instance_id)
    return examples.entry(place, msgspec.structs.replace(event, time=time))


def filled(count: int, most: int = MOST, begins_after: int = 0) -> Recent:
    recent = Recent(most)
    recent.begin(begins_after)
    for place in range(begins_after + 1, begins_after + count + 1):
        recent.add(entry(place))
    return recent


def places(recent: Recent, after: int, upto: int, most: int = 100) -> list[int]:
    found, _ = recent.matching(("*",), after, upto, most)
    return [each.place for each in found]


@given(
    runs=st.lists(st.integers(0, 2), min_size=1, max_size=50),
    begins_after=st.integers(0, 5),
    watch=st.sets(st.sampled_from(PATTERNS), min_size=1),
    most=st.integers(1, 12),
    data=st.data(),
)
def test_what_matches_is_what_a_list_would_give(
    runs: list[int], begins_after: int, watch: set[str], most: int, data: st.DataObject
) -> None:
    """All of it, in order, once, in portions that join; at least half of the bound reaches back."""
    recent = Recent(MOST)
    recent.begin(begins_after)
    every = [entry(place, run) for place, run in enumerate(runs, begins_after + 1)]
    for each in every:
        recent.add(each)
    head = every[-1].place
    assert min(len(every), MOST // 2) <= head - recent.floor <= MOST
    after = data.draw(st.integers(recent.floor, head))
    upto = data.draw(st.integers(after, head))
    got: list[Entry] = []
    reached = after
    while reached < upto:
        found, reached = recent.matching(watch, reached, upto, most)
        assert len(found) == most or reached == upto
        got += found
    wanted = [e for e in every if after < e.place <= upto and not watch.isdisjoint(e.patterns)]
    assert got == wanted


def test_it_reaches_back_to_where_it_began() -> None:
    """What stood before is for the log to tell."""
    recent = filled(3, begins_after=7)
    assert recent.floor == 7
    assert places(recent, 7, 10) == [8, 9, 10]


def test_nothing_is_kept_where_nothing_may_be() -> None:
    """Its floor is the newest place, so nothing is ever asked of it."""
    for most in (0, 1):
        assert filled(3, most=most).floor == 3


def test_bytes_are_bounded_too() -> None:
    """Large events make it reach back less far."""
    recent = Recent(MOST)
    large = msgspec.structs.replace(entry(1), payload=b"x" * 2 * MEAN_BYTES)
    for place in range(1, 51):
        recent.add(msgspec.structs.replace(large, place=place))
    assert MOST // 4 <= 50 - recent.floor <= MOST // 2 + 1


def test_another_epoch_begins_empty() -> None:
    """Its places may be lower, and mean other events."""
    recent = filled(8)
    recent.begin(4)
    assert recent.floor == 4
    recent.add(entry(5, run=2))
    found, reached = recent.matching(("*",), 4, 5, 100)
    assert ([each.event.key for each in found], reached) == ([entry(5, run=2).key], 5)


def test_what_is_past_retention_is_gone() -> None:
    """From the oldest on, and no further than to the first that is young enough."""
    recent = Recent(MOST)
    times = ["2026-01-01T00:00:01.000Z"] * 7 + ["2026-01-01T00:00:02.000Z"] + [
        "2026-01-01T00:00:01.000Z"
    ]  # fmt: skip
    for place, time in enumerate(times, 1):
        recent.add(entry(place, time=time))
    recent.forget(LATER_MS)
    assert recent.floor == 7
    assert places(recent, 7, 9) == [8, 9]
    recent.forget(LATER_MS + 1)
    assert recent.floor == 9
    recent.add(entry(10))
    assert places(recent, 9, 10) == [10]


def test_what_was_forgotten_does_not_come_back() -> None:
    """Also where the part that it was in goes on filling, and is then left behind."""
    recent = filled(4)
    recent.forget(LATER_MS)
    for place in range(5, 12):
        recent.add(entry(place, time="2026-01-01T00:00:02.000Z"))
        assert recent.floor >= 4
