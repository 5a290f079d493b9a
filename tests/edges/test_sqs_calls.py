"""Our own way to SQS: what botocore's settings mean for it, and that nothing it hears ends us."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aioboto3
import pytest
import trustme
from aiobotocore.credentials import AioCredentials as Credentials
from botocore.exceptions import ClientError, NoCredentialsError

from consumer.edges import aws
from consumer.edges.sqs_calls import BatchAnswer, Received, SqsCalls, tls_context
from tests.edges.test_channels import HOST, Proxy, Upstream

WHO: Final = Credentials("testing", "testing")
SECTION: Final = "HTTP/1.1 {} x\r\nContent-Length: {}\r\n{}\r\n{}"


class Sqs(Upstream):
    """Answers with what it is told to, whatever the length of the request."""

    async def _body(self, reader: Any, head: bytes) -> None:
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length))


@pytest.fixture
async def upstream() -> AsyncIterator[Sqs]:
    upstream = Sqs()
    await upstream.start()
    yield upstream
    upstream.server.close()


@pytest.fixture
async def client(upstream: Sqs) -> AsyncIterator[Any]:
    address = f"http://{HOST}:{upstream.port}"
    session = aioboto3.Session("testing", "testing", region_name="us-east-1")
    async with session.client("sqs", endpoint_url=address) as client:
        yield client


def _answer(status: int, body: str, *headers: str) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    return SECTION.format(status, len(body), lines, body).encode()


async def test_a_refusal_is_named_as_botocore_names_it(upstream: Sqs, client: Any) -> None:
    """By the name that it always had, which a header tells."""
    body = '{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}'
    told = "x-amzn-query-error: AWS.SimpleQueueService.NonExistentQueue;Sender"
    upstream.says = [_answer(400, body, told), _answer(200, '{"Messages":[]}')]
    calls = SqsCalls(client, WHO, None)
    with pytest.raises(ClientError) as refused:
        await calls.receive_message(QueueUrl="q")
    upstream.says.insert(0, _answer(400, body, told))
    with pytest.raises(ClientError) as botocores:
        await client.receive_message(QueueUrl="q")
    assert aws.name_of(refused.value) == aws.name_of(botocores.value)
    assert aws.kind_of(refused.value) == aws.kind_of(botocores.value) == "other"
    assert await calls.receive_message(QueueUrl="q") == Received()
    calls.close()


@pytest.mark.parametrize(
    "said",
    [
        _answer(200, "[" * 100_000),
        _answer(500, "[" * 100_000),
        _answer(200, "\xff"),
        _answer(500, "\xff"),
        _answer(404, "[]"),
        _answer(200, '{"Messages":[{"MessageId":"m","ReceiptHandle":"r"}]}'),
        _answer(204, ""),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ],
    ids=[
        "deep",
        "deep refusal",
        "bytes",
        "refused in bytes",
        "a list",
        "no body",
        "nothing",
        "an upgrade",
    ],
)
async def test_what_no_sqs_would_say_is_a_failure_like_others(
    said: bytes, upstream: Sqs, client: Any
) -> None:
    """The consumer outlives it, and the next call is answered."""
    upstream.says = [said, _answer(200, "{}")]
    calls = SqsCalls(client, WHO, None)
    with pytest.raises(aws.FAILURES):
        await calls.receive_message(QueueUrl="q")
    assert await calls.delete_message_batch(QueueUrl="q", Entries=[]) == BatchAnswer()
    calls.close()


async def test_without_credentials_nothing_is_sent(upstream: Sqs, client: Any) -> None:
    """It is the operator's to mend."""
    calls = SqsCalls(client, None, None)
    with pytest.raises(NoCredentialsError):
        await calls.receive_message(QueueUrl="q")
    assert not upstream.heads


@pytest.mark.parametrize("scheme", ["http://", "//", ""])
async def test_the_environments_proxy_is_used(
    scheme: str, upstream: Sqs, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However it is written; botocore takes these for one, too."""
    proxy = Proxy()
    monkeypatch.setenv("http_proxy", f"{scheme}{HOST}:{await proxy.start()}")
    monkeypatch.setenv("no_proxy", "elsewhere")
    upstream.says = [_answer(200, "{}")]
    calls = SqsCalls(client, WHO, None)
    assert await calls.receive_message(QueueUrl="q") == Received()
    assert proxy.head.startswith(f"CONNECT {HOST}:{upstream.port} ".encode())
    calls.close()
    proxy.server.close()


async def test_a_proxy_is_told_nothing_in_another_way_than_it_asks_for(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who we are would be read by others on the way to one that wants TLS."""
    monkeypatch.setenv("http_proxy", f"https://me:secret@{HOST}:1")
    monkeypatch.setenv("no_proxy", "elsewhere")
    calls = SqsCalls(client, WHO, None)
    with pytest.raises(OSError, match="http://"):
        await calls.receive_message(QueueUrl="q")


async def test_whom_botocore_trusts_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's own bundle and no other, where one is named; else botocore's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    assert len(tls_context(aioboto3.Session()).get_ca_certs()) > 1
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    (trusted,) = tls_context(aioboto3.Session()).get_ca_certs(binary_form=True)
    assert ssl.DER_cert_to_PEM_cert(trusted).encode() == authority.cert_pem.bytes()
