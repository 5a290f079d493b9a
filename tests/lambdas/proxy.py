"""What API Gateway and Lambda hand to a function, and the answer as a client reads it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CALLER = "arn:aws:iam::123456789012:user/ann"


@dataclass
class Context:
    """What Powertools wants of Lambda's context."""

    function_name: str = "function"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    aws_request_id: str = "test"
    left_ms: int = 10_000

    def get_remaining_time_in_millis(self) -> int:
        """Of the time that Lambda gives it."""
        return self.left_ms


def context(**changes: Any) -> Any:
    """For a handler that wants Powertools' own type."""
    return Context(**changes)


def call(
    handler: Callable[..., Any],
    resource: str,
    *,
    name: str | None = None,
    body: str | None = None,
    caller: str | None = CALLER,
    **identity: str,
) -> dict[str, Any]:
    """The function's answer, its body parsed. `name` is the path's, as API Gateway has it, and
    `identity` what else it knows of the caller.
    """
    event = {
        "resource": resource,
        "path": resource.replace("{name}", name or ""),
        "httpMethod": "POST" if body is not None else "GET",
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"name": name} if name is not None else None,
        "requestContext": {"resourcePath": resource, "identity": {"userArn": caller, **identity}},
        "body": body,
        "isBase64Encoded": False,
    }
    answer = handler(event, Context())
    return {**answer, "body": json.loads(answer["body"])}
