"""How statuses look: colours for who sees them, words for who does not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.console import Console
from rich.text import Text

STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("SUCCEEDED", "running"), "bold green"),
    **dict.fromkeys(("FAILED", "TIMED_OUT", "ABORTED", "terminated"), "bold red"),
    **dict.fromkeys(("STARTING", "STOPPING", "pending", "stopping", "shutting-down"), "yellow"),
    **dict.fromkeys(("WAITING", "RUNNING", "stopped"), "blue"),
    **dict.fromkeys(("CHECKING", "VERIFYING"), "cyan"),
}


class Output(Console):
    """Rich's console, but for a reader that has gone: Rich would end the process with 1."""

    def on_broken_pipe(self) -> None:
        """Leave it to who runs the command."""
        raise BrokenPipeError


def printable(text: str) -> str:
    """With what could move a terminal's cursor or colour it escaped: texts come from outside."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def plain(text: str, style: str = "") -> Text:
    """A text from outside: no control characters, and no markup of Rich's."""
    return Text(printable(text), style=style)


def status(name: str) -> Text:
    """A status in its colour."""
    return plain(name, STYLES.get(name.strip(), ""))


def clock(time: str) -> str:
    """An event's time by this machine's clock, as 14:03:07.120; as it came where it is none."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return printable(time)
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def ago(time: str, now: datetime) -> str:
    """How long before `now`, in one unit. A clock that is behind ours tells no future."""
    try:
        seconds = max(0, int((now - datetime.fromisoformat(time)).total_seconds()))
    except (ValueError, TypeError):
        return printable(time)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
