"""$default: what clients ask for; and the greeting of connections that have just begun.

A request waits in the connection's item and is served by whoever holds its lease: by this function,
or by the one that tells it of events at this moment.
"""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from consumer.core.messages import CloseCode
from lambdas.stream import composition
from lambdas.stream.connections import Gone, Request, TooMany
from lambdas.stream.motion import Unwelcome

MAX_REQUEST_BYTES = 16 * 1024  # 50 patterns of 300 characters; ten of them wait in one item

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Entry point. `event` is that of a WebSocket API's route, or `{"greet": <connection>}`."""
    motion = composition.motion()
    until_ms = composition.until_ms(context)
    if "greet" in event:
        motion.serve(event["greet"], until_ms=until_ms)
        return {"statusCode": HTTPStatus.OK}
    id_ = event["requestContext"]["connectionId"]
    if event["requestContext"]["eventType"] == "MESSAGE":
        request = Request(event["requestContext"]["requestId"], event.get("body") or "")
        try:
            _ask(id_, request, is_binary=event.get("isBase64Encoded", False))
            motion.serve(id_, until_ms=until_ms)
        except Unwelcome as unwelcome:
            motion.dismiss(id_, unwelcome)
        except Gone:
            motion.forget(id_)
    return {"statusCode": HTTPStatus.OK}


def _ask(id_: str, request: Request, *, is_binary: bool) -> None:
    """Raises `Unwelcome`, `Gone`."""
    if is_binary or len(request.text.encode()) > MAX_REQUEST_BYTES:
        message = f"a message is text, of at most {MAX_REQUEST_BYTES} bytes"
        raise Unwelcome(CloseCode.MALFORMED, message)
    try:
        composition.connections(composition.environment().connections_table).ask(id_, request)
    except TooMany as error:
        raise Unwelcome(CloseCode.TOO_MANY, "too many requests wait to be served") from error
