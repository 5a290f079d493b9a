"""Trials: each plays one kind of trouble by a seed, and lets the oracle judge."""

import asyncio
import contextlib
import random
import re
import statistics
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra.local.daemon import Consumer, ConsumerError
from tests.soak import load
from tests.soak.crowd import resident_bytes
from tests.soak.disk import Disk
from tests.soak.load import Load
from tests.soak.outcome import FLAT, HELD_BACK, Outcome
from tests.soak.stage import Stage

KILLS: Final = 5  # of one trial
KEYS: Final = 200
SAMPLE_S: Final = 2.0
SAMPLE_BATCHES: Final = 10  # × 10 messages in 2 s = 50 a second
NOISE_MB: Final = 4.0  # the allocator's arenas come and go by the megabyte
NOISE_COUNT: Final = 4  # connections of viewers that come and go


class Place:
    """Where trials play: the embedded SQS and a folder."""

    def __init__(self, endpoint: str, sqs: Any, folder: Path) -> None:
        self._endpoint = endpoint
        self._sqs = sqs
        self._folder = folder
        self._trials = 0

    @asynccontextmanager
    async def stage(
        self, kind: str, seed: int, make: type[Stage] = Stage, **settings: str
    ) -> AsyncIterator[Stage]:
        self._trials += 1
        name = f"{kind}-{seed}-{self._trials}"
        stage = make(self._endpoint, self._sqs, self._folder, name, random.Random(seed))
        try:
            await stage.open(**settings)
            yield stage
        finally:
            await stage.close()


Trial = Callable[[Place, int], Awaitable[Outcome]]


async def faults(place: Place, seed: int) -> Outcome:
    """Messages come while the way to SQS does what its seed says."""
    async with place.stage("faults", seed) as stage:
        made = load.make(stage.dice, runs=40)
        await stage.consumer.start()
        stage.proxy.faulty = True
        stage.watch(patterns(stage.dice, made))
        await stage.send(made.messages, pause_s=0.12)
        stage.proxy.faulty = False
        return await stage.judge(made.endings)


async def kills(place: Place, seed: int) -> Outcome:
    """kill -9 at random moments, start-up included, while messages come."""
    async with place.stage("kills", seed) as stage:
        made = load.make(stage.dice, runs=60)
        await stage.consumer.start()
        stage.watch(patterns(stage.dice, made))
        sending = asyncio.create_task(stage.send(made.messages, pause_s=0.1))
        done = 0
        while done < KILLS:
            await asyncio.sleep(stage.dice.uniform(0.0, 0.8))
            await stage.consumer.kill()
            done += 1 + await _start_or_be_killed(stage)
        await sending
        outcome = await stage.judge(made.endings)
        outcome.figures["kills"] = done
        return outcome


async def _start_or_be_killed(stage: Stage) -> int:
    """Every third start is killed too, anywhere on its way; returns how many were."""
    if stage.dice.random() > 0.33:
        await stage.consumer.start()
        return 0
    starting = asyncio.create_task(stage.consumer.start())
    await asyncio.sleep(stage.dice.uniform(0.05, 1.5))
    await stage.consumer.kill()
    with contextlib.suppress(ConsumerError):
        await starting
    await stage.consumer.start()
    return 1


async def full_disk(place: Place, seed: int) -> Outcome:
    """The disk fills up while messages come, and gets room again; odd seeds kill -9 in between."""
    async with place.stage("disk", seed) as stage:
        made = load.make(stage.dice, runs=30, detail="x" * 3_000)
        async with Disk.under(stage.log_path.parent) as disk:
            await stage.consumer.start()
            stage.watch(patterns(stage.dice, made))
            half = len(made.messages) // 2
            await stage.send(made.messages[:half], pause_s=0.02)
            disk.fill(stage.consumer)
            await stage.send(made.messages[half:], pause_s=0.02)
            held = await _held_back(stage)
            if seed % 2:  # what was acknowledged and not committed is lost by this
                await stage.consumer.kill()
            disk.make_room(stage.consumer)
            if seed % 2:
                await stage.consumer.start()
            outcome = await stage.judge(made.endings)
        if not held:
            outcome.object_to(HELD_BACK, ["the log never refused: the disk was not full"])
        outcome.figures["held back"] = held
        return outcome


