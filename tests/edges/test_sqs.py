"""SQS as a source, against moto's."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import aioboto3
import msgspec
import pytest
from aiobotocore.credentials import AioCredentials as Credentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.server import ThreadedMotoServer

from consumer.edges import sqs
from consumer.edges.sqs import Backlog, Clients, SqsQueue
from consumer.edges.sqs_calls import BatchAnswer, Received, SqsCalls
from consumer.pipeline import Counts
from consumer.ports import Message, SourceUnavailable

VISIBILITY_S = 600


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
    """With the product's own calls."""
    frozen = Credentials("testing", "testing")
    calls = SqsCalls(client, frozen, None)
    return SqsQueue(
        "status", url, Clients(calls, calls, client), poll_wait_s=0, visibility_s=VISIBILITY_S
    )


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
    await source.close(5)
    assert source.in_hand == 0
    assert await visible(client, url) == (1, 0), "the last one was given back"
    (again,) = await source.receive()
    assert (again.body, again.receive_count) == ("m11", 2)


async def test_an_empty_queue_has_answered(client: Any, url: str) -> None:
    """Readiness asks whether the queue answered, not whether it held anything."""
    source = queue(client, url)
    assert source.answered_s is None
    assert await source.receive() == []
    assert source.answered_s is not None


async def test_a_queue_that_is_not_there_is_unavailable(client: Any, url: str) -> None:
    """The error names its kind, and not what was sent."""
    source = queue(client, url + "-not")
    with pytest.raises(SourceUnavailable, match=r"NonExistentQueue|QueueDoesNotExist") as refusal:
        await source.receive()
    assert refusal.value.kind == "other"
    assert source.answered_s is None


class FakeSqs:
    """A client that answers as it is told, and writes down what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, Any]] = []

    async def receive_message(self, **asked: Any) -> Received:
        return msgspec.convert(self._answer("receive", asked), Received)

    async def get_queue_attributes(self, **asked: Any) -> Any:
        return self._answer("count", asked)

    async def delete_message_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        told = self._answer("delete", [entry["ReceiptHandle"] for entry in Entries])
        return msgspec.convert(told, BatchAnswer)

    async def change_message_visibility_batch(self, QueueUrl: str, Entries: Any) -> Any:  # noqa: N803
        told = [(entry["ReceiptHandle"], entry["VisibilityTimeout"]) for entry in Entries]
        return self._answer("change", told)

    def _answer(self, call: str, asked: Any) -> Any:
        self.calls.append((call, asked))
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer

    def asked(self, call: str) -> list[Any]:
        return [asked for name, asked in self.calls if name == call]


def clients(client: FakeSqs) -> Clients:
    """All calls to one."""
    return Clients(cast(SqsCalls, client), cast(SqsCalls, client), cast(Any, client))


def fake_queue(client: FakeSqs, url: str = "q.fifo", visibility_s: int = VISIBILITY_S) -> SqsQueue:
    return SqsQueue("status", url, clients(client), poll_wait_s=0, visibility_s=visibility_s)


def failed(id_: str, *, ours: bool) -> dict[str, Any]:
    return {"Failed": [{"Id": id_, "SenderFault": ours, "Code": "x"}]}


def answer(*handles: str) -> dict[str, Any]:
    return {"Messages": [{"MessageId": h, "Body": "", "ReceiptHandle": h} for h in handles]}


MESSAGES = [Message(str(n), "", f"h{n}", None, 1) for n in range(3)]
THROTTLED = ClientError({"Error": {"Code": "RequestThrottled"}}, "DeleteMessageBatch")


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.edges.batches.RETRY_S", (0.0,))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The monotonic clock, standing still at `now`."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(sqs, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


async def test_what_sqs_is_asked_for() -> None:
    """Ten at once, for as long as the setting says; the first poll does not wait."""
    client = FakeSqs(answer(), answer())
    source = SqsQueue("status", "q", clients(client), poll_wait_s=20, visibility_s=30)
    await source.receive()
    await source.receive()
    first, second = client.asked("receive")
    assert (first["WaitTimeSeconds"], second["WaitTimeSeconds"]) == (0, 20)
    assert (second["MaxNumberOfMessages"], second["VisibilityTimeout"]) == (10, 30)


@pytest.mark.usefixtures("_quick")
async def test_a_delete_that_fails_is_tried_again_for_as_long_as_it_takes() -> None:
    """As a whole or in part, and only what failed: else it ends in the dead-letter queue."""
    troubles = [THROTTLED, OSError("reset"), TimeoutError(), ResponseParserError("html")] * 5
    client = FakeSqs(*troubles, failed("1", ours=False), {})
    source = fake_queue(client)
    await source.delete(MESSAGES)
    await source.close(5)
    assert client.asked("delete") == [["h0", "h1", "h2"]] * 21 + [["h1"]]


async def test_an_expired_receipt_handle_is_not_tried_again() -> None:
    """The message is visible again, and comes back as a repeat: it is in hand no longer."""
    client = FakeSqs(answer("h1"), failed("0", ours=True))
    source = fake_queue(client)
    await source.delete(await source.receive())
    await until(lambda: source.in_hand == 0)
    await source.close(5)
    assert len(client.asked("delete")) == 1


async def test_what_is_not_deleted_yet_is_kept_in_hand() -> None:
    """Or it would become visible, and be received again, while its delete is tried again."""
    client = FakeSqs(answer("h1", "h2"), failed("0", ours=False))
    source = fake_queue(client)
    await source.delete(await source.receive())
    await until(lambda: source.in_hand == 1)
    await source.close(0)
    assert client.asked("change") == [[("h1", 0)]]


def refusal(status: int) -> ClientError:
    answer: Any = {"Error": {"Code": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "ReceiveMessage")


@pytest.mark.parametrize("trouble", [OSError("reset"), refusal(500), THROTTLED])
async def test_an_answer_that_was_lost_is_asked_for_again(trouble: Exception) -> None:
    """By the attempt's id, which is then used up; another attempt has another."""
    client = FakeSqs(trouble, answer("h1"), answer())
    source = fake_queue(client)
    with pytest.raises(SourceUnavailable):
        await source.receive()
    await source.receive()
    await source.receive()
    lost, again, next_ = (asked["ReceiveRequestAttemptId"] for asked in client.asked("receive"))
    assert lost == again != next_


