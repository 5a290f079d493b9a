"""`statuswire run --workers` as a process, and what it says of itself."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 60.0  # on a machine that is busy with other tests

Line = dict[str, Any]


class Crew:
    """A parent and its workers, read by what they log."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[Line] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def said(self, message: str, count: int = 1, **fields: Any) -> list[Line]:
        """Wait until so many lines say it. Fails when they can say no more."""

        def found() -> list[Line]:
            wanted = {"message": message, **fields}
            return [line for line in self.lines if wanted.items() <= line.items()]

        async with asyncio.timeout(PATIENCE_S), self._more:
            await self._more.wait_for(lambda: len(found()) >= count or self._reading.done())
        assert len(found()) >= count, self.lines
        return found()

    async def gone(self) -> list[Line]:
        """Wait until the last of them has ended, the parent and each worker; returns all lines.

        They share one pipe: its end is the end of all of them.
        """
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.shield(self._reading)
        return self.lines

    async def code(self) -> int:
        """The parent's exit code, once all have ended."""
        await self.gone()
        return await self.process.wait()

    async def viewers(self, worker: int) -> int:
        """How many clients the worker's own metrics tell of."""
        (line, *_) = [
            line for line in reversed(self.lines)
            if line["message"] == "listening" and line["worker"] == worker
        ]  # fmt: skip
        url = f"http://127.0.0.1:{line['metrics_port']}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            text = await answer.text()
        (value,) = [
            row.split()[1] for row in text.splitlines() if row.startswith("statuswire_clients ")
        ]
        return round(float(value))

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._more:
                self.lines.append(json.loads(line))
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()


@asynccontextmanager
async def crew(count: int, environment: Mapping[str, str]) -> AsyncIterator[Crew]:
    """Started, and ended at the latest with the block."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer", "run", "--workers", str(count)),
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": os.devnull, **environment},
        cwd=ROOT,
        start_new_session=True,
    )
    started = Crew(process)
    try:
        yield started
    finally:
        if not started._reading.done():  # what a failed test leaves; the group is all of ours
            os.killpg(process.pid, signal.SIGKILL)
        await started.gone()
        await process.wait()
