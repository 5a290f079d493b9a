"""What may go wrong between us and AWS, whichever service it is."""

from typing import Final, Literal

from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    NoAuthTokenError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.parsers import ResponseParserError

from consumer.edges.channels import BadAnswer

FAILURES: Final = (
    *(BotoCoreError, ClientError, ResponseParserError, HttpError, BadAnswer),
    *(OSError, TimeoutError),
    # An answer that is none: of another shape, or to another question.
    *(KeyError, IndexError, ValueError, TypeError, AttributeError),
)

Kind = Literal["throttled", "credentials", "network", "timeout", "server", "other"]
"""Who must act: raise a quota, mend credentials or permissions, the network, wait for AWS."""

# Botocore's "Retries" guide has the codes that mean throttling, SQS' API reference two of its own
# (ReceiveMessage, "Errors"); all but these hold the word.
_SLOW_DOWN: Final = frozenset(
    {"TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException", "SlowDown"}
)
# AWS' "Common errors", with and without `Exception`; some services say 400 to these, others 403.
_DENIED: Final = frozenset(
    {
        *("AccessDenied", "KmsAccessDenied", "AuthFailure", "OptInRequired", "NotAuthorized"),
        *("ExpiredToken", "RequestExpired", "InvalidClientTokenId", "UnrecognizedClient"),
        *("SignatureDoesNotMatch", "IncompleteSignature", "InvalidSignature", "InvalidSecurity"),
        *("MissingAuthenticationToken", "InvalidAccessKeyId", "UnauthorizedOperation"),
    }
)
_CREDENTIALS: Final = (
    *(NoCredentialsError, PartialCredentialsError, CredentialRetrievalError),
    *(NoAuthTokenError, TokenRetrievalError, SSOError),
)


class NotDescribed(Exception):
    """AWS did not describe what it was asked about. Asking later may help, or the operator must."""


def name_of(error: BaseException) -> str:
    """What went wrong, without what was sent."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def kind_of(error: BaseException) -> Kind:
    """Which kind of failure it is, and so whose to mend."""
    if isinstance(error, ClientError):
        return _refused(name_of(error).rpartition(".")[2], _http_status(error))
    if isinstance(error, _CREDENTIALS):
        return "credentials"
    if isinstance(error, TimeoutError | ConnectTimeoutError | ReadTimeoutError):
        return "timeout"
    if isinstance(error, HttpError | HTTPClientError | NoConnection | OSError | BadAnswer):
        return "network"
    return "other"


def _refused(code: str, http_status: int) -> Kind:
    if "Throttl" in code or code in _SLOW_DOWN or http_status == 429:
        return "throttled"
    if code.removesuffix("Exception") in _DENIED or http_status in (401, 403):
        return "credentials"
    return "server" if http_status >= 500 else "other"


def _http_status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
