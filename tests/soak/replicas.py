"""Consumers beside each other on one Redis, and what may happen to them, to it and between them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from redis.asyncio import Redis

from infra.local.daemon import Consumer, ConsumerError
from infra.local.places import HOST
from tests import redis_processes
from tests.redis_processes import RedisProcess
from tests.soak.oracle import Evidence, entry
from tests.soak.stage import Stage
from tests.soak.wire import Wire

REPLICAS: Final = 3
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
LOG: Final = "statuswire"
STARTS: Final = 5  # one ends where Redis does not answer, and whoever supervises it starts another
DRAIN_S: Final = 30.0  # as supervisors give: 15 s for its polls, 5 s to hang up, and a slow machine


class Replica:
    """A consumer, with ways of its own to Redis, to SQS and from its viewers."""

    consumer: Consumer

    def __init__(self, redis: int, sqs: int) -> None:
        """The ports of both."""
        self.to_redis = Wire(redis)
        self.to_sqs = Wire(sqs)
        self.from_viewers = Wire()
        self.ways = (self.to_redis, self.to_sqs, self.from_viewers)

    @property
    def websocket_url(self) -> str:
        """The same at every start."""
        return f"ws://{HOST}:{self.from_viewers.port}/v1/status"

    @property
    def settings(self) -> dict[str, str]:
        """By which the consumer takes these ways."""
        return {
            "STATUSWIRE_LOG": f"redis://{HOST}:{self.to_redis.port}",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.to_sqs.port}",
        }

    async def start(self) -> None:
        """Returns when it is ready and viewers find it."""
        for more in reversed(range(STARTS)):
            try:
                await self.consumer.start()
                break
            except ConsumerError:
                if self.consumer.exit_code is None or not more:
                    raise
        self.from_viewers.lead_to(urlsplit(self.consumer.url).port)

    async def kill(self) -> None:
        """kill -9."""
        await self.consumer.kill()
        self.from_viewers.lead_to(None)

    async def drain(self) -> int | None:
        """SIGTERM; returns its exit code."""
        await self.consumer.stop(DRAIN_S)
        self.from_viewers.lead_to(None)
        return self.consumer.exit_code


class FleetStage(Stage):
    """Several replicas, and Redis, perhaps with a replica of its own."""

    async def open(self, *, module: str = "consumer", **settings: str) -> None:
        self.binary = self.dice.choice(redis_processes.BINARIES)
        self._servers: list[RedisProcess] = []
        self.redis = await self._serve()
        await super().open(module=module, **settings)
        sqs = urlsplit(self.endpoint).port
        assert sqs is not None
        self.replicas = [Replica(self.redis.port, sqs) for _ in range(REPLICAS)]
        for number, replica in enumerate(self.replicas):
            for way in replica.ways:
                await way.start()
                self.closing.push_async_callback(way.stop)
            replica.consumer = self.make_consumer(
                self.folder / f"consumer-{number}.log", module, {**settings, **replica.settings}
            )
        await asyncio.gather(*(replica.start() for replica in self.replicas))

    async def _serve(self, *options: str) -> RedisProcess:
        """One more server, with a folder of its own."""
        folder = self.folder / f"redis-{len(self._servers) + 1}"
        server = RedisProcess(self.binary, folder, *DURABLE, *options)
        self._servers.append(server)
        self.closing.callback(server.kill)
        await asyncio.to_thread(server.start)
        return server

    @property
    def consumers(self) -> list[Consumer]:
        return [replica.consumer for replica in self.replicas]

    def websocket_url(self) -> str:
        """A load balancer's choice: any of them."""
        return self.dice.choice(self.replicas).websocket_url

    async def evidence(self) -> Evidence:
        client = Redis(port=self.redis.port)
        try:
            return await read(client, self._epochs())
        finally:
            await client.aclose()

    async def end_of_log(self) -> str:
        client = Redis(port=self.redis.port)
        try:
            answer: Any = client.hmget(_key("meta"), ["epoch", "head"])
            epoch, head = await answer
        finally:
            await client.aclose()
        return f"{epoch.decode()}-{int(head)}"

    def _epochs(self) -> list[str]:
        """All that there were, in turn, as the consumers say that they found them."""
        began = []
        for consumer in self.consumers:
            for line in consumer.output.read_bytes().splitlines():
                if b'"epoch"' in line:
                    said = json.loads(line)
                    began.append((said["time"], said["epoch"]))
        return list(dict.fromkeys(epoch for _, epoch in sorted(began)))

    # What may happen.

    async def replace(self, number: int) -> None:
        """kill -9, and another one takes its place."""
        await self.replicas[number].kill()
        await asyncio.sleep(self.dice.uniform(0.0, 1.0))
        await self.replicas[number].start()

    async def stand_still(self, number: int) -> None:
        """SIGSTOP for a while: whatever it was about to do it does later."""
        consumer = self.replicas[number].consumer
        consumer.pause()
        await asyncio.sleep(self.dice.uniform(0.5, 6.0))
        consumer.go_on()

    async def lose_redis(self, number: int) -> None:
        """No way to Redis, and all connections reset."""
        await self._cut(self.replicas[number].to_redis)

    async def lose_redis_silently(self, number: int) -> None:
        """No way to Redis, and nothing that says so."""
        await self._silence(self.replicas[number].to_redis)

    async def lose_sqs(self, number: int) -> None:
        """No way to SQS, of which it may be told or not."""
        await self.dice.choice((self._cut, self._silence))(self.replicas[number].to_sqs)

    async def lose_viewers(self, number: int) -> None:
        """No way from its viewers, of which both may be told or not."""
        await self.dice.choice((self._cut, self._silence))(self.replicas[number].from_viewers)

    async def _cut(self, way: Wire) -> None:
        way.cut()
        await asyncio.sleep(self.dice.uniform(0.3, 4.0))
        way.mend()

    async def _silence(self, way: Wire) -> None:
        way.silence()
        await asyncio.sleep(self.dice.uniform(0.3, 7.0))
        way.mend()

    async def restart_redis(self, _: int) -> None:
        """kill -9 of a server that flushes each write, and its return."""
        self.redis.kill()
        await asyncio.sleep(self.dice.uniform(0.0, 3.0))
        await asyncio.to_thread(self.redis.start)

    async def stop_redis(self, _: int) -> None:
        """It stands still."""
        self.redis.pause()
        await asyncio.sleep(self.dice.uniform(0.5, 7.0))
        self.redis.go_on()

    async def fail_over(self, _: int) -> None:
        """The primary dies; its replica takes its place and gets a replica of its own."""
        successor = self._servers[-1]
        self.redis.kill()
        await asyncio.sleep(self.dice.uniform(0.0, 1.0))
        redis_processes.say(successor.port, "REPLICAOF", "NO", "ONE")
        self.redis = successor
        for replica in self.replicas:
            replica.to_redis.lead_to(successor.port)
        await self.back_up()

    async def back_up(self) -> None:
        """Give Redis a replica, in step with it."""
        server = await self._serve("--replicaof", HOST, str(self.redis.port))
        await asyncio.to_thread(server.wait_for_primary)


