"""API Gateway's side of a WebSocket API, as the local run plays it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from infra.local.intrinsics import Resource
from infra.local.stack import Stack
from infra.local.websocket_api import routes_of
from infra.local.websocket_gateway import (
    MAX_FRAME_BYTES,
    Answer,
    Event,
    FunctionFailed,
    Routes,
    WebSocketGateway,
)

FUNCTIONS = {"$connect": "in", "$disconnect": "out", "$default": "any", "token": "token"}


class Played:
    """A gateway whose functions answer as a test says."""

    def __init__(self) -> None:
        self.gateway = WebSocketGateway(self.invoke)
        self.events: list[tuple[str, Event]] = []
        self.answer: Answer = {"statusCode": 200}
        self.is_failing = False
        self.news = asyncio.Event()

    async def invoke(self, function: str, event: Event) -> Answer:
        self.events.append((function, event))
        self.news.set()
        if self.is_failing and function != "in":
            raise FunctionFailed("it raised")
        return self.answer

    async def event(self, function: str) -> Event:
        """Wait for an invocation of a function."""
        async with asyncio.timeout(10):
            while True:
                for name, event in self.events:
                    if name == function:
                        return event
                self.news.clear()
                await self.news.wait()

    async def manage(self, method: str, id_: str, data: str = "") -> int:
        """The status that `@connections` answers with."""
        url = f"{self.gateway.endpoint}/live/@connections/{id_}"
        async with aiohttp.ClientSession() as http, http.request(method, url, data=data) as answer:
            return answer.status


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    played = Played()
    await played.gateway.start()
    played.gateway.serve(Routes("live", "op", FUNCTIONS))
    yield played
    await played.gateway.stop()


async def test_a_handshake_reaches_its_function_as_it_came(played: Played) -> None:
    """Headers and query with every value, and what is said of the connection."""
    url = f"{played.gateway.url}?watch=a&watch=b&since=c"
    async with connect(url, additional_headers={"Authorization": "Bearer t"}):
        event = await played.event("in")
    assert event["multiValueQueryStringParameters"] == {"watch": ["a", "b"], "since": ["c"]}
    assert event["queryStringParameters"]["watch"] == "b"
    assert event["multiValueHeaders"]["Authorization"] == ["Bearer t"]
    context = event["requestContext"]
    assert (context["routeKey"], context["eventType"]) == ("$connect", "CONNECT")
    assert context["stage"] == "live"


@pytest.mark.parametrize("status", [400, 401, 403, 503])
async def test_a_function_refuses_a_handshake(played: Played, status: int) -> None:
    """With the status that it answers; nobody is told that it has ended."""
    played.answer = {"statusCode": status, "body": "no"}
    with pytest.raises(InvalidStatus) as refused:
        await connect(played.gateway.url)
    assert refused.value.response.status_code == status
    assert [name for name, _ in played.events] == ["in"]


@pytest.mark.parametrize("selected", ["two", None])
async def test_a_function_selects_the_subprotocol(played: Played, selected: str | None) -> None:
    """One of those that are offered, or none."""
    headers = {"sec-websocket-protocol": selected} if selected else {}
    played.answer = {"statusCode": 200, "headers": headers}
    async with connect(
        played.gateway.url, subprotocols=[Subprotocol("one"), Subprotocol("two")]
    ) as socket:
        assert socket.subprotocol == selected


@pytest.mark.parametrize(
    ("text", "function", "key"),
    [
        ('{"op": "token"}', "token", "token"),
        ('{"op": "else"}', "any", "$default"),
        ('{"op": ["token"]}', "any", "$default"),
        ('["token"]', "any", "$default"),
        ("{", "any", "$default"),
    ],
)
async def test_a_message_goes_where_it_says(
    played: Played, text: str, function: str, key: str
) -> None:
    """By the property that the API selects by; `$default` takes all others."""
    async with connect(played.gateway.url) as socket:
        await socket.send(text)
        event = await played.event(function)
    assert (event["body"], event["requestContext"]["routeKey"]) == (text, key)


async def test_functions_speak_to_a_connection(played: Played) -> None:
    """POST sends, GET tells that it is there, DELETE ends it; then it is gone."""
    async with connect(played.gateway.url) as socket:
        id_ = (await played.event("in"))["requestContext"]["connectionId"]
        assert await played.manage("POST", id_, "hello") == 200
        assert await socket.recv() == "hello"
        assert await played.manage("GET", id_) == 200
        assert await played.manage("DELETE", id_) == 204
        await socket.wait_closed()
    await played.event("out")
    for method in ("POST", "GET", "DELETE"):
        assert await played.manage(method, id_) == 410


async def test_nothing_can_be_posted_before_the_handshake_is_through(played: Played) -> None:
    """API Gateway knows of no connection before `$connect` has been answered."""
    statuses = []
    invoke = played.invoke

    async def post(function: str, event: Event) -> Answer:
        if function == "in":
            id_ = event["requestContext"]["connectionId"]
            statuses.append(await played.manage("POST", id_, "early"))
        return await invoke(function, event)

    played.gateway._invoke = post
    async with connect(played.gateway.url):
        assert statuses == [410]


@pytest.mark.parametrize("by", ["client", "function"])
async def test_what_is_larger_than_a_frame_ends_the_connection(played: Played, by: str) -> None:
    """With 1009, whoever sends it."""
    large = "x" * (MAX_FRAME_BYTES + 1)
    async with connect(played.gateway.url) as socket:
        id_ = (await played.event("in"))["requestContext"]["connectionId"]
        if by == "client":
            await socket.send(large)
        else:
            await played.manage("POST", id_, large)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009


async def test_who_leaves_is_reported_with_the_code(played: Played) -> None:
    """To the function of `$disconnect`."""
    async with connect(played.gateway.url) as socket:
        await socket.close(code=4000)
    event = await played.event("out")
    assert event["requestContext"]["eventType"] == "DISCONNECT"
    assert event["requestContext"]["disconnectStatusCode"] == 4000


async def test_a_function_that_fails_is_told_to_the_client(played: Played) -> None:
    """In API Gateway's own words, which are not the protocol's; the connection stays."""
    played.is_failing = True
    async with connect(played.gateway.url) as socket:
        await socket.send('{"op": "ping"}')
        told: dict[str, Any] = json.loads(await socket.recv())
        assert told["message"] == "Internal server error"
        assert told.keys() == {"message", "connectionId", "requestId"}


async def test_another_stage_is_forbidden(played: Played) -> None:
    """There is none."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(played.gateway.url.replace("/live", "/other"))
    assert refused.value.response.status_code == 403


def test_routes_are_those_that_are_deployed() -> None:
    """From route to integration to function, by the stack's own resources."""
    kind = "AWS::ApiGatewayV2"
    template = {
        "Api": (f"{kind}::Api", {"RouteSelectionExpression": "$request.body.op"}),
        "Stage": (f"{kind}::Stage", {"StageName": {"Ref": "StageName"}}),
        "Route": (
            f"{kind}::Route",
            {"RouteKey": "$connect", "Target": {"Fn::Sub": "integrations/${Integration}"}},
        ),
        "Integration": (f"{kind}::Integration", {"IntegrationUri": "uri"}),
    }
    stack = Stack(
        name="s",
        account="1",
        region="r",
        outputs={},
        parameters={"StageName": "live"},
        resources={name: Resource(type_, f"{name}-id") for name, (type_, _) in template.items()},
        template={
            "Resources": {
                name: {"Type": type_, "Properties": properties}
                for name, (type_, properties) in template.items()
            }
        },
    )
    assert routes_of(stack) == Routes("live", "op", {"$connect": "uri"})
