"""What API Gateway hands to the functions of a WebSocket API, and the environment they read."""

import json
import uuid
from typing import Any

import jwt
import pytest

from lambdas.stream import composition
from tests.lambdas.stand import CONNECTIONS, LOG, Stand

KEY = "k" * 64
AUDIENCE = "arn:aws:cloudformation:us-east-1:123456789012:stack/statuswire/1"
ENVIRONMENT = {
    "LOG_TABLE": LOG,
    "CONNECTIONS_TABLE": CONNECTIONS,
    "MANAGEMENT_URL": "https://api.execute-api.us-east-1.amazonaws.com/live",
    "HEARTBEAT_S": "60",
    "RETENTION_HOURS": "24",
    "HISTORY_EVENTS": "1000",
    "SIGNING_KEY_ARN": "signing-key",
    "TOKEN_AUDIENCE": AUDIENCE,
    "GREETER": "greeter",
    "INSTANCE_TAG_KEY": "statuswire",
    "INSTANCE_TAG_VALUE": "managed",
}
CACHED = (
    composition.environment,
    composition.connections,
    composition.status_log,
    composition.motion,
)


def forget() -> None:
    """The next invocation opens everything, as a new process does."""
    for cached in CACHED:
        cached.cache_clear()


def prepare(monkeypatch: pytest.MonkeyPatch, stand: Stand) -> None:
    """The environment of all functions, on the tables and sockets of a stand."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    forget()
    monkeypatch.setattr(composition, "tables", lambda: stand.client)
    monkeypatch.setattr(composition, "posts", lambda url: stand.sockets)


def token(version: str, key: str = KEY, **changes: Any) -> str:
    """As POST /watch-tokens issues it."""
    now_s = composition.now_ms() // 1000
    claims = {"iss": "statuswire", "aud": AUDIENCE, "exp": now_s + 900, "watch": ["*"], **changes}
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": version})


def handshake(
    id_: str, headers: dict[str, list[str]], query: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """The event of $connect."""
    return {
        "requestContext": {
            "connectionId": id_, "routeKey": "$connect", "eventType": "CONNECT",
        },
        "headers": {name: values[-1] for name, values in headers.items()},
        "multiValueHeaders": headers,
        "queryStringParameters": query and {name: values[-1] for name, values in query.items()},
        "multiValueQueryStringParameters": query,
        "isBase64Encoded": False,
    }  # fmt: skip


def message(id_: str, body: Any, **changes: Any) -> dict[str, Any]:
    """The event of a message."""
    return {
        "requestContext": {
            "connectionId": id_, "routeKey": "$default", "eventType": "MESSAGE",
            "requestId": uuid.uuid4().hex,
        },
        "body": body if isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": False,
        **changes,
    }  # fmt: skip


def goodbye(id_: str) -> dict[str, Any]:
    """The event of $disconnect."""
    return {
        "requestContext": {
            "connectionId": id_,
            "routeKey": "$disconnect",
            "eventType": "DISCONNECT",
            "disconnectStatusCode": 1005,
        },
        "isBase64Encoded": False,
    }