Fault = Callable[[FleetStage, int], Awaitable[None]]
ANYTHING: Final[tuple[Fault, ...]] = (
    FleetStage.replace,
    FleetStage.stand_still,
    FleetStage.lose_redis,
    FleetStage.lose_redis_silently,
    FleetStage.lose_sqs,
    FleetStage.lose_viewers,
    FleetStage.restart_redis,
    FleetStage.stop_redis,
)


async def read(client: Redis, epochs: list[str]) -> Evidence:
    """What the log in Redis has."""
    meta: Any = await client.hgetall(_key("meta"))
    stream: Any = await client.xrange(_key("stream"))
    newest: Any = await client.hgetall(_key("newest"))
    seen: Any = await client.zrange(_key("seen"), 0, -1)
    entries = [
        entry(int(id_.partition(b"-")[0]), fields[b"event"], int(fields[b"late"]),
              fields[b"epoch"].decode())
        for id_, fields in stream
    ]  # fmt: skip
    current = {
        name.decode(): msgspec.json.decode(value.partition(b" ")[2])["status"]
        for name, value in newest.items()
    }
    return Evidence(
        meta[b"epoch"].decode(), entries, frozenset(each.decode() for each in seen), current,
        int(meta[b"head"]), epochs,
    )  # fmt: skip


def _key(name: str) -> str:
    return f"{{{LOG}}}:{name}"
