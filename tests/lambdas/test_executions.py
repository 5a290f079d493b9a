"""GET /executions/{name}, against moto's Step Functions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import boto3  # type: ignore[import-untyped]
import pytest
from moto import mock_aws

from lambdas.executions import app

ORIGIN = "https://dashboard.example"
FIELDS = {
    *("executionArn", "name", "status", "startDate", "stopDate"),
    *("input", "output", "error", "cause"),
}


@dataclass
class Context:
    """What Powertools wants of Lambda's context."""

    function_name: str = "executions"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:executions"
    aws_request_id: str = "test"


@pytest.fixture
def machine_arn(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setenv("DASHBOARD_ORIGIN", ORIGIN)
    with mock_aws():
        app.step_functions.cache_clear()
        definition = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
        machine = app.step_functions().create_state_machine(
            name="standard",
            definition=json.dumps(definition),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )
        monkeypatch.setenv("STATE_MACHINE_ARN", machine["stateMachineArn"])
        yield machine["stateMachineArn"]
    app.step_functions.cache_clear()


def start(machine_arn: str, name: str, given: object) -> str:
    started = app.step_functions().start_execution(
        stateMachineArn=machine_arn, name=name, input=json.dumps(given)
    )
    return str(started["executionArn"])


def get(name: str) -> dict[str, Any]:
    event = {
        "httpMethod": "GET",
        "path": f"/executions/{name}",
        "resource": "/executions/{name}",
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"name": name},
        "requestContext": {"httpMethod": "GET", "resourcePath": "/executions/{name}"},
        "body": None,
        "isBase64Encoded": False,
    }
    answer = app.lambda_handler(event, Context())  # type: ignore[arg-type]
    return {**answer, "body": json.loads(answer["body"])}


def test_an_execution_is_told_with_all_fields(machine_arn: str) -> None:
    """A known name is answered with the nine fields of the contract."""
    arn = start(machine_arn, "run-1", {"instance_id": "i-12345678"})
    answer = get("run-1")
    assert answer["statusCode"] == 200
    assert answer["body"].keys() == FIELDS
    assert answer["body"]["executionArn"] == arn
    assert answer["body"]["name"] == "run-1"
    assert answer["body"]["startDate"].endswith("Z")


def test_the_input_comes_back_as_json(machine_arn: str) -> None:
    """Quotes, backslashes and non-ASCII text survive; the input is no string of JSON."""
    given = {"note": 'it\'s "quoted" \u2028 and \\ slashed', "n": [1, None]}
    start(machine_arn, "run-2", given)
    assert get("run-2")["body"]["input"] == given


@pytest.mark.parametrize("encode", [str, lambda arn: quote(arn, safe="")], ids=["plain", "encoded"])
def test_an_arn_of_our_machine_is_accepted(machine_arn: str, encode: Any) -> None:
    """The ARN finds the execution whether or not the path was decoded on the way."""
    arn = start(machine_arn, "run-3", {})
    assert get(encode(arn))["body"]["executionArn"] == arn


def test_an_unknown_execution_is_404(machine_arn: str) -> None:
    """A well-formed name that Step Functions does not know is not found."""
    answer = get("nobody")
    assert answer["statusCode"] == 404
    assert answer["body"]["error"] == "execution_not_found"
    assert answer["body"]["message"]


@pytest.mark.parametrize(
    "name",
    [
        "a.b",
        "x" * 81,
        "run\n",
        "arn:aws:states:us-east-1:123456789012:execution:other:run-1",
        "arn:aws:states:us-east-1:123456789012:express:standard:run-1:1",
    ],
)
def test_a_bad_name_is_400(machine_arn: str, name: str) -> None:
    """Neither a name nor an ARN of our machine: refused without asking Step Functions."""
    answer = get(quote(name, safe=""))
    assert answer["statusCode"] == 400
    assert answer["body"]["error"] == "bad_name"


@pytest.mark.parametrize("name", ["run-1", "a.b"])
def test_the_dashboard_may_read_every_answer(machine_arn: str, name: str) -> None:
    """Errors carry the CORS header too."""
    assert get(name)["multiValueHeaders"]["Access-Control-Allow-Origin"] == [ORIGIN]


def test_without_an_origin_there_is_no_cors_header(
    machine_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty DASHBOARD_ORIGIN lets no page in."""
    monkeypatch.setenv("DASHBOARD_ORIGIN", "")
    assert "Access-Control-Allow-Origin" not in get("a.b")["multiValueHeaders"]


def test_times_are_utc_with_milliseconds() -> None:
    """Whatever zone the SDK gives its dates in."""
    east = timezone(timedelta(hours=2))
    execution = {
        "executionArn": "arn",
        "name": "run",
        "status": "FAILED",
        "startDate": datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=east),
        "stopDate": datetime(2026, 1, 2, 3, 4, 6, tzinfo=east),
        "error": "InstanceNotFound",
        "cause": "gone",
    }
    told = app.as_json(execution)
    assert told["startDate"] == "2026-01-02T01:04:05.678Z"
    assert told["stopDate"] == "2026-01-02T01:04:06.000Z"
    assert (told["error"], told["cause"]) == ("InstanceNotFound", "gone")
    assert (told["input"], told["output"]) == (None, None)


def test_the_client_is_made_once(machine_arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making a boto3 client costs some 100 ms; only the first invocation pays."""
    get("nobody")
    monkeypatch.setattr(boto3, "client", None)
    assert get("nobody")["statusCode"] == 404
