"""From POST /watch-tokens to the WebSocket: who has a token watches, and what it says."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect

from infra.local.daemon import Consumer
from infra.local.places import Ports
from infra.local.run import LocalRun
from tests.e2e.conftest import Viewer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(embedded_aws: LocalRun) -> AsyncIterator[Consumer]:
    """A consumer that asks for the stack's own tokens, as docs/deploy.md sets it up."""
    outputs = embedded_aws.stack.outputs
    settings = {
        "STATUSWIRE_SIGNING_SECRET": outputs["SigningKeyArn"],
        "STATUSWIRE_AUDIENCE": outputs["TokenAudience"],
    }
    consumer = embedded_aws.consumer("guarded", ports=Ports().settle(), settings=settings)
    await consumer.start()
    yield consumer
    await consumer.stop()


async def token_for(run: LocalRun, *watch: str) -> str:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{run.rest_url}/watch-tokens", json={"watch": watch}) as answer,
    ):
        assert answer.status == 201
        return str((await answer.json())["token"])


async def closed_with(socket: ClientConnection) -> int | None:
    await socket.wait_closed()
    return socket.close_code


async def say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps(message))


def by_header(token: str) -> Any:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def as_a_browser(token: str) -> Any:
    return {"subprotocols": ["statuswire.v1", f"bearer.{token}"]}


async def test_without_a_token_nobody_watches(guarded: Consumer) -> None:
    """Not on loopback either; a browser can read why."""
    assert await closed_with(await connect(f"{guarded.websocket_url}?watch=*")) == 4401


@pytest.mark.parametrize("carried", [by_header, as_a_browser])
async def test_a_token_opens_what_it_names(
    embedded_aws: LocalRun, guarded: Consumer, carried: Any
) -> None:
    """Signed by the function, verified by the consumer, with the one secret that both read."""
    mine, other = (f"instance:{instance}" for instance in embedded_aws.instances[:2])
    token = await token_for(embedded_aws, mine)
    socket = await connect(f"{guarded.websocket_url}?watch={mine}", **carried(token))
    viewer = Viewer(socket)
    while (await viewer.read())["op"] != "snapshot":
        pass
    assert socket.subprotocol in (None, "statuswire.v1")
    await say(socket, op="subscribe", watch=[other])
    assert await closed_with(socket) == 4403


async def test_a_token_is_renewed_in_the_open_connection(
    embedded_aws: LocalRun, guarded: Consumer
) -> None:
    """A wider one allows more from then on."""
    mine, other = (f"instance:{instance}" for instance in embedded_aws.instances[:2])
    socket = await connect(
        f"{guarded.websocket_url}?watch={mine}", **by_header(await token_for(embedded_aws, mine))
    )
    wider = await token_for(embedded_aws, mine, other)
    await say(socket, op="token", id="1", token=wider)
    await say(socket, op="subscribe", id="2", watch=[other])
    viewer = Viewer(socket)
    while (frame := await viewer.read()).get("id") != "2":
        pass
    assert frame["op"] == "snapshot"
    (renewed,) = (frame for frame in viewer.frames if frame["op"] == "token")
    assert (renewed["id"], renewed["expires"][-1]) == ("1", "Z")
    await socket.close()


async def test_no_token_is_written_anywhere(embedded_aws: LocalRun, guarded: Consumer) -> None:
    """Not into the consumer's log lines, good or bad."""
    token = await token_for(embedded_aws, "*")
    async with connect(f"{guarded.websocket_url}?watch=*", **by_header(token)):
        pass
    await closed_with(await connect(guarded.websocket_url, **by_header(token[:-4])))
    await closed_with(await connect(f"{guarded.websocket_url}?token={token}"))
    assert token.split(".")[1] not in guarded.output.read_text()
