"""Doing things at the same time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

# Called with what was done and the seconds it took.
Progress = Callable[[str, float], None]


async def timed(progress: Progress, done: str, work: Coroutine[Any, Any, None]) -> None:
    begin = time.monotonic()
    await work
    progress(done, time.monotonic() - begin)


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """All at once; the first failure ends the others and is raised as it was."""
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
