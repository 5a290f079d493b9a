"""What SQS refuses, in words that say who must do what."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import ClientError, NoCredentialsError

from consumer.edges import aws

_ROLE: Final = (
    "; the queue takes messages from the stack's own senders and the role of its parameter"
    " RedriveRoleArn: run this as that role"
)
_GONE: Final = "is not there: look at the region, the account and STATUSWIRE_…QUEUE_URL"
_ADVICE: Final = {
    "NonExistentQueue": _GONE,
    "QueueDoesNotExist": _GONE,
    "PurgeQueueInProgress": "was purged within the last 60 s, and SQS does it once a minute: wait",
}


class Refused(Exception):
    """AWS did not do what it was asked. The operator must act; the text says what to do."""


@contextmanager
def refusals(queue: str) -> Iterator[None]:
    """Turn what may go wrong in a call about a queue into `Refused`."""
    try:
        yield
    except aws.FAILURES as error:
        raise Refused(_advice(error, queue)) from error


def _advice(error: BaseException, queue: str) -> str:
    """What happened, and what to do about it."""
    if isinstance(error, NoCredentialsError):
        return "there are no AWS credentials: log in, or set AWS_PROFILE"
    if not isinstance(error, ClientError):
        return f"SQS did not answer about {queue}: {type(error).__name__}: {error}"
    call, code = error.operation_name, aws.name_of(error).rpartition(".")[2]
    if code in ("AccessDenied", "AccessDeniedException"):
        sends = call in ("SendMessage", "StartMessageMoveTask")
        action = call.removesuffix("Batch")  # which is no action of IAM's
        return f"sqs:{action} on {queue} is not allowed{_ROLE if sends else ''}"
    if "MessageMoveTask" in call and _is_unknown(error, code):
        return "this endpoint has no message move tasks: add --by-hand"
    if advice := _ADVICE.get(code):
        return f"{queue} {advice}"
    return f"{call} on {queue}: {code}: {error.response.get('Error', {}).get('Message', '')}"


def _is_unknown(error: ClientError, code: str) -> bool:
    """Whether an emulator does not know the call at all."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in (404, 501) or code in ("InvalidAction", "UnknownOperationException")
