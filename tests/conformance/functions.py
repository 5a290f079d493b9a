"""The functions of `infra/websocket-api.yaml` as a delivery, behind a played API Gateway.

Their own handlers, each invocation in a thread as it would be elsewhere, on a DynamoDB in memory.
The deployed ones, in the embedded AWS, are `tests/e2e/test_websocket_api.py`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import boto3  # type: ignore[import-untyped]  # it has no types of its own

from infra.local.websocket_gateway import Answer, Event, FunctionFailed, Routes, WebSocketGateway
from lambdas.stream import composition
from lambdas.stream.keys import Verifier
from lambdas.stream.motion import LACKS
from lambdas.stream.posts import Posts
from lambdas.ws_connect import app as ws_connect
from lambdas.ws_disconnect import app as ws_disconnect
from lambdas.ws_fan_out import app as ws_fan_out
from lambdas.ws_heartbeat import app as ws_heartbeat
from lambdas.ws_requests import app as ws_requests
from tests.conformance.delivery import Kind, Message
from tests.lambdas import websocket
from tests.lambdas.dynamo import Dynamo
from tests.lambdas.proxy import context
from tests.lambdas.stand import CONNECTIONS, LOG

ROUTES: Final = Routes(
    "live",
    "op",
    {
        "$connect": "connect",
        "token": "connect",
        "$default": "requests",
        "$disconnect": "disconnect",
    },
)
HANDLERS: Final[dict[str, Callable[..., Any]]] = {
    "connect": ws_connect.lambda_handler,
    "requests": ws_requests.lambda_handler,
    "disconnect": ws_disconnect.lambda_handler,
    "fan_out": ws_fan_out.lambda_handler,
    "heartbeat": ws_heartbeat.lambda_handler,
}
KEY_VERSION: Final = "1"
BATCH: Final = 10


class Everything:
    """Carries every tag."""

    def shown(self, batch: list[Any]) -> list[Any]:
        return batch


class Secrets:
    """The signing key, which was never rotated."""

    def get_secret_value(self, *, SecretId: str, VersionStage: str) -> dict[str, str]:  # noqa: N803
        return {"VersionId": KEY_VERSION, "SecretString": json.dumps({"key": websocket.KEY})}


class Functions:
    """See `Delivery`. Invokes them, as API Gateway, Lambda, SQS and EventBridge would."""

    def __init__(self) -> None:
        self.gateway = WebSocketGateway(self.call)
        self.url = ""
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def call(self, function: str, event: Event) -> Answer:
        try:
            answer: Answer = await asyncio.to_thread(HANDLERS[function], event, context())
        except Exception as error:
            raise FunctionFailed(repr(error)) from error
        return answer

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: str) -> None:  # noqa: N803
        """An asynchronous invocation, by one of them."""
        assert InvocationType == "Event"
        event = json.loads(Payload)

        def begin() -> None:
            task = self._loop.create_task(self.call(FunctionName, event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)

    def token(self, *watch: str, lifetime_s: float = 900.0) -> str:
        return websocket.token(KEY_VERSION, watch=list(watch), exp=time.time() + lifetime_s)

    async def publish(self, *messages: Message) -> None:
        for start in range(0, len(messages), BATCH):
            records = [
                {"messageId": str(number), "body": json.dumps(message), "attributes": {}}
                for number, message in enumerate(messages[start : start + BATCH])
            ]
            answer = await self.call("fan_out", {"Records": records})
            assert answer == {"batchItemFailures": []}

    async def beat(self) -> None:
        await self.call("heartbeat", {})

    async def drain(self) -> None:
        raise NotImplementedError  # it lacks that

    async def close(self) -> None:
        await self.gateway.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Functions]:
    """Functions that remember nothing, on empty tables."""
    functions = Functions()
    dynamo = Dynamo(LOG, CONNECTIONS)
    async with AsyncExitStack() as closing:
        await functions.gateway.start()
        closing.push_async_callback(functions.close)
        verifier = Verifier(Secrets(), "signing-key", websocket.AUDIENCE)
        client = boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"{functions.gateway.endpoint}/{ROUTES.stage}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 # of nothing
            config=composition.PATIENCE,
        )
        posts = Posts(client)
        environment = websocket.ENVIRONMENT | {"GREETER": "requests"}
        for patch in (
            mock.patch.dict("os.environ", environment),
            mock.patch.object(composition, "tables", return_value=dynamo),
            mock.patch.object(composition, "posts", return_value=posts),
            mock.patch.object(ws_connect, "verifier", return_value=verifier),
            mock.patch.object(ws_connect, "functions", return_value=functions),
            mock.patch.object(ws_fan_out, "fleet", Everything),
        ):
            closing.enter_context(patch)
        websocket.forget()
        closing.callback(websocket.forget)
        functions.gateway.serve(ROUTES)
        functions.url = functions.gateway.url
        yield functions


# On AWS the sockets are API Gateway's own: how they are dialled shows nothing here.
KIND: Final = Kind(open=serving, lacks=frozenset(LACKS), libraries=("websockets",))
