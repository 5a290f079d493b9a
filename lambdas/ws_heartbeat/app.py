"""Every minute, the most often that EventBridge can: a heartbeat to every connection.

It also brings up whoever was left behind, ends those whose token has expired, and tells those to
come back that API Gateway would end soon.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from lambdas.stream import composition
from lambdas.stream.connections import Connection, TableUnavailable
from lambdas.stream.log import LogUnavailable
from lambdas.stream.posts import PostFailed

SPARE_MS = 1_500  # of this function's time: what a connection that was begun last may take

logger = Logger()


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Entry point. `event` is EventBridge's, and says nothing that we need."""
    until_ms = composition.until_ms(context)
    table = composition.environment().connections_table
    everyone = composition.connections(table).everyone()
    with ThreadPoolExecutor(composition.THREADS) as threads:
        told = list(threads.map(lambda one: _beat(one, until_ms=until_ms), everyone))
    logger.info("beat", extra={"connections": len(told), "behind": told.count(False)})


def _beat(seen: Connection, *, until_ms: int) -> bool:
    """Whether a connection was told."""
    if composition.now_ms() > until_ms - SPARE_MS:
        return False
    try:
        composition.motion().beat(seen, until_ms=until_ms)
    except (PostFailed, TableUnavailable, LogUnavailable) as error:
        logger.warning("not told", extra={"connection": seen.id, "reason": repr(error)})
        return False
    return True
