"""What may go wrong between us and AWS, whichever service it is."""

from typing import Final

from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

FAILURES: Final = (
    *(BotoCoreError, ClientError, ResponseParserError, HttpError),
    *(OSError, TimeoutError),
    # An answer that is none: of another shape, or to another question.
    *(KeyError, IndexError, ValueError, TypeError, AttributeError),
)


class NotDescribed(Exception):
    """AWS did not describe what it was asked about. Asking later may help, or the operator must."""


def name_of(error: BaseException) -> str:
    """What went wrong, without what was sent."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
