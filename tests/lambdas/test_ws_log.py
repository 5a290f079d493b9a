"""The log in DynamoDB: what concurrent functions make of it. Its rule is played by the traces."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from consumer.core.statuses import Verdict
from lambdas.stream.log import LogRefused, LogUnavailable, Trimmed
from lambdas.stream.replica import Replica
from tests.core import examples
from tests.lambdas.stand import LOG, Stand

BOTH = [examples.step(1), examples.step(2, "STARTING")]


class Meddling:
    """A client that lets somebody else write between a read and the write that relies on it."""

    def __init__(self, client: Any, meddle: Callable[[], object]) -> None:
        self._client = client
        self._meddle = meddle
        self.writes = 0

    def transact_write_items(self, **request: Any) -> Any:
        self.writes += 1
        if self.writes == 1:
            self._meddle()
        return self._client.transact_write_items(**request)

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)


class Failing:
    """A client of which one operation fails."""

    def __init__(self, client: Any, operation: str, error: Exception) -> None:
        self._client = client
        self._operation = operation
        self._error = error

    def __getattr__(self, operation: str) -> Any:
        if operation == self._operation:
            return self._fail
        return getattr(self._client, operation)

    def _fail(self, **request: Any) -> Any:
        raise self._error


def cancelled(*codes: str) -> ClientError:
    reasons = [{"Code": code} for code in codes]
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": "x"},
        "CancellationReasons": reasons,
    }
    return ClientError(answer, "TransactWriteItems")


def places(stand: Stand) -> list[int]:
    return [entry.place for entry in stand.open_log().read(stand.log.head(), 0)]


def test_an_event_that_two_functions_get_is_taken_once(stand: Stand) -> None:
    """The one that writes second finds it there, and judges once more."""
    client = Meddling(stand.client, lambda: stand.log.append(BOTH[:1]))
    (outcome,) = stand.open_log(client).append(BOTH[:1])
    assert (outcome.verdict, client.writes) == (Verdict.REPEAT, 1)
    assert places(stand) == [1]


def test_a_notification_that_two_functions_get_is_taken_once(stand: Stand) -> None:
    """By its id, since it has no number."""
    told = examples.decode(examples.instance_change())
    (outcome,) = stand.open_log(Meddling(stand.client, lambda: stand.log.append([told]))).append(
        [told]
    )
    assert outcome.verdict is Verdict.REPEAT
    assert stand.log.head().place == 1


def test_places_have_no_holes_whoever_writes(stand: Stand) -> None:
    """Entries of different runs share the one head; who loses it counts on from the winner's."""
    stand.log.append([examples.step(1, run="run-0")])
    client = Meddling(stand.client, lambda: stand.log.append([examples.step(1, run="run-2")]))
    stand.open_log(client).append(BOTH)
    assert client.writes == 2
    assert places(stand) == [1, 2, 3, 4]


def test_an_event_that_was_overtaken_is_late(stand: Stand) -> None:
    """Newest wins, though the older one was judged when nothing newer stood there."""
    client = Meddling(stand.client, lambda: stand.log.append(BOTH[1:]))
    (outcome,) = stand.open_log(client).append(BOTH[:1])
    assert outcome.verdict is Verdict.LATE
    (newest,) = stand.log.newest(stand.log.head().epoch)
    assert newest.event.status == "STARTING"


def test_a_confirmation_overwrites_nothing_newer(stand: Stand) -> None:
    """It appends nothing, so its key alone can tell that it was judged by what stands no more."""
    stand.log.append([examples.step(1, "SUCCEEDED")])
    told = examples.decode(examples.execution_change(status="SUCCEEDED", stopDate=1767225609000))
    again = examples.step_body(id="again", status="STARTING", time="2026-01-01T00:01:00.000Z")
    again["execution"]["redrive"] = 1
    client = Meddling(stand.client, lambda: stand.log.append([examples.decode(again)]))
    stand.open_log(client).append([told])
    assert client.writes == 2
    (newest,) = stand.log.newest(stand.log.head().epoch)
    assert newest.event.status == "STARTING"


def test_the_first_of_two_that_begin_a_log_gives_it_its_epoch(stand: Stand) -> None:
    """Whoever comes second goes on in that one."""
    one, other = stand.open_log(), stand.open_log()
    assert one.head() == other.head()
    assert one._begin() == one.head()


def test_a_log_that_is_throttled_takes_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so, after some tries."""
    monkeypatch.setattr("lambdas.stream.log.WAIT_S", (0.0,))
    error = cancelled("None", "ThrottlingError")
    with pytest.raises(LogUnavailable):
        stand.open_log(Failing(stand.client, "transact_write_items", error)).append(BOTH)
    assert places(stand) == []


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        (cancelled("None", "ValidationError"), LogRefused),
        (ClientError({"Error": {"Code": "ValidationException"}}, "x"), LogRefused),
        (ClientError({"Error": {"Code": "InternalServerError"}}, "x"), LogUnavailable),
        (ConnectTimeoutError(endpoint_url="x"), LogUnavailable),
    ],
)
def test_what_refuses_a_batch_is_told_from_what_is_away(
    stand: Stand, error: Exception, meant: type[Exception]
) -> None:
    """Only the second is worth trying again."""
    with pytest.raises(meant):
        stand.open_log(Failing(stand.client, "transact_write_items", error)).append(BOTH)


def test_a_hole_is_never_read_over(stand: Stand) -> None:
    """DynamoDB deletes what has expired when it likes, in no order."""
    stand.log.append([examples.step(seq) for seq in (1, 2, 3)])
    stand.client.delete_item(TableName=LOG, Key={"pk": "entry", "sk": f"{2:018d}"})
    with pytest.raises(Trimmed):
        places(stand)


def test_a_replica_is_brought_up_by_what_came_since(stand: Stand) -> None:
    """What stands is read once; an entry after it is applied to it."""
    stand.log.append(BOTH[:1])
    replica = Replica(stand.log)
    assert [entry.place for entry in replica.matching(["*"])[1]] == [1]
    stand.open_log().append([BOTH[1], examples.step(1, run="run-2")])
    stand.log._client = Failing(stand.client, "scan", AssertionError())
    head, found = replica.matching(["*"])
    assert (head.place, [entry.place for entry in found]) == (3, [2, 3])


def test_a_replica_begins_again_in_a_new_epoch(stand: Stand) -> None:
    """Of which it knows nothing."""
    stand.log.append(BOTH)
    replica = Replica(stand.log)
    replica.matching(["*"])
    update = {"TableName": LOG, "Key": {"pk": "head", "sk": "-"}}
    stand.client.update_item(
        **update, UpdateExpression="SET epoch = :e", ExpressionAttributeValues={":e": "next"}
    )
    head, found = replica.matching(["*"])
    assert head.epoch == "next"
    assert [entry.epoch for entry in found] == ["next"]
