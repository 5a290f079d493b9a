"""What the doctor makes of queues, policies, rules and permissions."""

import json
from typing import Any

import pytest

from consumer.operator import permissions, policy, queues, rules
from consumer.operator.finding import Level
from consumer.operator.rules import Rule
from consumer.operator.scene import Queue, Scene
from tests.operator.doctor_checks import forget, told
from tests.operator.doctor_stage import arn
from tests.operator.doctor_stage import policy as policy_of

RULE = "arn:aws:events:us-east-1:123456789012:rule/demo-instances"


@pytest.fixture(autouse=True)
def _apart(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)


STATUS = Queue("status", "http://127.0.0.1/1/demo-status.fifo", "STATUSWIRE_QUEUE_URL")
SERVICE = Queue("service", "http://127.0.0.1/1/demo-service", "STATUSWIRE_SERVICE_QUEUE_URL")
DEAD = {"FifoQueue": "true", "MessageRetentionPeriod": "1209600"}


async def judged(judge: queues.Judge, queue: Queue, **found: str) -> list[str]:
    return [each.title for each in await judge(Scene(), queue, found)]


@pytest.mark.parametrize(("count", "told"), [(3, 1), (20, 0), (1000, 1)])
async def test_receives_are_neither_few_nor_many(count: int, told: int) -> None:
    """Few make dead letters of good messages, many hold a run up."""
    given = json.dumps({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": str(count)})
    assert len(await judged(queues.redrive, STATUS, RedrivePolicy=given)) == told


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({}, []),
        ({"FifoQueue": "false"}, ["the dead-letter queue dead is no FIFO queue"]),
        (
            {"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'},
            ["the dead-letter queue dead does not take the status queue's"],
        ),
        (
            {
                "RedriveAllowPolicy": json.dumps(
                    {"redrivePermission": "byQueue", "sourceQueueArns": [arn("other.fifo")]}
                )
            },
            ["the dead-letter queue dead does not take the status queue's"],
        ),
        ({"ApproximateNumberOfMessages": "2"}, ["2 dead letters of the status queue wait"]),
    ],
)
async def test_what_dead_letters_need(
    monkeypatch: pytest.MonkeyPatch, theirs: dict[str, str], told: list[str]
) -> None:
    """A queue of the same kind, that takes them; and somebody who looks at them."""

    async def attributes(_: Scene, url: str) -> dict[str, str]:
        assert url == "http://127.0.0.1/1/dead"
        return DEAD | theirs

    monkeypatch.setattr(Scene, "attributes", attributes)
    ours = {
        "QueueArn": arn("demo-status.fifo"),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn("dead"), "maxReceiveCount": 20}),
    }
    assert await judged(queues.dead_letters, STATUS, **ours) == told


@pytest.mark.parametrize(("chosen", "told"), [("2", 1), ("10", 0), ("300", 1)])
async def test_the_visibility_is_neither_short_nor_long(
    monkeypatch: pytest.MonkeyPatch, chosen: str, told: int
) -> None:
    """It is said once, though there are two queues."""
    monkeypatch.setenv("STATUSWIRE_VISIBILITY_S", chosen)
    assert len(await judged(queues.visibility, STATUS)) == told
    assert await judged(queues.visibility, SERVICE) == []


@pytest.mark.parametrize(
    ("status", "service", "title"),
    [
        ("demo-status.fifo", "demo-service", "the queues belong together"),
        ("demo-status.fifo", "other-service", "the two queues belong to different stacks"),
    ],
)
async def test_both_queues_are_one_stacks(
    monkeypatch: pytest.MonkeyPatch, status: str, service: str, title: str
) -> None:
    """By region, account and name."""

    async def readable(_: Scene) -> list[tuple[Queue, dict[str, str]]]:
        return [(STATUS, {"QueueArn": arn(status)}), (SERVICE, {"QueueArn": arn(service)})]

    monkeypatch.setattr(Scene, "readable", readable)
    assert (await told(queues.pair)).title == title


async def test_a_queue_of_dead_letters_is_none_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The consumer would delete what it holds."""

    async def readable(_: Scene) -> list[tuple[Queue, dict[str, str]]]:
        dead = {"QueueArn": arn("demo-status-dead.fifo"), "RedriveAllowPolicy": "{}"}
        return [(STATUS, dead)]

    monkeypatch.setattr(Scene, "readable", readable)
    assert (await told(queues.pair)).title == "the status queue is one of dead letters"


ANYONE = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "SQS:*"}
OTHERS = {
    **{"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage"},
    "Condition": {"ArnNotEquals": {"aws:SourceArn": [RULE.replace("demo", "other")]}},
}


def test_the_templates_policy_is_well() -> None:
    """TLS only, and the rules may send."""
    given = policy_of("service")
    assert policy.denies_plain_http(given)
    assert policy.may_send(given, RULE)
    assert not policy.open_to_anyone(given)


@pytest.mark.parametrize(
    "given",
    [
        policy_of("status"),
        [*policy_of("service"), OTHERS],
        [{**policy_of("service")[1], "Principal": {"Service": "sns.amazonaws.com"}}],
        [{**policy_of("service")[1], "Action": "sqs:ReceiveMessage"}],
        [{**policy_of("service")[1], "Condition": {"ArnLike": {"aws:SourceArn": "arn:*:x"}}}],
    ],
)
def test_a_rule_that_may_not_send(given: list[dict[str, Any]]) -> None:
    """Not allowed, denied as another's, or for another service, action or rule."""
    assert not policy.may_send(given, RULE)


