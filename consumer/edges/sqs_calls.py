"""The two calls to SQS that every message takes, without what botocore does anew for each.

Credentials, address, trusted certificates and the meaning of errors are botocore's; the request is
written and signed here, and of the answer only what is asked for is read. 14 µs a message instead
of 200 (docs/performance.md). Every other call goes the usual way.
"""

import ssl
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import msgspec
from botocore import httpsession
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError, create_parser
from botocore.utils import get_environ_proxies
from msgspec import Struct

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
T = TypeVar("T")


class Attributes(Struct, frozen=True, gc=False, rename="pascal"):
    """Those that we ask for, all of them text; SQS leaves out what a message has not."""

    approximate_receive_count: str = "1"
    message_group_id: str | None = None
    sent_timestamp: str = ""
    trace_header: str | None = msgspec.field(name="AWSTraceHeader", default=None)


class Delivery(Struct, frozen=True, gc=False, rename="pascal"):
    """A message in SQS' words (its API reference, "Message")."""

    message_id: str
    body: str
    receipt_handle: str
    attributes: Attributes = Attributes()


class Received(Struct, frozen=True, gc=False, rename="pascal"):
    """The answer to ReceiveMessage."""

    messages: tuple[Delivery, ...] = ()


class Failure(Struct, frozen=True, gc=False, rename="pascal"):
    """One entry of a batch that SQS did not take."""

    id: str
    sender_fault: bool


class BatchAnswer(Struct, frozen=True, gc=False, rename="pascal"):
    """The answer to any of the batch calls, of which the rest has succeeded."""

    failed: tuple[Failure, ...] = ()


class _Operation(Generic[T]):
    """One of the calls: all that is the same each time."""

    def __init__(self, name: str, answer: type[T], client: "SQSClient") -> None:
        meta = client.meta
        self.name = name
        self.answer = msgspec.json.Decoder(answer)
        headers = {**_HEADERS, "x-amz-target": TARGET + name}
        self.signer = Signer(meta.endpoint_url, meta.region_name, "sqs", headers)
        unsigned = {"user-agent": str(vars(meta.config)["user_agent"]), **_SENT_BY_BOTOCORE}
        lines = _lines({**unsigned, **self.signer.fixed})
        self.head = f"POST {self.signer.path} HTTP/1.1\r\n{lines}"
        self.shape = cast("Shape", meta.service_model.operation_model(name).output_shape)


class SqsCalls:
    """`receive_message` and `delete_message_batch`, to be called as botocore's client is.

    Whoever calls tries again: nothing is tried twice here. Raises `consumer.edges.aws.FAILURES`.
    """

    def __init__(self, client: "SQSClient", credentials: Any, tls: ssl.SSLContext | None) -> None:
        """`client` lends its address, its region and what it knows of errors."""
        url = client.meta.endpoint_url
        proxies = httpsession.ProxyConfiguration(get_environ_proxies(url))
        self._credentials = credentials
        self._receive = _Operation("ReceiveMessage", Received, client)
        self._delete = _Operation("DeleteMessageBatch", BatchAnswer, client)
        self._channels = Channels(url, tls, proxies.proxy_url_for(url))
        self._errors = create_parser("json")

    async def receive_message(self, **asked: Any) -> Received:
        """SQS' ReceiveMessage."""
        return await self._call(self._receive, asked, asked.get("WaitTimeSeconds", 0) + ANSWER_S)

    async def delete_message_batch(self, **asked: Any) -> BatchAnswer:
        """SQS' DeleteMessageBatch."""
        return await self._call(self._delete, asked, ANSWER_S)

    def close(self) -> None:
        """Let go of the connections that are kept."""
        self._channels.close()

    async def _call(self, operation: _Operation[T], asked: dict[str, Any], timeout_s: float) -> T:
        if self._credentials is None:
            raise NoCredentialsError
        frozen = await self._credentials.get_frozen_credentials()
        body = _ENCODER.encode(asked)
        lines = _lines(operation.signer.headers(body, frozen, time.time()))
        head = f"{operation.head}{lines}content-length: {len(body)}\r\n\r\n"
        answer = await self._channels.request(head.encode() + body, timeout_s)
        if answer.status != 200:
            raise self._refusal(operation, answer)
        try:
            return operation.answer.decode(answer.body)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ResponseParserError("not what it answers with") from error

    def _refusal(self, operation: _Operation[T], answer: Answer) -> ClientError:
        """What botocore would raise."""
        told = {
            "status_code": answer.status,
            "headers": {name.decode("latin-1"): value.decode("latin-1")
                        for name, value in answer.headers.items()},
            "body": answer.body,
        }  # fmt: skip
        try:
            return ClientError(self._errors.parse(told, operation.shape), operation.name)
        except RecursionError as error:
            raise ResponseParserError("not JSON") from error


def _lines(headers: Mapping[str, str]) -> str:
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])


def tls_context(session: "aioboto3.Session") -> ssl.SSLContext:
    """Trusts whom botocore trusts: the bundle that its settings name, else its own."""
    bundle = session._session.get_config_variable("ca_bundle")  # nowhere else told
    return ssl.create_default_context(cafile=bundle or httpsession.get_cert_path(verify=True))


_ENCODER: Final = msgspec.json.Encoder()
