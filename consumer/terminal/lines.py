"""`--json`: one JSON object a line, for pipes. Pure; docs/terminal.md has the shapes."""

from typing import Any

import msgspec

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
from consumer.terminal.exits import Exit
from consumer.terminal.goal import Outcome


def lines_of(item: Item) -> list[bytes]:
    """What is printed of it, each with its end of line; nothing of heartbeats."""
    return [line(each) for each in _objects(item)]


def line(told: dict[str, Any]) -> bytes:
    """One line."""
    return msgspec.json.encode(told) + b"\n"


def ending(code: Exit, outcome: Outcome | None) -> bytes:
    """The last line where something was waited for."""
    name = {Exit.DONE: "reached", Exit.OTHERWISE: "otherwise", Exit.TIMED_OUT: "timed_out"}[code]
    told: dict[str, Any] = {"op": "until", "result": name, "exit_code": int(code)}
    if outcome:
        told |= {"text": outcome.text, "event": outcome.event}
    return line(told)


def _objects(item: Item) -> list[dict[str, Any]]:
    told: list[dict[str, Any]]
    match item:
        case Live():
            told = [{"op": "connection", "state": "live"}]
        case Stale(why):
            told = [{"op": "connection", "state": "stale", "why": why}]
        case Lost(why, retry_s):
            retry = {"why": why, "retry_s": round(retry_s, 3)}
            told = [{"op": "connection", "state": "lost", **retry}]
        case Snapshot(events, cursor):
            told = [{"op": "status", "event": each, "snapshot": True} for each in events]
            told.append({"op": "snapshot", "events": len(events), "cursor": cursor})
        case Status(event, late, cursor):
            mark = {"late": True} if late else {}
            told = [{"op": "status", "event": event, "cursor": cursor, **mark}]
        case Resumed(cursor):
            told = [{"op": "resumed", "cursor": cursor}]
        case Gap():
            told = [{"op": "gap"}]
        case Skipped(count, cursor):
            told = [{"op": "skipped", "count": count, "cursor": cursor}]
        case Heartbeat():
            told = []
    return told
