"""GET /executions/{name}, against moto's Step Functions."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import boto3  # type: ignore[import-untyped]
import pytest
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber
from moto import mock_aws

from lambdas.executions import app
from tests.lambdas.proxy import call

ORIGIN = "https://dashboard.example"
INNER = "arn:aws:iam::123456789012:role/inner is not authorized"
FIELDS = {
    *("executionArn", "name", "status", "startDate", "stopDate"),
    *("input", "output", "error", "cause"),
}


@pytest.fixture
def machine_arn(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_INNER_ACCESS_KEY", "test")
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
    return call(app.lambda_handler, "/executions/{name}", name=name)


def refuse(code: str) -> Stubber:
    """Step Functions that answers with an error of this name."""
    stubber = Stubber(app.step_functions())
    stubber.add_client_error("describe_execution", code, INNER)
    return stubber


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
    """It may have been started a moment ago, so the answer says when to ask again."""
    answer = get("nobody")
    assert answer["statusCode"] == 404
    assert answer["body"]["error"] == "execution_not_found"
    assert answer["headers"]["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("status", "retry_after"), [("RUNNING", "5"), ("PENDING_REDRIVE", "5"), ("SUCCEEDED", None)]
)
def test_an_open_execution_is_to_be_asked_about_again(
    machine_arn: str, status: str, retry_after: str | None
) -> None:
    """One that has ended will not change."""
    told = {
        "executionArn": machine_arn.replace("stateMachine", "execution") + ":run",
        "stateMachineArn": machine_arn,
        "name": "run",
        "status": status,
        "startDate": datetime(2026, 1, 1, tzinfo=UTC),
    }
    with Stubber(app.step_functions()) as stubber:
        stubber.add_response("describe_execution", told)
        answer = get("run")
    assert (answer["statusCode"], answer["headers"].get("Retry-After")) == (200, retry_after)


@pytest.mark.parametrize(
    ("code", "status", "error", "retry_after"),
    [
        ("ThrottlingException", 429, "too_many_requests", "1"),
        ("AccessDeniedException", 500, "internal_error", None),
        ("KmsAccessDeniedException", 500, "internal_error", None),
        ("KmsThrottlingException", 500, "internal_error", None),
        ("InvalidArn", 502, "step_functions_unavailable", None),
        ("InternalFailure", 502, "step_functions_unavailable", None),
    ],
)
def test_an_error_of_step_functions_has_its_status(
    machine_arn: str, code: str, status: int, error: str, retry_after: str | None
) -> None:
    """And says nothing of AWS's own message, which may name roles and keys."""
    with refuse(code):
        answer = get("run-1")
    assert (answer["statusCode"], answer["body"]["error"]) == (status, error)
    assert answer["headers"].get("Retry-After") == retry_after
    assert answer["body"].keys() == {"error", "message"}
    assert INNER not in answer["body"]["message"] != ""


def test_no_error_of_the_service_model_is_forgotten(machine_arn: str) -> None:
    """Each that DescribeExecution documents is answered in the shape of all errors."""
    operation = app.step_functions().meta.service_model.operation_model("DescribeExecution")
    assert operation.error_shapes
    for shape in operation.error_shapes:
        with refuse(shape.name):
            answer = get("run-1")
        assert answer["statusCode"] >= 400
        assert answer["body"].keys() == {"error", "message"}, shape.name


def test_a_connection_that_fails_is_a_bad_gateway(
    machine_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step Functions that cannot be reached is not this function's fault, nor the caller's."""

    def unreachable(**_: str) -> None:
        raise ConnectTimeoutError(endpoint_url="https://states.example")

    monkeypatch.setattr(app.step_functions(), "describe_execution", unreachable)
    answer = get("run-1")
    assert (answer["statusCode"], answer["body"]["error"]) == (502, "step_functions_unavailable")


def test_whatever_goes_wrong_has_the_shape_of_all_errors(
    machine_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing setting, say: 500 internal_error."""
    monkeypatch.delenv("STATE_MACHINE_ARN")
    answer = get("run-1")
    assert (answer["statusCode"], answer["body"]["error"]) == (500, "internal_error")


def test_nothing_of_an_execution_is_logged(
    machine_arn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither what it was started with nor what it is called."""
    start(machine_arn, "run-9", {"note": "private"})
    get("run-9")
    get("run-8")
    output = "".join(capsys.readouterr())
    assert "private" not in output
    assert "run-" not in output


@pytest.mark.parametrize(
    "name",
    [
        "a.b",
        "",
        'quoted"',
        "a/b",
        "é",
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
    assert get(name)["headers"]["Access-Control-Allow-Origin"] == ORIGIN


def test_without_an_origin_there_is_no_cors_header(
    machine_arn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty DASHBOARD_ORIGIN lets no page in."""
    monkeypatch.setenv("DASHBOARD_ORIGIN", "")
    assert "Access-Control-Allow-Origin" not in get("a.b")["headers"]


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
