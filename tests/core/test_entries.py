"""Entries, cursors and frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from consumer.core import entries, events
from tests.core import examples


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_are_those_of_the_library(size: int) -> None:
    """Byte for byte what a WebSocket library makes, at every form of the length."""
    payload = b"x" * size
    assert entries.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.integers(0, 10**15))
def test_a_cursor_names_its_place(place: int) -> None:
    """What is written is read back, in its own epoch only."""
    assert entries.place_in("9f3c", entries.cursor("9f3c", place)) == place
    assert entries.place_in("0bad", entries.cursor("9f3c", place)) is None


def test_a_place_fits_into_what_the_log_can_hold() -> None:
    """SQLite's integers have 63 bits: 18 digits always fit, and 19 may not."""
    assert entries.place_in("9f3c", "9f3c-" + "9" * 18) == 10**18 - 1
    assert entries.place_in("9f3c", "9f3c-" + "9" * 19) is None


@pytest.mark.parametrize(
    "since", ["", "9f3c", "9f3c-", "9f3c-x", "9f3c--1", "9f3c-²", "9f3c-" + "9" * 30]
)
def test_what_is_no_cursor_names_no_place(since: str) -> None:
    """A client may send anything."""
    assert entries.place_in("9f3c", since) is None


@pytest.mark.parametrize("late", [False, True])
def test_a_status_frame_says_all_and_says_late(late: bool) -> None:
    """The frame is the contract's, and the same whether fresh or read back."""
    event = examples.step()
    fresh = examples.entry(7, event, late=late)
    expected = {"op": "status", "cursor": "e-7", "event": examples.step_body(id="run-1.1")}
    assert fresh.late is late
    assert examples.message(fresh.frame) == (expected | {"late": True} if late else expected)
    assert entries.stored("e", 7, events.encode(event), late=late) == fresh


def test_the_newest_learns_its_instance_once() -> None:
    """A late entry tells the instance where it was not known; what is known stays."""
    silent = examples.entry(1, examples.step(2, instance_id=None))
    late = examples.entry(2, examples.step(1), late=True)
    told = silent.told_by(late)
    assert told.event.instance_id == examples.INSTANCE
    afresh = examples.entry(1, told.event)
    assert (told.payload, told.patterns) == (afresh.payload, afresh.patterns)
    assert told.told_by(late) is told
    assert silent.told_by(silent) is silent


def test_a_batch_has_the_frames_of_its_entries_in_their_order() -> None:
    """Joined for those who take them at once, and each for those whom they wait for."""
    some = [examples.entry(place, examples.step(place), late=place == 2) for place in (1, 2, 3)]
    batch = entries.Batch(some)
    assert batch.each == [entry.frame for entry in some]
    assert batch.frames == b"".join(batch.each)


def test_what_stands_learns_its_instance_once() -> None:
    """The same in the log, byte for byte; what learns nothing is not made anew."""
    silent = events.encode(examples.step(2, instance_id=None))
    late = examples.entry(2, examples.step(1), late=True)
    told = entries.told_late(silent, late)
    assert told == events.encode(examples.step(2))
    assert entries.told_late(told, late) is told
    as_silent = examples.entry(3, examples.step(1, instance_id=None), late=True)
    assert entries.told_late(silent, as_silent) is silent


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_the_text_of_a_frame_is_what_it_was_made_of(size: int) -> None:
    """Whatever the length of its header, for who frames messages otherwise."""
    text = b"x" * size
    assert entries.text_of(entries.text_frame(text)) == text
