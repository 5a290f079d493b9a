"""The JavaScript client in Node, against a consumer that drains, dies, forgets and refuses."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance import process
from tests.conformance.consumer import Consumer, serving
from tests.conformance.node import NODE
from tests.conformance.stories import Run
from tests.javascript.viewer import viewing

LIBRARIES = ["built in", "ws"]
LATER_S = time.time() + 86_400


@pytest.fixture
async def consumer(tmp_path: Path) -> AsyncIterator[Consumer]:
    """One that asks for no token."""
    async with serving(tmp_path, asks=False) as consumer:
        yield consumer


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Consumer]:
    """One that asks for tokens."""
    async with serving(tmp_path) as consumer:
        yield consumer


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def cut(consumer: Consumer) -> None:
    """End every connection without a word."""
    for connection in consumer.server.connections:
        connection.abort()


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_snapshot_then_each_event(consumer: Consumer, library: str) -> None:
    """Told apart by type; live after the snapshot, and a late event is marked."""
    run = Run()
    early, newest = run.step("CHECKING"), run.step("STARTING")
    async with viewing(consumer.url, library=library) as viewer:
        assert (await viewer.told("snapshot"))["events"] == []
        await viewer.told("live")
        await consumer.publish(newest)
        assert (await viewer.told("status"))["late"] is False
        await consumer.publish(early)
        status = await viewer.told("status")
        assert (status["late"], status["event"]) == (True, early)
        assert status["cursor"] == f"{consumer.log.epoch}-2"
        heartbeat = await viewer.told("heartbeat")
        assert isinstance(heartbeat["lagMs"], int)
    kinds = [kind for kind in viewer.types if kind != "heartbeat"]
    assert kinds == ["connecting", "welcome", "snapshot", "live", "status", "status"]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_what_was_missed_is_made_up_for(consumer: Consumer, library: str) -> None:
    """A connection is cut; what happens meanwhile comes once, then all is live again."""
    run = Run()
    steps = [run.step(status) for status in ("CHECKING", "WAITING", "STARTING", "SUCCEEDED")]
    async with viewing(consumer.url, library=library) as viewer:
        await viewer.told("live")
        await consumer.publish(steps[0])
        await viewer.told("status")
        cut(consumer)
        await consumer.publish(*steps[1:3])
        assert (await viewer.told("lost"))["why"]
        await viewer.told("resumed")
        await viewer.told("live")
        await consumer.publish(steps[3])
        await viewer.told_of(steps[3]["id"])
    assert viewer.ids == [step["id"] for step in steps]


async def test_a_drain_is_waited_out(tmp_path: Path) -> None:
    """For as long as the server asks; the next one resumes from the same log."""
    run = Run()
    steps = [run.step(status) for status in ("CHECKING", "WAITING", "STARTING")]
    async with serving(tmp_path, asks=False) as first:
        viewing_it = viewing(first.url)
        viewer = await viewing_it.__aenter__()
        await viewer.told("live")
        await first.publish(steps[0])
        await viewer.told("status")
    lost = await viewer.told("lost")
    assert lost["why"] == "the server is restarting"
    async with serving(tmp_path, asks=False, port=port_of(first.url)) as second:
        await second.publish(steps[1])
        await viewer.told("resumed")
        await second.publish(steps[2])
        await viewer.told_of(steps[2]["id"])
        await viewing_it.__aexit__(None, None, None)
    assert viewer.ids == [step["id"] for step in steps]


async def test_a_crash_loses_nothing(tmp_path: Path) -> None:
    """The process is killed and comes back: each event once."""
    run = Run()
    steps = [run.step(status) for status in ("CHECKING", "WAITING", "STARTING")]
    async with process.running(tmp_path) as first, viewing(first.url) as viewer:
        await viewer.told("live")
        await first.publish(steps[0])
        await viewer.told("status")
        await first.kill()
        assert (await viewer.told("lost"))["why"] == "the connection was lost"
        async with process.running(tmp_path, port_of(first.url)) as second:
            await second.publish(steps[1])
            await viewer.told("resumed")
            await second.publish(steps[2])
            await viewer.told_of(steps[2]["id"])
    assert viewer.ids == [step["id"] for step in steps]


async def test_another_log_is_a_gap(tmp_path: Path) -> None:
    """What cannot be made up for is said, and what stands is shown."""
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    step, other = Run().step(), Run().step()
    async with serving(tmp_path / "before", asks=False) as first:
        viewing_it = viewing(first.url)
        viewer = await viewing_it.__aenter__()
        await viewer.told("live")
        await first.publish(step)
        await viewer.told("status")
    async with serving(tmp_path / "after", asks=False, port=port_of(first.url)) as second:
        await second.publish(other)
        await viewer.told("gap")
        await viewer.told_of(other["id"])
        await viewing_it.__aexit__(None, None, None)
    assert viewer.ids == [step["id"], other["id"]]


async def test_silence_is_stale(consumer: Consumer) -> None:
    """Two heartbeats missed: what is shown may be old. Whatever comes ends it."""
    async with viewing(consumer.url) as viewer:
        await viewer.told("live")
        consumer.server.heartbeat_s = 60
        await viewer.told("stale")
        await consumer.publish(Run().step())
        await viewer.told("live")


async def test_since_goes_on_from_elsewhere(consumer: Consumer) -> None:
    """A cursor that was kept is where a stream may begin."""
    run = Run()
    steps = [run.step("CHECKING"), run.step("WAITING")]
    async with viewing(consumer.url) as before:
        await before.told("live")
        await consumer.publish(steps[0])
        cursor = (await before.told("status"))["cursor"]
    await consumer.publish(steps[1])
    async with viewing(consumer.url, since=cursor) as viewer:
        await viewer.told("resumed")
    assert viewer.ids == [steps[1]["id"]]


@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_token_is_renewed_before_it_ends(guarded: Consumer, library: str) -> None:
    """In the open connection, which outlives the first one."""
    async with viewing(guarded.url, asks=True, library=library) as viewer:
        await viewer.answer(guarded.token("*", lifetime_s=2))
        await viewer.told("live")
        await viewer.answer(guarded.token("*"))
        assert (await viewer.told("renewed"))["endsAtMs"] > 0
        for connection in guarded.server.connections:
            connection.check(0, time.time() + 60)
        await guarded.publish(step := Run().step())
        await viewer.told_of(step["id"])
    assert "lost" not in viewer.types
    assert [item["refusal"] for item in viewer.items if item["type"] == "asked"] == [None, None]


async def test_an_ended_token_is_replaced(guarded: Consumer) -> None:
    """4401: another is asked for, saying why, and nothing is missed."""
    run = Run()
    steps = [run.step("CHECKING"), run.step("WAITING")]
    async with viewing(guarded.url, asks=True) as viewer:
        await viewer.answer(guarded.token("*"))
        await viewer.told("live")
        await guarded.publish(steps[0])
        await viewer.told("status")
        for connection in guarded.server.connections:
            connection.check(0, LATER_S)
        await guarded.publish(steps[1])
        await viewer.answer(guarded.token("*"))
        await viewer.told("resumed")
    assert "lost" in viewer.types
    asked = [item["refusal"] for item in viewer.items if item["type"] == "asked"]
    assert asked == [None, {"why": "the token has expired", "wasOpen": True}]
    assert viewer.ids == [step["id"] for step in steps]


async def test_tokens_that_are_all_refused_end_the_stream(guarded: Consumer) -> None:
    """Some in a row may be a key's rotation; not for ever."""
    async with viewing(guarded.url, asks=True, hasty=True) as viewer:
        for number in range(6):
            await viewer.answer(f"worthless-{number}")
        assert (await viewer.told("thrown"))["code"] == 4401
    assert viewer.types.count("asked") == 6


