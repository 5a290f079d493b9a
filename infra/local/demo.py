"""The demo: everything up, one Express and one Standard run, every status as it arrives."""

import asyncio
import json
import secrets
import shlex
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import websockets

from infra.local.checklist import EXPRESS, STANDARD, STARTED, STOPPED, Checklist
from infra.local.daemon import Consumer, ConsumerError
from infra.local.folder import run_folder
from infra.local.places import CACHE, LocalRunError, Ports
from infra.local.redis import Redis
from infra.local.run import RUNNING_INSTANCES, LocalRun, local_run
from infra.local.screen import Screen, utc_now
from infra.local.tasks import timed, together

ONCE_TIMEOUT_S = 120.0  # from the start of the runs
CRASH_LOOP = 3, 10.0  # deaths within seconds: it would only die again
RECONNECT_S = 0.2
ADDRESSES = CACHE / "demo.json"
ENVIRONMENT = CACHE / "demo.env"


class DemoError(LocalRunError):
    """A run could not be started, or did not end as it should."""


async def play(
    *, once: bool, ports: Ports, replicas: int, parameters: Mapping[str, str], screen: Screen
) -> None:
    """Until cancelled; with `once`, until every expected status was seen.

    Raises DemoError, or what `local_run` and Consumer.start raise.
    """
    _forget()  # a demo that was killed leaves its own behind
    with run_folder() as folder:
        async with local_run(
            folder, ports=ports, parameters=parameters, progress=screen.step
        ) as run:
            redis = None if replicas == 1 else await _redis(run, screen)
            consumer = _consumer(run, redis, ports, replicas)
            started = "consumer started" if redis is None else f"{replicas} consumers started"
            await timed(screen.step, started, consumer.start())
            _write_addresses(run, consumer)
            _write_environment(run, consumer, redis)
            try:
                await Demo(run, consumer, redis, screen).play(once=once)
            finally:
                _forget()
                screen.note("Ending …")


async def _redis(run: LocalRun, screen: Screen) -> Redis:
    """A log that several consumers may have."""
    redis = Redis(run.ports.redis, run.folder)
    run.closing.push_async_callback(redis.stop)
    await timed(screen.step, "Redis started", redis.start())
    return redis


def _consumer(run: LocalRun, redis: Redis | None, ports: Ports, replicas: int) -> Consumer:
    if redis is None:
        return run.consumer()
    # The ports as they were asked for: where any will do, each has to find one for its metrics.
    settings = {"STATUSWIRE_LOG": redis.url, "STATUSWIRE_METRICS_PORT": str(ports.metrics)}
    return run.consumer(settings=settings, workers=replicas)


def _write_addresses(run: LocalRun, consumer: Consumer) -> None:
    """For other programs."""
    outputs = run.stack.outputs
    addresses = {
        "aws_endpoint": run.endpoint,
        "region": run.stack.region,
        "rest_url": run.rest_url,
        "websocket_url": consumer.websocket_url,
        "dashboard_url": f"{consumer.url}/",
        "metrics_url": consumer.metrics_url,
        "queue_url": outputs["StatusQueueUrl"],
        "dead_letter_queue_url": outputs["StatusDeadLetterQueueUrl"],
        "service_queue_url": outputs["ServiceQueueUrl"],
        "service_dead_letter_queue_url": outputs["ServiceDeadLetterQueueUrl"],
        "stack": run.stack.name,
        "instances": run.instances,
    }
    _write(run, ADDRESSES, json.dumps(addresses, indent=2) + "\n")


def _write_environment(run: LocalRun, consumer: Consumer, redis: Redis | None) -> None:
    """Anew whenever a process has taken another's place."""
    _write(run, ENVIRONMENT, exports(surroundings(run, consumer, redis)))


def surroundings(run: LocalRun, consumer: Consumer, redis: Redis | None) -> dict[str, str]:
    """Variables of a shell beside the demo: what the consumer has, and whom a drill may hit."""
    return {
        **consumer.environment,
        "DEMO_AWS_PID": str(run.emulator.pid),
        "DEMO_CONSUMER_PID": str(consumer.pid),
        "DEMO_CONSUMER_URL": consumer.url,
        "DEMO_INSTANCE": run.instances[-1],
        "DEMO_WORKER_PIDS": " ".join(map(str, consumer.worker_pids.values())),
        **({} if redis is None else {"DEMO_REDIS_PID": str(redis.pid)}),
    }


def exports(environment: Mapping[str, str]) -> str:
    """For a shell in which an operator's commands find the demo's AWS, log, ports and processes."""
    return "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in sorted(environment.items())
        if name.startswith(("AWS_", "DEMO_", "STATUSWIRE_"))
    )


def _write(run: LocalRun, place: Path, text: str) -> None:
    """All or nothing, so that nobody reads half of it."""
    unfinished = run.folder / place.name  # same file system as the folder it goes to
    unfinished.write_text(text)
    unfinished.replace(place)


def _forget() -> None:
    for place in (ADDRESSES, ENVIRONMENT):
        place.unlink(missing_ok=True)


