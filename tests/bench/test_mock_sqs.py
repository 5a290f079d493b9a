"""The mock of SQS: what the benchmarks rely on. No figure is looked at here."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from consumer.core import events
from infra.local.places import client_settings
from tests.bench.mock_sqs import MockSqs, mock_sqs

KEYS = 7
STEPS = 3
MESSAGES = 100


@pytest.fixture
def mock(tmp_path: Path) -> Iterator[MockSqs]:
    with mock_sqs(tmp_path, keys=KEYS, instances=2, steps=STEPS, messages=MESSAGES) as mock:
        yield mock


def client(mock: MockSqs, service: str = "sqs") -> Any:
    settings: dict[str, Any] = {**client_settings(mock.endpoint)}
    return botocore.session.get_session().create_client(service, **settings)


def received(sqs: Any, url: str, **options: int) -> list[Any]:
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], **options
    )
    found: list[Any] = answer.get("Messages", [])
    return found


def test_messages_are_status_events_of_executions_that_go_on_and_end(mock: MockSqs) -> None:
    """The consumer takes each of them, none twice, and steps come in order."""
    sqs, told = client(mock), []
    while found := received(sqs, mock.queue_url):
        told += [(message, events.decode(message["Body"])) for message in found]
    assert len({event.identity for _, event in told}) == len(told) == MESSAGES
    steps: Counter[str] = Counter()
    for message, event in told:
        steps[event.key] += 1
        assert event.execution is not None
        assert event.execution.seq == steps[event.key] <= STEPS
        assert event.terminal == (event.execution.seq == STEPS)
        assert event.instance_id is not None
        assert message["MD5OfBody"] == hashlib.md5(message["Body"].encode()).hexdigest()  # noqa: S324
        assert 400 < len(message["Body"]) < 600
    assert len({message["Attributes"]["MessageGroupId"] for message, _ in told}) == KEYS


def test_an_event_carries_the_moment_of_its_answer(mock: MockSqs) -> None:
    """By the monotonic clock, which all processes of a machine share."""
    before_ns = time.monotonic_ns()
    told = [events.decode(one["Body"]) for one in received(client(mock), mock.queue_url)]
    assert all(before_ns <= event.detail["at"] <= time.monotonic_ns() for event in told)


def test_what_was_deleted_is_counted_once(mock: MockSqs) -> None:
    """Alone or in a batch; a second time, it is told apart."""
    sqs = client(mock)
    first, *others = received(sqs, mock.queue_url)
    sqs.delete_message(QueueUrl=mock.queue_url, ReceiptHandle=first["ReceiptHandle"])
    entries = [
        {"Id": f"no-{n}", "ReceiptHandle": one["ReceiptHandle"]}
        for n, one in enumerate([first, *others])
    ]
    answer = sqs.delete_message_batch(QueueUrl=mock.queue_url, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == [entry["Id"] for entry in entries]
    counts = mock.counts()
    assert (counts.received, counts.deleted, counts.deleted_again) == (10, 10, 1)


def test_a_poll_of_the_empty_queue_waits_as_long_as_it_asked_to(mock: MockSqs) -> None:
    """As does one of the other queue once all messages were handed out."""
    begun_s = time.monotonic()
    assert received(client(mock), mock.service_url, WaitTimeSeconds=1) == []
    assert 1 <= time.monotonic() - begun_s < 15
    assert mock.counts().empty == 1


def test_a_rate_makes_events_come_due_and_none_is_none(mock: MockSqs) -> None:
    """Polls that wait are answered as soon as there is something."""
    sqs = client(mock)
    mock.pace(0)
    assert received(sqs, mock.queue_url) == []
    mock.pace(50)
    assert received(sqs, mock.queue_url, WaitTimeSeconds=10)
    mock.pace(0)
    assert received(sqs, mock.queue_url) == []


def test_answers_come_after_their_delay(tmp_path: Path) -> None:
    """Those to deletes, too."""
    with mock_sqs(tmp_path, delay_ms=200) as slow:
        sqs = client(slow)
        begun_s = time.monotonic()
        (message, *_) = received(sqs, slow.queue_url)
        sqs.delete_message(QueueUrl=slow.queue_url, ReceiptHandle=message["ReceiptHandle"])
        assert time.monotonic() - begun_s >= 0.4


def test_other_services_answer_harmlessly(mock: MockSqs) -> None:
    """EC2 has no instances; a queue's backlog is empty."""
    assert client(mock, "ec2").describe_instances()["Reservations"] == []
    found = client(mock).get_queue_attributes(QueueUrl=mock.queue_url, AttributeNames=["All"])
    assert set(found["Attributes"].values()) == {"0"}
