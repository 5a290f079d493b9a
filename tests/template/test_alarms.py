"""Alarms and the CloudWatch dashboard, after the SAM transform."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.synthesis import REGION, Deployed, deploy

# What each metric is counted by. Sources, in the order below: SQS developer guide, "Available
# CloudWatch metrics for Amazon SQS"; Step Functions, "Monitoring Step Functions metrics using
# Amazon CloudWatch"; API Gateway, "Amazon API Gateway dimensions and metrics"; Lambda, "Types of
# metrics for Lambda functions"; EventBridge, "Monitoring Amazon EventBridge".
GAUGES = {
    *("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"),
    *("ApproximateAgeOfOldestMessage", "Latency", "IntegrationLatency"),
}
METRICS = {
    "AWS/SQS": (
        {"QueueName"},
        {
            *("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"),
            *("ApproximateAgeOfOldestMessage", "NumberOfMessagesReceived"),
            *("NumberOfMessagesDeleted", "NumberOfEmptyReceives"),
        },
    ),
    "AWS/States": (
        {"StateMachineArn"},
        {
            *("ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed"),
            *("ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"),
        },
    ),
    "AWS/ApiGateway": (
        {"ApiName", "Stage"},
        {"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"},
    ),
    "AWS/Lambda": ({"FunctionName"}, {"Errors", "Throttles"}),
    "AWS/Events": ({"RuleName"}, {"FailedInvocations"}),
}
# Metric and the resource that it is of, by whose silence or noise something is wrong.
ALARMS = {
    ("ApproximateNumberOfMessagesVisible", "StatusDeadLetterQueue"),
    ("ApproximateNumberOfMessagesVisible", "ServiceDeadLetterQueue"),
    ("ApproximateAgeOfOldestMessage", "StatusQueue"),
    ("ApproximateAgeOfOldestMessage", "ServiceQueue"),
    ("ExecutionsFailed", "ExpressMachine"),
    ("ExecutionsFailed", "StandardMachine"),
    ("ExecutionsTimedOut", "ExpressMachine"),
    ("ExecutionsTimedOut", "StandardMachine"),
    ("ExecutionThrottled", "ExpressMachine"),
    ("ExecutionThrottled", "StandardMachine"),
    ("ExecutionsAborted", "StandardMachine"),
    ("5XXError", "RestApiStage"),
    ("Errors", "ExecutionsFunction"),
    ("Errors", "WatchTokensFunction"),
    ("Throttles", "ExecutionsFunction"),
    ("Throttles", "WatchTokensFunction"),
    ("FailedInvocations", "ExecutionStatusRule"),
    ("FailedInvocations", "InstanceStateRule"),
}


def dimension(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Name"]: pair["Value"] for pair in pairs}


def counted(stack: Deployed, namespace: str, metric: str, by: dict[str, str]) -> str:
    """The resource that a metric is of. Fails where AWS would have no such metric."""
    dimensions, metrics = METRICS[namespace]
    assert metric in metrics
    assert by.keys() == dimensions
    if namespace == "AWS/ApiGateway":
        stage = stack.properties("RestApiStage")
        assert by["Stage"] == stage["StageName"]
        assert by["ApiName"] == stack.properties("RestApi")["Name"]
        return "RestApiStage"
    (value,) = by.values()
    kind = {
        "AWS/SQS": "AWS::SQS::Queue",
        "AWS/States": "AWS::StepFunctions::StateMachine",
        "AWS/Lambda": "AWS::Lambda::Function",
        "AWS/Events": "AWS::Events::Rule",
    }[namespace]
    called = stack.arn if namespace == "AWS/States" else stack.names.__getitem__
    (found,) = [name for name in stack.of_type(kind) if called(name) == value]
    return found


def simple_alarms(stack: Deployed) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, alarm in stack.of_type("AWS::CloudWatch::Alarm").items():
        if "MetricName" in alarm:
            yield name, alarm


def test_each_alarm_watches_a_metric_that_aws_reports_of_a_resource_that_is_there(
    deployed: Deployed,
) -> None:
    """A dimension that is misspelt is an alarm that never rings."""
    watched = {
        (
            a["MetricName"],
            counted(deployed, a["Namespace"], a["MetricName"], dimension(a["Dimensions"])),
        )
        for _, a in simple_alarms(deployed)
    }
    assert watched == ALARMS


def test_counts_are_added_up_and_gauges_looked_at(deployed: Deployed) -> None:
    """The average of a count is one for any number of failures."""
    for name, alarm in simple_alarms(deployed):
        gauge = alarm["MetricName"] in GAUGES
        assert alarm["Statistic"] == ("Maximum" if gauge else "Sum"), name


def test_the_first_sign_of_trouble_rings_but_for_failed_runs_and_age(deployed: Deployed) -> None:
    """A caller can make a run fail, and a message may be seconds old."""
    thresholds = {alarm["MetricName"]: alarm["Threshold"] for _, alarm in simple_alarms(deployed)}
    assert thresholds.pop("ExecutionsFailed") == thresholds.pop("5XXError") == 5
    assert thresholds.pop("ApproximateAgeOfOldestMessage") == 60
    assert set(thresholds.values()) == {1}
    for name, alarm in simple_alarms(deployed):
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold", name
        # A count that nobody reported is a zero.
        assert alarm["TreatMissingData"] == "notBreaching", name


def test_no_sign_of_polling_for_five_minutes_is_an_alarm(
    synthesized: dict[str, Any], deployed: Deployed
) -> None:
    """Both ways in which a poll is counted; a queue that nobody asks reports neither."""
    alarm = deployed.properties("SilentConsumerAlarm")
    parts = {part["Id"]: part for part in alarm["Metrics"]}
    assert parts["polls"]["Expression"] == "FILL(received, 0) + FILL(empty, 0)"
    seen = set()
    for part in (parts["received"], parts["empty"]):
        assert part["ReturnData"] is False
        assert (part["MetricStat"]["Stat"], part["MetricStat"]["Period"]) == ("Sum", 60)
        metric = part["MetricStat"]["Metric"]
        by = dimension(metric["Dimensions"])
        queue = counted(deployed, metric["Namespace"], metric["MetricName"], by)
        seen.add((metric["MetricName"], queue))
    assert seen == {
        ("NumberOfMessagesReceived", "ServiceQueue"),
        ("NumberOfEmptyReceives", "ServiceQueue"),
    }
    assert (alarm["EvaluationPeriods"], alarm["Threshold"]) == (5, 0)
    assert alarm["ComparisonOperator"] == "LessThanOrEqualToThreshold"
    assert alarm["TreatMissingData"] == "breaching"
    assert "SilentConsumerAlarm" not in deploy(synthesized, SilenceAlarm="no").resources


def test_each_alarm_says_what_to_do_and_whose_it_is(deployed: Deployed) -> None:
    """CloudWatch takes 1,024 characters; the name alone reaches a phone."""
    alarms = deployed.of_type("AWS::CloudWatch::Alarm").values()
    names = [alarm["AlarmName"] for alarm in alarms]
    assert len(set(names)) == len(names) == len(ALARMS) + 1
    assert all(name.startswith("statuswire-") for name in names)
    assert all(60 <= len(alarm["AlarmDescription"]) <= 1024 for alarm in alarms)


@pytest.mark.parametrize("topic", ["", "arn:aws:sns:eu-central-1:123456789012:alarms"])
def test_alarms_go_to_the_topic_and_nowhere_without_one(
    synthesized: dict[str, Any], topic: str
) -> None:
    """And so does the news that it is over."""
    stack = deploy(synthesized, AlarmTopicArn=topic)
    for alarm in stack.of_type("AWS::CloudWatch::Alarm").values():
        for actions in ("AlarmActions", "OKActions"):
            assert alarm.get(actions) == ([topic] if topic else None)


def test_the_dashboard_shows_metrics_that_are_there(deployed: Deployed) -> None:
    """CloudWatch shows an empty graph for anything else."""
    body = json.loads(deployed.properties("Dashboard")["DashboardBody"])
    shown = set()
    for widget in body["widgets"]:
        properties = widget["properties"]
        assert properties["region"] == REGION
        for namespace, metric, *rest in properties["metrics"]:
            names = [part for part in rest if isinstance(part, str)]
            by = dict(zip(names[::2], names[1::2], strict=True))
            shown.add((metric, counted(deployed, namespace, metric, by)))
            assert (metric in GAUGES) == (properties["stat"] != "Sum"), properties["title"]
    functions_and_rules = {
        pair for pair in ALARMS if pair[1].endswith(("Function", "Rule"))
    }  # whose alarms say it all
    assert shown >= ALARMS - functions_and_rules
