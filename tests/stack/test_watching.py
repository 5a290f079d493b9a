"""Alarms, autoscaling and dashboard of infra/consumer.yaml: of metrics that somebody sends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.operator import emf
from tests.stack.deployed import CONSUMER, HERE, STACK, Deployed, deploy

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"
# What AWS counts, and by what. ELB user guide, "CloudWatch metrics for your Application Load
# Balancer"; ECS developer guide, "Amazon ECS CloudWatch metrics"; ElastiCache user guide, "Metrics
# for Valkey and Redis OSS"; SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
SENT = {
    "Statuswire": ({"Service"}, set(emf.UNITS)),
    "AWS/SQS": ({"QueueName"}, {"ApproximateAgeOfOldestMessage"}),
    "AWS/ECS": ({"ClusterName", "ServiceName"}, {"CPUUtilization", "MemoryUtilization"}),
    "AWS/ElastiCache": (
        {"CacheClusterId"},
        {"EngineCPUUtilization", "DatabaseMemoryUsageCountedForEvictPercentage"},
    ),
}
PER_TARGET = {"HealthyHostCount", "UnHealthyHostCount"}
PER_BALANCER = {
    *("ActiveConnectionCount", "NewConnectionCount", "HTTPCode_ELB_5XX_Count", "ConsumedLCUs"),
}
VALUES = {
    "Service": STACK,
    "TargetGroup": "Targets.TargetGroupFullName",
    "LoadBalancer": "LoadBalancer.LoadBalancerFullName",
    "ClusterName": "Cluster",
    "ServiceName": "Service.Name",
    "CacheClusterId": "Valkey-001",
}
QUEUES = {"statuswire-status.fifo", "statuswire-service"}


def is_sent(namespace: str, metric: str, dimensions: dict[str, str]) -> bool:
    """Whether there is such a metric, of a thing of these stacks."""
    if namespace == "AWS/ApplicationELB":
        by = {"LoadBalancer"} | ({"TargetGroup"} if metric in PER_TARGET else set())
        known = metric in PER_TARGET | PER_BALANCER
    else:
        by, metrics = SENT[namespace]
        known = metric in metrics
    ours = all(
        value in QUEUES if name == "QueueName" else VALUES[name] == value
        for name, value in dimensions.items()
    )
    return known and ours and dimensions.keys() == by


def metrics_of(alarm: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    stats = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m]
    for each in stats or [alarm]:
        dimensions = {pair["Name"]: pair["Value"] for pair in each["Dimensions"]}
        yield each["Namespace"], each["MetricName"], dimensions


@pytest.fixture(scope="module")
def watched(exports: dict[str, str]) -> Deployed:
    return deploy(CONSUMER, exports, AlarmTopicArn=TOPIC)


def test_every_alarm_looks_at_something_and_says_what_to_do(watched: Deployed) -> None:
    """A metric that nobody sends would never ring, or always."""
    alarms = watched.of_type("AWS::CloudWatch::Alarm")
    for name, alarm in alarms.items():
        assert all(is_sent(*metric) for metric in metrics_of(alarm)), name
        assert len(alarm["AlarmDescription"]) > 80, name
        assert alarm["AlarmName"].startswith(f"{STACK}-")


def test_alarms_reach_people_and_one_adds_a_task(watched: Deployed, stack: Deployed) -> None:
    """The queue's age is for autoscaling: the other stack tells people of it. And without a topic
    none has an action that is not there.
    """
    alarms = watched.of_type("AWS::CloudWatch::Alarm")
    scaling = alarms.pop("QueueAgeAlarm")
    assert all(each["AlarmActions"] == each["OKActions"] == [TOPIC] for each in alarms.values())
    assert scaling["AlarmActions"][0].endswith(":policy:QueueAgePolicy")
    assert watched.properties("QueueAgePolicy")["PolicyType"] == "StepScaling"
    quiet = stack.of_type("AWS::CloudWatch::Alarm")
    assert [name for name, each in quiet.items() if "AlarmActions" in each] == ["QueueAgeAlarm"]


def test_tasks_follow_their_viewers(watched: Deployed) -> None:
    """By the average of what each task tells of itself; adding is quicker than taking away."""
    policy = watched.properties("ClientsPolicy")["TargetTrackingScalingPolicyConfiguration"]
    metric = policy["CustomizedMetricSpecification"]
    dimensions = {pair["Name"]: pair["Value"] for pair in metric["Dimensions"]}
    assert metric["Statistic"] == "Average"
    assert is_sent(metric["Namespace"], metric["MetricName"], dimensions)
    assert watched.container("metrics")["Command"] == ["--service", dimensions["Service"]]
    assert policy["TargetValue"] == 2_000
    assert policy["ScaleOutCooldown"] < policy["ScaleInCooldown"]


def test_the_dashboard_shows_what_is_sent(watched: Deployed) -> None:
    """Its body is JSON that only CloudWatch reads."""
    body = json.loads(watched.properties("Dashboard")["DashboardBody"])
    shown = [line for widget in body["widgets"] for line in widget["properties"]["metrics"]]
    for namespace, metric, *rest in shown:
        pairs = [each for each in rest if isinstance(each, str)]
        assert is_sent(namespace, metric, dict(zip(pairs[::2], pairs[1::2], strict=True)))
    assert {widget["properties"]["region"] for widget in body["widgets"]} == {HERE["AWS::Region"]}
    assert {m for n, m, *_ in shown if n == "Statuswire"} == set(emf.UNITS)
