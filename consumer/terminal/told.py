"""A line for people of each thing that is told, where there is no terminal to draw a table on."""

from typing import Final

from rich.text import Text

from consumer.client.items import Gap, Item, Lost, Resumed, Skipped, Snapshot, Stale, Status
from consumer.terminal.events import Event, is_inferred, reason_of
from consumer.terminal.looks import clock, plain, status
from consumer.terminal.table import what_is_wrong

STATUS_CHARS: Final = 13  # of the longest, shutting-down


def texts_of(item: Item) -> list[Text]:
    """Its lines; none of heartbeats, nor of a connection with which all is well."""
    texts: list[Text] = []
    match item:
        case Snapshot(events):
            texts = [_event(event) for event in events]
        case Status(event, late):
            texts = [_event(event, is_late=late)]
        case Stale() | Lost():
            texts = [Text(what_is_wrong(item), style="yellow")]
        case Resumed():
            texts = [Text("Connected again; nothing was missed.", style="dim")]
        case Gap():
            texts = [Text("Events were missed here; what stands now follows.", style="magenta")]
        case Skipped(count):
            told = f"{count} skipped: only the newest of each key follows."
            texts = [Text(told, style="magenta")]
    return texts


def _event(event: Event, *, is_late: bool = False) -> Text:
    run = event.get("execution")
    cells = (
        f"{clock(str(event['time'])):<12}",
        f"{run['machine'] if run else 'instance':<8}",
        f"{event.get('instance_id') or '':<19}",
    )
    text = plain("  ".join(cells) + "  ")
    text.append_text(status(f"{event['status']:<{STATUS_CHARS}}"))
    if is_inferred(event):
        text.append(" (inferred)", style="dim")
    if is_late:
        text.append(" (late)", style="magenta")
    if run:
        text.append_text(plain(f"  {run['name']}", "dim"))
    if reason := reason_of(event):
        text.append_text(plain(f"  {reason}", "red"))
    return text
