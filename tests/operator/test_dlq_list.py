"""`statuswire dlq list` and `show`, against moto."""

import json
from collections.abc import Iterator

import pytest

from tests.core.examples import ARN, INSTANCE
from tests.operator.dlq_stage import Stage, change, staged, step

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]run\u202e\x9b2J\r\x7f"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(monkeypatch) as stage:
        yield stage


def test_each_dead_letter_is_listed_with_its_reason(stage: Stage) -> None:
    """A malformed one names the field and not its value; a well-formed one says what to do."""
    stage.bury([step(1, status="SECRET"), step(2), "not JSON"])
    status, service = stage.told("list")
    letters = {each["group"]: each for each in status["letters"]}
    assert letters["g-0"]["reason"] == "malformed: status: not an allowed value"
    assert letters["g-1"]["reason"] == "well-formed: redrive it"
    assert letters["g-2"]["reason"] == "malformed: body: not a JSON object"
    assert [letters[f"g-{n}"]["well_formed"] for n in range(3)] == [False, True, False]
    assert "SECRET" not in json.dumps(status)
    assert (status["visible"], status["is_whole"], service["letters"]) == (3, True, [])


def test_a_dead_letter_is_told_with_whom_it_is_about(stage: Stage) -> None:
    """Execution, instance and status where the body can be decoded, and what SQS knows."""
    stage.bury([step(1)])
    (letter,) = stage.told("list", "--queue", "status")[0]["letters"]
    assert (letter["execution"], letter["instance_id"]) == (ARN, INSTANCE)
    assert (letter["status"], letter["group"], letter["queue"]) == ("CHECKING", "g-0", "status")
    assert letter["receives"] >= 3, "two before it was given up, and this look"
    assert letter["sent"].endswith("Z")


def test_what_eventbridge_could_not_deliver_says_why(stage: Stage) -> None:
    """EventBridge tells it in the message's attributes."""
    stage.fail_delivery(
        change(), ERROR_CODE="NO_PERMISSIONS", ERROR_MESSAGE="denied", RULE_ARN="arn:rule"
    )
    (letter,) = stage.told("list", "--queue", "service")[0]["letters"]
    assert "EventBridge could not deliver it: NO_PERMISSIONS: denied" in letter["reason"]
    assert letter["eventbridge"]["RULE_ARN"] == "arn:rule"
    assert letter["well_formed"]


def test_a_look_leaves_everything_where_it_is(stage: Stage) -> None:
    """What was looked at is visible again at once."""
    stage.bury([step(n) for n in range(12)])
    first, again = (stage.told("list")[0] for _ in range(2))
    assert {each["id"] for each in first["letters"]} == {each["id"] for each in again["letters"]}
    assert len(again["letters"]) == 12
    assert (stage.count(stage.status_dead), stage.in_flight(stage.status_dead)) == (12, 0)


def test_a_look_is_given_back_when_it_breaks_off(stage: Stage) -> None:
    """A throttled receive after a good one hides nothing."""
    stage.bury([step(n) for n in range(12)])
    seen = iter([None])

    def refuse_from_the_second_on() -> None:
        if next(seen, "over") == "over":
            stage.refusals["ReceiveMessage"].append("OverLimit")

    stage.before["ReceiveMessage"] = refuse_from_the_second_on
    (told,) = stage.told("list", "--queue", "status", exit_code=1)
    assert "OverLimit" in told["error"]
    assert (stage.count(stage.status_dead), stage.in_flight(stage.status_dead)) == (12, 0)


def test_no_more_are_looked_at_than_the_limit(stage: Stage) -> None:
    """The count of all of them stands beside."""
    stage.bury([step(n) for n in range(13)])
    status = stage.told("list", "--limit", "11")[0]
    assert (len(status["letters"]), status["visible"], status["is_whole"]) == (11, 13, False)


def test_what_is_behind_others_of_its_group_is_owned_up_to(stage: Stage) -> None:
    """SQS shows ten of a message group at most while none of them is deleted."""
    stage.bury([step(n) for n in range(12)], group="one")
    status = stage.told("list", "--queue", "status")[0]
    assert (len(status["letters"]), status["visible"], status["is_whole"]) == (10, 12, False)
    assert "behind others of their message group" in stage.run("list").stdout


def test_the_table_has_a_line_per_dead_letter(stage: Stage) -> None:
    """With the beginning of its id, which `show` takes."""
    stage.bury([step(1), "{"])
    letters = stage.told("list", "--queue", "status")[0]["letters"]
    printed = stage.run("list").stdout
    for letter in letters:
        (line,) = (line for line in printed.splitlines() if line.startswith(letter["id"][:8]))
        assert letter["reason"] in line
    assert "service: about 0 in" in printed


