"""The live table: a pure function of the board, the moment and the terminal's size."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from consumer.client.items import Live, Lost, Stale
from consumer.terminal.board import Board, Row
from consumer.terminal.looks import ago, plain, printable, status

NARROW: Final = 90  # columns; below them the run's steps are left out
_LAMPS: Final = {
    Live: ("● live", "green"),
    Stale: ("◐ stale", "bold yellow"),
    Lost: ("○ not connected", "bold yellow"),
    type(None): ("○ connecting", "dim"),
}


def render(
    board: Board, title: str, now: datetime, width: int, height: int | None = None
) -> RenderableType:
    """While it lives. `height` in lines; None for all of it."""
    return _page(_head(board, title), board, now, width, height)


def render_last(board: Board, title: str, now: datetime, width: int) -> RenderableType:
    """As it stays behind at the end, and lives no more: it says when that was."""
    when = f"○ as it was at {now.astimezone():%H:%M:%S}"
    head = Text.assemble((when, "dim"), "  ", (printable(title), "bold"))
    return _page(_one_line(head), board, now, width, None)


def _page(
    first: Text, board: Board, now: datetime, width: int, height: int | None
) -> RenderableType:
    head = [first, *_troubles(board)]
    instances, executions = board.instances(), board.executions()
    if not instances and not executions:
        empty = "Nothing heard of it yet." if board.has_snapshot else ""
        return Group(*head, Text(empty, style="dim"))
    room = None if height is None else height - len(head)
    shares = _shares(len(instances), len(executions), room)
    body: list[RenderableType] = []
    if instances:
        body += _part(_instances(instances[: shares[0]], now), len(instances) - shares[0])
    if executions:
        table = executions_table(executions[: shares[1]], now, width)
        body += _part(table, len(executions) - shares[1])
    return Group(*head, *body)


def _head(board: Board, title: str) -> Text:
    word, style = _LAMPS[type(board.connection)]
    head = Text.assemble((word, style), "  ", (printable(title), "bold"))
    if board.lag_ms is not None:
        head.append(f"  lag {board.lag_ms:.0f} ms", style="dim")
    return _one_line(head)


def _troubles(board: Board) -> list[Text]:
    """What is known not to be known. Said in every form, and not only by a colour."""
    lines = []
    if isinstance(board.connection, Stale | Lost):
        lines.append(Text(what_is_wrong(board.connection), style="yellow"))
    missed = []
    if board.gaps:
        missed.append(f"{board.gaps} {'gap' if board.gaps == 1 else 'gaps'}: events were missed")
    if board.skipped:
        missed.append(f"{board.skipped} skipped: only the newest of each key is here")
    if board.late:
        missed.append(f"{board.late} came late and changed nothing")
    if missed:
        lines.append(Text("; ".join(missed), style="magenta"))
    if board.remark:
        lines.append(plain(board.remark, "dim"))
    return [_one_line(line) for line in lines]


def what_is_wrong(trouble: Stale | Lost) -> str:
    """With the connection, as sentences for people."""
    why = printable(trouble.why)
    if isinstance(trouble, Stale):
        return f"Stale: {why}. What you see may be old."
    return f"Not connected: {why}. The next try is in {trouble.retry_s:.1f} s."


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _shares(instances: int, executions: int, room: int | None) -> tuple[int, int]:
    """How many rows each part gets of `room` lines: its heading and `and … more` cost two."""
    if room is None:
        return instances, executions
    parts = bool(instances) + bool(executions)
    rows = max(parts, room - 2 * parts)
    if instances + executions <= rows:
        return instances, executions
    half = rows // 2
    if not executions or executions <= half:
        return min(instances, rows - executions), executions
    first = min(instances, half)
    return first, min(executions, rows - first)


def _part(table: Table, more: int) -> list[RenderableType]:
    return [table, Text(f"and {more} more", style="dim")] if more > 0 else [table]


def _grid(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for title in titles:
        table.add_column(title, no_wrap=True, overflow="ellipsis")
    return table


def _instances(rows: Sequence[Row], now: datetime) -> Table:
    table = _grid("INSTANCE", "STATUS", "CHANGED", "")
    for row in rows:
        cells = (plain(row.name), status(row.status), plain(ago(row.time, now)))
        table.add_row(*cells, plain(row.reason, "red"))
    return table


def executions_table(rows: Sequence[Row], now: datetime, width: int) -> Table:
    """A row per run."""
    is_wide = width >= NARROW
    table = _grid("RUN", "MACHINE", "INSTANCE", "STATUS", "CHANGED", "STEPS" if is_wide else "")
    for row in rows:
        told = status(row.status)
        if row.is_inferred:
            told.append(" (inferred)", style="dim")
        last = plain(row.reason, "red")
        if is_wide and not row.reason:
            last = plain(" → ".join(row.trail), "dim")
        cells = (plain(row.name), plain(row.machine), plain(row.instance_id))
        table.add_row(*cells, told, plain(ago(row.time, now)), last)
    return table
