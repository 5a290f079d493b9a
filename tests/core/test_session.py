"""A session keeps its client's place, and its promise, whatever the client's pace."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import session
from consumer.core.entries import Batch
from consumer.core.events import Event
from consumer.core.limits import Limits
from consumer.core.messages import BadRequest, Subscribe, TooMany, Unsubscribe
from consumer.core.session import Session, Tally
from tests.contract.trace import decode_frames
from tests.core import examples


def _put(client: Session, place: int, event: Event, *, late: bool = False) -> None:
    client.put(Batch([examples.entry(place, event, late=late)]))


def test_what_was_written_is_counted_for_each_client() -> None:
    """Frames and their bytes, as often as they left."""
    batch = Batch([examples.entry(place, examples.step(place)) for place in (1, 2)])
    tally = Tally()
    tally.add(batch, 3)
    tally.add(batch, 0)
    assert (tally.frames, tally.skipped, tally.bytes) == (6, 0, 3 * len(batch.frames))


def test_nothing_is_taken_while_the_socket_is_full() -> None:
    """What is offered meanwhile leaves in one write afterwards."""
    client = Session("e", Limits())
    client.begin(["*"], 0)
    client.is_live = True
    client.pause()
    first, second = examples.entry(1, examples.step(1)), examples.entry(2, examples.step(2))
    client.put(Batch([first]))
    client.put(Batch([second]))
    assert client.is_paused
    assert not client.is_idle
    assert client.go_on() == first.frame + second.frame
    assert client.is_idle
    assert client.go_on() == b""


def test_who_is_closed_is_due_nothing() -> None:
    """Neither what waited nor what comes leaves behind a close frame, or keeps memory."""
    client = Session("e", Limits())
    client.begin(["*"], 0)
    client.is_live = True
    client.pause()
    _put(client, 1, examples.step(1))
    client.shut()
    _put(client, 2, examples.step(2))
    assert client.go_on() == b""
    assert not client.is_clear


def test_watches_are_bounded() -> None:
    """The bound counts what is watched and what is still asked for, each pattern once."""
    client = Session("e", Limits(watches=10))
    most = [f"execution:{n}" for n in range(10)]
    client.admit(Subscribe(most))
    client.admit(Subscribe(most[:5]))
    with pytest.raises(BadRequest) as refusal:
        client.admit(Subscribe(["*"], "9"))
    assert (refusal.value.code, refusal.value.id) == ("too_many_watches", "9")
    client.admit(Unsubscribe(most))
    client.admit(Subscribe(["*"]))
    assert len(client.commands or ()) == 4


def test_requests_do_not_pile_up() -> None:
    """A client that asks faster than it is served is ended, not stored."""
    client = Session("e", Limits())
    for _ in range(session.MAX_COMMANDS):
        client.admit(Unsubscribe(["*"]))
    with pytest.raises(TooMany):
        client.admit(Unsubscribe(["*"]))


@pytest.mark.parametrize(
    "request_",
    [
        Unsubscribe(["*" * 400] * 225),
        Subscribe(["*"] * 1_600),
        Subscribe(["*"], since="9" * 104_000),
    ],
    ids=["long", "many", "since"],
)
def test_large_requests_do_not_pile_up(request_: Subscribe | Unsubscribe) -> None:
    """What waits is bounded in bytes too; what was served counts no more."""
    client = Session("e", Limits())
    for _ in range(10):
        client.admit(request_)
    with pytest.raises(TooMany):
        client.admit(request_)
    client.served()
    client.admit(request_)


def test_a_client_that_watches_nothing_has_been_told_nothing() -> None:
    """It may be about to come back to an older cursor: it is not idle, and gets no newer one."""
    client = Session("e", Limits())
    client.is_live = True
    assert not client.is_idle
    client.begin(["*"], 5)
    assert client.is_idle
    client.is_live = False
    assert not client.is_idle, "it is being brought up"
    client.is_live = True
    client.end(["*", "machine:express"])
    assert not client.is_idle


def test_what_a_client_is_told_of() -> None:
    """What it watches, until an `unsubscribe` is served, and what waits to be served."""
    client = Session("e", Limits())
    client.begin(["machine:standard"], 5)
    client.admit(Unsubscribe(["machine:standard"]))
    client.admit(Subscribe(["*"]))
    assert client.told_of() == {"machine:standard", "*"}
    client.end(["machine:standard"])
    client.served()
    client.served()
    assert client.commands is None
    assert client.told_of() == set()


def test_what_a_pattern_brought_is_known() -> None:
    """From the place on at which the client began to watch it, the older one of two."""
    client = Session("e", Limits())
    client.begin(["machine:standard"], 5)
    client.begin(["machine:standard", "machine:express"], 7)
    assert [client.was_told(examples.entry(n, examples.step())) for n in (5, 6)] == [False, True]
    client.begin(["*"], 2)
    assert client.was_told(examples.entry(3, examples.step()))


def test_too_many_keys_overrun_the_outbox() -> None:
    """Newest per key is bounded too: in bytes."""
    limits = Limits(outbox_events=2, outbox_bytes=100_000)
    client = Session("e", limits)
    client.pause()
    detail = {"pad": "x" * 15_000}
    for place in range(1, 10):
        _put(client, place, examples.step(1, run=f"run-{place}", detail=detail))
        outbox = client._outbox
        assert outbox is not None
        assert client.is_overrun == (outbox.size_bytes > limits.outbox_bytes)
    assert client.is_overrun


def test_newest_per_key_costs_no_more_than_its_newest() -> None:
    """A key that changes for ever does not overrun the outbox of a client that sleeps."""
    client = Session("e", Limits(outbox_events=2))
    client.pause()
    detail = {"pad": "x" * 15_000}
    for place in range(1, 200):
        _put(client, place, examples.step(1 + place % 50, detail=detail))
        assert client.is_conflating == (place > 2)
    assert not client.is_overrun


def test_few_large_entries_are_conflated_too() -> None:
    """The bound is in bytes as well; what is dropped counts no more."""
    limits = Limits()
    client = Session("e", limits)
    client.pause()
    size = 0
    for place in range(1, 101):
        event = examples.step(1 + place % 50, detail={"pad": "x" * 15_000})
        _put(client, place, event)
        size += len(examples.entry(place, event).frame)
        assert client.is_conflating == (size > limits.outbox_bytes)
        assert not client.is_overrun
    assert client.is_conflating
    client.go_on()
    client.pause()
    entry = examples.entry(101, examples.step(detail={"pad": "x" * 15_000}))
    for _ in range(limits.outbox_bytes // len(entry.frame)):
        client.put(Batch([entry]))
        assert not client.is_conflating, "what has left counts no more"


def test_late_entries_alone_are_named_too() -> None:
    """Past the bound none of them is the newest of its key: all are skipped, and that is told."""
    client = Session("e", Limits(outbox_events=2))
    client.begin(["*"], 0)
    client.is_live = True
    client.pause()
    for place in (1, 2, 3):
        _put(client, place, examples.step(place), late=True)
    assert not client.is_idle
    assert list(decode_frames(client.go_on())) == [{"op": "skipped", "count": 3, "cursor": "e-0"}]
    assert client.is_idle


ARRIVALS = st.lists(
    st.tuples(st.integers(1, 3), st.booleans(), st.sampled_from(["", "pause", "go on"])),
    max_size=40,
)


@given(ARRIVALS)
def test_each_matching_entry_is_sent_or_named(arrivals: list[tuple[int, bool, str]]) -> None:
    """At every frame: all that matched up to its cursor was sent before, or named as skipped.

    And a client that reads again has the newest of every key.
    """
    client = Session("e", Limits(outbox_events=3))
    client.is_live = True
    offered: dict[int, tuple[str, bool]] = {}
    got: list[dict[str, object]] = []
    for place, (run, late, then) in enumerate(arrivals, 1):
        event = examples.step(1 + place % 50, run=f"run-{run}")
        if client.is_clear:
            got += decode_frames(examples.entry(place, event, late=late).frame)
        else:
            _put(client, place, event, late=late)
        offered[place] = (event.key, late)
        if then == "pause":
            client.pause()
        elif then == "go on":
            got += decode_frames(client.go_on())
    got += decode_frames(client.go_on())

    sent: list[int] = []
    named = 0
    for frame in got:
        cursor = int(str(frame["cursor"]).removeprefix("e-"))
        if frame["op"] == "status":
            assert not sent or cursor > sent[-1]
            sent.append(cursor)
        unsent = [place for place in offered if place <= cursor and place not in sent]
        assert len(unsent) <= named
        if frame["op"] == "skipped":
            assert isinstance(frame["count"], int)
            named += frame["count"]
    assert len(offered) == len(sent) + named
    newest = {key: place for place, (key, late) in offered.items() if not late}
    assert set(newest.values()) <= set(sent)
    assert max(Counter(sent).values(), default=1) == 1


def test_nothing_is_due_once_it_is_shut() -> None:
    """What waited is dropped, what comes is not put in line, and going on changes nothing."""
    client = Session("e", Limits())
    client.begin(["*"], 0)
    client.is_live = True
    client.pause()
    batch = Batch([examples.entry(1, examples.step(1))])
    client.put(batch)
    client.shut()
    assert not client.is_clear
    client.put(batch)
    assert client.go_on() == b""
    assert not client.is_clear
    assert not client.is_idle


def test_a_cursor_that_is_forgotten_is_not_counted_any_more() -> None:
    """A request that can resume no more is served as one that knows nothing."""
    session = Session("e", Limits())
    session.forget_cursor()
    session.admit(Unsubscribe(["*"]))
    session.forget_cursor()
    session.served()
    session.admit(Subscribe(["*"], since="e-12345"))
    session.forget_cursor()
    assert session.commands is not None
    assert session.commands[0] == Subscribe(["*"], since="")
    session.served()
    assert session._waiting_bytes == 0


def test_in_another_epoch_everything_is_told_from_one_place_on() -> None:
    """Places of the old one mean nothing there."""
    session = Session("e", Limits())
    session.begin(["*"], 57)
    session.move("f", 50)
    assert (session.epoch, session.place, session.watch) == ("f", 50, {"*": 50})
