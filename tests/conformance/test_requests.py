"""What is asked, how it is answered, and what ends a connection."""

import asyncio
from typing import Any

import pytest

from tests.conformance.scene import Scene, needs

LONG = "x" * 100_000
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no pattern": ({"op": "subscribe", "watch": ["everything"]}, "bad_watch"),
    "no instance": ({"op": "subscribe", "watch": ["instance:i-1"]}, "bad_watch"),
    "no machine": ({"op": "subscribe", "watch": ["machine:washing"]}, "bad_watch"),
    "no watch in the list": ({"op": "subscribe", "watch": []}, "bad_watch"),
    "one of two": ({"op": "unsubscribe", "watch": ["*", "nothing"]}, "bad_watch"),
    "no list": ({"op": "subscribe"}, "bad_request"),
    "no text": ({"op": "subscribe", "watch": ["*"], "since": 7}, "bad_request"),
    "no such op": ({"op": "dance"}, "unknown_op"),
}


async def test_a_ping_is_answered(scene: Scene) -> None:
    """With its id, or with null where it had none."""
    viewer = await scene.viewer()
    await viewer.say("ping", id="3")
    assert await viewer.told("pong") == {"op": "pong", "id": "3"}
    await viewer.say("ping")
    assert await viewer.told("pong") == {"op": "pong", "id": None}


@pytest.mark.parametrize("what", WRONG)
async def test_what_cannot_be_granted_is_an_error(scene: Scene, what: str) -> None:
    """It is said why, with the request's id, and nothing else changes."""
    request, code = WRONG[what]
    viewer = await scene.viewer()
    await viewer.say(**request, id="5")
    error = await viewer.told("error")
    assert (error["id"], error["code"]) == ("5", code)
    await viewer.hears_no_more()


@pytest.mark.parametrize("message", ["{", "[]", '"subscribe"', '{"id":"1"}', '{"op":1}'])
async def test_what_is_no_message_ends_the_connection(scene: Scene, message: str) -> None:
    """A client that does not speak the protocol is told so, and no more."""
    viewer = await scene.viewer()
    await viewer.wire.send(message)
    assert await viewer.ended() == 4400


@needs("close_codes")  # without, a gateway in between does not let these through
@pytest.mark.parametrize("message", [f'{{"op":"ping","id":"{LONG}"}}', b'{"op":"ping"}'], ids=len)
async def test_what_no_message_can_be_ends_the_connection(
    scene: Scene, message: str | bytes
) -> None:
    """What is oversized, or binary."""
    viewer = await scene.viewer()
    await viewer.wire.send(message)
    assert await viewer.ended() == 4400


@needs("close_codes")
async def test_who_asks_without_a_pause_is_sent_away(scene: Scene) -> None:
    """4429: more than a client may say at once."""
    viewer = await scene.viewer()
    for _ in range(2_000):
        await viewer.subscribe("*")
    assert await viewer.ended() == 4429


async def test_a_bad_watch_in_the_address_ends_the_connection(scene: Scene) -> None:
    """A client that does not speak can at least read why."""
    token = scene.delivery.token("*")
    assert await scene.refusal("?watch=everything", token=token) == 4400
    if "close_codes" not in scene.lacks:
        viewer = await scene.viewer("?watch=everything")
        assert (await viewer.told("error"))["code"] == "bad_watch"


async def test_what_is_not_known_is_left_alone(scene: Scene) -> None:
    """Fields may be added to requests, too."""
    viewer = await scene.viewer()
    await viewer.subscribe("*", id="1", colour="blue")
    await viewer.snapshot()


@needs("pings")
async def test_the_server_pings(scene: Scene) -> None:
    """Who only listens is kept in touch with."""
    viewer = await scene.viewer()
    while not viewer.wire.pings:
        await viewer.read()  # heartbeats come as often


@needs("draining", "close_codes")
async def test_a_drain_says_when_to_come_back(scene: Scene) -> None:
    """Everyone is told before the connection is closed with 1012."""
    viewers = [await scene.watching("*") for _ in range(5)]
    draining = asyncio.create_task(scene.delivery.drain())  # which waits for them to be gone
    waits = {(await viewer.told("draining"))["retry_ms"] for viewer in viewers}
    assert [await viewer.ended() for viewer in viewers] == [1012] * len(viewers)
    assert len(waits) > 1, "or all would come back at once"
    assert min(waits) > 0
    await draining