async def test_every_attempt_is_another() -> None:
    """Within a queue and between consumers; letters and digits, as SQS asks for."""
    attempts = []
    for _ in range(2):
        client = FakeSqs(*[answer()] * 20)
        source = fake_queue(client)
        for _ in range(20):
            await source.receive()
        attempts += [asked["ReceiveRequestAttemptId"] for asked in client.asked("receive")]
    assert len(set(attempts)) == 40
    assert all(each.isascii() and each.isalnum() and len(each) <= 128 for each in attempts)


async def test_a_refusal_was_no_lost_answer() -> None:
    """SQS said no: nothing was handed out."""
    client = FakeSqs(refusal(400), answer())
    source = fake_queue(client)
    with pytest.raises(SourceUnavailable):
        await source.receive()
    await source.receive()
    first, second = (asked["ReceiveRequestAttemptId"] for asked in client.asked("receive"))
    assert first != second


async def test_an_attempt_is_forgotten_in_time(clock: SimpleNamespace) -> None:
    """Counted from when it was first made, however often it has been lost since."""
    client = FakeSqs(*[OSError("reset")] * 3)
    source = fake_queue(client)
    for _ in range(3):
        with pytest.raises(SourceUnavailable):
            await source.receive()
        clock.now += sqs.ATTEMPT_S / 2
    first, second, third = (asked["ReceiveRequestAttemptId"] for asked in client.asked("receive"))
    assert first == second != third


async def test_standard_queues_know_no_attempts() -> None:
    """SQS refuses the parameter there."""
    client = FakeSqs(answer())
    await fake_queue(client, "q").receive()
    assert "ReceiveRequestAttemptId" not in client.asked("receive")[0]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # a fake of another's process
            await asyncio.sleep(0.005)


