"""Every log there is, opened on a place of its own: the contract holds for all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from consumer.edges.redis_log import RedisLog
from consumer.edges.redis_server import RedisServer
from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import StatusLog
from consumer.redis_address import address
from tests import redis_processes
from tests.contract import trace


class Logs(Protocol):
    """A kind of log."""

    async def open(self, now_ms: Callable[[], int]) -> StatusLog:
        """Opened again, it is the same one."""

    def renew(self) -> None:
        """Begin a new one, for a test that needs many."""

    async def close(self, log: StatusLog) -> None:
        """Let go of it."""


class SqliteLogs:
    """Opens a SQLite log; opened again, it is the same file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    async def open(self, now_ms: Callable[[], int]) -> SqliteLog:
        log = SqliteLog(
            self._folder / f"log-{self._number}.db",
            retention_s=trace.RETENTION_S,
            retention_events=trace.RETENTION_EVENTS,
            now_ms=now_ms,
        )
        await log.open()
        return log

    def renew(self) -> None:
        self._number += 1

    async def close(self, log: StatusLog) -> None:
        assert isinstance(log, SqliteLog)
        await log.close()


class RedisLogs:
    """Opens a log in a real Redis; opened again, it is that of the same name."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self._name = name
        self._number = 0

    async def open(self, now_ms: Callable[[], int]) -> RedisLog:
        log = RedisLog(
            RedisServer(
                address(f"redis://127.0.0.1:{self._port}"), name=f"{self._name}-{self._number}"
            ),
            retention_s=trace.RETENTION_S,
            retention_events=trace.RETENTION_EVENTS,
            now_ms=now_ms,
        )
        await log.open()
        return log

    def renew(self) -> None:
        self._number += 1

    async def close(self, log: StatusLog) -> None:
        assert isinstance(log, RedisLog)
        await log.close()


@pytest.fixture(scope="session")
def redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis_processes.Servers]:
    with redis_processes.Servers(tmp_path_factory.mktemp("redis")) as servers:
        yield servers


@pytest.fixture(params=["sqlite", *redis_processes.BINARIES])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> Logs:
    if request.param == "sqlite":
        return SqliteLogs(tmp_path)
    servers: redis_processes.Servers = request.getfixturevalue("redis_servers")
    return RedisLogs(servers.port(request.param), tmp_path.name)
