"""Lambda proxy integration: the event a function gets, the answer it gives. Pure.

Source: API Gateway developer guide, "Lambda proxy integrations in API Gateway"
(input and output format). A REST API hands on paths as they came, percent-encoded.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from infra.local.backend import BackendReply
from infra.local.exchange import RefusalError, Reply, Request
from infra.local.mapping import parse_json


def proxy_event(
    request: Request,
    resource: str,
    path_parameters: Mapping[str, str],
    *,
    context: Mapping[str, Any],
    stage_variables: Mapping[str, str],
) -> dict[str, Any]:
    """Empty maps are null, as API Gateway sends them."""
    return {
        "resource": resource,
        "path": request.path,
        "httpMethod": request.method,
        "headers": dict(request.headers) or None,
        "multiValueHeaders": _multi(request.headers) or None,
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": _multi(request.query) or None,
        "pathParameters": dict(path_parameters) or None,
        "stageVariables": dict(stage_variables) or None,
        "requestContext": dict(context),
        "body": request.body or None,
        "isBase64Encoded": False,
    }


def _multi(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def proxy_reply(answer: BackendReply, request_id: str) -> Reply:
    """Raises RefusalError (502) for a function that raised or answered in another shape."""
    if answer.failed or answer.status != 200:
        raise RefusalError("DEFAULT_5XX", because=f"the function failed: {answer.body[:2000]}")
    try:
        given = parse_json(answer.body)
        headers = [(name, str(value)) for name, value in (given.get("headers") or {}).items()]
        for name, values in (given.get("multiValueHeaders") or {}).items():
            headers = [pair for pair in headers if pair[0].lower() != name.lower()]
            headers.extend((name, str(value)) for value in values)
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
        text = (given.get("body") or "").encode()
        body = base64.b64decode(text) if given.get("isBase64Encoded") else text
        status = int(given["statusCode"])
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise RefusalError("DEFAULT_5XX", because="malformed Lambda proxy response") from error
    return Reply(status, (*headers, ("x-amzn-RequestId", request_id)), body)
