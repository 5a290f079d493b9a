"""infra/websocket-api.yaml deployed into an embedded AWS of its own, with queues and a signing key.

Of its own, since its function drains the queues, as the consumer of the other tests would.
"""

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aioboto3
import jwt
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from infra.local.emulator import Emulator
from infra.local.folder import run_folder
from infra.local.places import Ports, client_settings
from infra.local.websocket_api import WebSocketApi, websocket_api
from tests.core import examples

KEY = "k" * 64
AUDIENCE = "statuswire"
SERVICES = ("sqs", "secretsmanager", "cloudformation", "lambda", "dynamodb", "ec2")
QUEUE = {"VisibilityTimeout": "10"}

Frame = dict[str, Any]


class Viewer:
    """A WebSocket client, one frame at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def read(self) -> Frame:
        frame: Frame = json.loads(await self.socket.recv())
        return frame

    async def until(self, op: str) -> Frame:
        """Read over what comes before the first frame of that op."""
        while (frame := await self.read())["op"] != op:
            pass
        return frame

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))


@dataclass(frozen=True)
class Embedded:
    """The deployed API; `clients` by service."""

    api: WebSocketApi
    clients: dict[str, Any]
    queues: dict[str, str]
    key_version: str

    def token(self, *watch: str, lives_s: int = 900) -> str:
        """As POST /watch-tokens issues it."""
        claims = {
            "iss": "statuswire",
            "aud": AUDIENCE,
            "exp": int(time.time()) + lives_s,
            "watch": list(watch or ("*",)),
        }
        return jwt.encode(claims, KEY, algorithm="HS256", headers={"kid": self.key_version})

    async def watch(self, query: str = "", *, token: str | None = None) -> Viewer:
        """A viewer that has sent nothing; the caller closes it."""
        header = {"Authorization": f"Bearer {token or self.token()}"}
        url = f"{self.api.url}?{query}" if query else self.api.url
        return Viewer(await connect(url, additional_headers=header, max_queue=None))

    async def publish(self, *bodies: Frame) -> None:
        """Steps, into the FIFO queue, as the machines send them."""
        for body in bodies:
            run = body["execution"]
            await self.clients["sqs"].send_message(
                QueueUrl=self.queues["status.fifo"],
                MessageBody=json.dumps(body),
                MessageGroupId=run["name"],
                MessageDeduplicationId=f"{run['name']}.{run['redrive']}.{run['seq']}",
            )

    async def beat(self) -> None:
        """What EventBridge does every minute."""
        function = self.api.stack.outputs["HeartbeatFunctionName"]
        answer = await self.clients["lambda"].invoke(FunctionName=function, Payload=b"{}")
        assert "FunctionError" not in answer, await answer["Payload"].read()

    async def rows(self) -> list[str]:
        """Partition keys of what is kept of connections."""
        table = self.api.stack.outputs["ConnectionsTableName"]
        found = await self.clients["dynamodb"].scan(TableName=table)
        return sorted(item["pk"]["S"] for item in found["Items"])


def steps(run: str, count: int) -> list[Frame]:
    """A run's first publish steps, which have just happened."""
    bodies = []
    for seq in range(1, count + 1):
        now = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}.{seq:03d}Z"
        body = examples.step_body(id=f"{run}.{seq}", time=now)
        arn = examples.ARN.replace("run-1", run)
        body["execution"] = {**body["execution"], "arn": arn, "name": run, "seq": seq}
        bodies.append(body)
    return bodies


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def embedded() -> AsyncIterator[Embedded]:
    with run_folder() as folder:
        emulator = Emulator(Ports().settle().aws, folder)
        async with AsyncExitStack() as closing:
            closing.push_async_callback(emulator.stop)
            await emulator.start()
            session = aioboto3.Session()
            clients: dict[str, Any] = {
                service: await closing.enter_async_context(
                    session.client(service, **client_settings(emulator.endpoint))
                )
                for service in SERVICES
            }
            queues = {}
            for name, kind in (("status.fifo", {"FifoQueue": "true"}), ("service", {})):
                made = await clients["sqs"].create_queue(QueueName=name, Attributes=QUEUE | kind)
                queues[name] = made["QueueUrl"]
            secret = await clients["secretsmanager"].create_secret(
                Name="signing-key", SecretString=json.dumps({"key": KEY})
            )
            parameters = {
                "StatusQueueArn": "arn:aws:sqs:us-east-1:000000000000:status.fifo",
                "ServiceQueueArn": "arn:aws:sqs:us-east-1:000000000000:service",
                "SigningKeyArn": secret["ARN"],
                "TokenAudience": AUDIENCE,
            }
            api = await closing.enter_async_context(
                websocket_api(
                    parameters,
                    endpoint=emulator.endpoint,
                    folder=folder,
                    cloudformation=clients["cloudformation"],
                )
            )
            yield Embedded(api, clients, queues, secret["VersionId"])