class Demo:
    """One viewer and two runs on a stack that is up."""

    def __init__(
        self, run: LocalRun, consumer: Consumer, redis: Redis | None, screen: Screen
    ) -> None:
        self._run = run
        self._consumer = consumer
        self._redis = redis
        self._screen = screen
        token = secrets.token_hex(3)
        self._express, self._standard = f"express-{token}", f"standard-{token}"
        self._starts = run.instances[RUNNING_INSTANCES]  # the first stopped one
        self._stops = run.instances[0]
        self._checklist = Checklist(
            {
                self._express: EXPRESS,
                self._standard: STANDARD,
                self._starts: STARTED,
                self._stops: STOPPED,
            }
        )
        self._cursor: str | None = None
        self._watching = asyncio.Event()
        self._news = asyncio.Event()

    async def play(self, *, once: bool) -> None:
        """Ends with the first part that ends: the story, or something that may not end."""
        self._screen.addresses(
            {
                "dashboard": f"{self._consumer.url}/",
                "REST": self._run.rest_url,
                "WebSocket": f"{self._consumer.websocket_url}?watch=*",
                "metrics": self._consumer.metrics_url,
            }
        )
        parts = [
            asyncio.create_task(part)
            for part in (
                self._tell(once=once),
                self._watch(),
                self._supervise(),
                self._run.emulator.watch(),
                *([] if self._redis is None else [self._redis.watch(), self._tell_of_workers()]),
            )
        ]
        try:
            done, _ = await asyncio.wait(
                [*parts, self._run.events], return_when=asyncio.FIRST_COMPLETED
            )
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _tell_of_workers(self) -> None:
        """Which there are, how to end one, and which one comes in its place."""
        records = self._consumer.records()
        pids = self._consumer.worker_pids
        self._screen.note(f"{len(pids)} consumers share that port and one log, in Redis:")
        for number, pid in sorted(pids.items()):
            self._screen.note(f"  worker {number}  pid {pid}")
        self._screen.note(
            f"Kill one while you watch: kill -9 {pids[0]}. Another takes its place. Who watched"
            " through it comes back with a cursor: `resumed` below, and no `gap`.\n"
        )
        async for record in records:
            if record["message"] == "worker ended; another follows":
                code, pid = record["code"], record["pid"]
                self._screen.note(f"worker {record['worker']}, pid {pid}, has ended ({code})")
            elif record["message"] == "worker started":
                self._screen.note(f"worker {record['worker']} is now pid {record['pid']}")
                _write_environment(self._run, self._consumer, self._redis)

    async def _supervise(self) -> None:
        """Start a consumer that died again, as an operator's supervisor would.

        Raises ConsumerError for one that does not stay up.
        """
        deaths: deque[float] = deque(maxlen=CRASH_LOOP[0])
        while True:
            try:
                await self._consumer.watch()
            except ConsumerError as death:
                deaths.append(time.monotonic())
                if len(deaths) == CRASH_LOOP[0] and deaths[-1] - deaths[0] < CRASH_LOOP[1]:
                    raise
                ending = str(death).splitlines()[0].rstrip(":")
                self._screen.note(f"{ending}; starting it again …")
                await self._consumer.start()
                _write_environment(self._run, self._consumer, self._redis)

    async def _watch(self) -> None:
        """Print every frame. A connection that is lost is resumed with the last cursor."""
        while True:
            query = "watch=*" + (f"&since={self._cursor}" if self._cursor else "")
            with suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(f"{self._consumer.websocket_url}?{query}") as socket:
                    async for frame in socket:
                        self._show(json.loads(frame))
            await asyncio.sleep(RECONNECT_S)

    def _show(self, frame: Mapping[str, Any]) -> None:
        op = frame["op"]
        self._cursor = frame.get("cursor", self._cursor)
        if op == "status":
            self._take(frame["event"], late=frame.get("late", False))
        elif op == "snapshot":
            for event in frame["events"]:
                self._take(event)
            self._watching.set()
        elif op in ("resumed", "gap", "skipped", "draining", "error"):
            self._screen.note(json.dumps(frame))

    def _take(self, event: Mapping[str, Any], *, late: bool = False) -> None:
        self._screen.status(event, now=utc_now(), late=late)
        self._checklist.note(event)
        self._news.set()

    async def _tell(self, *, once: bool) -> None:
        """Both runs, begun when somebody is watching."""
        await self._watching.wait()
        self._screen.header()
        try:
            async with asyncio.timeout(ONCE_TIMEOUT_S if once else None):
                await self._start_runs()
                await self._all_seen()
        except TimeoutError as error:
            missing = "; ".join(self._checklist.missing)
            raise DemoError(f"Missing after {ONCE_TIMEOUT_S:.0f} s: {missing}") from error
        self._screen.success("Both runs have ended, and every expected status was seen.")
        if not once:
            self._screen.note("Still watching. Ctrl-C ends everything.")
            await asyncio.Event().wait()

    async def _start_runs(self) -> None:
        stop = {"instance_id": self._stops, "name": self._standard}
        start = {"instance_id": self._starts, "name": self._express}
        async with aiohttp.ClientSession() as http:
            await together(
                self._post(http, "/standard-instance", stop),
                self._post(http, "/express-instance", start),
            )

    async def _post(self, http: aiohttp.ClientSession, route: str, body: Mapping[str, str]) -> None:
        async with http.post(self._run.rest_url + route, json=body) as response:
            answer = await response.text()
        if not response.ok:
            raise DemoError(f"POST {route} was answered {response.status}: {answer}")
        self._screen.note(f"POST {route} {json.dumps(body)} → {response.status}")

    async def _all_seen(self) -> None:
        while self._checklist.missing:
            if self._checklist.failures:
                raise DemoError("; ".join(self._checklist.failures))
            self._news.clear()
            await self._news.wait()
