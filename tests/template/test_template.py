"""template.yaml: queues, rules, roles."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

QUEUES = {
    "StatusQueue": "StatusDeadLetterQueue",
    "ServiceQueue": "ServiceDeadLetterQueue",
}
OUTPUTS = {
    *("StatusQueueUrl", "StatusDeadLetterQueueUrl", "ServiceQueueUrl"),
    *("ServiceDeadLetterQueueUrl", "ExpressMachineArn", "StandardMachineArn"),
    *("RestApiId", "RestApiUrl", "StageName"),
}
# What takes no resource in IAM; each line of it is explained in the template.
WITHOUT_RESOURCE = {"ec2:DescribeInstances"} | {
    f"logs:{action}"
    for action in (
        *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery"),
        *("ListLogDeliveries", "PutResourcePolicy", "DescribeResourcePolicies"),
        "DescribeLogGroups",
    )
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    return {name: r["Properties"] for name, r in resources.items() if r["Type"] == kind}


def grants(resources: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(policy or role, statement) of all that our roles may do."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement
    for name, policy in of_type(resources, "AWS::IAM::ManagedPolicy").items():
        for statement in json.loads(policy["PolicyDocument"]["Fn::Sub"])["Statement"]:
            yield name, statement


@pytest.mark.parametrize(("queue", "dead"), QUEUES.items())
def test_each_queue_has_a_dead_letter_queue_of_its_kind(
    resources: dict[str, Any], queue: str, dead: str
) -> None:
    """SQS refuses a FIFO queue with standard dead letters, and the reverse."""
    live, letters = (resources[name]["Properties"] for name in (queue, dead))
    assert live["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": [dead, "Arn"]}
    assert live["RedrivePolicy"]["maxReceiveCount"] == {"Ref": "MaxReceiveCount"}
    assert live.get("FifoQueue") == letters.get("FifoQueue")


@pytest.mark.parametrize(("queue", "dead"), QUEUES.items())
def test_dead_letters_outlive_their_queue(resources: dict[str, Any], queue: str, dead: str) -> None:
    """A dead letter keeps the age it had, so its queue must keep messages longer."""
    live, letters = (
        resources[name]["Properties"]["MessageRetentionPeriod"] for name in (queue, dead)
    )
    assert live < letters == 14 * 24 * 3600


def test_the_status_queue_is_in_high_throughput_mode(resources: dict[str, Any]) -> None:
    """Without these two, all runs share 300 calls a second."""
    queue = resources["StatusQueue"]["Properties"]
    assert queue["FifoQueue"] is True
    assert queue["DeduplicationScope"] == "messageGroup"
    assert queue["FifoThroughputLimit"] == "perMessageGroupId"


def test_every_queue_takes_tls_only(resources: dict[str, Any]) -> None:
    """Each has a policy that denies everyone and everything without TLS."""
    denied = set()
    for policy in of_type(resources, "AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Principal"] == "*"
                assert statement["Action"] == "sqs:*"
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                denied |= {queue["Ref"] for queue in policy["Queues"]}
                assert statement["Resource"]["Fn::GetAtt"][0] in denied
    assert denied == of_type(resources, "AWS::SQS::Queue").keys()


def test_exactly_our_rules_may_send_service_events(resources: dict[str, Any]) -> None:
    """Without the permission EventBridge drops the events, without its condition anyone's come."""
    rules = of_type(resources, "AWS::Events::Rule")
    allowed = {}
    for policy in of_type(resources, "AWS::SQS::QueuePolicy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}
                assert statement["Action"] == "sqs:SendMessage"
                sources = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
                allowed[statement["Resource"]["Fn::GetAtt"][0]] = {
                    source["Fn::GetAtt"][0] for source in sources
                }
    assert allowed == {
        "ServiceQueue": rules.keys(),
        "ServiceDeadLetterQueue": rules.keys(),
    }


def test_every_rule_ends_in_the_service_queue_and_has_dead_letters(
    resources: dict[str, Any],
) -> None:
    """A target that cannot be reached for 24 h costs no event."""
    for rule in of_type(resources, "AWS::Events::Rule").values():
        (target,) = rule["Targets"]
        assert target["Arn"] == {"Fn::GetAtt": ["ServiceQueue", "Arn"]}
        assert target["DeadLetterConfig"] == {
            "Arn": {"Fn::GetAtt": ["ServiceDeadLetterQueue", "Arn"]}
        }


def test_only_what_iam_knows_no_resource_for_is_granted_on_all(resources: dict[str, Any]) -> None:
    """No wildcard in an action, and `*` as a resource only where IAM takes nothing else."""
    for name, statement in grants(resources):
        actions = set(as_list(statement["Action"]))
        assert not [action for action in actions if "*" in action], name
        if "*" in as_list(statement["Resource"]):
            assert actions <= WITHOUT_RESOURCE, name


def test_instances_are_started_and_stopped_by_their_tag(resources: dict[str, Any]) -> None:
    """The one statement that lets anyone act on EC2 asks for the tag."""
    acting = [
        statement
        for _, statement in grants(resources)
        if any(re.match(r"ec2:(?!Describe)", action) for action in as_list(statement["Action"]))
    ]
    (statement,) = acting
    assert set(statement["Action"]) == {"ec2:StartInstances", "ec2:StopInstances"}
    assert statement["Resource"].endswith(":instance/*")
    assert statement["Condition"] == {
        "StringEquals": {"aws:ResourceTag/${InstanceTagKey}": "${InstanceTagValue}"}
    }


def test_the_api_may_start_our_machines_and_nothing_else(resources: dict[str, Any]) -> None:
    """One action for each machine."""
    may = {
        statement["Action"]: statement["Resource"]
        for name, statement in grants(resources)
        if name == "RestApiRole"
    }
    assert may == {
        "states:StartSyncExecution": {"Ref": "ExpressMachine"},
        "states:StartExecution": {"Ref": "StandardMachine"},
    }


def test_every_log_group_forgets(resources: dict[str, Any]) -> None:
    """Logs without a retention are kept and paid for forever."""
    groups = of_type(resources, "AWS::Logs::LogGroup")
    assert len(groups) == 3
    assert all(g["RetentionInDays"] == {"Ref": "LogRetentionDays"} for g in groups.values())


def test_the_outputs_are_those_that_are_built_on(template: dict[str, Any]) -> None:
    """The local run, the README and the consumer's settings name them."""
    assert template["Outputs"].keys() == OUTPUTS
