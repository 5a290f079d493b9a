"""What a person sees of a demo: lines, in colour where there is a terminal for it."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

from rich.console import Console
from rich.text import Text

COLUMNS = (("time", 12), ("what", 8), ("run", 17), ("instance", 19), ("status", 13), ("state", 18))
STYLES = {
    **dict.fromkeys(("SUCCEEDED", "running"), "bold green"),
    **dict.fromkeys(("FAILED", "TIMED_OUT", "ABORTED", "terminated"), "bold red"),
    **dict.fromkeys(("STARTING", "STOPPING", "pending", "stopping", "shutting-down"), "yellow"),
    **dict.fromkeys(("WAITING", "RUNNING", "stopped"), "blue"),
    **dict.fromkeys(("CHECKING", "VERIFYING"), "cyan"),
}


class Screen:
    """Plain lines without a terminal or with NO_COLOR: then no escape code is written."""

    def __init__(self, file: IO[str] | None = None) -> None:
        file = file or sys.stdout
        plain = not file.isatty() or bool(os.environ.get("NO_COLOR"))
        self._console = Console(
            file=file,
            force_terminal=not plain,
            color_system=None if plain else "auto",
            highlight=False,
            soft_wrap=True,
        )

    def step(self, done: str, seconds: float) -> None:
        self._print(Text.assemble(("✓ ", "green"), f"{done:<28}", (f"{seconds:6.1f} s", "dim")))

    def addresses(self, named: Mapping[str, str]) -> None:
        self._print(Text())
        for name, address in named.items():
            self._print(Text.assemble(f"{name:>11}  ", (address, "bold cyan underline")))
        self._print(Text())

    def header(self) -> None:
        titles = " ".join(f"{title:<{width}}" for title, width in COLUMNS)
        self._print(Text(f"{titles} delay ms", style="bold"))

    def status(self, event: Mapping[str, Any], *, now: datetime, late: bool = False) -> None:
        """One row. A `~` marks a delay against a clock that only tells whole seconds."""
        execution = event["execution"]
        happened = datetime.fromisoformat(event["time"])
        delay_ms = round((now - happened).total_seconds() * 1000)
        coarse = "~" if event["source"] == "ec2" else ""
        cells = (
            happened.astimezone().strftime("%H:%M:%S.%f")[:-3],
            execution["machine"] if execution else "instance",
            _short(execution["name"], 17) if execution else "",
            event["instance_id"] or "",
            event["status"],
            event["state"] or "",
        )
        row = Text()
        for (title, width), cell in zip(COLUMNS, cells, strict=True):
            style = STYLES.get(cell, "") if title == "status" else ""
            row.append(f"{cell:<{width}} ", style=style)
        row.append(f"{coarse}{delay_ms}".rjust(8), style="dim")
        if late:
            row.append("  late", style="magenta")
        if event["reason"]:
            reason = ": ".join(str(part) for part in event["reason"].values() if part)
            row.append(f"  {reason}", style="red")
        self._print(row)

    def note(self, text: str) -> None:
        self._print(Text(text, style="dim"))

    def success(self, text: str) -> None:
        self._print(Text(text, style="bold green"))

    def failure(self, text: str) -> None:
        self._print(Text(text, style="bold red"))

    def _print(self, text: Text) -> None:
        self._console.print(text)


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 9]}…{name[-8:]}"


def utc_now() -> datetime:
    return datetime.now(UTC)
