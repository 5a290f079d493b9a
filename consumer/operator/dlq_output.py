"""What `statuswire dlq` prints for people; what comes from a message is escaped, and no markup."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from consumer.core.events import Event
from consumer.operator.dead_letters import Counts, DeadLetters, Look
from consumer.operator.letters import Letter, printable

ID_CHARS = 8  # of the 36; `show` takes the beginning


def say(text: str) -> None:
    """To standard output."""
    _console().print(text, soft_wrap=True)


def warn(text: str) -> None:
    """To standard error."""
    _console(stderr=True).print(text, soft_wrap=True)


def show_table(seen: Sequence[Letter]) -> None:
    """A line per dead letter, if there are any."""
    if seen:
        _console().print(_table(seen))


def page(letter: Letter) -> str:
    """All of one dead letter. Its lines are indented, so that none can pass for one of ours."""
    whole = letter.whole()
    told = {name: value for name, value in letter.about().items() if name != "eventbridge"}
    beside = {name: each["value"] for name, each in whole["attributes"].items()} | whole["system"]
    return "\n".join(
        (
            *(f"{name}: {printable(str(value))}" for name, value in told.items()),
            "attributes:",
            *(f"  {printable(name)}: {printable(value)}" for name, value in beside.items()),
            "body:",
            *(f"  {printable(line)}" for line in letter.body.split("\n")),
            "",
        )
    )


def summary(dead: DeadLetters, look: Look) -> str:
    """How many there are, and how many of them were seen."""
    text = f"{dead.name}: {number(look.counts)} in {dead.dead.arn}; {len(look.seen)} seen."
    if look.is_whole:
        return text
    behind = " or behind others of their message group" if dead.dead.is_fifo else ""
    return f"{text} There may be more: past the limit, in another's hands{behind}."


def number(counts: Counts) -> str:
    """How many there are, as far as SQS knows."""
    away = counts.in_flight + counts.delayed
    return f"about {counts.visible}" + (f", and {away} in flight" if away else "")


def result(dead: DeadLetters, verb: str, done: dict[str, Any]) -> str:
    """What became of them, with the reasons of what failed."""
    lines = [f"{dead.name}: {done['done']} {verb}, {done['kept']} kept."]
    if done["interrupted"]:
        lines.append("Interrupted: the same command again goes on.")
    lines += [f"  {letter_id[:ID_CHARS]}: {why}" for letter_id, why in done["failed"].items()]
    return "\n".join(printable(line) for line in lines)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """Shows a number that rises, where someone looks on."""
    console = _console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done: progress.update(task, completed=done)


def _table(seen: Sequence[Letter]) -> Table:
    """A line per dead letter."""
    shown = Table(box=None, pad_edge=False)
    for title in ("id", "sent", "receives", "group", "about", "reason"):
        shown.add_column(title, overflow="fold", no_wrap=title in ("id", "sent", "receives"))
    for letter in seen:
        about = letter.about()
        sent = f"{about['sent'][:19]}Z"  # whole seconds: the columns are many
        cells = (letter.id[:ID_CHARS], sent, str(about["receives"]), letter.group or "-")
        shown.add_row(*(printable(each) for each in (*cells, _whom(letter.event), letter.reason)))
    return shown


def _console(*, stderr: bool = False) -> Console:
    return Console(highlight=False, markup=False, emoji=False, stderr=stderr)


def _whom(event: Event | None) -> str:
    """What an event is about: its run, instance and status."""
    if event is None:
        return "-"
    run = event.execution.name if event.execution else None
    return " ".join(each for each in (run, event.instance_id, event.status) if each)
