"""Failures of AWS, told apart by who must act."""

import pytest
from aiohttp import ClientConnectionError, ServerTimeoutError
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from consumer.edges import aws


def refusal(code: str, http_status: int) -> ClientError:
    metadata = {"HTTPStatusCode": http_status}
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": metadata}, "ReceiveMessage")  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal("RequestThrottled", 403), "throttled"),
        (refusal("KmsThrottled", 400), "throttled"),
        (refusal("ThrottlingException", 400), "throttled"),
        (refusal("RequestLimitExceeded", 503), "throttled"),
        (refusal("Whatever", 429), "throttled"),
        (refusal("AccessDenied", 403), "credentials"),
        (refusal("AccessDeniedException", 400), "credentials"),
        (refusal("KMS.AccessDeniedException", 400), "credentials"),
        (refusal("ExpiredTokenException", 400), "credentials"),
        (refusal("InvalidClientTokenId", 403), "credentials"),
        (refusal("Whatever", 401), "credentials"),
        (NoCredentialsError(), "credentials"),
        (EndpointConnectionError(endpoint_url="x"), "network"),
        (ClientConnectionError(), "network"),
        (ConnectionResetError(), "network"),
        (ConnectTimeoutError(endpoint_url="x"), "timeout"),
        (ReadTimeoutError(endpoint_url="x"), "timeout"),
        (ServerTimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (refusal("InternalFailure", 500), "server"),
        (refusal("ServiceUnavailable", 503), "server"),
        (refusal("AWS.SimpleQueueService.NonExistentQueue", 400), "other"),
        (KeyError("Messages"), "other"),
    ],
)
def test_a_failure_has_a_kind(error: BaseException, kind: str) -> None:
    """A quota, credentials, the network, AWS itself: each is somebody else's to mend."""
    assert aws.kind_of(error) == kind


def test_a_refusal_without_a_status_is_something_else() -> None:
    """What is not known is not blamed on anybody."""
    assert aws.kind_of(ClientError({}, "ReceiveMessage")) == "other"
