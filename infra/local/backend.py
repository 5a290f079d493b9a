"""What integrations call: the emulator's service actions and functions, over plain HTTP."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import aiohttp

# arn:aws:apigateway:<region>:<service>:action/<Action>, and Lambda's path form.
ACTION = re.compile(r"arn:[\w-]+:apigateway:[\w-]+:(?P<service>[\w-]+):action/(?P<action>\w+)")
FUNCTION = re.compile(r"arn:[\w-]+:apigateway:.*/functions/(?P<function>[^/]+)/invocations")

# Service → (X-Amz-Target prefix, JSON protocol version), from the service's model in botocore.
JSON_SERVICES = {"states": ("AWSStepFunctions", "1.0")}


class UnknownIntegrationError(ValueError):
    """The API calls something that the local run cannot reach."""


@dataclass(frozen=True)
class BackendReply:
    """`failed`: a function that raised; its body then says how."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    failed: bool = False

    @property
    def content_type(self) -> str:
        given = {name.lower(): value for name, value in self.headers.items()}
        return given.get("content-type", "application/json").partition(";")[0].strip().lower()


class Backend(Protocol):
    async def call_action(self, uri: str, payload: str) -> BackendReply:
        """Call the action that an `aws` integration names. ConnectionError: not reached."""

    async def invoke(self, uri: str, event: str) -> BackendReply:
        """Invoke the function that an `aws_proxy` integration names. ConnectionError likewise."""


class EmulatorBackend:
    """Unsigned requests: the emulator takes them for the default account and region."""

    def __init__(self, endpoint: str, http: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._http = http

    async def call_action(self, uri: str, payload: str) -> BackendReply:
        found = ACTION.fullmatch(uri)
        if found is None or found["service"] not in JSON_SERVICES:
            raise UnknownIntegrationError(uri)
        prefix, version = JSON_SERVICES[found["service"]]
        headers = {
            "Content-Type": f"application/x-amz-json-{version}",
            "X-Amz-Target": f"{prefix}.{found['action']}",
        }
        return await self._post("/", payload, headers)

    async def invoke(self, uri: str, event: str) -> BackendReply:
        found = FUNCTION.fullmatch(uri)
        if found is None:
            raise UnknownIntegrationError(uri)
        path = f"/2015-03-31/functions/{found['function']}/invocations"
        return await self._post(path, event, {"Content-Type": "application/json"})

    async def _post(self, path: str, body: str, headers: Mapping[str, str]) -> BackendReply:
        try:
            async with self._http.post(
                self._endpoint + path, data=body.encode(errors="replace"), headers=headers
            ) as response:
                return BackendReply(
                    status=response.status,
                    headers=dict(response.headers),
                    body=await response.text(errors="replace"),
                    failed="X-Amz-Function-Error" in response.headers,
                )
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error)) from error
