"""Who may do what, after the SAM transform: roles, trust, queues' and secret's policies."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.conftest import ROOT
from tests.template.iam import Caller, may
from tests.template.synthesis import ACCOUNT, REGION, Deployed, as_list, deploy

HERE = f"{REGION}:{ACCOUNT}"
# Actions that IAM knows no resource for: service authorization reference, "Actions defined by …".
WITHOUT_RESOURCE = {
    "ec2:DescribeInstances": "Amazon EC2: the column of resources is empty",
    "logs:CreateLogDelivery": "CloudWatch Logs: log delivery has no resource",
    "logs:GetLogDelivery": "the same",
    "logs:UpdateLogDelivery": "the same",
    "logs:DeleteLogDelivery": "the same",
    "logs:ListLogDeliveries": "the same",
    "logs:PutResourcePolicy": "CloudWatch Logs: a policy of the account",
    "logs:DescribeResourcePolicies": "the same",
    "logs:DescribeLogGroups": "Step Functions guide, Logging to CloudWatch: asks for all",
    "xray:PutTraceSegments": "AWS X-Ray: a trace is no resource",
    "xray:PutTelemetryRecords": "the same",
    "xray:GetSamplingRules": "AWS X-Ray: the account's rules",
    "xray:GetSamplingTargets": "the same",
}
TRACING = {(action, "*") for action in WITHOUT_RESOURCE if action.startswith("xray:")}
DELIVERY = {(action, "*") for action in WITHOUT_RESOURCE if action.startswith("logs:")}
MACHINE = f"arn:aws:states:{HERE}:stateMachine:statuswire"
RUNS = f"arn:aws:states:{HERE}:execution:statuswire-standard:*"
STATUS, SERVICE = (
    f"arn:aws:sqs:{HERE}:statuswire-status.fifo",
    f"arn:aws:sqs:{HERE}:statuswire-service",
)
GROUP = f"arn:aws:logs:{HERE}:log-group:/aws/lambda/statuswire"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:statuswire-SigningKey-0A1B2C3D4E5F-AbCdEf"
INSTANCES = f"arn:aws:ec2:{HERE}:instance/*"
KEY = f"arn:aws:kms:{HERE}:key/1"
ROLES = {
    "MachineRole": {
        ("sqs:SendMessage", STATUS),
        ("ec2:DescribeInstances", "*"),
        ("ec2:StartInstances", INSTANCES),
        ("ec2:StopInstances", INSTANCES),
        *(DELIVERY | TRACING),
    },
    "RestApiRole": {
        ("states:StartSyncExecution", f"{MACHINE}-express"),
        ("states:StartExecution", f"{MACHINE}-standard"),
    },
    "ExecutionsRole": {
        ("states:DescribeExecution", RUNS),
        ("logs:CreateLogStream", f"{GROUP}-executions:*"),
        ("logs:PutLogEvents", f"{GROUP}-executions:*"),
        *TRACING,
    },
    "WatchTokensRole": {
        ("secretsmanager:GetSecretValue", SECRET),
        ("logs:CreateLogStream", f"{GROUP}-watch-tokens:*"),
        ("logs:PutLogEvents", f"{GROUP}-watch-tokens:*"),
        *TRACING,
    },
    "ApiLogRole": set(),  # AWS's own policy for it, by name
}
# The consumer's calls, by the action that IAM checks for each.
CONSUMER_CALLS = {
    "sqs:ReceiveMessage": {"receive_message"},
    "sqs:DeleteMessage": {"delete_message_batch"},
    "sqs:ChangeMessageVisibility": {"change_message_visibility_batch"},
    "sqs:GetQueueAttributes": {"get_queue_attributes"},
    "states:DescribeExecution": {"describe_execution"},
    "ec2:DescribeInstances": {"describe_instances"},
    "secretsmanager:GetSecretValue": {"get_secret_value"},
}
ROLE = f"arn:aws:iam::{ACCOUNT}:role"
RULE = f"arn:aws:events:{HERE}:rule"


def pairs(statements: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {
        (action, resource)
        for statement in statements
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


@pytest.fixture(scope="session")
def guarded(synthesized: dict[str, Any]) -> Deployed:
    """The stack with every role that a parameter can name, and a volume key."""
    return deploy(
        synthesized,
        ConsumerRoleArn=f"{ROLE}/consumer",
        RedriveRoleArn=f"{ROLE}/redrive",
        VolumeKeyArns=[KEY],
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_exactly_this(deployed: Deployed, role: str) -> None:
    """Every action on every resource, of all policies on the role."""
    assert pairs(list(deployed.grants(role))) == ROLES[role]


def test_there_is_no_other_role(deployed: Deployed) -> None:
    """A machine, a function or an API that SAM gave a role of its own would add one."""
    assert deployed.of_type("AWS::IAM::Role").keys() == ROLES.keys()
    assert deployed.of_type("AWS::IAM::Policy") == {}


def every_statement(stack: Deployed) -> Iterator[dict[str, Any]]:
    for role in stack.of_type("AWS::IAM::Role"):
        yield from stack.grants(role)
    for policy in stack.of_type("AWS::IAM::ManagedPolicy"):
        yield from stack.policy(policy)


def test_an_action_is_named_whole_and_a_resource_wherever_iam_knows_one(
    guarded: Deployed,
) -> None:
    """No `*` in an action, and alone as a resource only where the table says why."""
    for statement in every_statement(guarded):
        actions = as_list(statement["Action"])
        assert not [action for action in actions if "*" in action]
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        if "*" in as_list(statement["Resource"]):
            assert set(actions) <= WITHOUT_RESOURCE.keys()


def test_instances_are_started_and_stopped_by_their_tag(deployed: Deployed) -> None:
    """The one statement that lets anyone act on EC2 asks for the tag."""
    acting = [s for s in every_statement(deployed) if "ec2:StartInstances" in s["Action"]]
    tagged = {"StringEquals": {"aws:ResourceTag/statuswire": "managed"}}
    assert {str(s["Condition"]) for s in acting} == {str(tagged)}


def test_a_volume_key_is_used_by_ec2_alone(guarded: Deployed, deployed: Deployed) -> None:
    """Amazon EBS user guide, "Requirements for Amazon EBS encryption": a grant, for EC2."""
    assert not [s for s in every_statement(deployed) if "kms:CreateGrant" in s["Action"]]
    assert ("kms:CreateGrant", KEY) in pairs(list(guarded.grants("MachineRole")))
    (statement,) = guarded.policy("MachineMayUseVolumeKeysPolicy")
    assert statement["Condition"] == {
        "Bool": {"kms:GrantIsForAWSResource": "true"},
        "StringEquals": {"kms:ViaService": f"ec2.{REGION}.amazonaws.com"},
    }


def test_each_role_trusts_one_service(deployed: Deployed) -> None:
    """And nobody else; only Step Functions sends the keys that a condition could ask for."""
    trusted = {}
    for name, role in deployed.of_type("AWS::IAM::Role").items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Action"] == "sts:AssumeRole"
        assert ("Condition" in statement) == (name == "MachineRole")
        trusted[name] = statement["Principal"]
    assert trusted == {
        "MachineRole": {"Service": "states.amazonaws.com"},
        "RestApiRole": {"Service": "apigateway.amazonaws.com"},
        "ApiLogRole": {"Service": "apigateway.amazonaws.com"},
        "ExecutionsRole": {"Service": "lambda.amazonaws.com"},
        "WatchTokensRole": {"Service": "lambda.amazonaws.com"},
    }


def test_step_functions_takes_the_machines_role_for_our_machines_only(deployed: Deployed) -> None:
    """The ARNs are built of names, so nothing else would notice that a name is another."""
    role = deployed.properties("MachineRole")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {
            "aws:SourceArn": [deployed.arn("ExpressMachine"), deployed.arn("StandardMachine")]
        },
    }


def test_the_consumers_policy_is_what_it_calls(deployed: Deployed) -> None:
    """On these queues, these runs, this secret."""
    queues = {action for action in CONSUMER_CALLS if action.startswith("sqs:")}
    assert pairs(deployed.policy("ConsumerPolicy")) == {
        *((action, queue) for action in queues for queue in (STATUS, SERVICE)),
        ("states:DescribeExecution", RUNS),
        ("ec2:DescribeInstances", "*"),
        ("secretsmanager:GetSecretValue", SECRET),
    }


def test_the_consumer_calls_nothing_that_its_policy_leaves_out() -> None:
    """Whatever its code awaits of an AWS client (their methods are named for the API's calls).

    What an operator runs has the operator's rights.
    """
    verbs = "receive|delete|change|describe|get|send|put|list"
    nouns = "message|queue|execution|instance|secret"
    call = re.compile(rf"\.((?:{verbs})_(?:{nouns})\w*)\(")
    called = set()
    for path in (ROOT / "consumer").rglob("*.py"):
        if path.parent.name != "operator":
            called |= set(call.findall(path.read_text()))
    assert {"receive_message", "get_secret_value"} <= called
    assert called <= set().union(*CONSUMER_CALLS.values())


RULES = ("instance rule", "execution rule")
CALLERS = {
    "machine": Caller(arn=f"{ROLE}/statuswire-MachineRole-0A1B2C3D4E5F"),
    "instance rule": Caller(
        service="events.amazonaws.com",
        source_arn=f"{RULE}/statuswire-InstanceStateRule-0A1B2C3D4E5F",
    ),
    "execution rule": Caller(
        service="events.amazonaws.com",
        source_arn=f"{RULE}/statuswire-ExecutionStatusRule-0A1B2C3D4E5F",
    ),
    "another rule": Caller(service="events.amazonaws.com", source_arn=f"{RULE}/other"),
    "rule of another account": Caller(
        service="events.amazonaws.com",
        source_arn=f"arn:aws:events:{REGION}:210987654321:rule/statuswire-InstanceStateRule",
    ),
    "another service": Caller(service="sns.amazonaws.com", source_arn="arn:aws:sns:topic"),
    "redrive": Caller(arn=f"{ROLE}/redrive"),
    "admin": Caller(arn=f"{ROLE}/admin"),
    "root": Caller(arn=f"arn:aws:iam::{ACCOUNT}:root"),
    "stranger": Caller(arn="arn:aws:iam::210987654321:role/admin"),
    "anonymous": Caller(allowed_by_iam=False),
}


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize(
    ("queue", "senders"),
    [
        ("StatusQueue", {"machine", "redrive"}),
        ("ServiceQueue", {*RULES, "redrive"}),
        # Here IAM decides, so whoever it allows everything can send.
        ("StatusDeadLetterQueue", {"machine", "redrive", "admin", "root"}),
        ("ServiceDeadLetterQueue", {*RULES, "machine", "redrive", "admin", "root"}),
    ],
)
def test_who_may_send_to_a_queue(
    guarded: Deployed, queue: str, senders: set[str], who: str
) -> None:
    """Everyone's own policies allow it; the queue's decides."""
    assert may(CALLERS[who], "sqs:SendMessage", queue_policy(guarded, queue)) == (who in senders)


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize(
    ("queue", "senders"), [("StatusQueue", {"machine"}), ("ServiceQueue", {*RULES})]
)
def test_without_a_redrive_role_nobody_puts_back(
    deployed: Deployed, queue: str, senders: set[str], who: str
) -> None:
    """As it is deployed when no role is named."""
    policy = queue_policy(deployed, queue)
    assert may(CALLERS[who], "sqs:SendMessage", policy) == (who in senders)


@pytest.mark.parametrize("queue", ["StatusQueue", "ServiceQueue"])
def test_a_consumer_may_receive_by_iam_alone(guarded: Deployed, queue: str) -> None:
    """The queue's policy is silent on reading."""
    consumer = Caller(arn=f"{ROLE}/consumer")
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"):
        assert may(consumer, action, queue_policy(guarded, queue))


@pytest.mark.parametrize("who", CALLERS)
@pytest.mark.parametrize(
    "queue", ["StatusQueue", "StatusDeadLetterQueue", "ServiceQueue", "ServiceDeadLetterQueue"]
)
def test_nobody_does_anything_without_tls(guarded: Deployed, queue: str, who: str) -> None:
    """Neither sending nor reading nor administering."""
    plain = Caller(**{**vars(CALLERS[who]), "tls": False})
    for action in ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:SetQueueAttributes"):
        assert not may(plain, action, queue_policy(guarded, queue))


def queue_policy(stack: Deployed, queue: str) -> list[dict[str, Any]]:
    """All statements that stand on one queue; each must name it as its resource."""
    url = stack.outputs[f"{queue}Url"]
    found: list[dict[str, Any]] = []
    for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
        if url in policy["Queues"]:
            found += policy["PolicyDocument"]["Statement"]
    assert {statement["Resource"] for statement in found} == {stack.arn(queue)}
    return found


@pytest.mark.parametrize(
    ("who", "reads"),
    [
        (f"{ROLE}/statuswire-WatchTokensRole-0A1B2C3D4E5F", True),
        (f"{ROLE}/consumer", True),
        (f"{ROLE}/admin", False),
        (f"{ROLE}/statuswire-ExecutionsRole-0A1B2C3D4E5F", False),
        ("arn:aws:iam::210987654321:role/admin", False),
    ],
)
def test_the_signing_key_is_read_by_who_signs_and_who_verifies(
    guarded: Deployed, who: str, reads: bool
) -> None:
    """Once the consumer's role is known, not even an administrator reads it."""
    policy = guarded.properties("SigningKeyPolicy")
    assert policy["SecretId"] == SECRET
    found = policy["ResourcePolicy"]["Statement"]
    assert may(Caller(arn=who), "secretsmanager:GetSecretValue", found) == reads
    assert may(Caller(arn=f"{ROLE}/admin"), "secretsmanager:PutSecretValue", found)
