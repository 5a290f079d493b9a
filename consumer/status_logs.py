"""Which status log the settings ask for."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from consumer.edges.sqlite_log import SqliteLog
from consumer.redis_address import address
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.edges.redis_log import RedisLog
    from consumer.edges.redis_server import RedisServer


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def make(settings: Settings, clock_ms: Callable[[], int] = now_ms) -> "SqliteLog | RedisLog":
    """It is still to be opened."""
    if (path := settings.log_path) is not None:
        return SqliteLog(
            path,
            retention_s=settings.retention_s,
            retention_events=settings.retention_events,
            now_ms=clock_ms,
        )
    from consumer.edges.redis_log import RedisLog  # noqa: PLC0415  # 0.1 s, for those who want it

    return RedisLog(
        redis_server(settings),
        retention_s=settings.retention_s,
        retention_events=settings.retention_events,
        now_ms=clock_ms,
        replicas=settings.log_replicas,
        wait_ms=round(settings.log_wait_s * 1000),
        rest_s=settings.log_rest_s,
    )


def redis_server(settings: Settings) -> "RedisServer":
    """The server that the settings name."""
    from consumer.edges.redis_server import RedisServer  # noqa: PLC0415

    password = settings.log_password
    return RedisServer(
        address(settings.log),
        name=settings.log_name,
        password=password.get_secret_value() if password else None,
        ca=settings.log_ca,
    )