async def test_what_is_in_hand_stays_invisible(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extended while it waits, not once it is deleted, and not for ever."""
    monkeypatch.setattr("consumer.edges.sqs.HOLD_S", 0.3)
    client = FakeSqs(answer("h1", "h2"))
    source = SqsQueue("status", "q", clients(client), poll_wait_s=0, visibility_s=0.04)  # type: ignore[arg-type]
    first, _ = await source.receive()
    keeping = asyncio.create_task(source.keep())
    await until(lambda: bool(client.asked("change")))
    assert client.asked("change")[0] == [("h1", 0.04), ("h2", 0.04)]
    await source.delete([first])
    await until(lambda: [("h2", 0.04)] in client.asked("change"))
    await until(lambda: source.in_hand == 0)
    extended = len(client.asked("change"))
    await asyncio.sleep(0.1)
    assert len(client.asked("change")) == extended
    keeping.cancel()


async def test_visibility_is_extended_when_half_of_it_is_over(clock: SimpleNamespace) -> None:
    """Each time anew, and for all that is in hand, ten in a call."""
    client = FakeSqs(answer(*(f"h{n}" for n in range(12))))
    source = SqsQueue("status", "q", clients(client), poll_wait_s=0, visibility_s=0.02)  # type: ignore[arg-type]
    await source.receive()
    keeping = asyncio.create_task(source.keep())
    for rounds in range(1, 4):
        clock.now += 0.009
        await asyncio.sleep(0.03)  # in which it looks several times
        assert len(client.asked("change")) == 2 * (rounds - 1)
        clock.now += 0.002
        await until(lambda: len(client.asked("change")) >= 2 * rounds)  # noqa: B023  # at once
    keeping.cancel()
    assert [len(asked) for asked in client.asked("change")] == [10, 2] * 3


async def test_a_stale_receipt_handle_is_not_extended_again() -> None:
    """Another consumer has the message, or it is gone."""
    client = FakeSqs(answer("h1"), failed("0", ours=True))
    source = SqsQueue("status", "q", clients(client), poll_wait_s=0, visibility_s=0.02)  # type: ignore[arg-type]
    await source.receive()
    keeping = asyncio.create_task(source.keep())
    await until(lambda: source.in_hand == 0)
    keeping.cancel()
    assert len(client.asked("change")) == 1


async def test_what_is_released_is_extended_no_more() -> None:
    """It is to be visible at once, and stay so."""
    client = FakeSqs(answer("h1"))
    source = fake_queue(client)
    await source.release(await source.receive())
    assert source.in_hand == 0
    await source.close(5)
    assert client.asked("change") == [[("h1", 0)]]


@pytest.mark.usefixtures("_quick")
async def test_at_the_end_deletes_go_first_and_the_rest_is_given_back() -> None:
    """A delete that cannot be sent in time is given up, and its message given back."""
    client = FakeSqs(answer("h1", "h2"), {})
    source = fake_queue(client)
    first, _ = await source.receive()
    await source.delete([first])
    await source.close(5)
    assert client.calls[1:] == [("delete", ["h1"]), ("change", [("h2", 0)])]
    client = FakeSqs(answer("h1"), *[THROTTLED] * 10_000)
    source = fake_queue(client)
    await source.delete(await source.receive())
    await source.close(0.05)
    assert client.asked("change") == [[("h1", 0)]]


async def test_a_queue_is_drained_when_nothing_is_left_in_it_or_in_hand(
    client: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not while a message waits, nor while ours is not deleted, nor while another has one."""
    monkeypatch.setattr(sqs, "SETTLE_S", 0.05)
    source, other = queue(client, url), queue(client, url)
    assert await source.is_drained()
    await send(client, url, "one")
    assert not await source.is_drained()
    received = await source.receive()
    assert not await source.is_drained()
    assert not await other.is_drained(), "what others have in flight may break a silence"
    await source.delete(received)
    async with asyncio.timeout(5):
        while not await other.is_drained():  # noqa: ASYNC110  # when the delete was sent
            await asyncio.sleep(0.01)


async def test_under_load_a_queue_is_drained_when_what_is_in_hand_settles(
    client: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a queue is never empty, and its backlog may still be none."""
    monkeypatch.setattr(sqs, "SETTLE_S", 0.5)
    source = queue(client, url)
    await send(client, url, "one")
    received = await source.receive()
    asked = asyncio.create_task(source.is_drained())
    await asyncio.sleep(0.1)
    await source.delete(received)
    await send(client, url, "two")
    assert await source.receive()
    assert await asked


async def test_a_backlog_is_what_waits_and_what_is_in_hand(client: Any, url: str) -> None:
    """Whoever has it in hand."""
    await send(client, url, "one", "two", "three")
    received = await client.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
    assert len(received["Messages"]) == 1
    assert await queue(client, url).backlog() == Backlog(visible=2, delayed=0, in_flight=1)


async def test_a_message_says_when_it_was_sent(client: Any, url: str) -> None:
    """In milliseconds of the same clock that `time` has."""
    before_ms = time.time_ns() // 1_000_000
    await send(client, url, "one")
    (message,) = await queue(client, url).receive()
    assert message.sent_ms is not None
    assert before_ms <= message.sent_ms <= time.time_ns() // 1_000_000


async def test_a_time_that_is_none_fails_no_poll() -> None:
    """It is asked for by a metric alone."""
    told = answer("h1")
    told["Messages"][0]["Attributes"] = {"SentTimestamp": "1.49138142195e+12"}
    (message,) = await fake_queue(FakeSqs(told)).receive()
    assert message.sent_ms is None


@pytest.mark.usefixtures("_quick")
async def test_what_fails_after_the_poll_is_counted() -> None:
    """Deletes that are tried again, handles that had expired, visibility that was not changed."""
    counts = Counts()
    client = FakeSqs(THROTTLED, failed("1", ours=True), THROTTLED)
    source = SqsQueue("status", "q", clients(client), poll_wait_s=0, visibility_s=9, counts=counts)
    await source.delete(MESSAGES)
    await source.close(5)
    await source.release(MESSAGES)
    await source.close(5)
    assert counts == {
        ("delete_errors", "status"): 1,
        ("receipts_expired", "status"): 1,
        ("visibility_errors", "status"): 1,
    }


@pytest.mark.parametrize("counted", ["", "Delayed", "NotVisible"])
async def test_a_queue_that_holds_anything_is_not_drained(counted: str) -> None:
    """Waiting, delayed, or in another's hands."""
    counts = {f"ApproximateNumberOfMessages{each}": "0" for each in ("", "Delayed", "NotVisible")}
    held = counts | {f"ApproximateNumberOfMessages{counted}": "1"}
    source = fake_queue(FakeSqs({"Attributes": counts}, {"Attributes": held}))
    assert await source.is_drained()
    assert not await source.is_drained()


async def test_a_queue_that_does_not_say_is_not_drained(client: Any, url: str) -> None:
    """Whoever asks learns that there is no answer."""
    with pytest.raises(SourceUnavailable):
        await queue(client, url + "-not").is_drained()


NONSENSE = [
    {"Failed": 1}, {"Failed": [{}]}, {"Failed": [None]}, [], None, "text",
    {"Failed": [{"Id": "7", "SenderFault": False}]},
    {"Failed": [{"Id": "x", "SenderFault": False}]},
]  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_an_answer_that_is_none_is_a_failure_like_others() -> None:
    """Of another shape, or to another question: the consumer outlives it, and tries again."""
    client = FakeSqs({"Messages": 1}, {"Messages": [{}]}, "text", answer("h1"), *NONSENSE, {})
    source = fake_queue(client)
    for _ in range(3):
        with pytest.raises(SourceUnavailable):
            await source.receive()
    await source.delete(await source.receive())
    await source.close(5)
    assert len(client.asked("delete")) == len(NONSENSE) + 1
    assert source.in_hand == 0
    for nonsense in NONSENSE:
        client = FakeSqs(answer("h1"), nonsense)
        source = fake_queue(client)
        await source.release(await source.receive())
        await source.close(5)
        assert client.asked("change") == [[("h1", 0)]]
