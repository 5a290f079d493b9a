"""One execution as Step Functions describes it, or all that the consumer's view holds."""

import sys
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.text import Text

from consumer.client.items import Lost, Snapshot
from consumer.terminal.addresses import Wanted
from consumer.terminal.board import Board
from consumer.terminal.events import Event, key_of
from consumer.terminal.exits import CannotGoOn, Exit
from consumer.terminal.feed import feed
from consumer.terminal.looks import Output, plain, status
from consumer.terminal.place import open_place
from consumer.terminal.rest import Answer, refusal
from consumer.terminal.running import complain, say
from consumer.terminal.table import executions_table, what_is_wrong

MACHINES: Final = ("machine:express", "machine:standard")
_FIELDS: Final = ("executionArn", "startDate", "stopDate", "input", "output", "error", "cause")


async def describe(where: Wanted, name: str, *, as_json: bool) -> Exit:
    """A Standard one, by its name. Raises `CannotGoOn`."""
    async with open_place(where) as place:
        if place.api is None:
            raise CannotGoOn("the REST API's address is not known", "Name it: --rest-url, --stack.")
        answer = await place.api.get(f"/executions/{name}")
    if answer.status == 404 and answer.code == "execution_not_found":
        complain(
            f"there is no Standard execution {name}",
            "A new one may take a second to be found. Express ones cannot be asked for:"
            " `statuswire executions` has those that were heard of.",
        )
        return Exit.OTHERWISE
    if not answer.is_ok:
        raise refusal(answer, f"execution {name}")
    if as_json:
        _print_json(answer.body)
    else:
        _show(answer)
    return Exit.DONE


async def list_known(where: Wanted, *, limit: int, as_json: bool) -> Exit:
    """Newest first, those under way before. Raises `CannotGoOn`."""
    snapshot = await _snapshot(where)
    events = _newest(snapshot.events)
    if as_json:
        _print_json(list(events[:limit]))
        return Exit.DONE
    board = Board()
    board.take(snapshot)
    rows = board.executions()
    console = Output()
    console.print(executions_table(rows[:limit], datetime.now(UTC), console.width))
    if len(rows) > limit:
        say(f"and {len(rows) - limit} more: --limit {len(rows)}")
    return Exit.DONE


async def _snapshot(where: Wanted) -> Snapshot:
    async with open_place(where) as place, aclosing(feed(place, MACHINES, None)) as items:
        async for item in items:
            if isinstance(item, Snapshot):
                return item
            if isinstance(item, Lost):
                say(what_is_wrong(item))
    raise CannotGoOn("the stream ended before it said anything", "Try again.")


def _newest(events: Sequence[Event]) -> list[Event]:
    newest = {key_of(event): event for event in events}
    return sorted(newest.values(), key=lambda event: (event["terminal"], _backwards(event)))


def _backwards(event: Event) -> float:
    return -datetime.fromisoformat(str(event["time"])).timestamp()


def _show(answer: Answer) -> None:
    told = answer.body
    console = Output()
    first = Text.assemble(status(str(told["status"])), plain(f"  {told['name']}", "bold"))
    console.print(first, soft_wrap=True)
    for field in _FIELDS:
        if (value := told.get(field)) not in (None, ""):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            line = Text.assemble((f"  {field:<13}", "dim"), plain(text))
            console.print(line, soft_wrap=True)


def _print_json(what: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()
