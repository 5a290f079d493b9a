"""The oracle itself: it must object to each kind of wrong."""

from pathlib import Path
from typing import Any

import pytest

from consumer.core import described, events
from consumer.core.events import Event, InstanceStatus
from consumer.edges.sqlite_log import SqliteLog
from tests.core import examples
from tests.soak.oracle import (
    Evidence,
    Sent,
    Visit,
    judge_client,
    judge_endings,
    judge_farewells,
    judge_learned,
    judge_queue,
)

NOW_MS = events.milliseconds("2026-01-01T01:00:00.000Z")
RUN = f"execution:{examples.ARN}"


@pytest.fixture
async def log(tmp_path: Path) -> Evidence:
    """Three steps of one run, at places 1 to 3."""
    return await _written(tmp_path, [examples.step(1), examples.step(2), examples.step(3)])


async def _written(folder: Path, batch: list[Event]) -> Evidence:
    path = folder / "log.db"
    status_log = SqliteLog(path, retention_s=86_400, retention_events=100, now_ms=lambda: NOW_MS)
    await status_log.open()
    await status_log.append(batch)
    await status_log.close()
    return Evidence.read(path)


def _sent(*numbers: int, **changes: Any) -> list[Sent]:
    """Messages of the run's steps, each with an id of its own."""
    return [
        Sent(f"m{place}", examples.step(number).identity, True, False)._replace(**changes)
        for place, number in enumerate(numbers)
    ]


def _status(log: Evidence, place: int) -> dict[str, Any]:
    payload = log.entries[place - 1].payload
    return {"op": "status", "cursor": f"{log.epoch}-{place}", "event": payload}


def _told(log: Evidence, op: str, place: int, **more: Any) -> dict[str, Any]:
    return {"op": op, "cursor": f"{log.epoch}-{place}", **more}


async def test_each_fate_is_told_apart(log: Evidence) -> None:
    """Appended, a repeat, expired, and dead."""
    old = Sent("m8", "step:old", is_step=True, is_old=True)
    poison = Sent("m9", None, is_step=False, is_old=False)
    fates, problems = judge_queue([*_sent(1, 2, 3, 3), old, poison], ["m9"], 0, log)
    assert not problems
    assert fates == {
        "appended": 3, "repeat": 1, "expired": 1, "dead-lettered": 1, "still queued": 0
    }  # fmt: skip


async def test_a_lost_message_is_seen(log: Evidence) -> None:
    """In no log, no queue and no dead letter: an ack that went before the commit."""
    _, problems = judge_queue(_sent(1, 2, 3, 4), [], 0, log)
    assert problems
    assert not judge_queue(_sent(1, 2, 3, 4), [], 1, log)[1]


async def test_a_good_message_must_not_be_a_dead_letter(log: Evidence) -> None:
    """It would be missing from the view."""
    assert judge_queue(_sent(1, 2, 3, 3), ["m3"], 0, log)[1]


async def test_what_was_never_sent_is_seen(log: Evidence) -> None:
    """The log invents nothing."""
    assert judge_queue(_sent(1, 2), [], 0, log)[1]


async def test_a_step_that_is_seen_and_not_appended_is_lost(log: Evidence) -> None:
    """Every publish step is sent, whether or not it changes the status."""
    log.entries.pop()
    log.head -= 1
    assert judge_queue(_sent(1, 2, 3), [], 0, log)[1]


async def test_what_asking_brought_out_must_be_findable(tmp_path: Path) -> None:
    """Of the right key, with a status that it had, and no more often than it changed."""
    states: tuple[InstanceStatus, ...] = ("running", "stopped", "running")
    looks = [
        described.instance(examples.INSTANCE, state, NOW_MS + 1000 * second, {})
        for second, state in enumerate(states)
    ]
    key = f"instance:{examples.INSTANCE}"
    log = await _written(tmp_path, looks)
    assert not judge_queue([], [], 0, log)[1], "it was in no queue"
    assert not judge_learned({key: ["running", "stopped", "running"]}, log)
    assert judge_learned({key: ["running", "stopped"]}, log)
    assert judge_learned({key: ["running"] * 3}, log)
    assert judge_learned({}, log)