@pytest.mark.parametrize("words", [["list"], ["redrive", "--dry-run"], ["show", ""]])
def test_nothing_of_a_message_reaches_the_terminal_raw(stage: Stage, words: list[str]) -> None:
    """Escape sequences and reordering are escaped; what looks like markup is text."""
    run = {"arn": ARN, "name": HOSTILE, "machine": "standard", "seq": 1, "redrive": 0}
    stage.bury([step(1, execution=run)])
    stage.fail_delivery(change(), ERROR_CODE="X", ERROR_MESSAGE=HOSTILE.replace("\x7f", ""))
    printed = stage.run(*words).stdout
    assert all(each.isprintable() or each == "\n" for each in printed)
    assert r"\x1b[31m[red]run\u202e" in printed


def test_one_is_shown_whole(stage: Stage) -> None:
    """By the beginning of its id: body, attributes, and what SQS says."""
    body = json.dumps(step(1, status="SECRET"), indent=1)
    stage.bury([body])
    stage.fail_delivery(change(), ERROR_CODE="NO_PERMISSIONS")
    letter = stage.told("list")[0]["letters"][0]
    shown = stage.told("show", letter["id"][:8])
    assert [len(each["letters"]) for each in shown] == [1, 0]
    assert shown[0]["letters"][0]["body"] == body
    assert shown[0]["letters"][0]["system"]["MessageGroupId"] == "g-0"
    printed = stage.run("show", letter["id"][:8]).stdout
    assert '   "status": "SECRET"' in printed
    assert "NO_PERMISSIONS" not in printed


def test_one_that_is_not_there_is_said_to_be_missing(stage: Stage) -> None:
    """With the reasons why it may only seem so."""
    stage.bury([step(1)])
    result = stage.run("show", "zzz\x1b[0m")
    assert result.exit_code == 1
    assert r"begins with zzz\x1b[0m: another may hold it" in result.stderr


def test_a_queue_that_refuses_does_not_hide_the_other(stage: Stage) -> None:
    """The missing permission is named, and the exit code tells."""
    stage.fail_delivery(change(), ERROR_CODE="NO_PERMISSIONS")
    stage.refusals["ReceiveMessage"].append("AccessDeniedException")
    status, service = stage.told("list", exit_code=1)
    dead = stage.arn(stage.status_dead)
    assert status["error"] == f"sqs:ReceiveMessage on {dead} is not allowed"
    assert len(service["letters"]) == 1


def test_what_cannot_be_given_back_is_said(stage: Stage) -> None:
    """With the missing permission, and for how long others do not see it."""
    stage.bury([step(1)])
    stage.refusals["ChangeMessageVisibilityBatch"].append("AccessDeniedException")
    result = stage.run("list")
    assert result.exit_code == 1
    assert "sqs:ChangeMessageVisibility on" in result.stderr
    assert "hidden for 60 s" in result.stderr
    assert "g-0" in result.stdout


def test_a_queue_without_dead_letters_is_said_to_have_none(stage: Stage) -> None:
    """The queue's own policy decides, not its name."""
    stage.sqs.set_queue_attributes(QueueUrl=stage.status, Attributes={"RedrivePolicy": ""})
    result = stage.run("list", "--queue", "status")
    assert result.exit_code == 1
    assert "has no dead-letter queue" in result.stderr


def test_a_queue_that_is_not_there_is_said_to_be_missing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to look at."""
    monkeypatch.setenv("STATUSWIRE_SERVICE_QUEUE_URL", f"{stage.service}-not")
    result = stage.run("list", "--queue", "service")
    assert result.exit_code == 1
    assert "look at the region, the account and STATUSWIRE_…QUEUE_URL" in result.stderr


def test_bad_settings_are_listed_and_nothing_is_asked(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage and settings have an exit code of their own."""
    monkeypatch.setenv("STATUSWIRE_QUEUE_URL", stage.service)
    monkeypatch.delenv("STATUSWIRE_SERVICE_QUEUE_URL")
    result = stage.run("list")
    assert result.exit_code == 2
    assert "STATUSWIRE_QUEUE_URL: " in result.stderr
    assert "STATUSWIRE_SERVICE_QUEUE_URL: is required" in result.stderr
    assert stage.calls == []


@pytest.mark.parametrize(
    "words", [["list", "--queue", "other"], ["list", "--limit", "0"], ["purge"], ["redrive", "-x"]]
)
def test_wrong_usage_has_exit_code_2(stage: Stage, words: list[str]) -> None:
    """Purging, too, wants its queue named."""
    assert stage.run(*words).exit_code == 2
    assert stage.calls == []
