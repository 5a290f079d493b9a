"""Checks of each permission the consumer needs, by calls that change nothing.

A call is a proof, which a simulation is not: that knows neither the queues' policies nor a VPC
endpoint's. Each call is one that AWS, once it has let it in, refuses or answers with nothing:
a receipt handle that is none, an execution that is none, a dry run.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from botocore.exceptions import ClientError

from consumer.edges import aws
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, skipped
from consumer.operator.rules import rules
from consumer.operator.scene import DENIED, Queue, Scene

NO_HANDLE: Final = [{"Id": "0", "ReceiptHandle": "statuswire-doctor"}]
Call = Callable[[Scene, Queue], Awaitable[Any]]


async def _attributes(scene: Scene, queue: Queue) -> None:
    await scene.attributes(queue.url)


async def _delete(scene: Scene, queue: Queue) -> None:
    sqs = await scene.client("sqs")
    await sqs.delete_message_batch(QueueUrl=queue.url, Entries=NO_HANDLE)


async def _change(scene: Scene, queue: Queue) -> None:
    sqs = await scene.client("sqs")
    entries = [{**NO_HANDLE[0], "VisibilityTimeout": 0}]
    await sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)


def _on_queues(action: str, call: Call) -> Callable[[Scene], Awaitable[list[Finding]]]:
    async def check(scene: Scene) -> list[Finding]:
        found = [
            await _denied(scene, action, queue.short_name, await _refusal(call(scene, queue)))
            for queue in scene.queues
        ]
        return [each for each in found if each] or [ok(f"{action} is allowed")]

    return check


async def _refusal(call: Awaitable[Any]) -> str | None:
    """The code with which AWS denies a call. Any other refusal came after it was let in."""
    try:
        await call
    except ClientError as failure:
        if (code := aws.name_of(failure)) in DENIED:
            return code
    return None


async def _denied(scene: Scene, action: str, on: str, code: str | None) -> Finding | None:
    if code is None:
        return None
    return error(
        f"{action} on {on} is denied ({code})",
        "The consumer calls it. A policy of this role lacks it, or one of the queue, the VPC "
        "endpoint or the organisation denies it.",
        f"{await _attach(scene)}; STATUSWIRE_… settings of another stack are denied, too.",
    )


async def _attach(scene: Scene) -> str:
    try:
        arn = (await scene.identity())["Arn"]
    except aws.FAILURES:
        arn = ""
    kind, name = "role", "<consumer's role>"
    if user := re.fullmatch(r"arn:[^:]+:iam::\d+:user/(?:.*/)?([^/]+)", arn):
        kind, name = "user", user[1]
    elif role := _role_in(arn):
        name = role
    return (
        f"aws iam attach-{kind}-policy --{kind}-name {name} "
        "--policy-arn <the stack's output ConsumerPolicyArn>"
    )


def _role_in(arn: str) -> str | None:
    """The role of a session, arn:aws:sts::<account>:assumed-role/<role>/<session>."""
    found = re.fullmatch(r"arn:[^:]+:sts::\d+:assumed-role/([^/]+)/.+", arn)
    return found[1] if found else None


async def receive(scene: Scene) -> list[Finding]:
    """By simulation, as a call may cost a message one of its receives; by a call if asked for."""
    found: list[Finding | None] = []
    for queue in scene.queues:
        if scene.may_receive:
            code = await _refusal(_receive(scene, queue))
        elif (decision := await _simulated(scene, queue)) is None:
            return [
                skipped(
                    "skipped: sqs:ReceiveMessage is proven only by receiving",
                    "statuswire doctor --receive; it may cost one message one of its receives.",
                )
            ]
        else:
            code = None if decision == "allowed" else decision
        found.append(await _denied(scene, "sqs:ReceiveMessage", queue.short_name, code))
    return [each for each in found if each] or [ok("sqs:ReceiveMessage is allowed")]


async def _receive(scene: Scene, queue: Queue) -> None:
    sqs = await scene.client("sqs")
    # Visibility 0: whatever comes is there for the consumer again at once.
    await sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=1, VisibilityTimeout=0, WaitTimeSeconds=0
    )


async def _simulated(scene: Scene, queue: Queue) -> str | None:
    """What IAM's simulator decides; None where it cannot be asked."""
    try:
        arn = (await scene.identity())["Arn"]
        if role := _role_in(arn):
            arn = f"arn:{arn.split(':')[1]}:iam::{arn.split(':')[4]}:role/{role}"
        elif ":user/" not in arn:  # the account itself: it has no policies to simulate
            return None
        iam = await scene.client("iam")
        answer = await iam.simulate_principal_policy(
            PolicySourceArn=arn,
            ActionNames=["sqs:ReceiveMessage"],
            ResourceArns=[(await scene.attributes(queue.url))["QueueArn"]],
        )
        return str(answer["EvaluationResults"][0]["EvalDecision"])
    except aws.FAILURES:
        return None


async def executions(scene: Scene) -> list[Finding]:
    """DescribeExecution, of one that is none."""
    arn = await _no_execution(scene)
    if arn is None:
        return [skipped("skipped: which machine it is can be told neither by rules nor by names")]
    states = await scene.client("stepfunctions")
    code = await _refusal(states.describe_execution(executionArn=arn))
    machine = arn.rsplit(":", 1)[0]
    denied = await _denied(scene, "states:DescribeExecution", f"{machine}:*", code)
    return [denied or ok("states:DescribeExecution is allowed")]


async def _no_execution(scene: Scene) -> str | None:
    """Of the Standard machine that a rule names, else the template's name beside the queue's."""
    name = f"statuswire-doctor-{secrets.token_hex(8)}"
    try:
        for rule in await rules(scene):
            for machine in rule.pattern.get("detail", {}).get("stateMachineArn", ()):
                return f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    except aws.FAILURES:
        pass
    for queue, attributes in await scene.readable():
        _, partition, _, region, account, on = attributes["QueueArn"].split(":")
        if queue.is_fifo and on.endswith("-status.fifo"):
            stack = on.removesuffix("-status.fifo")
            return f"arn:{partition}:states:{region}:{account}:execution:{stack}-standard:{name}"
    return None


async def instances(scene: Scene) -> list[Finding]:
    """DescribeInstances, dry (EC2 API reference, "DryRun")."""
    ec2 = await scene.client("ec2")
    code = await _refusal(ec2.describe_instances(DryRun=True))
    denied = await _denied(scene, "ec2:DescribeInstances", "*", code)
    return [denied or ok("ec2:DescribeInstances is allowed")]


_QUEUES: Final = ("aws.credentials", "endpoint.sqs")
CHECKS: Final = (
    Check(
        "permission.sqs:GetQueueAttributes",
        _on_queues("sqs:GetQueueAttributes", _attributes),
        needs=_QUEUES,
    ),
    Check("permission.sqs:ReceiveMessage", receive, needs=_QUEUES),
    Check("permission.sqs:DeleteMessage", _on_queues("sqs:DeleteMessage", _delete), needs=_QUEUES),
    Check(
        "permission.sqs:ChangeMessageVisibility",
        _on_queues("sqs:ChangeMessageVisibility", _change),
        needs=_QUEUES,
    ),
    Check(
        "permission.states:DescribeExecution",
        executions,
        needs=("aws.credentials", "endpoint.stepfunctions"),
    ),
    Check("permission.ec2:DescribeInstances", instances, needs=("aws.credentials", "endpoint.ec2")),
)
