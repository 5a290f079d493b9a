"""The REST API over real HTTP, as a stack deployed it, before a fake of the emulator."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from infra.local.intrinsics import Resource
from infra.local.places import Ports
from infra.local.rest_api import RestApi
from infra.local.stack import Stack

API = {
    "paths": {
        "/runs": {
            "post": {
                "x-amazon-apigateway-integration": {
                    "type": "aws",
                    "uri": {
                        "Fn::Sub": "arn:aws:apigateway:${AWS::Region}:states:action/StartExecution"
                    },
                    "requestTemplates": {
                        "application/json": {"Fn::Sub": '{"machine": "${Machine}"}'}
                    },
                    "responses": {
                        "default": {
                            "statusCode": "202",
                            "responseParameters": {
                                "method.response.header.Origin": {
                                    "Fn::If": ["HasOrigin", "'set'", "'unset'"]
                                }
                            },
                        }
                    },
                }
            }
        }
    }
}


@dataclass
class FakeEmulator:
    """Answers every call alike and keeps (X-Amz-Target, body)."""

    url: str = ""
    called: list[tuple[str | None, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.called.append((request.headers.get("X-Amz-Target"), await request.text()))
        return web.json_response({"executionArn": "arn:1"})


@pytest.fixture
async def emulator() -> AsyncIterator[FakeEmulator]:
    fake = FakeEmulator()
    application = web.Application()
    application.router.add_post("/", fake.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def url(emulator: FakeEmulator) -> AsyncIterator[str]:
    template: dict[str, Any] = {
        "Conditions": {"HasOrigin": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Origin"}, ""]}]}},
        "Resources": {"Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": API}}},
    }
    stack = Stack(
        name="statuswire",
        account="000000000000",
        region="us-east-1",
        outputs={"StageName": "live", "RestApiId": "abc"},
        parameters={"Origin": "http://127.0.0.1"},
        resources={"Machine": Resource("AWS::StepFunctions::StateMachine", "arn:machine")},
        template=template,
    )
    rest_api = RestApi(stack, endpoint=emulator.url, port=Ports().settle().rest)
    await rest_api.start()
    yield rest_api.url
    await rest_api.stop()


async def test_what_was_deployed_is_served(url: str, emulator: FakeEmulator) -> None:
    """Intrinsics and conditions hold what the stack's parameters and resources say."""
    async with aiohttp.ClientSession() as http, http.post(f"{url}/runs", json={}) as response:
        assert response.status == 202
        assert response.headers["Origin"] == "set"
        assert await response.json() == {"executionArn": "arn:1"}
    assert emulator.called == [
        ("AWSStepFunctions.StartExecution", '{"machine": "arn:machine"}'),
    ]


async def test_outside_of_the_stage_there_is_nothing(url: str, emulator: FakeEmulator) -> None:
    """A path without the stage is forbidden, even one that the API knows."""
    outside = url.removesuffix("/live")
    async with aiohttp.ClientSession() as http:
        for path in ("/runs", "/liver/runs", "/"):
            async with http.post(outside + path) as response:
                assert (response.status, await response.json()) == (403, {"message": "Forbidden"})
    assert emulator.called == []


async def test_ten_megabytes_are_the_limit(url: str, emulator: FakeEmulator) -> None:
    """A larger body is refused by the gateway and reaches nobody."""
    body = b" " * (10 * 1024 * 1024 + 1)
    async with aiohttp.ClientSession() as http, http.post(f"{url}/runs", data=body) as response:
        assert response.status == 413
        assert "length exceeded" in (await response.json())["message"]
    assert emulator.called == []


@pytest.mark.parametrize("body", [b"\xff", gzip.compress(b"{}", mtime=0)])
async def test_bytes_that_are_no_text_reach_nobody(
    url: str, emulator: FakeEmulator, body: bytes
) -> None:
    """A Content-Encoding is left alone, so what is compressed is no UTF-8."""
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/runs", data=body, headers=headers) as response,
    ):
        assert response.status == 400
    assert emulator.called == []
