"""Who may watch what, and until when: tokens in handshakes and in open connections."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import connect

from consumer.core.grant import Grant
from consumer.core.limits import Limits
from consumer.edges.tokens import KeysUnavailable, TokenRefused, Verifier
from tests.core import examples
from tests.edges.conftest import Service, read, serving, until
from tests.edges.test_websocket import HANDSHAKE, _closed, _next

LATER_S = time.time() + 3_600


class Tokens:
    """A verifier that knows these tokens, and can be made to wait."""

    def __init__(self) -> None:
        self.known = {
            "all": Grant(frozenset({"*"}), LATER_S),
            "standard": Grant(frozenset({"machine:standard"}), LATER_S),
            "one": Grant(frozenset({"execution:run-1"}), LATER_S),
            "old": Grant(frozenset({"*"}), time.time() - 1),
        }
        self.failing = {"broken": ZeroDivisionError, "keyless": KeysUnavailable}
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def verify(self, token: str) -> Grant:
        self.asked.append(token)
        await self.may_answer.wait()
        if token in self.failing:
            raise self.failing[token]
        if token not in self.known:
            raise TokenRefused("its key is not known (kid)")
        return self.known[token]


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
async def guarded(tmp_path: Path, tokens: Tokens) -> AsyncIterator[Service]:
    """A service that asks for tokens."""
    async with serving(tmp_path, verifier=cast(Verifier, tokens)) as service:
        service.server.heartbeat_s = 60  # what comes is what was asked for
        yield service


def bearing(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


async def refusal(service: Service, query: str = "", **options: Any) -> int:
    """The code with which a handshake that is finished is refused."""
    client = await connect(service.url + query, **options)
    service.closing.push_async_callback(client.close)
    return await _closed(client)


async def ask(client: Any, op: str, **request: Any) -> Any:
    """What a request is answered with, heartbeats aside."""
    await client.send(json.dumps({"op": op, **request}))
    while (told := await read(client))["op"] == "heartbeat":
        pass
    return told


async def renew(client: Any, token: str) -> Any:
    return await ask(client, "token", id="4", token=token)


async def test_a_token_lets_its_bearer_in(guarded: Service) -> None:
    """A program's, in the header that is made for it."""
    client = await guarded.connect("?watch=machine:standard", **bearing("standard"))
    assert (await _next(client, "snapshot"))["events"] == []
    assert not guarded.server.door.half_open


async def test_a_browsers_token_is_a_subprotocol(guarded: Service) -> None:
    """Never selected, never echoed."""
    client = await guarded.connect(subprotocols=["statuswire.v1", "bearer.all"])
    assert client.subprotocol == "statuswire.v1"
    assert client.response is not None
    assert "bearer" not in str(client.response.headers)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subprotocols": ["statuswire.v1"]},
        {"subprotocols": ["bearer.all", "bearer.all"]},
        {"subprotocols": ["bearer.all"], **bearing("all")},
        {"additional_headers": [("Authorization", "Bearer all")] * 2},
        {"additional_headers": {"Authorization": "Basic all"}},
        {"additional_headers": {"Authorization": "Bearer"}},
        bearing("forged"),
        bearing("old"),
    ],
    ids=["none", "none offered", "two", "both", "twice", "basic", "empty", "forged", "expired"],
)
async def test_without_one_good_token_nobody_is_let_in(
    guarded: Service, options: dict[str, Any]
) -> None:
    """The handshake is finished, so that a browser can read the code."""
    assert await refusal(guarded, **options) == 4401
    assert guarded.counts["connections_refused", "token"] == 1
    assert not guarded.counts["connections_opened", ""]


@pytest.mark.parametrize("name", ["token", "access_token"])
async def test_no_token_in_an_address(guarded: Service, tokens: Tokens, name: str) -> None:
    """It would be in logs and histories; the refusal says where it belongs."""
    client = await connect(f"{guarded.url}?{name}=all", **bearing("all"))
    assert await _closed(client) == 4401
    assert "Authorization" in (client.close_reason or "")
    assert not tokens.asked


async def test_no_token_in_an_address_where_none_is_asked_for(service: Service) -> None:
    """Whoever puts it there is told before it matters."""
    assert await refusal(service, "?token=x") == 4401


async def test_a_refusal_does_not_quote_the_token(guarded: Service) -> None:
    """The library would quote a header that it cannot parse."""
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    header = b"Sec-WebSocket-Protocol: statuswire.v1, bearer.sec ret\r\n\r\n"
    writer.write(HANDSHAKE[:-2] + header)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"sec" not in answer.replace(b"Sec-WebSocket", b"")
    writer.close()


