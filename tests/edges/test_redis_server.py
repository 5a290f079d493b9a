"""How Redis is reached: addresses, TLS and an ACL user, a cluster, Sentinel."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from consumer.core.statuses import Verdict
from consumer.edges.redis_log import RedisLog
from consumer.edges.redis_server import RedisServer
from consumer.ports import LogUnavailable, LogUnusable, StatusLog
from consumer.redis_address import Address, address
from tests import redis_processes
from tests.core import examples
from tests.redis_processes import RedisProcess, say

NOW_MS = 1_767_225_700_000
# As docs/scaling.md has them.
ALLOWED = (
    "+@scripting +info +xread +hscan +wait +hget +hset +hmget +hdel +hincrby +xadd +xrange +xtrim "
    "+zadd +zrem +zscore +zrangebyscore +time"
)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://log", Address("single", (("log", 6379),), False, None, 0, "")),
        ("rediss://me@log:1/3", Address("single", (("log", 1),), True, "me", 3, "")),
        (
            "rediss+cluster://a,b:7",
            Address("cluster", (("a", 6379), ("b", 7)), True, None, 0, ""),
        ),
        (
            "redis+sentinel://a,b:7/main",
            Address("sentinel", (("a", 26379), ("b", 7)), False, None, 0, "main"),
        ),
        ("redis://[::1]:5", Address("single", (("::1", 5),), False, None, 0, "")),
    ],
)
def test_addresses(url: str, meant: Address) -> None:
    """Each kind of place has its scheme."""
    assert address(url) == meant


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://log", "scheme"),
        ("redis+other://log", "scheme"),
        ("redis://me:secret@log", "password"),
        ("redis://log?db=1", "after a"),
        ("redis://a,b", "neither"),
        ("redis://log/main", "number"),
        ("redis://", "host"),
        ("redis+sentinel://a", "name"),
        ("redis+cluster://a/1", "one database"),
    ],
)
def test_addresses_that_are_none(url: str, problem: str) -> None:
    """What is wrong is named, and nothing of its value."""
    with pytest.raises(ValueError, match=problem) as refused:
        address(url)
    assert "secret" not in str(refused.value)


@pytest.fixture(params=redis_processes.BINARIES)
def binary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Done(Exception):
    """Of what a leader does."""


async def opened(server: RedisServer) -> RedisLog:
    log = RedisLog(server, retention_s=3_600, retention_events=1_000, now_ms=lambda: NOW_MS)
    await log.open()
    return log


async def use(log: RedisLog) -> None:
    """Everything that a consumer asks of it."""
    assert await log.append([examples.step(1), examples.step(2)]) == [Verdict.APPENDED] * 2
    head, newest = await log.newest()
    assert [entry.place for entry in newest] == [2]
    assert len(await log.read(0, head)) == len(await log.history(newest[0].key, head)) == 2
    async with asyncio.timeout(10):
        follower = log.changes(1)
        assert [entry.place for entry in await anext(follower)] == [2]
        later = asyncio.ensure_future(anext(follower))
        assert await log.append([examples.step(3)]) == [Verdict.APPENDED]
        assert [entry.place for entry in await later] == [3]
    await log.prune()

    async def lead(led: StatusLog) -> None:
        assert await led.append([examples.step(4, "SUCCEEDED")]) == [Verdict.APPENDED]
        raise Done

    with pytest.raises(Done):
        await log.lead(lead)


@pytest.fixture(
    params=[each for each in redis_processes.BINARIES if redis_processes.speaks_tls(each)]
)
def secured(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[RedisProcess, Path]]:
    """A server that speaks TLS only, knows one user, and the certificate to trust."""
    authority = trustme.CA()
    pair = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    pair.cert_chain_pems[0].write_to_path(paths["cert"])
    pair.private_key_pem.write_to_path(paths["key"])
    tls_port = redis_processes.free_port()
    server = RedisProcess(
        request.param, tmp_path / "server", "--tls-port", str(tls_port), "--tls-auth-clients", "no",
        "--tls-cert-file", str(paths["cert"]), "--tls-key-file", str(paths["key"]),
        "--tls-ca-cert-file", str(paths["ca"]),
    )  # fmt: skip
    server.start()
    say(server.port, "ACL", "SETUSER", "statuswire", "on", ">word", "~{test}:*", *ALLOWED.split())
    say(server.port, "ACL", "SETUSER", "default", "off")
    server.tls_port = tls_port
    yield server, paths["ca"]
    server.kill()


async def test_tls_and_an_acl_user(secured: tuple[RedisProcess, Path]) -> None:
    """With the rights that the docs name, and no more; a wrong password is told without it."""
    server, ca = secured
    where = address(f"rediss://statuswire@127.0.0.1:{server.tls_port}")
    log = await opened(RedisServer(where, name="test", password="word", ca=ca))  # noqa: S106
    await use(log)
    await log.close()
    for wrong in (
        RedisServer(where, name="test", password="wrong-word", ca=ca),  # noqa: S106
        RedisServer(where, name="test", password="word"),  # noqa: S106  # whose CA is unknown
        RedisServer(where, name="other", password="word", ca=ca),  # noqa: S106  # keys of another
    ):
        with pytest.raises((LogUnavailable, LogUnusable)) as refused:
            await opened(wrong)
        assert "wrong-word" not in str(refused.value)
        await wrong.close()


async def test_a_cluster(binary: str, tmp_path: Path) -> None:
    """All keys of a log lie in one slot, whichever node has it."""
    nodes = [
        RedisProcess(binary, tmp_path / f"node-{n}", "--cluster-enabled", "yes") for n in range(2)
    ]
    try:
        for node, (first, last) in zip(nodes, ((0, 8191), (8192, 16383)), strict=True):
            node.start()
            say(node.port, "CLUSTER", "ADDSLOTS", *map(str, range(first, last + 1)))
        say(nodes[0].port, "CLUSTER", "MEET", "127.0.0.1", str(nodes[1].port))
        deadline_s = time.monotonic() + 30
        while not all("cluster_state:ok" in say(node.port, "CLUSTER", "INFO") for node in nodes):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)
        for name in ("test", "another"):
            where = address(f"redis+cluster://127.0.0.1:{nodes[0].port}")
            log = await opened(RedisServer(where, name=name))
            await use(log)
            await log.close()
    finally:
        for node in nodes:
            node.kill()


async def test_sentinel_names_the_primary(binary: str, tmp_path: Path) -> None:
    """After a failover the log goes on with the new one, in a new epoch."""
    primary = RedisProcess(binary, tmp_path / "primary")
    primary.start()
    replica = RedisProcess(
        binary, tmp_path / "replica", "--replicaof", "127.0.0.1", str(primary.port)
    )
    replica.start()
    replica.wait_for_primary()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    sentinel = RedisProcess(binary, tmp_path / "sentinel", config=config)
    try:
        sentinel.start()
        where = address(f"redis+sentinel://127.0.0.1:{sentinel.port}/main")
        log = await opened(RedisServer(where, name="test"))
        await use(log)
        before = log.epoch
        deadline_s = time.monotonic() + 120  # it looks for replicas every 10 s
        while "slave0" not in say(sentinel.port, "INFO", "sentinel") and "slaves=1" not in say(
            sentinel.port, "INFO", "sentinel"
        ):
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.1)
        replica.wait_for_primary()
        primary.kill()
        while True:
            try:
                assert await log.append([examples.step(9, run="after")]) == [Verdict.APPENDED]
                break
            except LogUnavailable:
                assert time.monotonic() < deadline_s
                await asyncio.sleep(0.2)
        # What Sentinel lets the replica have is its own matter, and what an epoch is for.
        assert (await log.newest())[0] in (1, 5)
        assert log.epoch != before
        await log.close()
    finally:
        for process in (sentinel, replica, primary):
            process.kill()
