"""What the stream's readers cost Redis: by how many there are, and by how much comes at once."""

import asyncio
import time
from contextlib import ExitStack
from itertools import islice
from typing import Final

from consumer.edges.redis_log import RedisLog
from consumer.edges.redis_server import RedisServer
from consumer.redis_address import address
from tests.bench.fill_log import executions
from tests.bench.fleet import redis_server
from tests.bench.goals import OURS
from tests.bench.pinned import Cores, Pinned
from tests.bench.readers import Reader
from tests.bench.scenario import Results, Run, Scenario
from tests.bench.stand import Sample

# How many, and for how many seconds each rests after a read (STATUSWIRE_LOG_REST_S).
FOLLOWERS: Final = ((0, 0.0), (10, 0.0), (30, 0.0), (60, 0.0), (60, 0.02))
BATCHES: Final = (1, 10)
RATE: Final = 100.0  # appends/s: as many reads of each that does not rest, which are never joined
LONGER: Final = 3  # than other plays
FEWER: Final = 5  # rounds by this
NAME: Final = "bench"
KEPT: Final = 1_000_000
SOON_S: Final = 20.0


async def _measure(
    redis: Pinned, port: int, followers: tuple[int, float], batch: int, seconds: float
) -> Sample:
    """Append at a steady pace; of Redis' CPU, what each append took."""
    server = RedisServer(address(f"redis://127.0.0.1:{port}"), name=NAME)
    log = RedisLog(
        server, retention_s=3600, retention_events=KEPT, now_ms=lambda: time.time_ns() // 1_000_000
    )
    await log.open()
    loop = asyncio.get_running_loop()
    count, rest_s = followers
    readers = [
        (await loop.create_connection(lambda: Reader(server.keys[1], rest_s), "127.0.0.1", port))[1]
        for _ in range(count)
    ]
    appends = max(10, round(RATE * seconds))
    coming = executions(appends * batch)
    used_s, begun_s = redis.cpu_s(), time.monotonic()
    for number in range(1, appends + 1):
        await log.append(list(islice(coming, batch)))
        await asyncio.sleep(begun_s + number / RATE - time.monotonic())
    async with asyncio.timeout(SOON_S):
        while any(reader.place != b"%d-0" % log.head for reader in readers):  # noqa: ASYNC110 # many
            await asyncio.sleep(0.01)
    used_s = redis.cpu_s() - used_s
    for reader in readers:
        reader.close()
    await log.close()
    each = max(1, count)
    return {
        "append_us": used_s * 1e6 / appends,
        "replies": sum(reader.replies for reader in readers) / each / appends,
        "bytes": sum(reader.bytes for reader in readers) / each / appends / batch,
    }


def play(run: Run) -> Results:
    """Of each pair of readers and none, what one of them adds to an append."""
    results = Results()
    numbers = FOLLOWERS[: 2 if run.scale.part > 1 else None]
    for turn in range(max(1, run.scale.rounds // FEWER)):
        for batch in BATCHES:
            alone_us = 0.0
            for followers in numbers:
                count, rest_s = followers
                folder = run.folder / f"{turn}-{batch}-{count}-{rest_s}"
                with ExitStack() as closing:
                    redis, port = redis_server(folder, Cores.here().server, closing)
                    seconds = run.scale.seconds * LONGER
                    sample = asyncio.run(_measure(redis, port, followers, batch, seconds))
                if count:
                    sample["each_us"] = (sample["append_us"] - alone_us) / count
                else:
                    alone_us = sample["append_us"]
                resting = f" that rest {rest_s * 1000:g} ms" if rest_s else ""
                name = f"{OURS}, appends of {batch}, {count} readers{resting}"
                results.add(name, sample)
                run.tell(f"followers {turn + 1}: {name}: {sample}")
    return results


FOLLOWING: Final = Scenario(
    "followers",
    f"Readers of the one stream, {RATE:g} appends/s: what they cost Redis",
    play,
    {
        "append_us": "Redis' CPU µs/append",
        "each_us": "of it for each reader",
        "replies": "replies to each reader per append",
        "bytes": "bytes to each reader per event",
    },
)
