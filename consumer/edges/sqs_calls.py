"""The two calls to SQS that every message takes, without what botocore does anew for each.

Credentials, address, trusted certificates and the meaning of errors are botocore's; the request is
written and signed here. 14 µs a message instead of 200 (docs/performance.md). Every other call
goes the usual way.
"""

import ssl
import time
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from botocore import httpsession
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError, create_parser
from botocore.utils import get_environ_proxies

from consumer.edges.channels import Answer, Channels
from consumer.edges.signature import Signer

if TYPE_CHECKING:
    import aioboto3
    from botocore.model import Shape
    from types_aiobotocore_sqs.client import SQSClient

TARGET: Final = "AmazonSQS."
ANSWER_S: Final = 10.0  # beyond what a long poll waits
# The protocol, and that errors are to be named as they always were: SQS' "AWS JSON protocol" guide.
_HEADERS: Final = {"content-type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true"}
_SENT_BY_BOTOCORE: Final = {"accept-encoding": "identity"}
_RECEIVE: Final = "ReceiveMessage"
_DELETE: Final = "DeleteMessageBatch"


class SqsCalls:
    """`receive_message` and `delete_message_batch` as botocore's client has them.

    Whoever calls tries again: nothing is tried twice here. Raises `consumer.edges.aws.FAILURES`.
    """

    def __init__(self, client: "SQSClient", credentials: Any, tls: ssl.SSLContext | None) -> None:
        """`client` lends its address, its region and what it knows of errors."""
        meta = client.meta
        url = meta.endpoint_url
        proxies = httpsession.ProxyConfiguration(get_environ_proxies(url))
        self._credentials = credentials
        self._signer = Signer(url, meta.region_name, "sqs", _HEADERS)
        self._channels = Channels(url, tls, proxies.proxy_url_for(url))
        self._shapes = meta.service_model.operation_model
        self._errors = create_parser("json")
        unsigned = {"user-agent": str(vars(meta.config)["user_agent"]), **_SENT_BY_BOTOCORE}
        lines = "".join(f"{name}: {value}\r\n" for name, value in unsigned.items())
        self._head = f"POST {self._signer.path} HTTP/1.1\r\n{lines}"

    async def receive_message(self, **asked: Any) -> Any:
        """SQS' ReceiveMessage."""
        return await self._call(_RECEIVE, asked, asked.get("WaitTimeSeconds", 0) + ANSWER_S)

    async def delete_message_batch(self, **asked: Any) -> Any:
        """SQS' DeleteMessageBatch."""
        return await self._call(_DELETE, asked, ANSWER_S)

    def close(self) -> None:
        """Let go of the connections that are kept."""
        self._channels.close()

    async def _call(self, operation: str, asked: dict[str, Any], timeout_s: float) -> Any:
        if self._credentials is None:
            raise NoCredentialsError
        frozen = await self._credentials.get_frozen_credentials()
        body = _ENCODER.encode(asked)
        target = {"x-amz-target": TARGET + operation}
        headers = self._signer.headers(target, body, frozen, time.time())
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{self._head}{lines}content-length: {len(body)}\r\n\r\n"
        answer = await self._channels.request(head.encode() + body, timeout_s)
        if answer.status != 200:
            raise self._refusal(operation, answer)
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ResponseParserError("not JSON") from error

    def _refusal(self, operation: str, answer: Answer) -> ClientError:
        """What botocore would raise."""
        told = {
            "status_code": answer.status,
            "headers": {name.decode("latin-1"): value.decode("latin-1")
                        for name, value in answer.headers.items()},
            "body": answer.body,
        }  # fmt: skip
        shape = cast("Shape", self._shapes(operation).output_shape)
        try:
            return ClientError(self._errors.parse(told, shape), operation)
        except RecursionError as error:
            raise ResponseParserError("not JSON") from error


def tls_context(session: "aioboto3.Session") -> ssl.SSLContext:
    """Trusts whom botocore trusts: the bundle that its settings name, else its own."""
    bundle = session._session.get_config_variable("ca_bundle")  # nowhere else told
    return ssl.create_default_context(cafile=bundle or httpsession.get_cert_path(verify=True))


_ENCODER: Final = msgspec.json.Encoder()
