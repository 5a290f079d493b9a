"""`statuswire dlq redrive`, against moto and a message move task of our own."""

import json
import signal
from collections.abc import Iterator
from subprocess import Popen
from typing import Any

import pytest

from consumer.operator.dead_letters import Pace
from tests.operator.dlq_stage import Stage, change, staged, step


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(monkeypatch) as stage:
        yield stage


def ids(messages: list[Any]) -> list[str]:
    """Of events, sorted."""
    return sorted(json.loads(message["Body"])["id"] for message in messages)


def test_what_is_well_formed_goes_back_and_the_rest_stays(stage: Stage) -> None:
    """One by one, since a move task could not choose; body and group are the original's."""
    stage.bury([step(1), "not JSON", step(2)])
    (told,) = stage.told("redrive", "--queue", "status", "--rate", "500")
    assert (told["way"], told["done"], told["kept"], told["failed"]) == ("by hand", 2, 1, {})
    back = stage.drain(stage.status)
    assert {each["Attributes"]["MessageGroupId"]: json.loads(each["Body"]) for each in back} == {
        "g-0": step(1),
        "g-2": step(2),
    }
    assert [each["Body"] for each in stage.drain(stage.status_dead)] == ["not JSON"]


def test_sqs_does_not_take_it_for_the_original(stage: Stage) -> None:
    """Its deduplication id is the dead letter's own id, which the sender never used."""
    stage.bury([step(1), "not JSON"])
    (told,) = stage.told("redrive", "--queue", "status", "--dry-run")
    stage.told("redrive", "--queue", "status")
    (back,) = stage.drain(stage.status)
    assert back["Attributes"]["MessageDeduplicationId"] == told["letters"][0]["id"]


def test_what_eventbridge_could_not_deliver_goes_back_without_its_excuse(stage: Stage) -> None:
    """The next look would take it for a new failure; the trace and other attributes stay."""
    stage.fail_delivery("not JSON", ERROR_CODE="X")
    stage.fail_delivery(change(), ERROR_CODE="X", RULE_ARN="arn:rule", other="kept")
    (told,) = stage.told("redrive", "--queue", "service")
    assert (told["way"], told["done"], told["kept"]) == ("by hand", 1, 1)
    (back,) = stage.drain(stage.service)
    assert list(back["MessageAttributes"]) == ["other"]
    assert json.loads(back["Body"]) == change()


