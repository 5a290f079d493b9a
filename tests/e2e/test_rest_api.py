"""The REST API as it is deployed, in the embedded AWS: each status it can answer with.

| status | what produces it | where |
|---|---|---|
| 400 | a body outside of the model | here |
| 400 | InvalidInput of a machine: the model is before it | tests/template/test_rest_api.py |
| 403 | a route that there is not | here |
| 403 | a signature that is missing, wrong or not allowed: not checked locally | there (security) |
| 404 | no such instance; no such execution | here |
| 409 | a state that allows neither; a name that is taken | here |
| 413, 415 | too large, not JSON | tests/local/test_rest_api.py, here |
| 429 | EC2 throttles the run | here, its answer scripted |
| 429 | Step Functions or API Gateway throttles: the emulator does not | there |
| 500 | Step Functions refuses this stack's role, key or machine: the emulator does not | there |
| 502 | a run that failed, by its reason | here, EC2's answer scripted |
| 502 | Step Functions fails | there |
| 504 | an integration that is late | here, with less patience than the deployed |
| 504 | a run that timed out: the emulator ignores TimeoutSeconds | there |

What no table foresees is sent by test_unforeseen.py.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aioboto3
import aiohttp
import jwt
import pytest

from infra.local.api import Api, read_api
from infra.local.backend import BackendReply, EmulatorBackend
from infra.local.exchange import Reply, Request, Stage
from infra.local.gateway import Gateway
from infra.local.run import LocalRun

pytestmark = pytest.mark.asyncio(loop_scope="session")

NO_INSTANCE = "i-0123456789abcdef0"


async def send(run: LocalRun, method: str, route: str, body: Any = None) -> tuple[int, Any, Any]:
    """(status, headers, body)."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, run.rest_url + route, json=body) as answer,
    ):
        return answer.status, answer.headers, await answer.json()


async def make_instance(run: LocalRun, *, terminated: bool) -> str:
    async with aioboto3.Session().client("ec2", **run.client_settings) as ec2:
        made = await ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)
        instance: str = made["Instances"][0]["InstanceId"]
        if terminated:
            await ec2.terminate_instances(InstanceIds=[instance])
        return instance


@pytest.mark.parametrize(
    ("method", "route", "body", "status", "code"),
    [
        ("POST", "/express-instance", {"instance_id": "i-nonsense"}, 400, "invalid_input"),
        ("POST", "/standard-instance", {"action": "stop"}, 400, "invalid_input"),
        ("POST", "/watch-tokens", {"watch": ["everything"]}, 400, "invalid_input"),
        ("GET", "/executions/no%20name", None, 400, "bad_name"),
        ("GET", "/express-instance", None, 403, "forbidden"),
        ("POST", "/nowhere", {}, 403, "forbidden"),
        ("POST", "/express-instance", {"instance_id": NO_INSTANCE}, 404, "instance_not_found"),
        ("GET", "/executions/no-such-run", None, 404, "execution_not_found"),
    ],
)
async def test_a_request_that_cannot_be_served_is_told_why(
    embedded_aws: LocalRun, method: str, route: str, body: Any, status: int, code: str
) -> None:
    """Its status, a code for programs and a message for people."""
    told, _, answer = await send(embedded_aws, method, route, body)
    assert (told, answer["error"]) == (status, code)
    assert answer["message"]


async def test_an_execution_that_is_not_known_yet_may_be_asked_for_again(
    embedded_aws: LocalRun,
) -> None:
    """DescribeExecution is eventually consistent; so is the answer's Retry-After for."""
    _, headers, _ = await send(embedded_aws, "GET", "/executions/no-such-run")
    assert headers["Retry-After"] == "1"


async def test_a_terminated_instance_is_a_conflict(embedded_aws: LocalRun) -> None:
    """It can neither be started nor stopped again."""
    gone = await make_instance(embedded_aws, terminated=True)
    status, _, answer = await send(embedded_aws, "POST", "/express-instance", {"instance_id": gone})
    assert (status, answer["error"]) == (409, "instance_state_conflict")
    assert answer["executionArn"]


async def test_a_taken_name_is_a_conflict(embedded_aws: LocalRun) -> None:
    """With other input, it is another request."""
    name = f"run-{secrets.token_hex(4)}"
    body = {"instance_id": NO_INSTANCE, "name": name}
    status, headers, _ = await send(embedded_aws, "POST", "/standard-instance", body)
    assert (status, headers["Location"]) == (202, f"executions/{name}")
    status, _, answer = await send(
        embedded_aws, "POST", "/standard-instance", {**body, "action": "stop"}
    )
    assert (status, answer["error"]) == (409, "execution_already_exists")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-amz-json-1.0"])
async def test_a_body_of_another_kind_reaches_no_machine(
    embedded_aws: LocalRun, content_type: str
) -> None:
    """415, though it would start any machine it names if it passed through."""
    body = json.dumps({"stateMachineArn": embedded_aws.stack.outputs["StandardMachineArn"]})
    async with (
        aiohttp.ClientSession(headers={"Content-Type": content_type}) as http,
        http.post(f"{embedded_aws.rest_url}/standard-instance", data=body) as answer,
    ):
        assert answer.status == 415
        assert (await answer.json())["error"] == "unsupported_media_type"


