"""Batches of both queues."""

import json
from typing import Any

import pytest

from lambdas.stream import composition
from lambdas.stream.fleet import Fleet, NotDescribed
from lambdas.stream.log import LogRefused, LogUnavailable
from lambdas.stream.posts import PostFailed
from lambdas.ws_fan_out import app
from tests.core import examples
from tests.lambdas import websocket
from tests.lambdas.proxy import context
from tests.lambdas.stand import Stand


class Queue:
    """The function behind a queue."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand

    def give(self, *bodies: Any, group: str | None = "run-1", **left: Any) -> list[int]:
        """Which of a batch come back, by their numbers from 0."""
        return self.give_grouped(*((group, body) for body in bodies), **left)

    def give_grouped(self, *bodies: tuple[str | None, Any], **left: Any) -> list[int]:
        records = [
            {
                "messageId": str(number),
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": {"MessageGroupId": group} if group else {},
            }
            for number, (group, body) in enumerate(bodies)
        ]
        answer = app.lambda_handler({"Records": records}, context(**left))
        return [int(each["itemIdentifier"]) for each in answer["batchItemFailures"]]

    @property
    def places(self) -> int:
        return self.stand.log.head().place


def step(seq: int, run: str = "run-1") -> dict[str, Any]:
    now = examples.step(seq, run=run)
    body = examples.step_body(id=now.id, status=now.status)
    body["execution"] = {
        **body["execution"], "arn": now.key.removeprefix("execution:"), "name": run, "seq": seq,
    }  # fmt: skip
    return body


@pytest.fixture
def queue(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A function whose retention reaches back to the examples' times."""
    websocket.prepare(monkeypatch, stand)
    monkeypatch.setenv("RETENTION_HOURS", "1000000")
    monkeypatch.setattr(app, "fleet", lambda: Fleet(None, ("statuswire", "managed")))
    stand.now_ms = composition.now_ms()
    return Queue(stand)


def test_what_a_queue_brings_is_told_to_who_watches(queue: Queue) -> None:
    """In the log, in DynamoDB and over the socket; nothing comes back to the queue."""
    queue.stand.connect("c", watch=["*"])
    queue.stand.told("c")
    assert queue.give(step(1), step(2)) == []
    assert [each["event"]["execution"]["seq"] for each in queue.stand.told("c")] == [1, 2]


def test_a_batch_that_comes_again_is_told_to_who_was_not(queue: Queue) -> None:
    """The function died between the log and the connections."""
    queue.stand.connect("c", watch=["*"])
    queue.stand.told("c")
    composition.status_log().append([examples.step(1)])
    assert queue.give(step(1)) == []
    assert [each["cursor"][-2:] for each in queue.stand.told("c")] == ["-1"]


def test_a_malformed_message_comes_back_alone(queue: Queue) -> None:
    """By receives to the dead letters; what follows it in its group is not taken along there."""
    assert queue.give(step(1), "not ours", step(2)) == [1]
    assert queue.places == 2


def test_a_log_that_does_not_answer_takes_nothing(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole batch is received again."""

    def refuse(batch: Any) -> None:
        raise LogUnavailable("ThrottlingException")

    monkeypatch.setattr(composition.status_log(), "append", refuse)
    assert queue.give(step(1), step(2)) == [0, 1]


def test_what_follows_a_refused_message_in_its_group_comes_back_too(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And other groups go on."""
    append = composition.status_log().append

    def refuse(batch: Any) -> Any:
        if any(event.id == "run-1.2" for event in batch):
            raise LogRefused("ValidationError")
        return append(batch)

    monkeypatch.setattr(composition.status_log(), "append", refuse)
    grouped = [("a", step(1)), ("a", step(2)), ("b", step(1, "run-2")), ("a", step(3))]
    assert queue.give_grouped(*grouped) == [1, 3]
    assert queue.places == 2


def test_a_refused_message_of_a_standard_queue_comes_back_alone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no group."""
    append = composition.status_log().append

    def refuse(batch: Any) -> Any:
        if any(event.id == "run-1.2" for event in batch):
            raise LogRefused("ValidationError")
        return append(batch)

    monkeypatch.setattr(composition.status_log(), "append", refuse)
    assert queue.give(step(2), step(1), step(3), group=None) == [0]


class Ec2:
    """Answers a page at a time, and takes no notice of the tag it is asked for."""

    def __init__(self, tags: dict[str, dict[str, str]]) -> None:
        self._tags = tags

    def describe_instances(self, *, Filters: Any, **more: Any) -> dict[str, Any]:  # noqa: N803
        (asked, tagged) = Filters
        assert tagged == {"Name": "tag:statuswire", "Values": ["managed"]}
        number = int(more.get("NextToken", 0))
        id_ = asked["Values"][number]
        tags = [{"Key": key, "Value": value} for key, value in self._tags[id_].items()]
        answer = {"Reservations": [{"Instances": [{"InstanceId": id_, "Tags": tags}]}]}
        is_last = number + 1 == len(asked["Values"])
        return answer if is_last else {**answer, "NextToken": str(number + 1)}


def test_only_instances_with_the_tag_are_shown(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' events are acknowledged and dropped; a name comes along."""
    mine, other = "i-0123456789abcdef0", "i-11111111"
    ec2 = Ec2({mine: {"statuswire": "managed", "Name": "web"}, other: {"statuswire": "other"}})
    monkeypatch.setattr(app, "fleet", lambda: Fleet(ec2, ("statuswire", "managed")))
    changes = [
        {**examples.instance_change(**{"instance-id": id_}), "id": id_} for id_ in (mine, other)
    ]
    assert queue.give(*changes, group=None) == []
    (entry,) = queue.stand.log.read(queue.stand.log.head(), 0)
    assert (entry.event.instance_id, entry.event.detail) == (mine, {"name": "web"})


def test_events_wait_in_the_queue_while_ec2_does_not_answer(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a standard queue waits behind them."""

    def fail(self: Fleet, batch: Any) -> None:
        raise NotDescribed("RequestLimitExceeded")

    monkeypatch.setattr(Fleet, "shown", fail)
    assert queue.give(examples.instance_change(), group=None) == [0]


def test_who_cannot_be_told_holds_no_message_back(queue: Queue) -> None:
    """It is brought up by the next event, or heartbeat."""
    queue.stand.connect("c", watch=["*"])
    queue.stand.told("c")

    def fail(id_: str, message: dict[str, Any]) -> None:
        raise PostFailed("LimitExceededException")

    queue.stand.sockets.before_post = fail
    assert queue.give(step(1)) == []
    queue.stand.sockets.before_post = lambda id_, message: None
    assert queue.give(step(2)) == []
    assert [each["event"]["execution"]["seq"] for each in queue.stand.told("c")] == [1, 2]


def test_a_function_that_runs_out_of_time_leaves_connections_to_the_next(queue: Queue) -> None:
    """And acknowledges what the log has taken."""
    queue.stand.connect("c", watch=["*"])
    queue.stand.told("c")
    assert queue.give(step(1), left_ms=100) == []
    assert queue.stand.told("c") == []
    assert queue.places == 1
