"""From the queues to WebSocket clients with no daemon between, on the embedded AWS."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from lambdas.stream.motion import LACKS
from tests.core import examples
from tests.websocket_api.conftest import Embedded, steps

pytestmark = pytest.mark.asyncio(loop_scope="session")


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
        while (frame := await other.read())["op"] != "resumed":
            assert frame["op"] == "status"
            cursor = frame["cursor"]
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
        assert (await viewer.read())["code"] == "bad_watch"
        await viewer.say(op="token", id="4", token=embedded.token())
        assert (await viewer.read())["op"] == "token"
        await viewer.say(op="unsubscribe", id="5", watch=["execution:none"])
        await viewer.say(op="ping", id="6")
        assert (await viewer.read())["op"] == "pong"


async def test_a_browser_is_let_in_by_its_second_subprotocol(embedded: Embedded) -> None:
    """Which is never selected."""
    offered = [Subprotocol("statuswire.v1"), Subprotocol(f"bearer.{embedded.token()}")]
    async with connect(embedded.api.url, subprotocols=offered) as socket:
        assert socket.subprotocol == "statuswire.v1"
        assert json.loads(await socket.recv())["op"] == "welcome"


async def test_a_handshake_without_the_right_to_watch_is_refused(embedded: Embedded) -> None:
    """Before it is through: no close code can be sent."""
    for query, token, status in (
        ("watch=*", embedded.token("machine:express"), 403),
        ("watch=*", embedded.token(lives_s=-1), 401),
        ("watch=nothing", embedded.token(), 400),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await embedded.watch(query, token=token)
        assert refused.value.response.status_code == status


async def test_a_watch_that_is_not_granted_ends_the_connection(embedded: Embedded) -> None:
    """It is said which close code is meant."""
    viewer = await embedded.watch(token=embedded.token("machine:express"))
    await viewer.until("welcome")
    await viewer.say(op="subscribe", watch=["*"])
    told = await viewer.read()
    assert (told["code"], told["close"]) == ("closing", 4403)
    await viewer.socket.wait_closed()


async def test_only_tagged_instances_are_shown(embedded: Embedded) -> None:
    """EC2 is asked which of an event's instances are."""
    ec2 = embedded.clients["ec2"]
    made = await ec2.run_instances(ImageId="ami-1", MinCount=2, MaxCount=2)
    mine, other = (each["InstanceId"] for each in made["Instances"])
    await ec2.create_tags(Resources=[mine], Tags=[{"Key": "statuswire", "Value": "managed"}])
    viewer = await embedded.watch(f"watch=instance:{mine}&watch=instance:{other}")
    async with viewer.socket:
        await viewer.until("snapshot")
        for id_ in (other, mine):
            body = examples.instance_change(**{"instance-id": id_})
            now = steps("now", 1)[0]["time"]
            await embedded.clients["sqs"].send_message(
                QueueUrl=embedded.queues["service"],
                MessageBody=json.dumps({**body, "id": id_, "time": now}),
            )
        assert (await viewer.until("status"))["event"]["instance_id"] == mine


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
