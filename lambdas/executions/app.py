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
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEvent, event_source
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
# Two attempts of at most 2 s each way are 8 s: inside of the function's own 10 s, so that what
# is wrong is told by it.
PATIENCE = Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 2})
# DescribeExecution is eventually consistent (its API reference): who was told "no such
# execution" of one that has just begun need not wait for long.
RETRY_UNKNOWN_S = 1
RETRY_THROTTLED_S = 1
# An open run goes on for half a minute at least, and says every step over WebSocket.
RETRY_OPEN_S = 5
OPEN = ("RUNNING", "PENDING_REDRIVE")
THROTTLED = ("ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded")

logger = Logger()

Answer = dict[str, Any]


@cache
def step_functions() -> Any:
    """One client for all invocations of this process, made by the first."""
    return boto3.client("stepfunctions", config=PATIENCE)


@logger.inject_lambda_context
@event_source(data_class=APIGatewayProxyEvent)
def lambda_handler(event: APIGatewayProxyEvent, context: LambdaContext) -> Answer:
    """Entry point. `event` is a proxy event of a REST API (payload format 1.0)."""
    try:
        # Decoded here, since API Gateway's documents differ on who decodes a path; a name or
        # an ARN means the same after a second time.
        return describe(unquote(event.path_parameters["name"]))
    except Exception:
        logger.exception("unexpected")
        return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "Something is wrong.")


def describe(name: str) -> Answer:
    """200 with the execution, or an error of the contract's shape."""
    arn = execution_arn(name, os.environ["STATE_MACHINE_ARN"])
    if arn is None:
        return _refuse(
            HTTPStatus.BAD_REQUEST,
            "bad_name",
            "An execution is named by 1 to 80 of A-Z a-z 0-9 _ - or by its ARN, of this machine.",
        )
    try:
        execution = step_functions().describe_execution(executionArn=arn)
    except ClientError as error:
        return _explain(error.response["Error"]["Code"])
    except BotoCoreError as error:
        return _explain(type(error).__name__)
    retry_s = RETRY_OPEN_S if execution["status"] in OPEN else None
    return _answer(HTTPStatus.OK, as_json(execution), retry_s)


def _explain(code: str) -> Answer:
    """What Step Functions' error means to the caller; its message is for the log alone."""
    if code == "ExecutionDoesNotExist":
        message = "There is no such execution, or it was started a moment ago."
        return _refuse(HTTPStatus.NOT_FOUND, "execution_not_found", message, RETRY_UNKNOWN_S)
    logger.warning("Step Functions did not describe the execution", extra={"code": code})
    if code in THROTTLED:
        message = "Too many requests; try again later."
        return _refuse(
            HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", message, RETRY_THROTTLED_S
        )
    if code.startswith(("AccessDenied", "Kms")):
        message = "This function may not ask Step Functions."
        return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", message)
    message = "Step Functions did not answer as it should; try again later."
    return _refuse(HTTPStatus.BAD_GATEWAY, "step_functions_unavailable", message)


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


def _refuse(status: HTTPStatus, code: str, message: str, retry_s: int | None = None) -> Answer:
    return _answer(status, {"error": code, "message": message}, retry_s)


def _answer(status: HTTPStatus, body: dict[str, Any], retry_s: int | None = None) -> Answer:
    headers = {"Content-Type": "application/json"}
    if origin := os.environ.get("DASHBOARD_ORIGIN"):
        headers["Access-Control-Allow-Origin"] = origin
    if retry_s is not None:
        headers["Retry-After"] = str(retry_s)
    return {"statusCode": int(status), "headers": headers, "body": json.dumps(body)}