async def test_an_issuer_that_fails_is_asked_again(guarded: Consumer) -> None:
    """It is said why there is no connection meanwhile."""
    async with viewing(guarded.url, asks=True) as viewer:
        await viewer.answer(None)
        assert "the issuer does not answer" in (await viewer.told("lost"))["why"]
        await viewer.answer(guarded.token("*"))
        await viewer.told("live")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, 4401),
        ({"token": "not.a.token"}, 4401),
        ({"token": "good", "watch": ["machine:express"]}, 4403),
        ({"token": "good", "watch": ["machine:turing"]}, "bad_watch"),
        ({"token": "no token at all"}, None),
    ],
    ids=["no token", "forged", "not covered", "no watch", "no subprotocol"],
)
async def test_what_trying_again_would_not_mend_is_thrown(
    guarded: Consumer, options: dict[str, object], code: int | str | None
) -> None:
    """With the code that says what is wrong."""
    if options.get("token") == "good":
        options = {**options, "token": guarded.token("machine:standard")}
    async with viewing(guarded.url, **options) as viewer:
        thrown = await viewer.told("thrown")
    assert (thrown["name"], thrown["code"]) == ("Stopped", code)
    assert thrown["message"]


async def test_the_same_token_again_is_no_other(guarded: Consumer) -> None:
    """Whoever has no other one is told so, instead of asking for ever."""
    async with viewing(guarded.url, asks=True) as viewer:
        await viewer.answer("not.a.token")
        await viewer.answer("not.a.token")
        assert (await viewer.told("thrown"))["code"] == 4401


async def test_no_token_travels_in_an_address() -> None:
    """It would be logged on its way."""
    async with viewing("ws://127.0.0.1:1/v1/status?token=secret") as viewer:
        thrown = await viewer.told("thrown")
    assert thrown["name"] == "TypeError"
    assert "secret" not in thrown["message"]


async def played(scenario: str) -> Any:
    """What comes of it on a socket that is told what to say."""
    program = Path(__file__).with_name("scripted.mjs")
    node = await asyncio.create_subprocess_exec(
        NODE, program, scenario, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await node.communicate()
    return json.loads(output)


async def test_a_reader_that_falls_behind_is_waited_for() -> None:
    """What it has not read is bounded: the connection ends, and the cursor brings the rest. An
    event that a server tells again, which says that it may, is told once.
    """
    came = await played("behind")
    assert came["told"] == f"event-{came['last']}"
    assert came["distinct"] == came["length"] < 10_000
    assert came["isAtLastRead"], "whoever leaves half-way can go on from there"
    since = f"e-{came['last']}"
    assert came["asked"] == {"op": "subscribe", "id": "1", "watch": ["*"], "since": since}


async def test_a_server_that_drains_says_for_how_long() -> None:
    """It is taken at its word."""
    assert await played("draining") == {"why": "the server is restarting", "isAsAsked": True}


async def test_a_close_code_may_come_as_a_message() -> None:
    """Of a server that can send none, and says so."""
    assert await played("closing") == {"name": "Stopped", "code": 4403}
