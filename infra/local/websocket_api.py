"""infra/websocket-api.yaml in the embedded AWS: the way to the clients without a consumer."""

import json
import platform
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from infra.local.backend import EmulatorBackend
from infra.local.deployment import Sam
from infra.local.places import ROOT, python_runtime
from infra.local.stack import Stack, read_stack
from infra.local.websocket_gateway import (
    Answer,
    Event,
    FunctionFailed,
    Routes,
    WebSocketGateway,
)

TEMPLATE = ROOT / "infra" / "websocket-api.yaml"
STACK_NAME = "statuswire-websocket"
# Outputs of the other stack, by the same names.
PARAMETERS = (
    *("StatusQueueArn", "ServiceQueueArn", "SigningKeyArn", "TokenAudience"),
    *("InstanceTagKey", "InstanceTagValue"),
)
# Lambda's word where Python's `platform` has another.
ARCHITECTURES = {"aarch64": "arm64", "arm64": "arm64"}
SELECTION = re.compile(r"\$request\.body\.(\w+)")


@dataclass(frozen=True)
class WebSocketApi:
    """`url` is where clients connect; `stack` has its outputs."""

    stack: Stack
    url: str


@asynccontextmanager
async def websocket_api(
    parameters: Mapping[str, str],
    *,
    endpoint: str,
    folder: Path,
    cloudformation: Any,
    port: int = 0,
) -> AsyncIterator[WebSocketApi]:
    """`parameters`: at least `PARAMETERS`. Raises DeploymentError, LocalRunError.

    From here on its function drains the queues: no consumer may.
    """
    async with aiohttp.ClientSession() as http:
        backend = EmulatorBackend(endpoint, http)

        async def invoke(uri: str, event: Event) -> Answer:
            reply = await backend.invoke(uri, json.dumps(event))
            if reply.failed or reply.status != 200:
                raise FunctionFailed(reply.body[:2000])
            answer: Answer = json.loads(reply.body)
            return answer

        gateway = WebSocketGateway(invoke, port=port)
        await gateway.start()
        try:
            chosen = {
                "PythonRuntime": python_runtime(),
                "Architecture": ARCHITECTURES.get(platform.machine(), "x86_64"),
                "EmbeddedUrl": gateway.endpoint,
                **parameters,
            }
            sam = Sam(TEMPLATE, chosen, endpoint=endpoint, folder=folder, stack_name=STACK_NAME)
            async with sam.alone():
                await sam.build()
                await sam.deploy()
            stack = await read_stack(cloudformation, STACK_NAME)
            gateway.serve(routes_of(stack))
            yield WebSocketApi(stack, gateway.url)
        finally:
            await gateway.stop()


def routes_of(stack: Stack) -> Routes:
    """What the stack's WebSocket API leads to, by its own resources."""
    integrations = {
        stack.resources[name].physical_id: integration["IntegrationUri"]
        for name, integration in stack.of_type("AWS::ApiGatewayV2::Integration").items()
    }
    ((_, api),) = stack.of_type("AWS::ApiGatewayV2::Api").items()
    ((_, stage),) = stack.of_type("AWS::ApiGatewayV2::Stage").items()
    selection = SELECTION.fullmatch(api["RouteSelectionExpression"])
    if selection is None:
        raise ValueError(f"The local run does not know {api['RouteSelectionExpression']}")
    functions = {
        route["RouteKey"]: integrations[route["Target"].removeprefix("integrations/")]
        for route in stack.of_type("AWS::ApiGatewayV2::Route").values()
    }
    return Routes(stage["StageName"], selection[1], functions)
