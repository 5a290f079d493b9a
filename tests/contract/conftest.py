"""Every log there is, opened on a place of its own: the contract holds for all of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.edges.sqlite_log import SqliteLog
from consumer.ports import StatusLog
from tests.contract import trace


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
        """Begin a new one, for a test that needs many."""
        self._number += 1

    async def close(self, log: StatusLog) -> None:
        assert isinstance(log, SqliteLog)
        await log.close()


@pytest.fixture(params=["sqlite"])
def logs(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteLogs:
    return {"sqlite": SqliteLogs}[request.param](tmp_path)