@pytest.mark.parametrize(("token", "code"), [("keyless", 1013), ("broken", 1011)])
async def test_what_the_client_cannot_help_is_not_its_token(
    guarded: Service, token: str, code: int
) -> None:
    """Without keys it is asked to come back; our own failure is called one."""
    assert await refusal(guarded, **bearing(token)) == code


async def test_nothing_is_done_before_the_token_is_verified(
    guarded: Service, tokens: Tokens
) -> None:
    """Not even a ping that came right behind the handshake."""
    tokens.may_answer.clear()
    client = await connect(guarded.url, **bearing("all"))
    guarded.closing.push_async_callback(client.close)
    await client.send('{"op":"ping","id":"1"}')
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert not guarded.counts["messages_from_clients", ""]
    assert not guarded.hub.clients
    assert len(guarded.server.door.half_open) == 1
    tokens.may_answer.set()
    assert (await read(client))["op"] == "welcome"
    assert (await read(client))["op"] == "pong"


async def test_verification_has_the_handshakes_time(tmp_path: Path, tokens: Tokens) -> None:
    """A connection whose token is not verified in time is let go."""
    tokens.may_answer.clear()
    limits = Limits(handshake_s=0.2)
    async with serving(tmp_path, limits=limits, verifier=tokens) as service:
        assert await refusal(service, **bearing("all")) == 1013
        assert not service.hub.clients


