"""What the table shows, and how."""

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from consumer.client.items import (
    Gap,
    Heartbeat,
    Item,
    Live,
    Lost,
    Skipped,
    Snapshot,
    Stale,
    Status,
)
from consumer.terminal import board as boards
from consumer.terminal.board import Board
from consumer.terminal.table import render
from tests.terminal.telling import FAILURE, INSTANCE, OTHER, instance, run

NOW = datetime(2026, 1, 1, 0, 1, 3, tzinfo=UTC)


def drawn(board: Board, *, width: int = 120, height: int | None = None) -> list[str]:
    """Its lines, without what would colour them."""
    console = Console(file=StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(board, "*  (demo)", NOW, width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


def told(*items: Item) -> Board:
    board = Board()
    for each in items:
        board.take(each)
    return board


def snapshot(*events: Any) -> Snapshot:
    return Snapshot(events, "e-1")


def status(event: Any, *, late: bool = False) -> Status:
    return Status(event, late=late, cursor="e-2")


def test_instances_and_runs_have_a_row_each() -> None:
    """With the newest of what was told of them."""
    board = told(
        Live(),
        snapshot(instance("stopped"), run("CHECKING")),
        status(instance("pending", second=2)),
        status(run("STARTING", seq=2)),
        Heartbeat(12),
    )
    lines = drawn(board)
    assert lines[0] == "● live  *  (demo)  lag 12 ms"
    assert lines[2].split() == [INSTANCE, "pending", "1", "min"]
    assert lines[4].split() == [
        "nightly-7", "standard", INSTANCE, "STARTING", "1", "s", "CHECKING", "→", "STARTING",
    ]  # fmt: skip


def test_a_failure_shows_its_reason() -> None:
    """In the place of its steps."""
    lines = drawn(told(snapshot(run("FAILED", reason=FAILURE))))
    assert "InsufficientCapacity: EC2 has no room for it now" in lines[2]


def test_a_late_event_changes_no_row() -> None:
    """It is counted, so that nobody looks for it."""
    board = told(snapshot(instance("running")), status(instance("pending"), late=True))
    assert [row.status for row in board.instances()] == ["running"]
    assert "1 came late and changed nothing" in drawn(board)[1]


def test_what_was_missed_is_said() -> None:
    """A gap and what was skipped stay on the screen."""
    lines = drawn(told(Gap(), snapshot(instance("running")), Skipped(12, "e-3")))
    assert lines[1] == "1 gap: events were missed; 12 skipped: only the newest of each key is here"


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (Stale("two heartbeats were missed"), "What you see may be old"),
        (Lost("it was lost", 2.5), "The next try is in 2.5 s"),
    ],
)
def test_a_table_that_may_be_old_says_so(connection: Stale | Lost, said: str) -> None:
    """In words, not by a colour."""
    assert said in drawn(told(snapshot(instance("running")), connection))[1]


def test_a_snapshot_replaces_what_was_known() -> None:
    """What it does not hold, the server has forgotten; steps that were heard are kept."""
    board = told(
        snapshot(run("CHECKING"), run("WAITING", name="old")),
        status(run("STARTING", seq=2)),
        snapshot(run("SUCCEEDED", seq=3)),
    )
    (row,) = board.executions()
    assert row.trail == ("CHECKING", "STARTING", "SUCCEEDED")


def test_steps_that_a_snapshot_tells_are_not_told_twice() -> None:
    """That of one execution has them all."""
    steps = (run("CHECKING"), run("STARTING", seq=2))
    (row,) = told(snapshot(*steps), snapshot(*steps)).executions()
    assert row.trail == ("CHECKING", "STARTING")


def test_runs_under_way_come_first() -> None:
    """Then the newest."""
    board = told(snapshot(run("SUCCEEDED", name="b", seq=9), run("WAITING", name="a")))
    assert [row.name for row in board.executions()] == ["a", "b"]


def test_a_table_is_no_taller_than_its_terminal() -> None:
    """What does not fit is counted."""
    events = [instance("running", of=f"i-{number:017x}") for number in range(30)]
    events += [run("WAITING", name=f"run-{number}") for number in range(30)]
    lines = drawn(told(snapshot(*events)), height=20)
    assert len(lines) <= 20
    assert sum(line.startswith("and ") for line in lines) == 2


def test_no_line_is_wider_than_its_terminal() -> None:
    """What is too long is cut, so that nothing breaks the table."""
    board = told(
        Lost("x" * 300, 1.0),
        snapshot(run("FAILED", reason={"error": "E", "cause": "x" * 300}), instance("running")),
    )
    for width in (20, 60, 100):
        assert max(map(len, drawn(board, width=width))) <= width


def test_texts_from_outside_move_no_cursor_and_mark_nothing_up() -> None:
    """Names and reasons are anybody's."""
    reason = {"error": "\x1b[2J", "cause": "[bold]x[/bold]"}
    text = "\n".join(drawn(told(snapshot(run("FAILED", reason=reason)))))
    assert "\\x1b[2J: [bold]x[/bold]" in text


def test_what_has_ended_is_forgotten_some_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is left open for weeks stays small; what is under way stays."""
    monkeypatch.setattr(boards, "MAX_ENDED", 2)
    ended = [status(run("SUCCEEDED", name=f"run-{number}")) for number in range(9)]
    board = told(status(run("WAITING", name="open")), *ended)
    assert len(board.executions()) <= 5
    assert board.executions()[0].name == "open"
    assert board.forgotten >= 5
    assert OTHER not in "".join(drawn(board))
