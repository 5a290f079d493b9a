"""Where Redis or Valkey is, and how it is reached: one server, a cluster, or what Sentinel names.

The library reconnects, follows a cluster's redirections and asks Sentinel again by itself. It
repeats nothing: whoever asked knows best whether to.
"""

import asyncio
import hashlib
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from consumer.ports import LogUnavailable
from consumer.redis_address import Address

CONNECT_S: Final = 2.0
ANSWER_S: Final = 5.0
NEWS_MS: Final = 1_000  # how long a read waits for news; less than an answer may take
AT_ONCE: Final = 16  # scripts under way, each on a connection of its own
_KEYS: Final = ("meta", "stream", "standings", "newest", "seen", "ended")

Client = Redis | RedisCluster


class Script:
    """A script, known to the server by its hash once it ran there."""

    def __init__(self, name: str) -> None:
        folder = files("consumer.edges.redis_scripts")
        begin, own = (folder.joinpath(f"{each}.lua").read_text() for each in ("begin", name))
        self.text = f"{begin}\n{own}"
        self.hash = _hash(self.text)


class RedisServer:
    """Runs scripts on the six keys of one log, which all lie in one slot of a cluster."""

    def __init__(
        self,
        where: Address,
        *,
        name: str,
        password: str | None = None,
        ca: Path | None = None,
    ) -> None:
        """`ca`: certificates to trust instead of the system's."""
        self.keys = [f"{{{name}}}:{each}" for each in _KEYS]
        self._where = where
        self._password = password
        self._ca = ca
        self._client = self._connect()
        self._room = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def run(self, script: Script, *values: Any) -> Any:
        """A script's answer. Raises `LogUnavailable`: what it did, if anything, is not known."""
        async with self._room, translated():
            try:
                return await self._client.evalsha(script.hash, len(self.keys), *self.keys, *values)
            except NoScriptError:
                return await self._client.eval(script.text, len(self.keys), *self.keys, *values)

    async def run_and_wait(self, script: Script, replicas: int, wait_ms: int, *values: Any) -> Any:
        """The same, and how many replicas have what it wrote, after so long at the most."""
        async with self._room, translated():
            for loaded in (True, False):
                # On one connection, as WAIT is for what its own wrote.
                pipe = self._client.pipeline(transaction=False)
                text, run = (script.hash, pipe.evalsha) if loaded else (script.text, pipe.eval)
                run(text, len(self.keys), *self.keys, *values)
                pipe.execute_command("WAIT", replicas, wait_ms)
                answer, count = await pipe.execute(raise_on_error=False)
                if not (loaded and isinstance(answer, NoScriptError)):
                    break
            for each in (answer, count):
                if isinstance(each, Exception):
                    raise each
            return answer, count

    async def wait_for_news(self, after: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Entries of the stream after an ID, as soon as there are any; none after `NEWS_MS`."""
        async with translated():
            streams: Any = await self._client.xread({self.keys[1]: after}, count, NEWS_MS)
        found: list[tuple[bytes, dict[bytes, bytes]]] = streams[0][1] if streams else []
        return found

    async def scan(self, cursor: int, count: int) -> tuple[int, dict[bytes, bytes]]:
        """Some of the keys' newest, and where to go on; at 0 it is the end."""
        async with self._room, translated():
            then: Any = await self._client.hscan(self.keys[3], cursor, count=count)
        return int(then[0]), then[1]

    async def info(self) -> Mapping[str, Any]:
        """What the server says of itself (INFO)."""
        async with self._room, translated():
            client = self._client
            if isinstance(client, RedisCluster):
                await client.initialize()
                node = client.get_node_from_key(self.keys[0])
                told = await client.info(target_nodes=node)
            else:
                told = await client.info()
        return cast("Mapping[str, Any]", told)

    def _connect(self) -> Client:
        where = self._where
        options: dict[str, Any] = {
            "username": where.username,
            "password": self._password,
            "socket_connect_timeout": CONNECT_S,
            "socket_timeout": ANSWER_S,
            "socket_keepalive": True,
            "protocol": 2,
        }
        if where.tls:
            options |= {"ssl": True, "ssl_ca_certs": self._ca and str(self._ca)}
            options |= {"ssl_min_version": ssl.TLSVersion.TLSv1_2}
        if where.topology == "cluster":
            from redis.asyncio.cluster import ClusterNode  # noqa: PLC0415  # for those who have one

            nodes = [ClusterNode(host, port) for host, port in where.hosts]
            return RedisCluster(startup_nodes=nodes, **options)
        options["retry"] = Retry(NoBackoff(), 0)
        if where.topology == "sentinel":
            hosts = where.hosts
            sentinel = Sentinel(hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
            primary: Redis = sentinel.master_for(where.service, **options)
            return primary
        ((host, port),) = where.hosts
        return Redis(host=host, port=port, db=where.database, **options)


def _hash(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Whatever keeps Redis from answering, as `LogUnavailable`."""
    try:
        yield
    # RuntimeError is uvloop's for a write to what is closed; the library passes it on.
    except (RedisError, OSError, TimeoutError, RuntimeError) as error:
        raise LogUnavailable(f"Redis: {type(error).__name__}: {error}") from error
    # The library waits by asyncio.wait_for, which before Python 3.12 may swallow a cancellation
    # that comes together with the answer (https://github.com/python/cpython/issues/86296).
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError


def token() -> str:
    """A name that nobody else has: of an epoch, of who leads."""
    return secrets.token_hex(4)
