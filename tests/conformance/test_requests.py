"""What is asked, how it is answered, and what ends a connection."""

from typing import Any

import pytest

from tests.conformance.scene import Scene, needs
from tests.conformance.wire import Closed

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


@pytest.mark.parametrize(
    "message", ["{", "[]", '"subscribe"', '{"id":"1"}', b"binary"], ids=lambda each: str(each)[:12]
)
async def test_what_is_no_message_ends_the_connection(scene: Scene, message: str | bytes) -> None:
    """A client that does not speak the protocol is told so, and no more."""
    viewer = await scene.viewer()
    await viewer.wire.send(message)
    assert await viewer.ended() in scene.codes(4400)


async def test_an_oversized_message_ends_the_connection(scene: Scene) -> None:
    """Before it is read to its end."""
    viewer = await scene.viewer()
    await viewer.wire.send(f'{{"op":"ping","id":"{LONG}"}}')
    assert await viewer.ended() in scene.codes(4400)


async def test_a_bad_watch_in_the_address_ends_the_connection(scene: Scene) -> None:
    """A client that does not speak can at least read why."""
    token = scene.delivery.token("*")
    try:
        viewer = await scene.dial("?watch=everything", token=token)
        assert await viewer.ended() in scene.codes(4400)
        assert '"bad_watch"' in viewer.texts[-1]
    except Closed:
        assert "close_codes" in scene.lacks


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
    viewers = [await scene.watching("*") for _ in range(3)]
    await scene.delivery.drain()
    for viewer in viewers:
        assert (await viewer.told("draining"))["retry_ms"] >= 0
        assert await viewer.ended() == 1012
