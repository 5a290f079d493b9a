"""$connect and {"op": "token"}: whoever shows a token may watch what it names.

A handshake is refused with a status: no close code can be sent before it is through. Nothing can be
posted to the connection before then either, so another function is asked to greet it, by an
asynchronous invocation, as AWS advises ("410 GoneException", knowledge center).
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import msgspec
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from consumer.core import messages, watch
from consumer.core.entries import text_of
from consumer.core.grant import Grant
from consumer.core.messages import BadRequest, CloseCode, Subscribe, Token, Unreadable
from consumer.core.watch import BadWatch
from consumer.edges import bearer
from consumer.edges.signed import TokenRefused
from lambdas.stream import composition
from lambdas.stream.connections import Connections, Gone, Request, TableUnavailable
from lambdas.stream.keys import KeysUnavailable, Verifier
from lambdas.stream.motion import LIMITS, Unwelcome, dismiss, told_of
from lambdas.stream.posts import PostFailed

SUBPROTOCOLS = "Sec-WebSocket-Protocol"

logger = Logger()

Answer = dict[str, Any]
Fields = Mapping[str, Sequence[str]]


class Refused(Exception):
    """A handshake that is answered with this status. The client must act."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Headers:
    """A handshake's, as API Gateway has read them; it keeps the case that the client wrote."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, values in (event.get("multiValueHeaders") or {}).items():
            self._values.setdefault(name.lower(), []).extend(values)

    def get_all(self, key: str) -> list[str]:
        """The values of every header of that name, whatever its case."""
        return self._values.get(key.lower(), [])

    @property
    def offered(self) -> list[str]:
        """The subprotocols that the client offers."""
        return [each.strip() for each in ",".join(self.get_all(SUBPROTOCOLS)).split(",")]


@cache
def verifier() -> Verifier:
    """One client and its keys for all invocations of this process."""
    client = boto3.client("secretsmanager", config=composition.PATIENCE)
    return Verifier(client, os.environ["SIGNING_KEY_ARN"], os.environ["TOKEN_AUDIENCE"])


@cache
def functions() -> Any:
    """To ask another function to greet."""
    return boto3.client("lambda", config=composition.PATIENCE)


@logger.inject_lambda_context
def lambda_handler(event: Answer, context: LambdaContext) -> Answer:
    """Entry point. `event` is that of a WebSocket API's route, by proxy."""
    id_ = event["requestContext"]["connectionId"]
    if event["requestContext"]["eventType"] != "CONNECT":
        renew(id_, event.get("body") or "")
        return {"statusCode": HTTPStatus.OK}
    headers = Headers(event)
    try:
        admit(id_, headers, event.get("multiValueQueryStringParameters") or {})
    except Refused as refused:
        logger.info("refused", extra={"status": int(refused.status), "reason": str(refused)})
        return {"body": str(refused), "statusCode": refused.status}
    except (TableUnavailable, KeysUnavailable) as error:
        logger.warning("cannot let anybody in", extra={"reason": repr(error)})
        return {"body": "try again later", "statusCode": HTTPStatus.SERVICE_UNAVAILABLE}
    answer: Answer = {"statusCode": HTTPStatus.OK}
    if messages.SUBPROTOCOL in headers.offered:
        answer["headers"] = {SUBPROTOCOLS: messages.SUBPROTOCOL}
    return answer


def admit(id_: str, headers: Headers, fields: Fields) -> None:
    """Let a connection in that may come in. Raises `Refused`, and what the table and keys raise."""
    try:
        bearer.refuse_in_address(fields)
        grant = verifier().verify(bearer.token_in(headers), composition.now_ms() / 1000)
    except TokenRefused as error:
        raise Refused(HTTPStatus.UNAUTHORIZED, str(error)) from error
    requests = [Request("address", _subscription(fields, grant))] if "watch" in fields else []
    composition.connections(os.environ["CONNECTIONS_TABLE"]).open(id_, grant, requests)
    functions().invoke(
        FunctionName=os.environ["GREETER"],
        InvocationType="Event",
        Payload=json.dumps({"greet": id_}),
    )


def _subscription(fields: Fields, grant: Grant) -> str:
    """What the address asks for, as a message. Raises `Refused`."""
    try:
        messages.check_watch(fields["watch"], LIMITS)
    except BadWatch as error:
        raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from error
    if grant.refused(fields["watch"]):
        raise Refused(HTTPStatus.FORBIDDEN, "the token does not cover this watch")
    since = fields["since"][0] if fields.get("since") else None
    asked = Subscribe(watch=[watch.check(each) for each in fields["watch"]], since=since)
    return msgspec.json.encode(asked).decode()


def renew(id_: str, text: str) -> None:
    """Another token for an open connection; one that is refused ends it."""
    connections = composition.connections(os.environ["CONNECTIONS_TABLE"])
    posts = composition.posts(os.environ["MANAGEMENT_URL"])
    try:
        posts.post(id_, text_of(_renewed(connections, id_, text)))
    except Unwelcome as unwelcome:
        dismiss(connections, posts, id_, unwelcome)
    except Gone:
        connections.forget(id_)
    except PostFailed as error:
        logger.warning("a token was not answered", extra={"reason": repr(error)})


def _renewed(connections: Connections, id_: str, text: str) -> bytes:
    """The answer to a token. Raises `Unwelcome`, `Gone`."""
    try:
        request = messages.decode(text.encode(), LIMITS)
        if not isinstance(request, Token):  # its route is chosen by the same op
            raise Unwelcome(CloseCode.MALFORMED, "not a token")
        grant = verifier().verify(request.token, composition.now_ms() / 1000)
    except BadRequest as error:
        return messages.failure(error)
    except Unreadable as error:
        raise Unwelcome(CloseCode.MALFORMED, str(error)) from error
    except TokenRefused as error:
        raise Unwelcome(CloseCode.TOKEN, f"token refused: {error}") from error
    except KeysUnavailable as error:
        logger.warning("cannot verify", extra={"reason": repr(error)})
        message = "tokens cannot be verified now; try again"
        raise Unwelcome(CloseCode.OVER_CAPACITY, message) from error
    if grant.refused(told_of(connections.look(id_))):
        message = "the new token does not cover what is watched"
        raise Unwelcome(CloseCode.FORBIDDEN, message)
    connections.renew(id_, grant)
    return messages.renewed(request.id, grant.expires_s or 0.0)