def test_a_queue_that_is_open_to_anyone() -> None:
    """Without a condition; and that denies nothing to plain HTTP."""
    bounded = {**ANYONE, "Condition": OTHERS["Condition"]}
    assert policy.open_to_anyone([bounded, ANYONE]) == [ANYONE]
    assert not policy.denies_plain_http([ANYONE])
    assert policy.statements(None) == []


async def test_a_rule_of_another_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a rule was made anew by hand."""

    async def ours(_: Scene) -> list[Rule]:
        return [Rule("mine", f"{RULE}-2", enabled=True, pattern={}, target={})]

    monkeypatch.setattr(queues, "rules", ours)
    given = json.dumps({"Statement": policy_of("service")})
    assert await judged(queues.access, SERVICE, Policy=given) == [
        "the rule mine may not send to the service queue"
    ]


# Rules and permissions.


def rule(**target: Any) -> Rule:
    pattern = {"source": ["aws.ec2"], "detail": {"state": ["running"]}}
    return Rule("some", RULE, enabled=True, pattern=pattern, target=target)


async def test_a_rule_that_lets_too_little_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or whose events are lost where they cannot be delivered."""

    async def arn_of(_: Scene) -> str:
        return arn("demo-service")

    async def found(_: Scene) -> list[Rule]:
        return [rule()]

    monkeypatch.setattr(rules, "service_queue_arn", arn_of)
    monkeypatch.setattr(rules, "rules", found)
    executions, instances = [each.run for each in rules.CHECKS]
    async with Scene() as scene:
        assert [each.title for each in await instances(scene)] == [
            "the rule some lets only some events through",
            "the rule some has no dead-letter queue",
        ]
        (missing,) = await executions(scene)
    assert missing.title == "no rule sends aws.states's events to the service queue"


class Simulator:
    """IAM's simulator, and what it was asked."""

    def __init__(self, decision: str) -> None:
        self.decision = decision
        self.asked: dict[str, Any] = {}

    async def simulate_principal_policy(self, **asked: Any) -> dict[str, Any]:
        self.asked = asked
        return {"EvaluationResults": [{"EvalDecision": self.decision}]}


@pytest.mark.parametrize("decision", ["allowed", "implicitDeny"])
async def test_receiving_is_simulated(monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    """For the role of the session; nothing is received."""
    monkeypatch.setenv("STATUSWIRE_QUEUE_URL", STATUS.url)
    simulator = Simulator(decision)

    async def identity(_: Scene) -> dict[str, str]:
        return {"Arn": "arn:aws:sts::123456789012:assumed-role/consumer/i-0123"}

    async def attributes(_: Scene, url: str) -> dict[str, str]:
        return {"QueueArn": arn(url.rsplit("/", 1)[1])}

    async def client(_: Scene, service: str) -> Simulator:
        assert service == "iam"
        return simulator

    monkeypatch.setattr(Scene, "identity", identity)
    monkeypatch.setattr(Scene, "attributes", attributes)
    monkeypatch.setattr(Scene, "client", client)
    found = await told(permissions.receive)
    assert (found.level is Level.OK) == (decision == "allowed")
    assert ("--role-name consumer" in found.fix) == (decision != "allowed")
    assert simulator.asked == {
        "PolicySourceArn": "arn:aws:iam::123456789012:role/consumer",
        "ActionNames": ["sqs:ReceiveMessage"],
        "ResourceArns": [arn("demo-status.fifo")],
    }


async def test_an_accounts_root_is_not_simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no policies, so no decision would mean anything."""
    monkeypatch.setenv("STATUSWIRE_QUEUE_URL", STATUS.url)

    async def identity(_: Scene) -> dict[str, str]:
        return {"Arn": "arn:aws:iam::123456789012:root"}

    async def client(_: Scene, service: str) -> Simulator:
        raise AssertionError(service)

    monkeypatch.setattr(Scene, "identity", identity)
    monkeypatch.setattr(Scene, "client", client)
    assert (await told(permissions.receive)).level is Level.SKIPPED


@pytest.mark.parametrize(
    ("who", "fix"),
    [
        ("arn:aws:iam::123456789012:user/team/ann", "attach-user-policy --user-name ann "),
        ("arn:aws:sts::123456789012:assumed-role/consumer/x", "--role-name consumer "),
        ("arn:aws:iam::123456789012:root", "--role-name <consumer's role> "),
    ],
)
async def test_a_policy_is_attached_to_who_we_are(
    monkeypatch: pytest.MonkeyPatch, who: str, fix: str
) -> None:
    """By the name that IAM knows."""

    async def identity(_: Scene) -> dict[str, str]:
        return {"Arn": who}

    monkeypatch.setattr(Scene, "identity", identity)
    found = await permissions._denied(Scene(), "sqs:DeleteMessage", "queue", "AccessDenied")
    assert found is not None
    assert fix in found.fix


async def test_the_machine_is_told_by_the_queues_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rules cannot be read: as the template names both."""

    async def readable(_: Scene) -> list[tuple[Queue, dict[str, str]]]:
        return [(STATUS, {"QueueArn": arn("demo-status.fifo")})]

    monkeypatch.setattr(Scene, "readable", readable)
    found = await permissions._no_execution(Scene())
    assert found is not None
    assert found.startswith(
        "arn:aws:states:us-east-1:123456789012:execution:demo-standard:statuswire-doctor-"
    )