async def test_an_event_that_is_hidden_has_a_fate(log: Evidence) -> None:
    """Where its instance may have been unknown; where it is not in the log."""
    assert judge_queue(_sent(1, 2, 3, 4, may_hide=True), [], 0, log)[0]["not shown"] == 1


async def test_a_wrong_ending_is_seen(tmp_path: Path) -> None:
    """The current status must be the newest, whatever came last."""
    log = await _written(tmp_path, [examples.step(2, "SUCCEEDED"), examples.step(1)])
    assert not judge_endings({RUN: "SUCCEEDED"}, log)
    assert judge_endings({RUN: "CHECKING"}, log)


async def test_a_client_that_got_all_is_content(log: Evidence) -> None:
    """Snapshot, live, a lost connection, resume."""
    snapshot = _told(log, "snapshot", 1, events=[log.entries[0].payload], more=False)
    visits = [
        Visit(None, [{"op": "welcome"}, snapshot, _status(log, 2)]),
        Visit(f"{log.epoch}-2", [_status(log, 3), _told(log, "resumed", 3)]),
    ]
    assert not judge_client("*", visits, log)


@pytest.mark.parametrize(
    "places", [[1, 3], [1, 2, 2, 3], [2, 1, 3], [1, 2], [1, 2, 3, 3]],
    ids=["hole", "twice", "disorder", "end missing", "end twice"],
)  # fmt: skip
async def test_a_client_that_was_told_wrongly_is_seen(log: Evidence, places: list[int]) -> None:
    """Nothing left out, nothing twice, nothing out of order."""
    frames = [_status(log, place) for place in places]
    assert judge_client("*", [Visit(f"{log.epoch}-0", frames)], log)


async def test_a_promise_that_is_not_kept_is_seen(log: Evidence) -> None:
    """A heartbeat's cursor promises what went before; so does a snapshot's."""
    beat = [_told(log, "heartbeat", 2), _status(log, 3)]
    assert judge_client("*", [Visit(f"{log.epoch}-0", beat)], log)
    snapshot = _told(log, "snapshot", 3, events=[log.entries[1].payload], more=False)
    assert judge_client("*", [Visit(None, [snapshot])], log)


async def test_what_is_announced_may_be_left_out(log: Evidence) -> None:
    """`skipped` covers as many as it says, and never the newest of a key."""
    skipped = _told(log, "skipped", 0, count=2)
    assert not judge_client("*", [Visit(f"{log.epoch}-0", [skipped, _status(log, 3)])], log)
    skipped = _told(log, "skipped", 0, count=1)
    assert judge_client("*", [Visit(f"{log.epoch}-0", [skipped, _status(log, 3)])], log)
    newest_skipped = [
        _status(log, 1),
        _told(log, "skipped", 1, count=2),
        _told(log, "heartbeat", 3),
    ]
    assert judge_client("*", [Visit(f"{log.epoch}-0", newest_skipped)], log)


async def test_a_gap_where_the_log_has_everything_is_seen(log: Evidence) -> None:
    """A client must not be told that it lost what it could have had."""
    gap = [
        _told(log, "gap", 3),
        _told(log, "snapshot", 3, events=[log.entries[2].payload], more=False),
    ]
    assert judge_client("*", [Visit(f"{log.epoch}-1", gap)], log)
    assert not judge_client("*", [Visit(f"{log.epoch}-1", gap)], log, gaps_allowed=True)


def test_a_client_sent_away_without_a_word_is_seen() -> None:
    """A drain says when to come back, and only then hangs up."""
    told = Visit(None, [{"op": "heartbeat"}, {"op": "draining", "retry_ms": 500}], closed=1012)
    left = Visit(None, [{"op": "heartbeat"}])
    assert not judge_farewells([told, left], expected=True)
    assert judge_farewells([Visit(None, [{"op": "heartbeat"}], closed=1012)])
    dropped = Visit(None, [{"op": "heartbeat"}], closed=1006)
    assert not judge_farewells([dropped]), "who is killed says nothing"
    assert judge_farewells([dropped], expected=True)
