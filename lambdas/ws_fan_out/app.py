"""Both queues → the log → the connections that watch.

What the log has taken is acknowledged, whether or not everybody could be told of it: a connection
that was not told stays behind, and the next event or heartbeat brings it up. Told again are the
events of a batch that comes again, in case this function died between the log and the connections.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Struct

from consumer.core import events, watch
from consumer.core.events import Event, Malformed
from consumer.core.statuses import Verdict
from lambdas.stream import composition
from lambdas.stream.connections import TableUnavailable
from lambdas.stream.draft import Outcome
from lambdas.stream.fleet import Fleet, NotDescribed
from lambdas.stream.log import LogRefused, LogUnavailable
from lambdas.stream.posts import PostFailed

SPARE_MS = 1_500  # of this function's time: what a connection that was begun last may take

logger = Logger()


class Message(Struct, frozen=True):
    """One of a batch. `group`: the message group of the FIFO queue."""

    id: str
    group: str | None
    event: Event


@cache
def fleet() -> Fleet:
    """One client for all invocations of this process."""
    tag = os.environ["INSTANCE_TAG_KEY"], os.environ["INSTANCE_TAG_VALUE"]
    return Fleet(boto3.client("ec2", config=composition.PATIENCE), tag)


@logger.inject_lambda_context
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Entry point. `event` is a batch of SQS; the answer names the messages to receive again."""
    received, failed = decode(event["Records"])
    outcomes, left = take(received)
    failed += left
    tell(outcomes, until_ms=composition.until_ms(context))
    return {"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed]}


def decode(records: Iterable[dict[str, Any]]) -> tuple[list[Message], list[str]]:
    """Tell what can be shown from what can't, and goes to the dead letters by receives.

    What follows a malformed message in its group is not held back: it would be received, and
    counted, as often as that one, and end beside it. The log does not need the queue's order.
    """
    received = []
    failed = []
    for record in records:
        try:
            decoded = events.decode(record["body"])
        except Malformed as error:
            failed.append(record["messageId"])
            reason = {"message_id": record["messageId"], "reason": str(error)}
            logger.warning("malformed message left for the dead-letter queue", extra=reason)
        else:
            group = record["attributes"].get("MessageGroupId")
            received.append(Message(record["messageId"], group, decoded))
    return received, failed


def take(received: Sequence[Message]) -> tuple[list[Outcome], list[str]]:
    """Have the log take a batch: all of it, else as much of it as it takes.

    Where a message of a group was not taken, what follows it in the group is left too, as the queue
    would have it ("Implementing partial batch responses", Lambda developer guide).
    """
    try:
        return _append(received), []
    except (LogUnavailable, NotDescribed) as error:
        logger.warning("the batch is left in the queue", extra={"reason": repr(error)})
        return [], [message.id for message in received]
    except LogRefused as error:
        logger.warning("trying one by one", extra={"reason": repr(error)})
    outcomes: list[Outcome] = []
    left: list[str] = []
    held_up: set[str] = set()
    for message in received:
        try:
            if message.group not in held_up:
                outcomes += _append([message])
                continue
        except (LogUnavailable, LogRefused, NotDescribed) as error:
            reason = {"message_id": message.id, "reason": repr(error)}
            logger.warning("a message is left in the queue", extra=reason)
        left.append(message.id)
        held_up |= {message.group} if message.group else set()
    return outcomes, left


def _append(received: Sequence[Message]) -> list[Outcome]:
    shown = fleet().shown([message.event for message in received])
    return composition.status_log().append(shown) if shown else []


def tell(outcomes: Sequence[Outcome], *, until_ms: int) -> None:
    """Bring up everybody who watches any of these events."""
    patterns = {
        pattern
        for outcome in outcomes
        if outcome.verdict is not Verdict.EXPIRED
        for pattern in watch.matching(outcome.event, outcome.event.key)
    }
    if not patterns:
        return
    try:
        table = composition.environment().connections_table
        watchers = composition.connections(table).watchers(patterns)
        due = composition.status_log().head().place if watchers else 0
    except (TableUnavailable, LogUnavailable) as error:
        logger.warning("nobody is told before the next heartbeat", extra={"reason": repr(error)})
        return
    with ThreadPoolExecutor(composition.THREADS) as threads:
        told = threads.map(lambda one: _bring(*one, due=due, until_ms=until_ms), watchers.items())
        if behind := sum(not each for each in told):
            logger.warning("told by the next event or heartbeat", extra={"connections": behind})


def _bring(id_: str, noted: set[str], *, due: int, until_ms: int) -> bool:
    """Whether a connection was told, or will be by who tells it something now."""
    if composition.now_ms() > until_ms - SPARE_MS:
        return False
    try:
        composition.motion().serve(id_, due=due, noted=noted, until_ms=until_ms)
    except (PostFailed, TableUnavailable, LogUnavailable) as error:
        logger.warning("not told", extra={"connection": id_, "reason": repr(error)})
        return False
    return True
