"""Checks of the two queues and their dead letters: attributes and policies."""

import json
from collections.abc import Awaitable, Callable
from typing import Final

from consumer.edges import aws
from consumer.operator import policy
from consumer.operator.doctor import Check
from consumer.operator.finding import Finding, error, ok, skipped, warning
from consumer.operator.rules import rules
from consumer.operator.scene import DENIED, Queue, Scene
from consumer.settings import PREFIX

DEPLOY: Final = "Deploy the stack again: `sam deploy`."
FEW_RECEIVES: Final = 10  # half of the template's: a crash or an outage of the log costs one, too
MANY_RECEIVES: Final = 100  # × visibility 10 s: a malformed message holds its group for 17 minutes
SHORT_RETENTION_S: Final = 86_400  # a consumer that is down over a night must lose nothing
LONG_VISIBILITY_S: Final = 60
SHORT_VISIBILITY_S: Final = 5  # half of it is left when what is in hand is extended

Attributes = dict[str, str]
Judge = Callable[[Scene, Queue, Attributes], Awaitable[list[Finding]]]


async def found(scene: Scene) -> list[Finding]:
    """Both are there, and the consumer may look at them."""
    told = []
    for queue in scene.queues:
        try:
            await scene.attributes(queue.url)
        except aws.FAILURES as failure:
            told.append(_not_found(queue, aws.name_of(failure)))
    if not scene.queues:
        return [skipped("skipped: neither queue's setting can be used")]
    return told or [ok("the queues are there")]


def _not_found(queue: Queue, code: str) -> Finding:
    fix = f"{queue.setting}: the stack's output, {queue.name.capitalize()}QueueUrl."
    if code in DENIED:
        fix = f"See `permission.sqs:GetQueueAttributes`; else {fix}"
    unread = f"the {queue.name} queue cannot be read: {code}"
    return error(unread, f"{queue.setting} is {queue.url}.", fix)


async def pair(scene: Scene) -> list[Finding]:
    """The two queues of one stack, neither of them its dead letters."""
    told, arns = [], {}
    for queue, attributes in await scene.readable():
        arns[queue.name] = attributes["QueueArn"]
        if "RedriveAllowPolicy" in attributes and "RedrivePolicy" not in attributes:
            told.append(
                error(
                    f"the {queue.name} queue is one of dead letters",
                    f"{queue.setting} names {queue.short_name}: what is in it would be deleted "
                    "after it was shown.",
                    f"{queue.setting}: the stack's output {queue.name.capitalize()}QueueUrl.",
                )
            )
    if len(arns) == 2 and _stack(arns["status"]) != _stack(arns["service"]):
        told.append(
            warning(
                "the two queues belong to different stacks",
                f"{arns['status']} and {arns['service']}.",
                f"{PREFIX}QUEUE_URL and {PREFIX}SERVICE_QUEUE_URL: outputs of one stack.",
            )
        )
    return told or [ok("the queues belong together")]


def _stack(arn: str) -> tuple[str, ...]:
    """Region, account, and the stack's part of the name, as the template makes it."""
    *_, region, account, name = arn.split(":")
    stack = name.removesuffix(".fifo").removesuffix("-status").removesuffix("-service")
    return region, account, stack


