"""Who shows what is told: a live table, lines for people, lines of JSON, or nobody."""

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Protocol, Self

from rich.live import Live
from rich.text import Text

from consumer.client.items import Item
from consumer.terminal import lines, told
from consumer.terminal.board import Board
from consumer.terminal.exits import Exit
from consumer.terminal.goal import Outcome
from consumer.terminal.looks import Output, plain
from consumer.terminal.running import say
from consumer.terminal.table import render, render_last

FRAME_S: Final = 0.1  # ten frames a second are as many as one reads
CLOCK_S: Final = 1.0  # how often "3 s" becomes "4 s"


class Presenter(Protocol):
    """An async context manager: what it changed of the terminal is put back at its end."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, item: Item) -> None:
        """What is told next."""

    def remark(self, text: str) -> None:
        """Something about what is watched that nobody told."""

    def end(self, code: Exit, outcome: Outcome | None) -> None:
        """How the waiting ended, where something was waited for; after the context's end."""


class _Presenter:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, error, trace

    def remark(self, text: str) -> None:
        say(text)

    def end(self, code: Exit, outcome: Outcome | None) -> None:
        if text := _ending(code, outcome):
            Output(stderr=True).print(text, soft_wrap=True)


class Silent(_Presenter):
    """`--quiet`: the exit code, and one line on standard error where it is not 0."""

    def show(self, item: Item) -> None:
        del item

    def remark(self, text: str) -> None:
        del text

    def end(self, code: Exit, outcome: Outcome | None) -> None:
        if code is not Exit.DONE:
            super().end(code, outcome)


class JsonLines(_Presenter):
    """Each line is flushed: who reads it waits for it."""

    def show(self, item: Item) -> None:
        _write(b"".join(lines.lines_of(item)))

    def end(self, code: Exit, outcome: Outcome | None) -> None:
        _write(lines.ending(code, outcome))


class TextLines(_Presenter):
    """For a file, or the log of a pipeline."""

    def __init__(self) -> None:
        self._console = Output(soft_wrap=True)

    def show(self, item: Item) -> None:
        for text in told.texts_of(item):
            self._console.print(text)


class LiveTable(_Presenter):
    """On the terminal's other screen while it lives; its last state stays behind on the first."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._board = Board()
        self._console = Output()
        self._is_due = asyncio.Event()
        self._closing = AsyncExitStack()

    async def __aenter__(self) -> Self:
        live = Live(console=self._console, screen=True, auto_refresh=False)
        self._closing.enter_context(live)
        drawing = asyncio.create_task(self._draw(live))
        self._closing.push_async_callback(_end_of, drawing)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._closing.aclose()
        # Drawn here, so that it stays; one that never came to life has nothing to leave behind.
        if self._board.has_snapshot:
            width = self._console.width
            self._console.print(render_last(self._board, self._title, datetime.now(UTC), width))

    def show(self, item: Item) -> None:
        self._board.take(item)
        self._is_due.set()

    def remark(self, text: str) -> None:
        self._board.remark = text
        self._is_due.set()

    async def _draw(self, live: Live) -> None:
        while True:
            self._is_due.clear()
            width, height = self._console.size
            live.update(
                render(self._board, self._title, datetime.now(UTC), width, height), refresh=True
            )
            await asyncio.sleep(FRAME_S)
            try:
                async with asyncio.timeout(CLOCK_S - FRAME_S):
                    await self._is_due.wait()
            except TimeoutError:
                continue


def choose(title: str, *, as_json: bool, is_quiet: bool) -> Presenter:
    """A table only where somebody can see it: Rich would draw one for FORCE_COLOR alone."""
    if as_json:
        return JsonLines()
    if is_quiet:
        return Silent()
    if sys.stdout.isatty() and not Output().is_dumb_terminal:
        return LiveTable(title)
    return TextLines()


def _ending(code: Exit, outcome: Outcome | None) -> Text | None:
    if code is Exit.TIMED_OUT:
        return Text("Timed out.", style="bold yellow")
    if outcome is None:
        return None
    style = "bold green" if outcome.is_reached else "bold red"
    return plain(outcome.text, style)


async def _end_of(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task  # what it failed with is raised


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
