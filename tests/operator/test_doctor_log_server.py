"""The doctor's checks of a log in Redis, on real servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consumer.operator import log_file, log_server
from consumer.operator.finding import Level
from tests import redis_processes
from tests.operator.doctor_checks import Check, forget, told
from tests.redis_processes import RedisProcess, say


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisProcess]:
    server = RedisProcess(redis_processes.BINARIES[0], tmp_path)
    server.start()
    yield server
    server.kill()


def at(server: RedisProcess) -> str:
    return f"redis://127.0.0.1:{server.port}"


async def test_a_server_that_answers(server: RedisProcess) -> None:
    """With its version, which is what one asks first."""
    finding = await told(log_server.answers, log=at(server))
    assert finding.level is Level.OK
    assert "Redis 6.2" in finding.title


async def test_a_server_that_is_not_there(server: RedisProcess) -> None:
    """And which settings say where it is."""
    server.kill()
    finding = await told(log_server.answers, log=at(server))
    assert finding.level is Level.ERROR
    assert "STATUSWIRE_LOG_PASSWORD" in finding.fix


async def test_a_replica_takes_no_writes(server: RedisProcess, tmp_path: Path) -> None:
    """It would be found out by the first append only."""
    primary = ("--replicaof", "127.0.0.1", str(server.port))
    replica = RedisProcess(redis_processes.BINARIES[0], tmp_path / "replica", *primary)
    replica.start()
    try:
        finding = await told(log_server.answers, log=at(replica))
        assert (finding.level, "primary" in finding.fix) == (Level.ERROR, True)
        replica.wait_for_primary()
        assert (await told(log_server.durability, log=at(server))).level is Level.OK
    finally:
        replica.kill()


async def test_a_server_that_evicts(server: RedisProcess) -> None:
    """Parts of the log would be gone without a word."""
    say(server.port, "CONFIG", "SET", "maxmemory", "10gb")
    assert (await told(log_server.memory, log=at(server))).level is Level.OK
    say(server.port, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    finding = await told(log_server.memory, log=at(server))
    assert finding.level is Level.ERROR
    assert "noeviction" in finding.fix


async def test_a_server_that_is_too_small(server: RedisProcess) -> None:
    """For as many events as are to be kept."""
    say(server.port, "CONFIG", "SET", "maxmemory", "100mb")
    finding = await told(log_server.memory, log=at(server))
    assert (finding.level, "RETENTION_EVENTS" in finding.fix) == (Level.WARNING, True)


async def test_a_server_that_forgets(server: RedisProcess) -> None:
    """Neither an append-only file nor a replica."""
    finding = await told(log_server.durability, log=at(server))
    assert (finding.level, "appendonly" in finding.fix) == (Level.WARNING, True)
    say(server.port, "CONFIG", "SET", "appendonly", "yes")
    assert (await told(log_server.durability, log=at(server))).level is Level.OK


async def test_fewer_replicas_than_are_waited_for(server: RedisProcess) -> None:
    """Nothing would be acknowledged."""
    finding = await told(log_server.durability, log=at(server), log_replicas=1)
    assert (finding.level, "LOG_REPLICAS" in finding.fix) == (Level.ERROR, True)


@pytest.mark.parametrize("check", [each.run for each in log_server.CHECKS])
async def test_a_log_in_a_file_has_no_server(check: Check, tmp_path: Path) -> None:
    """Nothing is asked."""
    assert (await told(check, log=f"sqlite:{tmp_path}/log.db")).level is Level.OK


@pytest.mark.parametrize("check", [each.run for each in log_file.CHECKS])
async def test_a_log_in_a_server_has_no_file(check: Check, server: RedisProcess) -> None:
    """Nothing is looked for on the disk."""
    assert "log.server" in (await told(check, log=at(server))).title
