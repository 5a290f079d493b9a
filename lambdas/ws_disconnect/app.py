"""$disconnect: a connection has ended.

API Gateway tells so as well as it can. What it does not tell is found out by whoever posts to the
connection next, or by the table's time to live.
"""

import os
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.stream import composition

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Entry point. `event` is that of a WebSocket API's route, by proxy."""
    context_ = event["requestContext"]
    if context_["eventType"] == "DISCONNECT":  # and not a message that names this route
        composition.connections(os.environ["CONNECTIONS_TABLE"]).forget(context_["connectionId"])
    return {"statusCode": HTTPStatus.OK}