async def _held_back(stage: Stage) -> int:
    """Messages that stay in the queues while the log refuses."""
    for _ in range(100):
        refused = b"the log refuses" in stage.consumer.output.read_bytes()
        if refused:
            break
        await asyncio.sleep(0.1)
    before = -1
    while (queued := await stage.queued()) != before:
        before = queued
        await asyncio.sleep(1.0)
    return queued if refused else 0


def patterns(dice: random.Random, made: Load) -> list[str]:
    """What the viewers watch."""
    return [
        *("*", "*", "machine:standard", "machine:express"),
        f"instance:{dice.choice(made.instances)}",
        f"execution:{dice.choice(made.names)}",
    ]


async def soak(place: Place, seed: int, *, minutes: float) -> Outcome:
    """A steady load on keys that do not become more: what still grows is a leak."""
    async with place.stage("soak", seed) as stage:
        await stage.consumer.start()
        stage.watch(["*", "*", "machine:standard"], stay_s=5.0)
        stream = load.endless(stage.dice, keys=KEYS)
        samples: list[Sample] = []
        ends_s = time.monotonic() + minutes * 60
        while (now_s := time.monotonic()) < ends_s:
            samples.append(await asyncio.to_thread(_sample, now_s, stage.consumer))
            for _ in range(SAMPLE_BATCHES):
                await stage.send([next(stream) for _ in range(10)])
                await asyncio.sleep(SAMPLE_S / SAMPLE_BATCHES)
        outcome = await stage.judge({})
        _judge_growth(outcome, samples)
        return outcome


class Sample(NamedTuple):
    """What a process holds at a moment (s); `memory` in bytes."""

    at_s: float
    memory: int
    descriptors: int
    tasks: int


def _sample(now_s: float, consumer: Consumer) -> Sample:
    descriptors = len(list(Path(f"/proc/{consumer.pid}/fd").iterdir()))
    with urllib.request.urlopen(consumer.metrics_url, timeout=10) as answer:  # noqa: S310  # our own
        text = str(answer.read(), "utf-8")
    (tasks,) = re.findall(r"^statuswire_tasks (\S+)$", text, re.MULTILINE)
    return Sample(now_s, resident_bytes(consumer.pid), descriptors, int(float(tasks)))


def _judge_growth(outcome: Outcome, samples: Sequence[Sample]) -> None:
    """Compare the second quarter with the last one; the first holds what is loaded once."""
    quarter = max(1, len(samples) // 4)
    before, after = (
        Sample(*map(statistics.median, zip(*part, strict=True)))
        for part in (samples[quarter : 2 * quarter], samples[-quarter:])
    )
    grown_mb = (after.memory - before.memory) / 1e6
    hours = (samples[-1].at_s - samples[0].at_s) / 3600
    slope = statistics.linear_regression(
        [sample.at_s / 3600 for sample in samples[quarter:]],
        [sample.memory / 1e6 for sample in samples[quarter:]],
    ).slope
    outcome.figures |= {
        "minutes": round(hours * 60, 1), "memory MB": round(after.memory / 1e6, 1),
        "grown MB": round(grown_mb, 2), "slope MB/h": round(slope, 2),
        "descriptors before": before.descriptors, "descriptors after": after.descriptors,
        "tasks before": before.tasks, "tasks after": after.tasks,
    }  # fmt: skip
    if grown_mb > NOISE_MB:
        outcome.object_to(FLAT, [f"{grown_mb:.1f} MB more"])
    for what, grown in (
        ("descriptors", after.descriptors - before.descriptors),
        ("tasks", after.tasks - before.tasks),
    ):
        if grown > NOISE_COUNT:
            outcome.object_to(FLAT, [f"{grown:.0f} {what} more"])
