"""Checks of a log in Redis or Valkey: that it answers, keeps what it took, and drops nothing."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from consumer.edges.redis_server import RedisServer
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, warning
from consumer.operator.scene import Scene
from consumer.ports import LogUnavailable
from consumer.settings import PREFIX
from consumer.status_logs import redis_server

LEAST: Final = (6, 2)  # XTRIM's MINID and XRANGE's exclusive ranges
ENTRY_BYTES: Final = 1_000  # an event's JSON of 400 B in the stream, and its share of a key

_IN_A_FILE: Final = ok("the log is a file, and needs no server")


async def answers(scene: Scene) -> list[Finding]:
    """There, ours by name and password, new enough, and not a replica."""
    if scene.settings.log_path is not None:
        return [_IN_A_FILE]
    try:
        told = await _told(scene)
    except LogUnavailable as failure:
        reach = f"Its address in {PREFIX}LOG, {PREFIX}LOG_PASSWORD, {PREFIX}LOG_CA, and the way."
        return [error("the log's server does not answer", str(failure), reach)]
    name = "Valkey" if "valkey_version" in told else "Redis"
    version = str(told.get("valkey_version", told["redis_version"]))
    numbers = tuple(int(part) for part in str(told["redis_version"]).split(".")[:2])
    if numbers < LEAST:
        return [error(f"{name} {version} is too old", "It must be 6.2 at least.", "Upgrade it.")]
    if told["role"] != "master":
        primary = f"Name the primary in {PREFIX}LOG, or use redis+sentinel://."
        return [error("the log's server is a replica", "It takes no writes.", primary)]
    return [ok(f"the log's server answers ({name} {version})")]


async def memory(scene: Scene) -> list[Finding]:
    """It evicts nothing, and what is to be kept has room."""
    if scene.settings.log_path is not None:
        return [_IN_A_FILE]
    told = await _told(scene)
    if told["maxmemory"] and told["maxmemory_policy"] != "noeviction":
        lost = "Once its memory is full, it drops parts of the log as if nobody needed them."
        fix = "CONFIG SET maxmemory-policy noeviction, or the parameter group's."
        return [error(f"the log's server evicts ({told['maxmemory_policy']})", lost, fix)]
    full = scene.settings.retention_events * ENTRY_BYTES
    room = int(told["maxmemory"]) - int(told["used_memory"])
    if told["maxmemory"] and room < full:
        title = f"{room / 1e6:,.0f} MB are left in the log's server"
        full_server = f"{scene.settings.retention_events} events may take {full / 1e6:,.0f} MB."
        less = f"A larger server, or a lower {PREFIX}RETENTION_EVENTS or {PREFIX}RETENTION_S."
        return [warning(title, full_server, less)]
    return [ok("the log's server has room, and evicts nothing")]


async def durability(scene: Scene) -> list[Finding]:
    """What is acknowledged outlives the server."""
    if scene.settings.log_path is not None:
        return [_IN_A_FILE]
    told = await _told(scene)
    wanted, connected = scene.settings.log_replicas, int(told["connected_slaves"])
    if connected < wanted:
        refused = "Until they are there, nothing is appended and no message is acknowledged."
        fix = f"Add replicas, or a lower {PREFIX}LOG_REPLICAS."
        return [error(f"{connected} of {wanted} replicas follow the log", refused, fix)]
    if not told["aof_enabled"] and not connected:
        lost = (
            "A restart loses what it took since its last snapshot, if it makes any: clients are "
            "told of a gap, and what nobody tells again is not there."
        )
        fix = "appendonly yes with appendfsync always, or a replica; in ElastiCache, Multi-AZ."
        return [warning("the log's server keeps nothing but in memory", lost, fix)]
    return [ok("the log outlives a restart of its server")]


async def _told(scene: Scene) -> Mapping[str, Any]:
    async def ask() -> Mapping[str, Any]:
        async with _open(scene) as server:
            return await server.info()

    told: Mapping[str, Any] = await scene.once("log server", ask)
    return told


@asynccontextmanager
async def _open(scene: Scene) -> AsyncIterator[RedisServer]:
    server = redis_server(scene.settings)
    try:
        yield server
    finally:
        await server.close()


CHECKS: Final = (
    Check("log.server", answers),
    Check("log.memory", memory, needs=("log.server",)),
    Check("log.durability", durability, needs=("log.server",)),
)
