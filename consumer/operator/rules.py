"""Checks of EventBridge: the two rules that fill the service queue.

The consumer itself needs none of these permissions: where they lack, the checks are skipped.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from consumer.edges import aws
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, skipped, warning
from consumer.operator.scene import DENIED, Scene

DEPLOY: Final = "Deploy the stack again: `sam deploy`."
# What each rule must let through, and the detail by which one may choose too little.
DETAIL_TYPES: Final = {
    "aws.states": "Step Functions Execution Status Change",
    "aws.ec2": "EC2 Instance State-change Notification",
}
NARROWING: Final = {"aws.states": "status", "aws.ec2": "state"}


class Rule(NamedTuple):
    """A rule with the service queue among its targets."""

    name: str
    arn: str
    enabled: bool
    pattern: dict[str, Any]
    target: dict[str, Any]


async def service_queue_arn(scene: Scene) -> str | None:
    """None where the queue cannot be read."""
    for queue, attributes in await scene.readable():
        if queue.name == "service":
            return attributes["QueueArn"]
    return None


async def rules(scene: Scene) -> list[Rule]:
    """Those that send to the service queue. Raises what the SDK raises."""

    async def ask() -> list[Rule]:
        arn = await service_queue_arn(scene)
        # Others wait for the answer, and have calls of their own to make.
        async with asyncio.timeout(scene.check_s * 0.6):
            return [] if arn is None else await _read(await scene.client("events"), arn)

    found: list[Rule] = await scene.once("rules", ask)
    return found


async def _read(events: Any, arn: str) -> list[Rule]:
    names: list[str] = []
    more: dict[str, str] = {}
    while True:
        answer = await events.list_rule_names_by_target(TargetArn=arn, **more)
        names += answer["RuleNames"]
        if not answer.get("NextToken"):
            break
        more = {"NextToken": answer["NextToken"]}
    found = []
    for name in names:
        told = await events.describe_rule(Name=name)
        targets = (await events.list_targets_by_rule(Rule=name))["Targets"]
        target = next(each for each in targets if each["Arn"] == arn)
        pattern = json.loads(told.get("EventPattern") or "{}")
        # ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS is on, too (EventBridge API, "Rule").
        on = told["State"].startswith("ENABLED")
        found.append(Rule(name, told["Arn"], on, pattern, target))
    return found


def _rule_of(source: str) -> Callable[[Scene], Awaitable[list[Finding]]]:
    async def rule(scene: Scene) -> list[Finding]:
        if await service_queue_arn(scene) is None:
            return [skipped("skipped: the service queue cannot be read")]
        try:
            fitting = [each for each in await rules(scene) if _tells(each, source)]
        except aws.FAILURES as failure:
            if (name := aws.name_of(failure)) in DENIED:
                raise
            # The consumer's network needs no way to EventBridge.
            return [skipped(f"skipped: EventBridge cannot be asked from here ({name})")]
        if not fitting:
            return [
                error(
                    f"no rule sends {source}'s events to the service queue",
                    f"Wanted: {DETAIL_TYPES[source]}.",
                    DEPLOY + " Is it this stack's STATUSWIRE_SERVICE_QUEUE_URL?",
                )
            ]
        return [finding for each in fitting for finding in _judge(each, source)]

    return rule


def _tells(rule: Rule, source: str) -> bool:
    pattern = rule.pattern
    return source in pattern.get("source", ()) and DETAIL_TYPES[source] in pattern.get(
        "detail-type", [DETAIL_TYPES[source]]
    )


def _judge(rule: Rule, source: str) -> list[Finding]:
    found = []
    if not rule.enabled:
        off = "Nothing of it arrives, and no dead letter tells."
        fix = f"aws events enable-rule --name {rule.name}"
        found.append(error(f"the rule {rule.name} is disabled", off, fix))
    if changed := {"Input", "InputPath", "InputTransformer"} & rule.target.keys():
        found.append(
            error(
                f"the rule {rule.name} changes its events ({', '.join(sorted(changed))})",
                "The consumer reads EventBridge's own events, and would call these malformed.",
                f"Take it off the target {rule.target['Id']}. {DEPLOY}",
            )
        )
    if NARROWING[source] in rule.pattern.get("detail", {}):
        found.append(
            warning(
                f"the rule {rule.name} lets only some events through",
                f"It chooses by detail.{NARROWING[source]}; the others are never shown.",
                DEPLOY,
            )
        )
    if "DeadLetterConfig" not in rule.target:
        lost = "What EventBridge cannot deliver within a day is lost without a trace."
        title = f"the rule {rule.name} has no dead-letter queue"
        found.append(warning(title, lost, DEPLOY))
    return found or [ok(f"the rule {rule.name} sends {source}'s events")]


CHECKS: Final = (
    Check("rule.executions", _rule_of("aws.states"), needs=("aws.credentials", "endpoint.sqs")),
    Check("rule.instances", _rule_of("aws.ec2"), needs=("aws.credentials", "endpoint.sqs")),
)
