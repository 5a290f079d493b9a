"""The composition root: opens everything in one place, runs it, closes it in the reverse order."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aioboto3
from aiobotocore.config import AioConfig

from consumer.edges.executions import Executions
from consumer.edges.fleet import Fleet
from consumer.edges.http import Site
from consumer.edges.metrics import Metrics, MetricsServer
from consumer.edges.reconcile import Learned, Reconciler
from consumer.edges.server import Server
from consumer.edges.sqlite_log import SqliteLog
from consumer.edges.sqs import SqsQueue
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.ports import LogUnavailable
from consumer.settings import Settings

log = logging.getLogger(__name__)

PRUNE_S = 60.0
FLUSH_S = 5.0  # for the deletes that are pending at the end, and for what is given back

# The service queue waits for EC2's answer: two attempts of 7 s are less than a drain may take.
BRIEF = AioConfig(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)


class App:
    """A running consumer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.counts = Counts()
        self.stop = asyncio.Event()
        self.status_log = SqliteLog(
            settings.log_path,
            retention_s=settings.retention_s,
            retention_events=settings.retention_events,
            now_ms=_now_ms,
        )
        self.hub = Hub(self.status_log, _now_ms)
        self.gate = Gate(lambda: self.status_log.head - self.hub.place)
        self.queues: list[SqsQueue] = []

    def is_ready(self) -> bool:
        """The log is open, every queue has answered, and no drain has begun."""
        answered = [queue.has_answered for queue in self.queues]
        return bool(answered) and all(answered) and not self.stop.is_set()

    async def run(self) -> None:
        """Run until `stop`. Raises what made going on impossible."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            await self.status_log.open()
            stack.push_async_callback(self.status_log.close)
            await self.hub.load()
            stack.push_async_callback(self.hub.close)
            site = Site(settings.rest_url, self.is_ready)
            server = Server(
                self.hub,
                site,
                self.counts,
                epoch=self.status_log.epoch,
                heartbeat_s=settings.heartbeat_s,
                origins=settings.origins,
            )
            metrics = MetricsServer(
                Metrics(self.counts, self.hub, self.is_ready),
                settings.metrics_host,
                settings.metrics_port,
            )
            stack.push_async_callback(asyncio.to_thread, metrics.close)
            port = await server.listen(settings.host, settings.port)
            log.info("listening", extra={"port": port, "metrics_port": metrics.port})
            self.queues = await stack.enter_async_context(_open_queues(settings))
            await self._serve(server, await stack.enter_async_context(self._asking()))
        log.info("stopped")

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[tuple[Fleet, Reconciler]]:
        """What asks EC2 and Step Functions."""
        settings = self.settings
        session = aioboto3.Session()
        async with (
            session.client("ec2", config=BRIEF) as ec2,
            session.client("stepfunctions", config=BRIEF) as states,
        ):
            fleet = Fleet(ec2, settings.tag, self.counts, now_ms=_now_ms)
            reconciler = Reconciler(
                Learned(self.status_log, self.gate, self.counts),
                self.hub,
                fleet,
                Executions(states, settings.quiet_s, now_ms=_now_ms),
                is_drained=self._is_drained,
                sweep_s=settings.sweep_s,
            )
            yield fleet, reconciler

    async def _is_drained(self) -> bool:
        return all([await queue.is_drained() for queue in self.queues])

    async def _serve(self, server: Server, asking: tuple[Fleet, Reconciler]) -> None:
        """Run every task; when one fails, so does the process."""
        fleet, reconciler = asking
        async with asyncio.TaskGroup() as tasks:
            services = [
                tasks.create_task(service)
                for service in (
                    *(self.hub.follow(), server.beat(), server.sweep(), self._prune()),
                    *(queue.keep() for queue in self.queues),
                    reconciler.run(),
                )
            ]
            pipelines = [
                tasks.create_task(self._pipeline(queue, fleet).run(self.stop))
                for queue in self.queues
            ]
            await self.stop.wait()
            log.info("draining")
            # First the queues, so that what they gave us still reaches the clients; a poll under
            # way is let finish: what it would bring is ours until its visibility timeout ends.
            _, late = await asyncio.wait(pipelines, timeout=self.settings.drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*(queue.close(FLUSH_S) for queue in self.queues))
            await server.drain()
            for task in services:
                task.cancel()

    def _pipeline(self, queue: SqsQueue, fleet: Fleet) -> Pipeline:
        return Pipeline(
            queue,
            self.status_log,
            self.counts,
            self.gate,
            choose=fleet.shown,
            most_polls=self.settings.polls,
        )

    async def _prune(self) -> None:
        while True:
            try:
                self.hub.forget_ended(await self.status_log.prune())
            except LogUnavailable as error:
                self.counts["log_errors", "prune"] += 1
                log.warning("pruning failed; trying later", extra={"reason": str(error)})
            await asyncio.sleep(PRUNE_S)


async def run(settings: Settings) -> None:
    """Run a consumer until SIGTERM or SIGINT."""
    app = App(settings)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, app.stop.set)
    await app.run()


@asynccontextmanager
async def _open_queues(settings: Settings) -> AsyncIterator[list[SqsQueue]]:
    session = aioboto3.Session()
    urls = {"status": settings.queue_url, "service": settings.service_queue_url}
    polls_at_once = len(urls) * settings.polls
    patient = AioConfig(
        max_pool_connections=polls_at_once,
        connect_timeout=5,
        read_timeout=settings.poll_wait_s + 10,
        retries={"mode": "standard", "total_max_attempts": 1},  # the pipeline tries again
    )
    quick = AioConfig(
        max_pool_connections=polls_at_once,
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    async with (
        session.client("sqs", config=patient) as polls,
        session.client("sqs", config=quick) as calls,
    ):
        yield [
            SqsQueue(
                name,
                url,
                polls,
                calls,
                poll_wait_s=settings.poll_wait_s,
                visibility_s=settings.visibility_s,
            )
            for name, url in urls.items()
        ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
