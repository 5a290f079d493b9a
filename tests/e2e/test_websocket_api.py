"""From queues to WebSocket clients with no daemon between, on the embedded AWS.

The function drains queues of its own, in place of the stack's, from which the consumers of the
other tests receive.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aioboto3
import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from infra.local.run import LocalRun
from infra.local.websocket_api import PARAMETERS, WebSocketApi, websocket_api
from lambdas.stream.motion import LACKS
from tests.core import examples

pytestmark = pytest.mark.asyncio(loop_scope="session")

SERVICES = ("sqs", "cloudformation", "lambda", "dynamodb", "ec2")
STATUS, SERVICE = "functions-status.fifo", "functions-service"
QUEUES: dict[str, dict[str, str]] = {
    STATUS: {"FifoQueue": "true", "VisibilityTimeout": "10"},
    SERVICE: {"VisibilityTimeout": "10"},
}

Frame = dict[str, Any]


class Viewer:
    """A WebSocket client, one frame at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._read: set[str | bytes] = set()

    async def read(self, *, beats: bool = False) -> Frame:
        """The next frame. Read over are heartbeats, which come when they like, and what comes
        twice: a post that was not answered in time is made again, and on a busy machine the first
        may be heard after what followed the second.
        """
        while True:
            text = await self.socket.recv()
            frame: Frame = json.loads(text)
            if frame["op"] == "heartbeat":
                if beats:
                    return frame
            elif text not in self._read:
                self._read.add(text)
                return frame

    async def until(self, op: str) -> Frame:
        """Read over what comes before the first frame of that op."""
        while (frame := await self.read(beats=True))["op"] != op:
            pass
        return frame

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))


