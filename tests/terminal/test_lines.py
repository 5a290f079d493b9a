"""`--json` and the lines for people."""

import json
from typing import Any

from consumer.client.items import (
    Gap,
    Heartbeat,
    Item,
    Live,
    Lost,
    Resumed,
    Skipped,
    Snapshot,
    Stale,
    Status,
)
from consumer.terminal import lines, told
from consumer.terminal.exits import Exit
from consumer.terminal.goal import Outcome
from tests.terminal.telling import FAILURE, INSTANCE, instance, run


def objects(item: Item) -> list[dict[str, object]]:
    return [json.loads(each) for each in lines.lines_of(item)]


def test_an_event_is_a_line_wherever_it_came_from() -> None:
    """So that one expression reads them all; a snapshot's end is a line of its own."""
    first = instance("running")
    second: Any = {**run("CHECKING"), "later_field": 1}
    assert objects(Snapshot((first, second), "e-7")) == [
        {"op": "status", "event": first, "snapshot": True},
        {"op": "status", "event": second, "snapshot": True},
        {"op": "snapshot", "events": 2, "cursor": "e-7"},
    ]
    assert objects(Status(first, late=False, cursor="e-8")) == [
        {"op": "status", "event": first, "cursor": "e-8"}
    ]


def test_programs_are_told_what_is_not_known() -> None:
    """Late, gap, skipped, stale: each is a line or a mark."""
    assert objects(Status(instance("running"), late=True, cursor="e-8"))[0]["late"] is True
    assert objects(Gap()) == [{"op": "gap"}]
    assert objects(Skipped(3, "e-9")) == [{"op": "skipped", "count": 3, "cursor": "e-9"}]
    assert objects(Resumed("e-9")) == [{"op": "resumed", "cursor": "e-9"}]
    assert objects(Live()) == [{"op": "connection", "state": "live"}]
    assert objects(Stale("silent")) == [{"op": "connection", "state": "stale", "why": "silent"}]
    assert objects(Lost("gone", 0.51234)) == [
        {"op": "connection", "state": "lost", "why": "gone", "retry_s": 0.512}
    ]
    assert objects(Heartbeat(3)) == []


def test_the_last_line_is_how_it_ended() -> None:
    """With the exit code, for who reads a pipe and not a status."""
    event = run("FAILED")
    assert json.loads(lines.ending(Exit.OTHERWISE, Outcome(False, "it failed", event))) == {
        "op": "until", "result": "otherwise", "exit_code": 1, "text": "it failed", "event": event,
    }  # fmt: skip
    assert json.loads(lines.ending(Exit.TIMED_OUT, None))["result"] == "timed_out"


def test_a_file_gets_a_line_per_event() -> None:
    """What happened, to what, and why."""
    (line,) = told.texts_of(Status(run("FAILED", reason=FAILURE), late=True, cursor="e-1"))
    words = line.plain.split()
    assert words[1:] == [
        "standard", INSTANCE, "FAILED", "(late)", "nightly-7",
        "InsufficientCapacity:", "EC2", "has", "no", "room", "for", "it", "now",
    ]  # fmt: skip


def test_a_file_is_told_what_is_not_known() -> None:
    """As the table is."""
    assert "may be old" in told.texts_of(Stale("silent"))[0].plain
    assert "missed" in told.texts_of(Gap())[0].plain
    assert "3 skipped" in told.texts_of(Skipped(3, "e-1"))[0].plain
    assert "nothing was missed" in told.texts_of(Resumed("e-1"))[0].plain
    assert told.texts_of(Live()) == []