class ScriptedBackend(EmulatorBackend):
    """Runs the machine's test case `case`, in which EC2's answer is chosen."""

    def __init__(self, case: str, endpoint: str, http: aiohttp.ClientSession) -> None:
        super().__init__(endpoint, http)
        self._case = case

    async def call_action(self, uri: str, payload: str) -> BackendReply:
        call = json.loads(payload)
        call["stateMachineArn"] += f"#{self._case}"
        return await super().call_action(uri, json.dumps(call))


@asynccontextmanager
async def scripted(run: LocalRun, error: str, cause: str) -> AsyncIterator[Gateway]:
    """The deployed API before an EC2 that refuses; format: Step Functions Local's mocks."""
    thrown = {"Throw": {"Error": error, "Cause": cause}}
    mocks = {
        "StateMachines": {
            "statuswire-express": {"TestCases": {"refused": {"DescribeInstance": "refusal"}}}
        },
        "MockedResponses": {"refusal": {"0-1000": thrown}},
    }
    await run.emulator.configure(**{"stepfunctions._sfn_mock_config": mocks})
    try:
        async with aiohttp.ClientSession() as http:
            backend = ScriptedBackend("refused", run.endpoint, http)
            yield Gateway(deployed(run), stage_of(run), backend)
    finally:
        await run.emulator.configure(**{"stepfunctions._sfn_mock_config": {}})


def deployed(run: LocalRun) -> Api:
    return read_api(run.stack.rest_api_body())


def stage_of(run: LocalRun) -> Stage:
    return Stage(name="live", api_id=run.stack.outputs["RestApiId"], account=run.stack.account)


def told_by(reply: Reply) -> tuple[int, str]:
    """(status, code) of an error in the shape of all errors."""
    body = json.loads(reply.body)
    assert body["message"]
    return reply.status, body["error"]


EXPRESS = Request("POST", "/express-instance", body=json.dumps({"instance_id": NO_INSTANCE}))


@pytest.mark.parametrize(
    ("error", "cause", "status", "code"),
    [
        ("Ec2.Ec2Exception", "Request limit exceeded.", 429, "too_many_requests"),
        ("Ec2.Ec2Exception", "You are not authorized to perform this", 502, "not_permitted"),
        ("Ec2.InsufficientInstanceCapacity", "no room", 502, "insufficient_capacity"),
        ("Ec2.Ec2Exception", "InvalidKMSKey.InvalidState", 502, "volume_key_unusable"),
        ("Ec2.Ec2Exception", "Internal error", 502, "workflow_failed"),
    ],
)
async def test_what_ec2_refuses_is_told_by_its_reason(
    embedded_aws: LocalRun, error: str, cause: str, status: int, code: str
) -> None:
    """From EC2's words through the machine and the mapping to the client."""
    async with scripted(embedded_aws, error, cause) as gateway:
        reply = await gateway.answer(EXPRESS)
    assert told_by(reply) == (status, code)
    assert cause in json.loads(reply.body)["message"]
    assert dict(reply.headers).get("Retry-After") == ("1" if status == 429 else None)


async def test_an_integration_that_is_late_is_a_gateway_timeout(embedded_aws: LocalRun) -> None:
    """In the shape of all errors, as API Gateway itself answers after 29 s."""
    api = deployed(embedded_aws)
    hasty = tuple(
        replace(route, integration=replace(route.integration, timeout_s=0.0))
        for route in api.routes
    )
    async with aiohttp.ClientSession() as http:
        backend = EmulatorBackend(embedded_aws.endpoint, http)
        gateway = Gateway(replace(api, routes=hasty), stage_of(embedded_aws), backend)
        reply = await gateway.answer(EXPRESS)
    assert told_by(reply) == (504, "integration_timed_out")


async def test_a_rotated_key_leaves_older_tokens_valid(embedded_aws: LocalRun) -> None:
    """Its version is the token's kid, and the version before stays readable."""
    outputs, settings = embedded_aws.stack.outputs, embedded_aws.client_settings
    watch = {"watch": ["machine:express"]}
    status, headers, told = await send(embedded_aws, "POST", "/watch-tokens", watch)
    assert (status, headers["Cache-Control"], told["watch"]) == (201, "no-store", watch["watch"])
    secret = outputs["SigningKeyArn"]
    async with aioboto3.Session().client("secretsmanager", **settings) as manager:
        made = {"key": secrets.token_hex(32)}
        rotated = await manager.put_secret_value(SecretId=secret, SecretString=json.dumps(made))
        keys = {}
        for stage in ("AWSPREVIOUS", "AWSCURRENT"):
            version = await manager.get_secret_value(SecretId=secret, VersionStage=stage)
            keys[version["VersionId"]] = json.loads(version["SecretString"])["key"]
    kid = jwt.get_unverified_header(told["token"])["kid"]
    assert kid in keys
    assert kid != rotated["VersionId"]
    assert keys[rotated["VersionId"]] == made["key"]
    claims = jwt.decode(
        told["token"],
        keys[kid],
        algorithms=["HS256"],
        audience=outputs["TokenAudience"],
        issuer="statuswire",
    )
    assert claims["watch"] == watch["watch"]
    assert claims["sub"].endswith(":user/local-run")
