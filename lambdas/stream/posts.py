"""Messages to connections, through API Gateway's management API (`@connections`)."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.stream.connections import Gone


class PostFailed(Exception):
    """API Gateway did not take a message, after all retries. The operator must look."""


class Posts:
    """Throttled calls (429) and faults (5xx) are tried again by the client's own configuration:
    `LimitExceededException` is one of botocore's codes for throttling ("Retries", boto3 guide).
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def post(self, id_: str, message: bytes) -> None:
        """Raises `Gone`, also while the handshake is not through; `PostFailed`."""
        self._call(self._client.post_to_connection, ConnectionId=id_, Data=message)

    def close(self, id_: str) -> None:
        """End a connection; that it has ended is as good. Raises `PostFailed`."""
        try:
            self._call(self._client.delete_connection, ConnectionId=id_)
        except Gone:
            return

    def _call(self, operation: Any, **request: Any) -> None:
        try:
            operation(**request)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 410:
                raise Gone from error
            raise PostFailed(error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise PostFailed(type(error).__name__) from error
