"""The consumer as a child process: `python -m consumer`, set up by its environment."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

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

    `url`, `websocket_url` and `metrics_url` are known after `start`.
    """

    def __init__(
        self, environment: Mapping[str, str], output: Path, *, module: str = "consumer"
    ) -> None:
        """`environment` is all that it gets; its JSON lines go to `output`."""
        self.output = output
        self.environment = environment
        self._module = module
        self._child: Child | None = None
        self.url = self.websocket_url = self.metrics_url = ""

    async def start(self) -> None:
        """Returns when the log and the queues have answered. Raises ConsumerError."""
        begins_at = self.output.stat().st_size if self.output.exists() else 0
        self._child = await Child.start(
            [sys.executable, "-m", self._module],
            output=self.output,
            environment=self.environment,
            cwd=ROOT,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while (listening := self._listening(begins_at)) is None:
            await self._pause(deadline)
        address = f"{HOST}:{listening['port']}"
        self.url = f"http://{address}"
        self.websocket_url = f"ws://{address}/v1/status"
        self.metrics_url = f"http://{HOST}:{listening['metrics_port']}/metrics"
        async with aiohttp.ClientSession() as http:
            while not await is_up(http, f"{self.url}/readyz"):
                await self._pause(deadline)

    def _listening(self, begins_at: int) -> dict[str, int] | None:
        """The log line that tells the ports, of this start and no earlier one."""
        with self.output.open("rb") as lines:
            lines.seek(begins_at)
            for line in lines:
                if b'"listening"' not in line or not line.endswith(b"\n"):
                    continue
                record = json.loads(line)
                if record.get("message") == "listening":
                    return {name: record[name] for name in ("port", "metrics_port")}
        return None

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

    async def stop(self) -> None:
        """SIGTERM: it drains. SIGKILL for one that does not end."""
        if self._child is not None:
            await self._child.stop(STOP_GRACE_S)

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
