"""What passes through the gateway: a request, a reply, a refusal. Pure."""

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Request:
    """`path` is still percent-encoded and without the stage; names keep the client's case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    body: str = ""
    source_ip: str = "127.0.0.1"

    def header(self, name: str) -> str | None:
        """The last one of that name, as API Gateway takes it."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[-1] if values else None

    def media_type(self, header: str) -> str:
        """Of Content-Type or Accept: without parameters, JSON where the client does not say.

        Source: API Gateway developer guide, "Mapping template transformations". What it does not
        say, whether the letters' case counts, is as in RFC 9110, section 8.3.1: it does not.
        """
        given = self.header(header) or "application/json"
        return given.partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Stage:
    """Where the API is deployed; known to templates as `$context` and `$stageVariables`."""

    name: str
    api_id: str
    account: str
    variables: Mapping[str, str] = field(default_factory=dict)


# Type → (status, message). Source: API Gateway developer guide, "Gateway response types".
REFUSALS = {
    "API_CONFIGURATION_ERROR": (500, "Internal server error"),
    "BAD_REQUEST_BODY": (400, "Invalid request body"),
    "BAD_REQUEST_PARAMETERS": (400, "Missing required request parameters"),
    "INTEGRATION_FAILURE": (504, "Network error communicating with endpoint"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "REQUEST_TOO_LARGE": (413, "HTTP content length exceeded 10485760 bytes."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Unsupported Media Type"),
    # A Lambda proxy answer of the wrong shape has no type of its own.
    "DEFAULT_5XX": (502, "Internal server error"),
}


class RefusalError(Exception):
    """The gateway answers by itself, with the gateway response of type `kind`.

    `because` is for the local run's log; AWS would not tell the client either.
    """

    def __init__(
        self, kind: str, *, message: str | None = None, validation: str = "", because: str = ""
    ) -> None:
        self.kind = kind
        self.status, usual = REFUSALS[kind]
        self.message = message or usual
        self.validation = validation
        self.because = because
        super().__init__(f"{kind}: {because or self.message}")


def new_context(request: Request, stage: Stage, resource: str) -> dict[str, Any]:
    """`$context` of one request."""
    now = datetime.now(UTC)
    return {
        "accountId": stage.account,
        "apiId": stage.api_id,
        "domainName": request.header("host") or "",
        "extendedRequestId": uuid.uuid4().hex,
        "httpMethod": request.method,
        "identity": {
            # No signature is checked here, so everyone is the one caller of this machine.
            "accountId": stage.account,
            "caller": "local-run",
            "sourceIp": request.source_ip,
            "user": "local-run",
            "userAgent": request.header("user-agent") or "",
            "userArn": f"arn:aws:iam::{stage.account}:user/local-run",
        },
        "path": f"/{stage.name}{request.path}",
        "protocol": "HTTP/1.1",
        "requestId": str(uuid.uuid4()),
        "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": time.time_ns() // 1_000_000,
        "resourcePath": resource,
        "stage": stage.name,
    }


def substitute(template: str, context: Mapping[str, Any]) -> str:
    """A gateway response's template: `$context.a.b` is replaced, no VTL runs."""

    def replace(match: re.Match[str]) -> str:
        found: Any = context
        for name in match.group(1).split("."):
            found = found.get(name, "") if isinstance(found, dict) else ""
        return str(found)

    return re.sub(r"\$context\.([A-Za-z]+(?:\.[A-Za-z]+)*)", replace, template)
