"""Trials of several consumers on one Redis, each of which may die, stand still or be cut off."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from redis.asyncio import Redis

from infra.local.daemon import Consumer
from tests import redis_processes
from tests.redis_processes import RedisProcess
from tests.soak import load
from tests.soak.oracle import Evidence, entry
from tests.soak.outcome import Outcome
from tests.soak.stage import Stage
from tests.soak.trials import Place, patterns
from tests.soak.wire import Wire

REPLICAS: Final = 3
FAULTS: Final = 5  # of one trial
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
LOG: Final = "statuswire"


class FleetStage(Stage):
    """Consumers beside each other: each has a wire of its own to the same Redis."""

    async def open(self, *, module: str = "consumer", **settings: str) -> None:
        self.binary = self.dice.choice(redis_processes.BINARIES)
        self._servers: list[RedisProcess] = []
        self.redis = await self._serve()
        self.wires = [Wire(self.redis.port) for _ in range(REPLICAS)]
        for wire in self.wires:
            await wire.start()
            self.closing.push_async_callback(wire.stop)
        await super().open(module=module, **settings)
        self._fleet = [
            self.make_consumer(
                self.folder / f"consumer-{number}.log",
                module,
                {**settings, "STATUSWIRE_LOG": f"redis://127.0.0.1:{wire.port}"},
            )
            for number, wire in enumerate(self.wires)
        ]
        await asyncio.gather(*(consumer.start() for consumer in self._fleet))

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
        return self._fleet

    def websocket_url(self) -> str:
        """A load balancer's choice: any of them."""
        return self.dice.choice(self._fleet).websocket_url

    async def evidence(self) -> Evidence:
        client = Redis(port=self.redis.port)
        try:
            return await read(client, self._epochs())
        finally:
            await client.aclose()

    def _epochs(self) -> list[str]:
        """All that there were, in turn, as the consumers say that they found them."""
        began = []
        for consumer in self._fleet:
            for line in consumer.output.read_bytes().splitlines():
                if b'"epoch"' in line:
                    said = json.loads(line)
                    began.append((said["time"], said["epoch"]))
        return list(dict.fromkeys(epoch for _, epoch in sorted(began)))

    # What may happen.

    async def replace(self, number: int) -> None:
        """kill -9, and another one takes its place."""
        await self._fleet[number].kill()
        await asyncio.sleep(self.dice.uniform(0.0, 1.0))
        await self._fleet[number].start()

    async def stand_still(self, number: int) -> None:
        """SIGSTOP for a while: whatever it was about to do it does later."""
        consumer = self._fleet[number]
        consumer.pause()
        await asyncio.sleep(self.dice.uniform(0.5, 6.0))
        consumer.go_on()

    async def cut_off(self, number: int) -> None:
        """No way to Redis, and all connections reset."""
        self.wires[number].cut()
        await asyncio.sleep(self.dice.uniform(0.3, 4.0))
        self.wires[number].mend()

    async def fall_silent(self, number: int) -> None:
        """No way to Redis, and nothing that says so."""
        self.wires[number].silence()
        await asyncio.sleep(self.dice.uniform(0.3, 7.0))
        self.wires[number].mend()

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
        replica = self._servers[-1]
        self.redis.kill()
        await asyncio.sleep(self.dice.uniform(0.0, 1.0))
        redis_processes.say(replica.port, "REPLICAOF", "NO", "ONE")
        self.redis = replica
        for wire in self.wires:
            wire.lead_to(replica.port)
        await self.add_replica()

    async def add_replica(self) -> None:
        """One in step with the primary."""
        replica = await self._serve("--replicaof", "127.0.0.1", str(self.redis.port))
        await asyncio.to_thread(replica.wait_for_primary)


Fault = Callable[[FleetStage, int], Awaitable[None]]
ANYTHING: Final[tuple[Fault, ...]] = (
    FleetStage.replace,
    FleetStage.stand_still,
    FleetStage.cut_off,
    FleetStage.fall_silent,
    FleetStage.restart_redis,
    FleetStage.stop_redis,
)


async def fleet(place: Place, seed: int) -> Outcome:
    """Replicas and Redis fail in turn under load; odd seeds have a replica of Redis, and fail over
    to it: then an event counts as committed once both have it.
    """
    with_replica = bool(seed % 2)
    settings = {"STATUSWIRE_LOG_REPLICAS": "1"} if with_replica else {}
    async with place.stage("fleet", seed, FleetStage, **settings) as stage:
        assert isinstance(stage, FleetStage)
        if with_replica:
            await stage.add_replica()
        made = load.make(stage.dice, runs=60)
        stage.watch(patterns(stage.dice, made))
        sending = asyncio.create_task(stage.send(made.messages, pause_s=0.15))
        faults = stage.dice.sample(ANYTHING, FAULTS - with_replica)
        if with_replica:  # a restart would come before its replica has heard of it
            faults = [each for each in faults if each is not FleetStage.restart_redis]
            faults.insert(stage.dice.randrange(len(faults) + 1), FleetStage.fail_over)
        for fault in faults:
            await asyncio.sleep(stage.dice.uniform(0.0, 0.5))
            await fault(stage, stage.dice.randrange(REPLICAS))
        await sending
        outcome = await stage.judge(made.endings)
        outcome.figures["faults"] = len(faults)
        return outcome


async def read(client: Redis, epochs: list[str]) -> Evidence:
    """What the log in Redis has."""
    key = f"{{{LOG}}}:%s"
    meta: Any = await client.hgetall(key % "meta")
    stream: Any = await client.xrange(key % "stream")
    newest: Any = await client.hgetall(key % "newest")
    seen: Any = await client.zrange(key % "seen", 0, -1)
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
