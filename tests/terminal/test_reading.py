"""Frames as news, and the cursor to come back with."""

from typing import Any

import pytest

from consumer.terminal.news import Connection, Gap, Lag, News, Resumed, Skipped, Snapshot, Status
from consumer.terminal.reading import Reading
from tests.terminal.telling import instance

EVENT = instance("running")


def read(reading: Reading, *frames: dict[str, Any]) -> list[News]:
    return [news for frame in frames for news in reading.read(frame)]


def snapshot(cursor: str, *, more: bool = False) -> dict[str, Any]:
    return {"op": "snapshot", "id": "1", "cursor": cursor, "events": [EVENT], "more": more}


@pytest.fixture
def reading() -> Reading:
    """In its first connection."""
    reading = Reading(None)
    reading.begin()
    return reading


def test_a_snapshot_is_told_whole(reading: Reading) -> None:
    """And only its last page's cursor is a promise."""
    assert read(reading, snapshot("e-0", more=True)) == []
    assert reading.cursor is None
    assert read(reading, snapshot("e-5")) == [
        Connection("live"),
        Snapshot((EVENT, EVENT), "e-5"),
    ]
    assert reading.cursor == "e-5"


def test_half_a_snapshot_is_forgotten_with_its_connection(reading: Reading) -> None:
    """The next one brings all of it."""
    read(reading, snapshot("e-0", more=True))
    reading.begin()
    assert read(reading, snapshot("e-6"))[-1] == Snapshot((EVENT,), "e-6")


def test_the_cursor_follows_what_is_told(reading: Reading) -> None:
    """By events, what was skipped, and heartbeats."""
    read(reading, snapshot("e-5"))
    frames: list[dict[str, Any]] = [
        {"op": "status", "event": EVENT, "cursor": "e-6"},
        {"op": "skipped", "count": 3, "cursor": "e-7"},
        {"op": "heartbeat", "cursor": "e-8"},
    ]
    for frame in frames:
        read(reading, frame)
        assert reading.cursor == frame["cursor"]


def test_after_a_gap_the_old_cursor_stays_until_the_snapshot_is_whole(reading: Reading) -> None:
    """Lost in between, it brings the gap again."""
    read(reading, snapshot("e-5"))
    reading.begin()
    told = read(
        reading,
        {"op": "gap", "id": "1", "cursor": "f-1"},
        {"op": "heartbeat", "cursor": "f-1", "lag_ms": 1},
        snapshot("f-0", more=True),
    )
    assert told == [Gap(), Lag(1)]
    assert reading.cursor == "e-5"
    read(reading, snapshot("f-2"))
    assert reading.cursor == "f-2"


def test_what_is_resumed_is_live_again(reading: Reading) -> None:
    """Once it has all that was missed."""
    read(reading, snapshot("e-5"))
    reading.begin()
    told = read(
        reading,
        {"op": "status", "event": EVENT, "cursor": "e-6", "late": True},
        {"op": "resumed", "id": "1", "cursor": "e-6"},
    )
    assert told == [Status(EVENT, "e-6", is_late=True), Connection("live"), Resumed("e-6")]


def test_a_log_that_does_not_answer_is_stale(reading: Reading) -> None:
    """Though the server speaks; it is said once, and when it is over."""
    read(reading, snapshot("e-5"))
    away = {"op": "heartbeat", "away_ms": 900}
    assert read(reading, away, away) == [Connection("stale", "the server's log does not answer")]
    assert read(reading, {"op": "heartbeat", "lag_ms": 4}) == [Connection("live"), Lag(4)]


def test_skipped_and_draining_are_heard(reading: Reading) -> None:
    """And what is not known is left alone."""
    assert read(reading, {"op": "skipped", "count": 12, "cursor": "e-1"}) == [Skipped(12)]
    assert read(reading, {"op": "draining", "retry_ms": 1840}, {"op": "later"}) == []
    assert reading.retry_s == 1.84
