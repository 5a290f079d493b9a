"""What the functions are made of, out of their environment; opened by the first invocation."""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import boto3  # type: ignore[import-untyped]  # it has no types of its own
from botocore.config import Config
from msgspec import Struct

from lambdas.stream.connections import Connections
from lambdas.stream.log import DynamoLog
from lambdas.stream.motion import Motion
from lambdas.stream.posts import Posts

THREADS: Final = 16  # that tell connections something; they wait for API Gateway, mostly
# `standard` tries throttled calls again, with growing waits, and such as were not answered in time.
# Those may have been heard, so each must bear to be made twice. What does not answer three times
# for 3 s is down.
PATIENCE: Final = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=THREADS,
)


class BadEnvironment(Exception):
    """Variables that are missing or wrong, all of them. The operator must act."""


class Environment(Struct, frozen=True):
    """What the template sets, for all functions that tell connections something."""

    log_table: str
    connections_table: str
    management_url: str
    heartbeat_s: float
    retention_hours: float
    history_events: int

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> "Environment":
        """Raises `BadEnvironment`, which names variables and leaves out their values."""
        wrong = []
        values: dict[str, Any] = {}
        for name, kind in cls.__annotations__.items():
            variable = name.upper()
            try:
                values[name] = kind(variables[variable])
                if not values[name] or (kind is not str and values[name] <= 0):
                    wrong.append(variable)
            except (KeyError, ValueError):
                wrong.append(variable)
        if wrong:
            raise BadEnvironment(", ".join(wrong))
        return cls(**values)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def until_ms(context: Any) -> int:
    """When a function's time is over, and so what it holds: a moment after its end."""
    return now_ms() + int(context.get_remaining_time_in_millis()) + 500


@cache
def environment() -> Environment:
    """Read once. Raises `BadEnvironment`."""
    return Environment.read(os.environ)


@cache
def tables() -> Any:
    """A client that takes Python's own types, and may be used by many threads."""
    return boto3.resource("dynamodb", config=PATIENCE).meta.client


@cache
def connections(table: str) -> Connections:
    """By itself for functions that need no more."""
    return Connections(tables(), table, now_ms=now_ms)


@cache
def status_log() -> DynamoLog:
    """The one log."""
    its = environment()
    return DynamoLog(
        tables(),
        its.log_table,
        retention_s=its.retention_hours * 3600,
        history=its.history_events,
        now_ms=now_ms,
    )


@cache
def posts(url: str) -> Posts:
    """By the address of the API's stage."""
    return Posts(boto3.client("apigatewaymanagementapi", endpoint_url=url, config=PATIENCE))


@cache
def motion() -> Motion:
    """All that it takes to tell a connection something."""
    its = environment()
    return Motion(
        status_log(),
        connections(its.connections_table),
        posts(its.management_url),
        heartbeat_s=its.heartbeat_s,
        now_ms=now_ms,
    )
