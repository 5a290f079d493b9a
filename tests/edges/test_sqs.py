"""SQS as a source, against moto's."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import aioboto3
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from consumer.edges.sqs import SqsQueue
from consumer.ports import Message, SourceUnavailable


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
async def client(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    session = aioboto3.Session(region_name="us-east-1")
    async with session.client("sqs", endpoint_url=endpoint) as client:
        yield client


@pytest.fixture
async def url(client: Any, request: pytest.FixtureRequest) -> str:
    created = await client.create_queue(
        QueueName=f"{abs(hash(request.node.name))}.fifo",
        Attributes={"FifoQueue": "true", "VisibilityTimeout": "600"},
    )
    address: str = created["QueueUrl"]
    return address


async def send(client: Any, url: str, *bodies: str) -> None:
    for body in bodies:
        await client.send_message(
            QueueUrl=url, MessageBody=body, MessageGroupId=f"g-{body}", MessageDeduplicationId=body
        )


def queue(client: Any, url: str) -> SqsQueue:
    return SqsQueue("status", url, client, client, poll_wait_s=0)


async def visible(client: Any, url: str) -> tuple[int, int]:
    """How many messages are visible, and how many in flight."""
    answer = await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    counts = answer["Attributes"]
    return (
        int(counts["ApproximateNumberOfMessages"]),
        int(counts["ApproximateNumberOfMessagesNotVisible"]),
    )


async def test_messages_are_received_with_what_the_pipeline_needs(client: Any, url: str) -> None:
    """Body, group and how often it was received."""
    await send(client, url, "one", "two")
    received = await queue(client, url).receive()
    assert [(m.body, m.group, m.receive_count) for m in received] == [
        ("one", "g-one", 1),
        ("two", "g-two", 1),
    ]


async def test_what_is_deleted_is_gone_and_what_is_released_comes_back(
    client: Any, url: str
) -> None:
    """More than one call takes is sent in several."""
    await send(client, url, *(f"m{n:02d}" for n in range(12)))
    source = queue(client, url)
    received = await source.receive()
    received += await source.receive()
    assert len(received) == 12
    assert await visible(client, url) == (0, 12)
    await source.delete(received[:11])
    assert await visible(client, url) == (0, 1)
    await source.release(received[11:])
    (again,) = await source.receive()
    assert (again.body, again.receive_count) == ("m11", 2)


async def test_an_empty_queue_has_answered(client: Any, url: str) -> None:
    """Readiness asks whether the queue answered, not whether it held anything."""
    source = queue(client, url)
    assert not source.has_answered
    assert await source.receive() == []
    assert source.has_answered


async def test_a_queue_that_is_not_there_is_unavailable(client: Any, url: str) -> None:
    """The error names its kind, and not what was sent."""
    source = queue(client, url + "-not")
    with pytest.raises(SourceUnavailable, match=r"NonExistentQueue|QueueDoesNotExist"):
        await source.receive()
    assert not source.has_answered


class FailingDeletes:
    """A client whose deletes fail: as a whole, in part, and for good."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[list[str]] = []

    async def delete_message_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        self.sent.append([entry["ReceiptHandle"] for entry in Entries])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def failed(id_: str, *, ours: bool) -> dict[str, Any]:
    return {"Failed": [{"Id": id_, "SenderFault": ours, "Code": "x"}]}


MESSAGES = [Message(str(n), "", f"h{n}", None, 1) for n in range(3)]
THROTTLED = ClientError({"Error": {"Code": "RequestThrottled"}}, "DeleteMessageBatch")


async def test_a_delete_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what failed is sent again."""
    monkeypatch.setattr("consumer.edges.sqs.DELETE_RETRY_S", (0.0, 0.0))
    client = FailingDeletes(THROTTLED, failed("1", ours=False), {})
    await SqsQueue("status", "", None, client, poll_wait_s=0).delete(MESSAGES)  # type: ignore[arg-type]
    assert client.sent == [["h0", "h1", "h2"], ["h0", "h1", "h2"], ["h1"]]


async def test_an_expired_receipt_handle_is_not_tried_again() -> None:
    """The message is visible again, and comes back as a repeat."""
    client = FailingDeletes(failed("0", ours=True))
    await SqsQueue("status", "", None, client, poll_wait_s=0).delete(MESSAGES)  # type: ignore[arg-type]
    assert len(client.sent) == 1


async def test_deletes_give_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue redelivers; the operator is told."""
    monkeypatch.setattr("consumer.edges.sqs.DELETE_RETRY_S", (0.0,))
    client = FailingDeletes(THROTTLED, OSError("reset"))
    await SqsQueue("status", "", None, client, poll_wait_s=0).delete(MESSAGES)  # type: ignore[arg-type]
    assert "redeliver" in caplog.text
