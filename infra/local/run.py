"""A local run: emulator, deployment, REST API, instances and their events, consumers.

The demo and the end-to-end tests are two users of this one composition.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aioboto3

from infra.local.daemon import Consumer
from infra.local.deployment import Sam
from infra.local.emulator import Emulator
from infra.local.instances import EventPlayer, create_instances, read_states
from infra.local.places import (
    HOST,
    REGION,
    ROOT,
    LocalRunError,
    Ports,
    child_environment,
    client_settings,
    python_runtime,
)
from infra.local.rest_api import RestApi
from infra.local.stack import Stack, read_stack
from infra.local.tasks import Progress, timed, together

STACK_NAME = "statuswire"  # samconfig.toml, environment `local`
RUNNING_INSTANCES, STOPPED_INSTANCES = 2, 2
# Long polls of a second, so that a consumer has drained within the demo's five.
POLL_WAIT_S = 1


class EventsError(LocalRunError):
    """EC2's events are no longer played."""


@dataclass(frozen=True)
class LocalRun:
    """Everything but the consumer is running; all addresses are on 127.0.0.1.

    `rest_url` holds the stage and ends without a slash. `client_settings` are keyword
    arguments for boto3's `client`. `instances` are ids, those created running first.
    """

    folder: Path
    ports: Ports
    endpoint: str
    client_settings: Mapping[str, str]
    stack: Stack
    rest_url: str
    instances: list[str]
    emulator: Emulator
    events: asyncio.Task[None]
    closing: AsyncExitStack

    def consumer(
        self,
        name: str = "consumer",
        *,
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        workers: int = 1,
    ) -> Consumer:
        """A consumer that is still to be started; the run's end stops it at the latest.

        One name, one log: `<name>.db`. `settings` are STATUSWIRE_* that go before ours; several
        workers need another log.
        """
        ports = ports or self.ports
        outputs = self.stack.outputs
        environment = {
            **child_environment(self.endpoint, self.folder),
            "STATUSWIRE_QUEUE_URL": outputs["StatusQueueUrl"],
            "STATUSWIRE_SERVICE_QUEUE_URL": outputs["ServiceQueueUrl"],
            "STATUSWIRE_REST_URL": self.rest_url,
            "STATUSWIRE_PORT": str(ports.consumer),
            "STATUSWIRE_METRICS_PORT": str(ports.metrics),
            "STATUSWIRE_LOG": f"sqlite:{self.folder / f'{name}.db'}",
            "STATUSWIRE_POLL_WAIT_S": str(POLL_WAIT_S),
            **(settings or {}),
        }
        consumer = Consumer(environment, self.folder / f"{name}.log", workers=workers)
        self.closing.push_async_callback(consumer.stop)
        return consumer


@asynccontextmanager
async def local_run(
    folder: Path,
    *,
    ports: Ports | None = None,
    parameters: Mapping[str, str] | None = None,
    template: Path = ROOT / "template.yaml",
    progress: Progress = lambda done, seconds: None,
) -> AsyncIterator[LocalRun]:
    """Start all but the consumer, and end all of it on the way out.

    `folder` takes every file of the run and must exist. `parameters` are the
    template's, beside those that a local run needs. Raises EmulatorError,
    DeploymentError, LocalRunError for a port that is taken.
    """
    ports = (ports or Ports()).settle()
    emulator = Emulator(ports.aws, folder)
    endpoint = emulator.endpoint
    settings = client_settings(endpoint)
    chosen = {
        "PythonRuntime": python_runtime(),
        "DashboardOrigin": f"http://{HOST}:{ports.consumer}",
        "WatchUrl": f"ws://{HOST}:{ports.consumer}/v1/status",
        "SilenceAlarm": "no",  # the one alarm that is a sum, which the emulator cannot make
        **(parameters or {}),
    }
    sam = Sam(template, chosen, endpoint=endpoint, folder=folder)
    step = partial(timed, progress)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(emulator.stop)
        async with sam.alone():
            await together(
                step("embedded AWS started", emulator.start()), step("sam build", sam.build())
            )
            # Imported botocore models are slow to load: once each, and only now.
            session = aioboto3.Session()
            opened = {
                service: await closing.enter_async_context(session.client(service, **settings))
                for service in ("ec2", "sqs", "cloudformation")
            }
            await step("sam deploy", sam.deploy())
        stack = await read_stack(opened["cloudformation"], STACK_NAME)
        rest_api = RestApi(stack, endpoint=endpoint, port=ports.rest)
        closing.push_async_callback(rest_api.stop)
        await rest_api.start()
        instances = await create_instances(
            opened["ec2"], running=RUNNING_INSTANCES, stopped=STOPPED_INSTANCES
        )
        events = await closing.enter_async_context(_events(stack, opened["ec2"], opened["sqs"]))
        yield LocalRun(
            folder=folder,
            ports=ports,
            endpoint=endpoint,
            client_settings=settings,
            stack=stack,
            rest_url=rest_api.url,
            instances=instances,
            emulator=emulator,
            events=events,
            closing=closing,
        )


@asynccontextmanager
async def _events(stack: Stack, ec2: Any, sqs: Any) -> AsyncIterator[asyncio.Task[None]]:
    """EC2's events on their way into the service queue, until the end of the block."""
    player = EventPlayer(
        read=partial(read_states, ec2),
        send=lambda body: sqs.send_message(
            QueueUrl=stack.outputs["ServiceQueueUrl"], MessageBody=body
        ),
        account=stack.account,
        region=REGION,
    )

    async def play() -> None:
        try:
            await player.run(states)
        except ExceptionGroup as failed:
            raise EventsError(f"EC2's events ended: {failed.exceptions[0]}") from failed

    states = await read_states(ec2)
    task = asyncio.create_task(play())
    try:
        yield task
    finally:
        task.cancel()
        # An earlier failure of its own is told; our own cancelling is not.
        with suppress(asyncio.CancelledError):
            await task