def test_the_trace_goes_back_too(stage: Stage) -> None:
    """X-Ray follows a message by it."""
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793"
    stage.sqs.send_message(
        QueueUrl=stage.service_dead,
        MessageBody=json.dumps(change()),
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    stage.told("redrive", "--queue", "service", "--by-hand")
    (back,) = stage.drain(stage.service)
    assert back["Attributes"]["AWSTraceHeader"] == trace


def test_all_of_a_queue_go_by_a_move_task(stage: Stage) -> None:
    """Where all were seen and are well-formed; at the rate that was asked for."""
    stage.bury([step(n) for n in range(3)])
    stage.per_look = 2
    (told,) = stage.told("redrive", "--queue", "status", "--rate", "7")
    assert (told["way"], told["done"], told["interrupted"]) == ("move task", 3, False)
    assert stage.asked("StartMessageMoveTask") == [
        {
            "SourceArn": stage.arn(stage.status_dead),
            "DestinationArn": stage.arn(stage.status),
            "MaxNumberOfMessagesPerSecond": 7,
        }
    ]
    assert ids(stage.drain(stage.status)) == ["step-0", "step-1", "step-2"]


def test_both_queues_are_redriven_unless_one_is_named(stage: Stage) -> None:
    """Each by what serves it."""
    stage.bury([step(1), "not JSON"])
    stage.fail_delivery(change(), ERROR_CODE="X")
    assert [each["way"] for each in stage.told("redrive")] == ["by hand", "move task"]
    assert (stage.count(stage.status), stage.count(stage.service)) == (1, 1)


def test_what_could_not_be_seen_is_not_moved_unseen(stage: Stage) -> None:
    """Behind ten well-formed ones of a group may be a malformed one."""
    stage.bury([*(step(n) for n in range(10)), "not JSON"], group="one")
    (told,) = stage.told("redrive", "--queue", "status", "--rate", "500")
    assert (told["way"], told["done"], told["kept"]) == ("by hand", 10, 1)


def test_what_another_holds_is_not_moved_unseen(stage: Stage) -> None:
    """A message in flight may be malformed."""
    stage.bury([step(1)])
    stage.bury(["not JSON"], group="held")
    messages = stage.sqs.receive_message(
        QueueUrl=stage.status_dead, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    )["Messages"]
    (other,) = (m for m in messages if m["Attributes"]["MessageGroupId"] != "held")
    stage.sqs.change_message_visibility(
        QueueUrl=stage.status_dead, ReceiptHandle=other["ReceiptHandle"], VisibilityTimeout=0
    )
    assert stage.told("redrive", "--queue", "status")[0]["way"] == "by hand"


def test_all_means_malformed_ones_too(stage: Stage) -> None:
    """It is SQS that moves them then."""
    stage.bury([step(1), "not JSON"])
    (told,) = stage.told("redrive", "--queue", "status", "--all")
    assert (told["way"], told["done"]) == ("move task", 2)
    assert stage.count(stage.status) == 2


@pytest.mark.parametrize("words", [[], ["--all"], ["--by-hand"]])
def test_a_dry_run_moves_nothing(stage: Stage, words: list[str]) -> None:
    """It tells what would go, and how."""
    stage.bury([step(1), "not JSON"])
    (told,) = stage.told("redrive", "--queue", "status", "--dry-run", *words)
    assert len(told["letters"]) == (2 if words == ["--all"] else 1)
    assert (stage.count(stage.status), stage.count(stage.status_dead)) == (0, 2)
    assert {name for name, _ in stage.calls} == {
        *("GetQueueAttributes", "ReceiveMessage", "ChangeMessageVisibilityBatch")
    }
    assert "would go back" in stage.run("redrive", "--dry-run", *words).stdout


def test_nothing_to_put_back_is_no_failure(stage: Stage) -> None:
    """An empty queue, and one of malformed messages alone."""
    stage.bury(["not JSON"])
    status, service = stage.told("redrive")
    assert [status["way"], service["way"]] == ["none", "none"]
    assert stage.count(stage.status_dead) == 1


def test_what_stays_is_counted_where_nothing_goes(stage: Stage) -> None:
    """Or the operator would take the queue for empty."""
    stage.bury(["not JSON"])
    (told,) = stage.told("redrive", "--queue", "status")
    assert (told["way"], told["done"], told["kept"]) == ("none", 0, 1)


def test_malformed_ones_keep_nobody_behind_them(stage: Stage) -> None:
    """They hold their message group up while they are looked at: hence more passes than one."""
    stage.bury(["not JSON", *(step(n) for n in range(25))], group="one")
    (told,) = stage.told("redrive", "--queue", "status", "--rate", "500")
    assert (told["done"], told["kept"]) == (25, 1)


def test_what_becomes_a_dead_letter_again_does_not_go_round_for_ever(stage: Stage) -> None:
    """A consumer that refuses it has it back here within a second."""
    stage.bury([step(1), "not JSON"])
    stage.before["DeleteMessage"] = stage.give_up
    (told,) = stage.told("redrive", "--queue", "status", "--all", "--by-hand", "--rate", "500")
    assert told["done"] == 2
    assert stage.count(stage.status_dead) == 2


def test_ended_between_send_and_delete_nothing_is_lost(stage: Stage) -> None:
    """It is in both queues then; the next run sends nothing new and finishes."""
    stage.bury([step(1), "not JSON"])
    children: list[Popen[str]] = []
    stage.before["DeleteMessage"] = lambda: children[0].kill()  # noqa: PLW0108  # not there yet
    stage.refusals["DeleteMessage"].append("NeverArrived")
    children.append(stage.start("redrive", "--queue", "status"))
    children[0].communicate(timeout=60)
    assert children[0].returncode == -signal.SIGKILL
    assert stage.count(stage.status) == 1, "sent"
    del stage.before["DeleteMessage"]
    stage.end_visibility_timeouts(stage.status_dead)
    assert stage.count(stage.status_dead) == 2, "not deleted"
    assert stage.told("redrive", "--queue", "status")[0]["done"] == 1
    assert ids(stage.drain(stage.status)) == ["step-1"]
    assert [each["Body"] for each in stage.drain(stage.status_dead)] == ["not JSON"]


def test_a_delete_that_fails_is_told_and_the_rest_goes_on(stage: Stage) -> None:
    """That one is there twice; redriven again, it is gone."""
    stage.bury([step(1), step(2), "not JSON"])
    stage.refusals["DeleteMessage"].append("ReceiptHandleIsInvalid")
    (told,) = stage.told("redrive", "--queue", "status", "--rate", "500", exit_code=1)
    assert (told["done"], told["kept"]) == (1, 2)
    assert "ReceiptHandleIsInvalid" in next(iter(told["failed"].values()))
    stage.told("redrive", "--queue", "status")
    assert ids(stage.drain(stage.status)) == ["step-1", "step-2"]
    assert stage.count(stage.status_dead) == 1


def test_being_throttled_is_waited_out(stage: Stage) -> None:
    """The SDK tries again, and SQS takes a repeat for one."""
    stage.bury([step(1), "not JSON"])
    stage.refusals["SendMessage"].extend(["RequestThrottled"] * 2)
    (told,) = stage.told("redrive", "--queue", "status")
    assert (told["done"], len(stage.asked("SendMessage"))) == (1, 3)


def test_who_may_not_send_is_told_who_may(stage: Stage) -> None:
    """After three refusals the others are not tried; all stay, visible."""
    stage.bury([*(step(n) for n in range(5)), "not JSON"])
    stage.refusals["SendMessage"].extend(["AccessDeniedException"] * 9)
    result = stage.run("redrive", "--queue", "status", "--rate", "500")
    assert result.exit_code == 1
    assert f"sqs:SendMessage on {stage.arn(stage.status)} is not allowed" in result.stdout
    assert "RedriveRoleArn" in result.stdout
    assert len(stage.asked("SendMessage")) == 3
    assert (stage.count(stage.status_dead), stage.in_flight(stage.status_dead)) == (6, 0)


def test_an_endpoint_without_move_tasks_is_told_from_a_refusal(stage: Stage) -> None:
    """Emulators lack them; by hand it works there too."""
    stage.bury([step(1)])
    stage.refusals["ListMessageMoveTasks"].append("UnknownOperationException")
    result = stage.run("redrive", "--queue", "status")
    assert (result.exit_code, "add --by-hand" in result.stderr) == (1, True)
    (told,) = stage.told("redrive", "--queue", "status", "--by-hand")
    assert (told["way"], told["done"]) == ("by hand", 1)


def test_a_task_that_failed_tells_why(stage: Stage) -> None:
    """SQS's reason, and how far it came."""
    stage.bury([step(1)])
    stage.before["ListMessageMoveTasks"] = lambda: stage.task.update(
        {"Status": "FAILED", "FailureReason": "AccessDenied"} if stage.task else {}
    )
    result = stage.run("redrive", "--queue", "status")
    assert result.exit_code == 1
    assert "SQS gave up after 0 messages: AccessDenied" in result.stderr


def test_losing_sight_of_a_task_is_not_its_end(stage: Stage) -> None:
    """SQS works on, and the operator is told so."""
    stage.bury([step(1)])
    stage.before["ListMessageMoveTasks"] = lambda: stage.refusals["ListMessageMoveTasks"].extend(
        ["AccessDeniedException"] if stage.task else []
    )
    result = stage.run("redrive", "--queue", "status")
    assert result.exit_code == 1
    assert "sqs:ListMessageMoveTasks on" in result.stderr
    assert "the task goes on" in result.stderr


def test_a_task_under_way_is_left_alone(stage: Stage) -> None:
    """SQS has one per queue at a time."""
    stage.bury([step(1)])
    stage.task = {"TaskHandle": "theirs", "Status": "CANCELLING", "StartedTimestamp": 0}
    result = stage.run("redrive", "--queue", "status")
    assert (result.exit_code, "is under way" in result.stderr) == (1, True)
    assert stage.asked("StartMessageMoveTask") == []


def test_an_older_task_is_not_taken_for_ours(stage: Stage) -> None:
    """The newest that SQS lists may for a moment be the one before."""
    stage.bury([step(1)])
    old = {"Status": "COMPLETED", "StartedTimestamp": 0, "ApproximateNumberOfMessagesMoved": 9}
    stage.task = dict(old)
    looks = iter([old, old])  # before the start, and once more after it
    ours: list[Any] = []

    def list_late() -> None:
        if (shown := next(looks, None)) is not None:
            ours.append(stage.task)
            stage.task = dict(shown)
        elif ours:
            stage.task = ours[-1]
            ours.clear()

    stage.before["ListMessageMoveTasks"] = list_late
    assert stage.told("redrive", "--queue", "status")[0]["done"] == 1


def test_an_interrupt_cancels_the_move_task(stage: Stage) -> None:
    """And tells how many had gone."""
    stage.bury([step(n) for n in range(4)])
    stage.per_look = 1
    children: list[Popen[str]] = []

    def interrupt() -> None:
        if stage.task.get("ApproximateNumberOfMessagesMoved") == 1:
            stage.per_look = 0
            children[0].send_signal(signal.SIGINT)

    stage.before["ListMessageMoveTasks"] = interrupt
    children.append(stage.start("redrive", "--queue", "status", "--json"))
    out, _ = children[0].communicate(timeout=60)
    (told,) = json.loads(out)["queues"]
    assert (children[0].returncode, told["interrupted"]) == (1, True)
    assert stage.asked("CancelMessageMoveTask") == [{"TaskHandle": "task"}]
    assert stage.count(stage.status) + stage.count(stage.status_dead) == 4
    assert told["done"] == stage.count(stage.status) < 4


def test_an_interrupt_by_hand_gives_back_what_is_held(stage: Stage) -> None:
    """And tells how many had gone."""
    stage.bury([*(step(n) for n in range(4)), "not JSON"])
    children: list[Popen[str]] = []

    def interrupt() -> None:
        if stage.count(stage.status) == 1:
            children[0].send_signal(signal.SIGINT)

    stage.before["SendMessage"] = interrupt
    children.append(stage.start("redrive", "--queue", "status", "--rate", "1", "--json"))
    out, _ = children[0].communicate(timeout=60)
    (told,) = json.loads(out)["queues"]
    assert (children[0].returncode, told["interrupted"]) == (1, True)
    assert 1 <= told["done"] < 4
    assert stage.in_flight(stage.status_dead) == 0
    assert stage.count(stage.status_dead) == 5 - told["done"]


async def test_a_pace_is_kept_on_average_and_not_caught_up_with() -> None:
    """Four a second: a slow send costs its own time, and no burst makes up for it."""
    now_s, slept_s = 100.0, []

    async def sleep(wait_s: float) -> None:
        nonlocal now_s
        slept_s.append(wait_s)
        now_s += wait_s

    pace = Pace(4, lambda: now_s, sleep)
    for _ in range(3):
        await pace.wait()
    assert slept_s == [0.25, 0.25]
    now_s += 10
    for _ in range(3):
        await pace.wait()
    assert slept_s == [0.25, 0.25, 0.25, 0.25]
