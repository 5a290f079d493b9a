"""`--json`: one JSON object a line, for pipes. Pure; docs/terminal.md has the shapes."""

from typing import Any

import msgspec

from consumer.terminal.exits import Exit
from consumer.terminal.goal import Outcome
from consumer.terminal.news import Connection, Gap, Lag, News, Resumed, Skipped, Snapshot, Status


def lines_of(news: News) -> list[bytes]:
    """What is printed of it, each with its end of line; nothing of heartbeats."""
    return [line(each) for each in _objects(news)]


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


def _objects(news: News) -> list[dict[str, Any]]:
    told: list[dict[str, Any]]
    match news:
        case Connection(state, why, retry_s):
            trouble: dict[str, Any] = {"why": why} if why else {}
            if retry_s is not None:
                trouble["retry_s"] = round(retry_s, 3)
            told = [{"op": "connection", "state": state, **trouble}]
        case Snapshot(events, cursor):
            told = [{"op": "status", "event": each, "snapshot": True} for each in events]
            told.append({"op": "snapshot", "events": len(events), "cursor": cursor})
        case Status(event, cursor, is_late):
            late = {"late": True} if is_late else {}
            told = [{"op": "status", "event": event, "cursor": cursor, **late}]
        case Resumed(cursor):
            told = [{"op": "resumed", "cursor": cursor}]
        case Gap():
            told = [{"op": "gap"}]
        case Skipped(count):
            told = [{"op": "skipped", "count": count}]
        case Lag():
            told = []
    return told
