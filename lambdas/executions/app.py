"""GET /executions/{name}: what Step Functions knows of one execution of the Standard machine.

Express executions cannot be asked about: Step Functions has no DescribeExecution for them.
"""

import json
import os
import re
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import boto3  # type: ignore[import-untyped]  # it has no types of its own
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.utilities.typing import LambdaContext

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")

app = APIGatewayRestResolver()
logger = Logger()


@cache
def step_functions() -> Any:
    """One client for all invocations of this process, made by the first."""
    return boto3.client("stepfunctions")


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Entry point. `event` is a proxy event of a REST API (payload format 1.0)."""
    return app.resolve(event, context)


@app.get("/executions/<name>")
def describe(name: str) -> Response[str]:
    """200 with the execution, 400 `bad_name` or 404 `execution_not_found`."""
    machine_arn = os.environ["STATE_MACHINE_ARN"]
    arn = execution_arn(unquote(name), machine_arn)
    if arn is None:
        return _refusal(
            HTTPStatus.BAD_REQUEST,
            "bad_name",
            "An execution is named by 1 to 80 of A-Z a-z 0-9 _ - or by its ARN, of this machine.",
        )
    client = step_functions()
    try:
        execution = client.describe_execution(executionArn=arn)
    except client.exceptions.ExecutionDoesNotExist:
        return _refusal(HTTPStatus.NOT_FOUND, "execution_not_found", "There is no such execution.")
    return _answer(HTTPStatus.OK, as_json(execution))


def execution_arn(name_or_arn: str, machine_arn: str) -> str | None:
    """ARN of the execution of our own machine, or None if it cannot be one."""
    prefix = machine_arn.replace(":stateMachine:", ":execution:", 1) + ":"
    name = name_or_arn.removeprefix(prefix)
    return prefix + name if NAME.fullmatch(name) else None


def as_json(execution: Any) -> dict[str, Any]:
    """DescribeExecution's answer in the words of the contract; what is not there is null."""
    return {
        "executionArn": execution["executionArn"],
        "name": execution["name"],
        "status": execution["status"],
        "startDate": _rfc3339(execution["startDate"]),
        "stopDate": _rfc3339(execution.get("stopDate")),
        "input": _parsed(execution.get("input")),
        "output": _parsed(execution.get("output")),
        "error": execution.get("error"),
        "cause": execution.get("cause"),
    }


def _rfc3339(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parsed(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _refusal(status: HTTPStatus, code: str, message: str) -> Response[str]:
    return _answer(status, {"error": code, "message": message})


def _answer(status: HTTPStatus, body: dict[str, Any]) -> Response[str]:
    origin = os.environ.get("DASHBOARD_ORIGIN")
    return Response(
        status_code=status,
        content_type="application/json",
        body=json.dumps(body),
        headers={"Access-Control-Allow-Origin": origin} if origin else {},
    )
