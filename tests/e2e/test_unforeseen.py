"""Requests that nobody foresaw, sent to the REST API as it is deployed in the embedded AWS."""

import asyncio
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aioboto3
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from infra.local.run import LocalRun
from tests.e2e.odd_requests import OddRequest, odd_requests

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = bool(os.environ.get("LONG"))  # set by `make test-long`
ODD_REQUESTS = 5_000 if LONG else 500
EXAMPLES = 100 if LONG else 8  # of Schemathesis, per operation
CONNECTIONS = 8
MACHINES = ("ExpressMachineArn", "StandardMachineArn")


def find_with_schemathesis(document: Mapping[str, Any], url: str) -> tuple[int, list[str]]:
    """How many checks there were, and which found something."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "cache": {"enabled": False},
            "generation": {"max-examples": EXAMPLES, "database": "none"},
            "phases": {"stateful": {"enabled": False}},  # no answer links to another request
            # An unknown method is 403 to API Gateway, not 405.
            "checks": {"unsupported_method": {"enabled": False}},
            # What a schema cannot say of these two: an ARN of this machine; a token's length.
            "operations": [
                {
                    "include-path-regex": "^/(executions|watch-tokens)",
                    "checks": {
                        "positive_data_acceptance": {
                            "expected-statuses": ["2xx", "400", "404", "429"]
                        }
                    },
                }
            ],
        }
    )
    schema = schemathesis.openapi.from_dict(dict(document), config=config)
    schema.config.update(base_url=url)
    checks, found = 0, []
    for event in engine.from_schema(schema).execute():
        if isinstance(event, FatalError | NonFatalError):
            found.append(repr(event))
        if isinstance(event, ScenarioFinished):
            for case, results in event.recorder.checks.items():
                checks += len(results)
                found += [
                    f"{event.recorder.cases[case].value.as_curl_command()}: {result.failure_info}"
                    for result in results
                    if result.failure_info is not None
                ]
    return checks, found


async def test_schemathesis_finds_nothing(embedded_aws: LocalRun) -> None:
    """Valid and invalid requests, each answered as the document says."""
    document = embedded_aws.stack.rest_api_body()
    # Signatures are not checked locally; the document must not promise it here.
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)
    del document["components"]["securitySchemes"]
    checks, found = await asyncio.to_thread(find_with_schemathesis, document, embedded_aws.rest_url)
    assert found == []
    assert checks > 500


async def executions(run: LocalRun) -> dict[str, str]:
    """ARN → input, of every run of both machines; the emulator lists Express ones, too."""
    found = {}
    async with aioboto3.Session().client("stepfunctions", **run.client_settings) as states:
        for machine in MACHINES:
            pages = states.get_paginator("list_executions").paginate(
                stateMachineArn=run.stack.outputs[machine]
            )
            arns = [each["executionArn"] async for page in pages for each in page["executions"]]
            for arn in arns:
                found[arn] = (await states.describe_execution(executionArn=arn))["input"]
    return found


async def exchange(run: LocalRun, request: OddRequest) -> tuple[int, bytes]:
    """(status, body), over a connection of its own."""
    address = urlsplit(run.rest_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request.wire(address.netloc, address.path))
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


def is_valid(given: Any) -> bool:
    """What the contract says of a body, in other words than the model's."""
    return (
        isinstance(given, dict)
        and re.fullmatch("i-([0-9a-f]{8}|[0-9a-f]{17})", str(given.get("instance_id"))) is not None
        and given.get("action", "toggle") in ("toggle", "start", "stop")
        and re.fullmatch("[A-Za-z0-9_-]{1,80}", given.get("name", "-")) is not None
    )


def is_shaped(body: bytes) -> bool:
    """Whether an error says what is wrong, in the shape of all errors."""
    try:
        told: dict[str, Any] = json.loads(body)
    except ValueError:
        return False
    return told.keys() - {"executionArn"} == {"error", "message"}


async def test_no_odd_request_reaches_a_machine_past_its_model(embedded_aws: LocalRun) -> None:
    """Whatever is sent: each run's input fits the model, and each failure says its reason."""
    before = await executions(embedded_aws)
    place = asyncio.Semaphore(CONNECTIONS)

    async def told(request: OddRequest) -> tuple[OddRequest, int, bytes]:
        async with place:
            return (request, *await exchange(embedded_aws, request))

    answers = await asyncio.gather(*map(told, odd_requests(2026, ODD_REQUESTS)))
    unshaped = [
        (request, status, body)
        for request, status, body in answers
        # The local server itself refuses a second Content-Type, and HEAD has no body.
        if status >= 400
        and request.method != "HEAD"
        and "Content-Type" not in dict(request.headers)
        if not is_shaped(body)
    ]
    assert unshaped == []
    # A 504 is the machine that this runs on, which may be slow.
    assert [answer for answer in answers if answer[1] >= 500 and answer[1] != 504] == []

    started = (await executions(embedded_aws)).items() - before.items()
    assert [given for _, given in started if not is_valid(json.loads(given))] == []
    assert len(started) >= sum(status in (200, 202) for _, status, _ in answers) > 0
