"""How a viewer's command begins and ends: signals, errors in words, exit codes."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, Final

from rich.text import Text

from consumer.terminal.exits import CannotGoOn, Exit
from consumer.terminal.looks import Output, plain

_BY_SIGNAL: Final = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


def run(command: Coroutine[Any, Any, Exit]) -> Exit:
    """Until it ends or is told to. What it opened is closed in either case; nobody sees a trace."""
    # What a library remarks would be written into the table.
    logging.getLogger("consumer").addHandler(logging.NullHandler())
    try:
        return asyncio.run(_until_told(command))
    except CannotGoOn as error:
        complain(str(error), error.fix)
        return Exit.REFUSED
    except BrokenPipeError:
        # Python would flush what is left at its end, and complain once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNREAD


async def _until_told(command: Coroutine[Any, Any, Exit]) -> Exit:
    task = asyncio.ensure_future(command)
    loop = asyncio.get_running_loop()
    told: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if told:  # the first waits for what cannot be broken off, such as a call for credentials
            os._exit(_BY_SIGNAL[number])
        told.append(number)
        task.cancel()

    for number in _BY_SIGNAL:
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not told:
            raise
        return _BY_SIGNAL[told[0]]


def say(text: str) -> None:
    """A remark, on standard error: standard output is for what was asked for."""
    Output(stderr=True).print(plain(text, "dim"), soft_wrap=True)


def complain(why: str, fix: str = "") -> None:
    """What went wrong, and what to do next."""
    console = Output(stderr=True)
    console.print(Text.assemble(("statuswire: ", "bold red"), plain(why)), soft_wrap=True)
    if fix:
        console.print(plain(fix), soft_wrap=True)
