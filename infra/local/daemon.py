"""The consumer as a child process, or several: `python -m consumer`, set up by its environment."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import aiohttp

from infra.local.child import Child, is_up
from infra.local.places import HOST, ROOT, LocalRunError

START_TIMEOUT_S = 60.0  # it takes one; a machine that is full of other work, many
POLL_S = 0.05
STOP_GRACE_S = 2.5


class ConsumerError(LocalRunError):
    """The consumer did not come up, or died; the message ends with its last lines."""


class Consumer:
    """One consumer that can be started, stopped, killed and started again on its log.

    `url`, `websocket_url` and `metrics_url` (the first worker's) are known after `start`.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        output: Path,
        *,
        module: str = "consumer",
        workers: int = 1,
    ) -> None:
        """`environment` is all that it gets; its JSON lines go to `output`."""
        self.output = output
        self.environment = environment
        self._command = [sys.executable, "-m", module]
        if workers > 1:
            self._command += ["run", "--workers", str(workers)]
        self._workers = workers
        self._child: Child | None = None
        self.url = self.websocket_url = self.metrics_url = ""

    async def start(self) -> None:
        """Returns when all listen, and log and queues have answered. Raises ConsumerError."""
        if self._child is not None:
            await self._child.kill()  # of one that died, workers may still hold the port
        self._begins_at = self.output.stat().st_size if self.output.exists() else 0
        self._child = await Child.start(
            self._command,
            output=self.output,
            environment=self.environment,
            cwd=ROOT,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while len(listening := self._said("listening")) < self._workers:
            await self._pause(deadline)
        first = min(listening, key=lambda record: record.get("worker", 0))
        address = f"{HOST}:{first['port']}"
        self.url = f"http://{address}"
        self.websocket_url = f"ws://{address}/v1/status"
        self.metrics_url = f"http://{HOST}:{first['metrics_port']}/metrics"
        async with aiohttp.ClientSession() as http:
            while not await is_up(http, f"{self.url}/readyz"):
                await self._pause(deadline)

    def _said(self, message: str) -> list[dict[str, Any]]:
        """The log's records with this message, of this start and no earlier one."""
        with self.output.open("rb") as output:
            output.seek(self._begins_at)
            return [record for record in _records(output) if record.get("message") == message]

    @property
    def worker_pids(self) -> dict[int, int]:
        """By the workers' numbers; none where there is only one process."""
        return {each["worker"]: each["pid"] for each in self._said("worker started")}

    def records(self) -> AsyncIterator[dict[str, Any]]:
        """What it logs from now on, whichever of its processes does."""
        return self._records_after(self.output.stat().st_size)

    async def _records_after(self, place: int) -> AsyncIterator[dict[str, Any]]:
        with self.output.open("rb") as output:
            output.seek(place)
            while True:
                for record in _records(output):
                    yield record
                await asyncio.sleep(POLL_S)

    async def _pause(self, deadline: float) -> None:
        if self.exit_code is not None:
            raise ConsumerError(f"The consumer ended ({self.exit_code}):\n{self.tail()}")
        if time.monotonic() > deadline:
            raise ConsumerError(f"The consumer is not ready:\n{self.tail()}")
        await asyncio.sleep(POLL_S)

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code if self._child else None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        if self._child is None:
            raise ConsumerError("The consumer was never started.")
        return self._child.pid

    async def watch(self) -> None:
        """Raises ConsumerError when it dies, and never returns before."""
        if self._child is not None:
            code = await self._child.wait()
            raise ConsumerError(f"The consumer ended ({code}):\n{self.tail()}")

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """SIGTERM: it drains. SIGKILL for one that does not end within so long."""
        if self._child is not None:
            await self._child.stop(grace_s)

    async def kill(self) -> None:
        """kill -9."""
        if self._child is not None:
            await self._child.kill()

    def pause(self) -> None:
        """SIGSTOP: it stands still, whatever it was about to do."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def tail(self) -> str:
        return self._child.tail() if self._child else ""


def _records(output: IO[bytes]) -> Iterator[dict[str, Any]]:
    """Of whole lines; the rest of a line comes the next time, when it is written."""
    while True:
        place = output.tell()
        line = output.readline()
        if not line.endswith(b"\n"):
            output.seek(place)
            return
        if line.startswith(b"{"):  # and no word of the interpreter's
            yield json.loads(line)