async def fifo(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """SQS developer guide, "High throughput for FIFO queues"."""
    del scene
    if not queue.is_fifo:
        return []
    modes = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    if all(attributes.get(name) == value for name, value in modes.items()):
        return []
    wanted = ",".join(f"{name}={value}" for name, value in modes.items())
    return [
        warning(
            "the status queue is not in its high-throughput mode",
            "All runs share 300 calls a second of each kind.",
            f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes {wanted}",
        )
    ]


async def redrive(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """Malformed messages leave, and not too soon."""
    del scene
    given = json.loads(attributes.get("RedrivePolicy") or "null")
    if given is None:
        return [
            error(
                f"the {queue.name} queue has no dead-letter queue",
                "A malformed message comes back for ever"
                + (", and holds its run's others up." if queue.is_fifo else "."),
                f"{DEPLOY} Or set a RedrivePolicy with maxReceiveCount 20.",
            )
        ]
    count = int(given["maxReceiveCount"])
    fix = f"{DEPLOY} Its parameter MaxReceiveCount is 20."
    title = f"the {queue.name} queue gives a message {count} receives"
    if count < FEW_RECEIVES:
        lost = "Crashes and outages of the log cost receives: good messages end as dead letters."
        return [warning(title, lost, fix)]
    if count > MANY_RECEIVES:
        return [warning(title, "A malformed one holds up its run's others for so long.", fix)]
    return []


async def dead_letters(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """There, of the queue's kind, open to it, patient, and empty."""
    given = json.loads(attributes.get("RedrivePolicy") or "null")
    if given is None:
        return [skipped(f"skipped: the {queue.name} queue has none")]
    arn = given["deadLetterTargetArn"]
    name = arn.rsplit(":", 1)[-1]
    url = f"{queue.url.rsplit('/', 1)[0]}/{name}"
    try:
        theirs = await scene.attributes(url)
    except aws.FAILURES as failure:
        if (code := aws.name_of(failure)) in DENIED:
            return [
                skipped(
                    f"skipped: these credentials may not look at {name}",
                    "The consumer does not need it. Run this again with credentials that may.",
                )
            ]
        gone = "What SQS cannot move there stays, and comes back for ever."
        return [error(f"the dead-letter queue {name} cannot be read: {code}", gone, DEPLOY)]
    return _judge_dead_letters(queue, attributes, name, url, theirs)


def _judge_dead_letters(
    queue: Queue, attributes: Attributes, name: str, url: str, theirs: Attributes
) -> list[Finding]:
    told = []
    if queue.is_fifo and theirs.get("FifoQueue") != "true":
        kind = "SQS moves nothing there: a FIFO queue's dead letters need a FIFO queue."
        told.append(error(f"the dead-letter queue {name} is no FIFO queue", kind, DEPLOY))
    allowed = json.loads(theirs.get("RedriveAllowPolicy") or "{}")
    if allowed.get("redrivePermission") == "denyAll" or (
        allowed.get("redrivePermission") == "byQueue"
        and attributes["QueueArn"] not in allowed.get("sourceQueueArns", ())
    ):
        title = f"the dead-letter queue {name} does not take the {queue.name} queue's"
        told.append(error(title, "Its RedriveAllowPolicy names others, or none.", DEPLOY))
    # SQS developer guide, "Setting-up dead-letter queue retention": in a standard queue the age
    # goes on counting from the first send.
    if _seconds(theirs) <= _seconds(attributes):
        told.append(
            warning(
                f"the dead-letter queue {name} forgets as soon as the {queue.name} queue",
                f"It keeps messages for {_seconds(theirs)} s, the queue for "
                f"{_seconds(attributes)} s.",
                f"aws sqs set-queue-attributes --queue-url {url} "
                "--attributes MessageRetentionPeriod=1209600",
            )
        )
    if (waiting := int(theirs.get("ApproximateNumberOfMessages", 0))) > 0:
        title = f"{waiting} dead letters of the {queue.name} queue wait"
        refused = "The consumer refused them, or could not take them."
        told.append(warning(title, refused, "statuswire dlq list"))
    return told


def _seconds(attributes: Attributes) -> int:
    return int(attributes.get("MessageRetentionPeriod", 345_600))


async def visibility(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """How long a killed consumer's messages wait, and that nothing is late by design."""
    told = []
    chosen_s = scene.settings.visibility_s
    setting = f"{PREFIX}VISIBILITY_S"
    if queue.is_fifo and chosen_s > LONG_VISIBILITY_S:
        held = "A killed consumer holds the runs up that it had messages of, for so long."
        told.append(warning(f"{setting} is {chosen_s}", held, f"{setting}=10"))
    if queue.is_fifo and chosen_s < SHORT_VISIBILITY_S:
        twice = "A slow disk or a slow call to SQS, and messages come twice and lose a receive."
        told.append(warning(f"{setting} is {chosen_s}", twice, f"{setting}=10"))
    if (delay_s := int(attributes.get("DelaySeconds", 0))) > 0:
        told.append(
            warning(
                f"the {queue.name} queue delays every message by {delay_s} s",
                "Viewers see everything so much later.",
                f"aws sqs set-queue-attributes --queue-url {queue.url} --attributes DelaySeconds=0",
            )
        )
    return told


async def retention(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """Long enough for a consumer that is down."""
    del scene
    if (kept_s := _seconds(attributes)) >= SHORT_RETENTION_S:
        return []
    return [
        warning(
            f"the {queue.name} queue keeps messages for {kept_s} s only",
            "What arrives while no consumer runs is lost after that, without a dead letter.",
            f"aws sqs set-queue-attributes --queue-url {queue.url} "
            "--attributes MessageRetentionPeriod=345600",
        )
    ]


async def encryption(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """SQS developer guide, "Key management": what a service may use."""
    del scene
    key = attributes.get("KmsMasterKeyId", "")
    own = (
        f"aws sqs set-queue-attributes --queue-url {queue.url} "
        "--attributes KmsMasterKeyId=,SqsManagedSseEnabled=true"
    )
    if key.endswith("alias/aws/sqs") and not queue.is_fifo:
        title = "EventBridge cannot use the service queue's key alias/aws/sqs"
        return [error(title, "That key's policy cannot be changed: nothing arrives.", own)]
    if key:
        sender = "the machines' role" if queue.is_fifo else "events.amazonaws.com"
        return [
            warning(
                f"the {queue.name} queue has a key of its own",
                f"It must let {sender} use kms:GenerateDataKey and kms:Decrypt, and this role "
                "kms:Decrypt; neither can be seen from here.",
                f"Look at the policy of {key}; or, with SQS's own key: {own}",
            )
        ]
    if attributes.get("SqsManagedSseEnabled", "true") == "false":
        plain = "Messages lie on SQS's disks in plain."
        return [warning(f"the {queue.name} queue is not encrypted", plain, own)]
    return []


async def access(scene: Scene, queue: Queue, attributes: Attributes) -> list[Finding]:
    """The queue's policy: TLS only, nobody else, and EventBridge where it must."""
    given = policy.statements(attributes.get("Policy"))
    told = []
    if policy.open_to_anyone(given):
        anyone = "A statement allows everyone, without a condition: false statuses can be sent."
        told.append(error(f"the {queue.name} queue is open to anyone", anyone, DEPLOY))
    if not policy.denies_plain_http(given):
        plain = "Its policy does not deny requests without TLS."
        told.append(warning(f"the {queue.name} queue may be used without TLS", plain, DEPLOY))
    if not queue.is_fifo:
        try:
            ours = await rules(scene)
        except aws.FAILURES:
            ours = []
        told += [
            error(
                f"the rule {rule.name} may not send to the service queue",
                "The queue's policy does not let events.amazonaws.com in for it, or denies it.",
                DEPLOY,
            )
            for rule in ours
            if not policy.may_send(given, rule.arn)
        ]
    return told


def _each(judge: Judge, all_well: str) -> Callable[[Scene], Awaitable[list[Finding]]]:
    async def check(scene: Scene) -> list[Finding]:
        told: list[Finding] = []
        readable = await scene.readable()
        if not readable:
            return [skipped("skipped: no queue can be read")]
        for queue, attributes in readable:
            told += await judge(scene, queue, attributes)
        return told or [ok(all_well)]

    return check


_SQS: Final = ("aws.credentials", "endpoint.sqs")
CHECKS: Final = (
    Check("queue.found", found, needs=_SQS),
    Check("queue.pair", pair, needs=_SQS),
    Check("queue.fifo", _each(fifo, "high throughput is on"), needs=_SQS),
    Check("queue.redrive", _each(redrive, "malformed messages leave"), needs=_SQS),
    Check("queue.dead-letters", _each(dead_letters, "dead letters: none"), needs=_SQS),
    Check("queue.visibility", _each(visibility, "nothing is held up for long"), needs=_SQS),
    Check("queue.retention", _each(retention, "messages outlast an outage"), needs=_SQS),
    Check("queue.encryption", _each(encryption, "encrypted with SQS's own key"), needs=_SQS),
    Check("queue.policy", _each(access, "the policies let in who must"), needs=_SQS),
)
