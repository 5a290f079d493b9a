"""The composition root: opens everything in one place, runs it, closes it in the reverse order."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig

from consumer import status_logs
from consumer.core.events import Event
from consumer.core.grant import Terms
from consumer.core.recent import Recent
from consumer.edges.backlog import Backlogs
from consumer.edges.door import Door, make_room
from consumer.edges.executions import Executions
from consumer.edges.exposition import MetricsServer
from consumer.edges.fleet import Fleet
from consumer.edges.http import Site
from consumer.edges.keys import Keyring, PublishedKeys, SecretKeys
from consumer.edges.mass_write import mass_writer
from consumer.edges.metrics import QUEUES, Metrics, Observed
from consumer.edges.reconcile import Learned, Reconciler
from consumer.edges.server import Server
from consumer.edges.sqs import Clients, SqsQueue
from consumer.edges.sqs_calls import SqsCalls, tls_context
from consumer.edges.tls import Certificates
from consumer.edges.tokens import Verifier
from consumer.hub import Hub
from consumer.pipeline import Counts, Gate, Pipeline
from consumer.ports import LogUnavailable, Source, StatusLog
from consumer.readiness import Readiness, patience_s
from consumer.settings import Settings
from consumer.status_logs import now_ms
from consumer.timings import Timings

if TYPE_CHECKING:
    from consumer.edges.tracing import Traces

log = logging.getLogger(__name__)

STACK_ISSUER = "statuswire"  # as /watch-tokens signs
PRUNE_S = 60.0
FIRST_S = 2.0  # for the queues to answer, before EC2 is asked for what there is
LOOK_S = 0.02
FLUSH_S = 5.0  # for the deletes that are pending at the end, and for what is given back

# The service queue waits for EC2's answer: two attempts of 7 s are less than a drain may take.
BRIEF = AioConfig(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)


class App:
    """A running consumer."""

    def __init__(self, settings: Settings, *, reuse_port: bool = False) -> None:
        """`reuse_port`: others listen on the same port."""
        self.settings = settings
        self._reuse_port = reuse_port
        self.counts = Counts()
        self.stop = asyncio.Event()
        self.session = aioboto3.Session()
        self._fleet: asyncio.Future[Fleet]
        self.status_log = status_logs.make(settings)
        self.traces = _traces(settings)
        self.path_log: StatusLog = self.status_log
        if self.traces is not None:
            self.path_log = self.traces.log(
                self.status_log,
                lambda entry: self.hub.watchers(entry),  # noqa: PLW0108  # which comes after it
            )
        self.timings = Timings(now_ms, QUEUES)
        self.mass = mass_writer()
        self.hub = Hub(
            self.path_log,
            now_ms,
            self.counts,
            self.timings,
            self.mass,
            # No more than the log itself may have.
            Recent(min(settings.recent_events, settings.retention_events)),
        )
        self.gate = Gate(
            lambda: self.status_log.head - self.hub.place, lambda: self.status_log.away_s
        )
        self.queues: list[SqsQueue] = []
        self.pipelines: list[Pipeline] = []
        self.backlogs = Backlogs(self.queues, self.counts)
        self.readiness = Readiness(
            self.gate,
            self.queues,
            patience_s=patience_s(settings.poll_wait_s),
            has_keys=lambda: self.keys is None or self.keys.is_ready,
            is_draining=self.stop.is_set,
        )
        self.keys: Keyring | None = None
        self.certificates = _certificates(settings, self.counts)

    async def run(self) -> None:
        """Run until `stop`. Raises what made going on impossible."""
        settings = self.settings
        async with AsyncExitStack() as stack:
            if self.traces is not None:
                stack.push_async_callback(self.traces.close)
            if self.mass is not None:
                stack.callback(self.mass.close)
            if lacking := make_room(settings.limits):
                log.warning("too few open files are allowed", extra={"lacking": lacking})
            await self.status_log.open()
            stack.push_async_callback(self.status_log.close)
            await self.hub.load()
            stack.push_async_callback(self.hub.close)
            self.keys = await stack.enter_async_context(
                _keyring(self.session, settings, self.counts)
            )
            server = Server(
                self.hub,
                Site(settings.rest_url, self.readiness.missing, settings.cognito),
                self.counts,
                self._door(),
                heartbeat_s=settings.heartbeat_s,
                mass=self.mass,
            )
            metrics = MetricsServer(
                Metrics(self.counts, self.timings, self._observed(server)),
                settings.metrics_host,
                settings.metrics_port,
            )
            stack.push_async_callback(asyncio.to_thread, metrics.close)
            port = await server.listen(settings.host, settings.port, reuse_port=self._reuse_port)
            log.info("listening", extra={"port": port, "metrics_port": metrics.port})
            self.queues += await stack.enter_async_context(
                _open_queues(self.session, settings, self.counts)
            )
            await self._serve(server)
        log.info("stopped")

    async def _ask(self) -> None:
        """Ask EC2 and Step Functions, for ever.

        The queues come first: reading EC2's model alone takes 90 ms, which nobody has to wait for.
        """
        settings = self.settings
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                while any(queue.answered_s is None for queue in self.queues):  # noqa: ASYNC110 # two
                    await asyncio.sleep(LOOK_S)
        async with (
            self.session.client("ec2", config=BRIEF) as ec2,
            self.session.client("stepfunctions", config=BRIEF) as states,
        ):
            fleet = Fleet(ec2, settings.tag, self.counts, now_ms=now_ms)
            self._fleet.set_result(fleet)

            async def reconcile(status_log: StatusLog) -> None:
                reconciler = Reconciler(
                    Learned(status_log, self.gate, self.counts),
                    self.hub,
                    fleet,
                    Executions(states, settings.quiet_s, now_ms=now_ms),
                    is_drained=self._is_drained,
                    sweep_s=settings.sweep_s,
                )
                await reconciler.run()

            await self.status_log.lead(reconcile)

    async def _shown(self, batch: Sequence[Event]) -> list[Event]:
        """Of these events, those to show."""
        fleet = await asyncio.shield(self._fleet)  # which is not this pipeline's alone
        return await fleet.shown(batch)

    def _door(self) -> Door:
        """Who may come in, and by what right."""
        settings = self.settings
        verifier = None
        if self.keys is not None:
            terms = Terms(
                issuer=settings.issuer or STACK_ISSUER,
                audience=settings.audience or "",
                watch_claim=settings.watch_claim,
            )
            verifier = Verifier(self.keys, terms)
        return Door(
            settings.limits,
            self.counts,
            origins=settings.origins,
            trusted_proxies=settings.trusted_proxies,
            verifier=verifier,
            certificates=self.certificates,
        )

    def _observed(self, server: Server) -> Observed:
        """What gauges look at."""
        return Observed(
            hub=self.hub,
            queues=self.queues,
            pipelines=self.pipelines,
            backlogs=self.backlogs,
            readiness=self.readiness,
            half_open=lambda: len(server.door.half_open),
            loop=asyncio.get_running_loop(),
            status_log=self.status_log,
            log_path=self.settings.log_path,
        )

    async def _is_drained(self) -> bool:
        return all([await queue.is_drained() for queue in self.queues])

    async def _serve(self, server: Server) -> None:
        """Run every task; when one fails, so does the process."""
        self._fleet = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            services = [
                tasks.create_task(service)
                for service in (
                    *(self.hub.follow(), server.beat(), server.sweep(), self._prune()),
                    *(queue.keep() for queue in self.queues),
                    *(self._ask(), self.backlogs.run()),
                    *([] if self.keys is None else [self.keys.run()]),
                    *([] if self.certificates is None else [self.certificates.keep()]),
                )
            ]
            self.pipelines += (self._pipeline(queue) for queue in self.queues)
            pipelines = [tasks.create_task(each.run(self.stop)) for each in self.pipelines]
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

    def _pipeline(self, queue: SqsQueue) -> Pipeline:
        source: Source = queue if self.traces is None else self.traces.source(queue)
        return Pipeline(
            source,
            self.path_log,
            self.counts,
            self.timings,
            self.gate,
            choose=self._shown,
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


async def run(settings: Settings, *, reuse_port: bool = False) -> None:
    """Run a consumer until SIGTERM or SIGINT."""
    app = App(settings, reuse_port=reuse_port)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, app.stop.set)
    await app.run()


@asynccontextmanager
async def _open_queues(
    session: aioboto3.Session, settings: Settings, counts: Counts
) -> AsyncIterator[list[SqsQueue]]:
    credentials = await session.get_credentials()
    quick = AioConfig(
        connect_timeout=5,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    async with session.client("sqs", config=quick) as client:
        tls = tls_context(session) if client.meta.endpoint_url.startswith("https:") else None
        polls, deletes = (SqsCalls(client, credentials, tls) for _ in range(2))
        clients = Clients(polls, deletes, client)
        try:
            yield [
                SqsQueue(
                    name,
                    url,
                    clients,
                    poll_wait_s=settings.poll_wait_s,
                    visibility_s=settings.visibility_s,
                    counts=counts,
                )
                for name, url in _urls(settings).items()
            ]
        finally:
            polls.close()
            deletes.close()


@asynccontextmanager
async def _keyring(
    session: aioboto3.Session, settings: Settings, counts: Counts
) -> AsyncIterator[Keyring | None]:
    """The keys of tokens; None where none are asked for."""
    if settings.signing_secret is not None:
        async with session.client("secretsmanager", config=BRIEF) as client:
            yield Keyring(SecretKeys(client, settings.signing_secret).read, counts)
    elif settings.jwks_url is not None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Keyring(PublishedKeys(http, settings.jwks_url).read, counts)
    else:
        yield None


def _urls(settings: Settings) -> dict[str, str]:
    """The queues by our names for them."""
    return dict(zip(QUEUES, (settings.queue_url, settings.service_queue_url), strict=True))


def _traces(settings: Settings) -> "Traces | None":
    if settings.traces == "none":
        return None
    from consumer.edges import tracing  # noqa: PLC0415  # a slow import: for those who want it

    names = {name: url.rpartition("/")[2] for name, url in _urls(settings).items()}
    return tracing.exporting(names)


def _certificates(settings: Settings, counts: Counts) -> Certificates | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_certificate, settings.tls_key, counts)