@dataclass(frozen=True)
class Embedded:
    """What is deployed; `clients` by service, addresses of `queues` by their names."""

    run: LocalRun
    api: WebSocketApi
    clients: dict[str, Any]
    queues: dict[str, str]
    http: aiohttp.ClientSession

    async def token(self, *watch: str) -> str:
        route = f"{self.run.rest_url}/watch-tokens"
        async with self.http.post(route, json={"watch": watch or ["*"]}) as answer:
            return str((await answer.json())["token"])

    async def watch(self, query: str = "", *, token: str | None = None) -> Viewer:
        """A viewer that has sent nothing; the caller closes it."""
        header = {"Authorization": f"Bearer {token or await self.token()}"}
        url = f"{self.api.url}?{query}" if query else self.api.url
        return Viewer(await connect(url, additional_headers=header, max_queue=None))

    async def publish(self, *bodies: Frame) -> None:
        """Steps, into the FIFO queue, as the machines send them."""
        for body in bodies:
            run = body["execution"]
            await self.clients["sqs"].send_message(
                QueueUrl=self.queues[STATUS],
                MessageBody=json.dumps(body),
                MessageGroupId=run["name"],
                MessageDeduplicationId=f"{run['name']}.{run['redrive']}.{run['seq']}",
            )

    async def turn(self, instance: str) -> None:
        """An instance's state has changed, into the service queue."""
        body = examples.instance_change(**{"instance-id": instance})
        body = {**body, "id": instance, "time": steps("now", 1)[0]["time"]}
        await self.clients["sqs"].send_message(
            QueueUrl=self.queues[SERVICE], MessageBody=json.dumps(body)
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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def embedded(embedded_aws: LocalRun) -> AsyncIterator[Embedded]:
    run = embedded_aws
    async with AsyncExitStack() as closing:
        session = aioboto3.Session()
        clients: dict[str, Any] = {
            service: await closing.enter_async_context(
                session.client(service, **run.client_settings)
            )
            for service in SERVICES
        }
        queues, arns = {}, {}
        for name, attributes in QUEUES.items():
            made = await clients["sqs"].create_queue(QueueName=name, Attributes=attributes)
            queues[name] = made["QueueUrl"]
            arns[name] = f"arn:aws:sqs:{run.stack.region}:{run.stack.account}:{name}"
        ours = {"StatusQueueArn": arns[STATUS], "ServiceQueueArn": arns[SERVICE]}
        api = await closing.enter_async_context(
            websocket_api(
                {name: run.stack.outputs[name] for name in PARAMETERS} | ours,
                endpoint=run.endpoint,
                folder=run.folder,
                cloudformation=clients["cloudformation"],
            )
        )
        http = await closing.enter_async_context(aiohttp.ClientSession())
        yield Embedded(run, api, clients, queues, http)


async def test_a_bare_client_sees_what_happens(embedded: Embedded) -> None:
    """A token and an address are enough: welcome, snapshot, then each event once, in order."""
    viewer = await embedded.watch("watch=*")
    async with viewer.socket:
        welcome = await viewer.read()
        assert (welcome["op"], welcome["lacks"]) == ("welcome", list(LACKS))
        assert (await viewer.read())["op"] == "snapshot"
        happened = steps("bare", 3)
        await embedded.publish(*happened)
        told = [await viewer.read() for _ in happened]
        assert [each["event"]["id"] for each in told] == ["bare.1", "bare.2", "bare.3"]
        places = [int(each["cursor"].partition("-")[2]) for each in told]
        assert places == [places[0], places[0] + 1, places[0] + 2]


async def test_who_comes_back_with_its_cursor_misses_nothing(embedded: Embedded) -> None:
    """Then `resumed`; with a cursor of another log, a gap and a snapshot."""
    viewer = await embedded.watch("watch=execution:back")
    async with viewer.socket:
        cursor = (await viewer.until("snapshot"))["cursor"]
    await embedded.publish(*steps("back", 2))
    other = await embedded.watch(f"watch=execution:back&since={cursor}")
    async with other.socket:
        await other.until("welcome")
        told = [await other.read() for _ in range(3)]  # `resumed` may come before what happens now
        assert sorted(each["op"] for each in told) == ["resumed", "status", "status"]
        await other.say(op="subscribe", id="2", watch=["machine:standard"], since="elsewhere-1")
        assert [(await other.read())["op"] for _ in range(2)] == ["gap", "snapshot"]


async def test_requests_are_answered_one_after_another(embedded: Embedded) -> None:
    """Each op of the protocol, in a connection that its address subscribed to nothing."""
    viewer = await embedded.watch()
    async with viewer.socket:
        await viewer.until("welcome")
        await viewer.say(op="ping", id="1")
        assert await viewer.read() == {"op": "pong", "id": "1"}
        await viewer.say(op="subscribe", id="2", watch=["execution:none"])
        assert (await viewer.read())["events"] == []
        await viewer.say(op="subscribe", id="3", watch=["nothing"])
        told = await viewer.read()
        assert told.get("code") == "bad_watch", told
        await viewer.say(op="token", id="4", token=await embedded.token())
        told = await viewer.read()
        assert (told["op"], told["id"]) == ("token", "4"), told
        await viewer.say(op="unsubscribe", id="5", watch=["execution:none"])
        await viewer.say(op="ping", id="6")
        assert await viewer.read() == {"op": "pong", "id": "6"}


async def test_a_browser_is_let_in_by_its_second_subprotocol(embedded: Embedded) -> None:
    """Which is never selected."""
    token = await embedded.token()
    offered = [Subprotocol("statuswire.v1"), Subprotocol(f"bearer.{token}")]
    async with connect(embedded.api.url, subprotocols=offered) as socket:
        assert socket.subprotocol == "statuswire.v1"
        assert json.loads(await socket.recv())["op"] == "welcome"


async def test_a_handshake_without_the_right_to_watch_is_refused(embedded: Embedded) -> None:
    """Before it is through: no close code can be sent."""
    for query, token, status in (
        ("watch=*", await embedded.token("machine:express"), 403),
        ("watch=*", "forged", 401),
        ("watch=nothing", await embedded.token(), 400),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await embedded.watch(query, token=token)
        assert refused.value.response.status_code == status


async def test_a_watch_that_is_not_granted_ends_the_connection(embedded: Embedded) -> None:
    """It is said which close code is meant."""
    viewer = await embedded.watch(token=await embedded.token("machine:express"))
    await viewer.until("welcome")
    await viewer.say(op="subscribe", watch=["*"])
    told = await viewer.read()
    assert (told["code"], told["close"]) == ("closing", 4403)
    await viewer.socket.wait_closed()


async def test_only_tagged_instances_are_shown(embedded: Embedded) -> None:
    """EC2 is asked which of an event's instances are."""
    made = await embedded.clients["ec2"].run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
    other, mine = made["Instances"][0]["InstanceId"], embedded.run.instances[0]
    viewer = await embedded.watch(f"watch=instance:{mine}&watch=instance:{other}")
    async with viewer.socket:
        await viewer.until("snapshot")
        for instance in (other, mine):
            await embedded.turn(instance)
        assert (await viewer.until("status"))["event"]["instance_id"] == mine
    await embedded.clients["ec2"].terminate_instances(InstanceIds=[other])


async def test_hearts_beat_and_who_has_gone_is_forgotten(embedded: Embedded) -> None:
    """By $disconnect, with all that it watched."""
    viewer = await embedded.watch("watch=execution:heart")
    async with viewer.socket:
        await viewer.until("snapshot")
        await embedded.beat()
        assert (await viewer.until("heartbeat")).keys() >= {"lag_ms"}
    async with asyncio.timeout(10):
        while "watch#execution:heart" in await embedded.rows():  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.05)