async def test_a_client_may_be_gone_before_it_is_verified(guarded: Service, tokens: Tokens) -> None:
    """Nothing of it is left."""
    tokens.may_answer.clear()
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.port)
    writer.write(HANDSHAKE[:-2] + b"Authorization: Bearer all\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    (connection,) = guarded.server.connections
    connection.abort()
    await until(lambda: not guarded.server.connections)
    tokens.may_answer.set()
    await asyncio.sleep(0.01)
    assert not guarded.hub.clients
    assert not guarded.server.door.half_open
    assert not guarded.server.door.admitted
    writer.close()


@pytest.mark.parametrize("query", ["?watch=*", "?watch=machine:standard&watch=machine:express"])
async def test_an_address_may_not_ask_for_more(guarded: Service, query: str) -> None:
    """What the token does not cover ends the connection, though some of it be covered."""
    assert await refusal(guarded, query, **bearing("standard")) == 4403


async def test_a_subscribe_may_not_ask_for_more(guarded: Service) -> None:
    """What is covered goes on until then."""
    client = await guarded.connect(**bearing("one"))
    await client.send('{"op":"subscribe","watch":["execution:run-1"]}')
    await _next(client, "snapshot")
    await client.send('{"op":"subscribe","watch":["machine:standard"]}')
    assert await _closed(client) == 4403


async def test_a_name_covers_its_arns(guarded: Service) -> None:
    """A token for an execution's name lets its bearer watch each execution of that name."""
    client = await guarded.connect(**bearing("one"))
    watch = "execution:arn:aws:states:us-east-1:000000000000:execution:machine:run-1"
    assert (await ask(client, "subscribe", watch=[watch]))["op"] == "snapshot"


async def test_the_connection_ends_with_its_token(guarded: Service, tokens: Tokens) -> None:
    """Within the sweep's second, whatever the heartbeat."""
    tokens.known["brief"] = Grant(frozenset({"*"}), time.time() + 0.2)
    client = await guarded.connect("?watch=*", **bearing("brief"))
    assert await _closed(client) == 4401
    await until(lambda: not guarded.server.connections)
    assert guarded.counts["connections_closed", "4401"] == 1
    assert not guarded.server.door.admitted


async def test_a_paused_connection_ends_with_its_token_too(
    guarded: Service, tokens: Tokens
) -> None:
    """Its socket is full, but its time is over all the same."""
    tokens.known["brief"] = Grant(frozenset({"*"}), time.time() + 0.3)
    await guarded.connect("?watch=*", **bearing("brief"))
    (connection,) = guarded.server.connections
    connection.pause_writing()
    while not guarded.counts["connections_closed", "4401"]:
        connection.check(asyncio.get_running_loop().time() + 4, time.time())
        await asyncio.sleep(0.05)
    assert not guarded.hub.clients


async def test_a_token_is_renewed_in_the_open_connection(guarded: Service, tokens: Tokens) -> None:
    """The answer says until when; the connection outlives its first token."""
    tokens.known["brief"] = Grant(frozenset({"*"}), time.time() + 0.3)
    client = await guarded.connect("?watch=*", **bearing("brief"))
    await _next(client, "snapshot")
    answer = await renew(client, "all")
    assert {**answer, "expires": ""} == {"op": "token", "id": "4", "expires": ""}
    assert datetime.fromisoformat(answer["expires"]).timestamp() == pytest.approx(LATER_S, abs=0.01)
    assert answer["expires"].endswith("Z")
    (connection,) = guarded.server.connections
    connection.check(asyncio.get_running_loop().time(), time.time() + 10)
    assert (await ask(client, "ping"))["op"] == "pong"


@pytest.mark.parametrize(
    ("token", "code"), [("forged", 4401), ("old", 4401), ("keyless", 1013), ("standard", 4403)]
)
async def test_a_renewal_that_is_not_granted_ends_the_connection(
    guarded: Service, token: str, code: int
) -> None:
    """Refused, expired, not verified, or less than what is watched."""
    client = await guarded.connect("?watch=*", **bearing("all"))
    await _next(client, "snapshot")
    await client.send(f'{{"op":"token","token":"{token}"}}')
    assert await _closed(client) == code


async def test_a_renewal_may_cover_less_than_before(guarded: Service) -> None:
    """As long as it covers what is watched; more is refused from then on."""
    client = await guarded.connect("?watch=*", **bearing("all"))
    await _next(client, "snapshot")
    await client.send('{"op":"unsubscribe","watch":["*"]}')
    await client.send('{"op":"subscribe","watch":["machine:standard"]}')
    await _next(client, "snapshot")
    assert (await renew(client, "standard"))["op"] == "token"
    await client.send('{"op":"subscribe","watch":["*"]}')
    assert await _closed(client) == 4403


async def test_what_waits_to_be_served_counts_as_watched(
    guarded: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that is still to come is refused with the rest."""
    never = asyncio.Event()
    monkeypatch.setattr(guarded.hub, "_snapshot", lambda *_: never.wait())
    client = await guarded.connect(**bearing("all"))
    await client.send('{"op":"subscribe","watch":["*"]}')
    await client.send('{"op":"token","token":"standard"}')
    assert await _closed(client) == 4403


async def test_requests_behind_a_renewal_are_judged_by_it(guarded: Service, tokens: Tokens) -> None:
    """In the order in which they were sent, without waiting for the answer; renewals too."""
    client = await guarded.connect(**bearing("one"))
    tokens.may_answer.clear()
    (connection,) = guarded.server.connections
    said = ['{"op":"token","id":"1","token":"standard"}', '{"op":"token","id":"2","token":"all"}',
            '{"op":"subscribe","id":"3","watch":["*"]}']  # fmt: skip
    for each in said:
        await client.send(each)
    await asyncio.sleep(0.05)
    assert tokens.asked == ["one", "standard"]
    tokens.may_answer.set()
    assert [(await read(client))["id"] for _ in said] == ["1", "2", "3"]
    assert connection.session.watch.keys() == {"*"}


async def test_a_renewal_under_way_does_not_outlast_the_grant(
    guarded: Service, tokens: Tokens
) -> None:
    """Its time is over when it is over."""
    tokens.known["brief"] = Grant(frozenset({"*"}), time.time() + 0.3)
    client = await guarded.connect("?watch=*", **bearing("brief"))
    await _next(client, "snapshot")
    tokens.may_answer.clear()
    await client.send('{"op":"token","token":"all"}')
    await until(lambda: client.protocol.close_rcvd)
    assert client.protocol.close_rcvd is not None
    assert client.protocol.close_rcvd.code == 4401
    tokens.may_answer.set()


async def test_a_renewal_while_a_snapshot_streams(guarded: Service) -> None:
    """The snapshot arrives whole."""
    detail = {"pad": "x" * 15_000}
    await guarded.log.append([examples.step(1, run=f"run-{n}", detail=detail) for n in range(100)])
    client = await guarded.connect("?watch=*", max_size=None, **bearing("all"))
    await client.send('{"op":"token","id":"1","token":"all"}')
    told: list[Any] = []
    while not {"token"} < {each["op"] for each in told} or told[-1].get("more"):
        told.append(await read(client))
    assert sum(len(each.get("events", ())) for each in told) == 100
