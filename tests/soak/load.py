"""A load of messages made from a seed: runs, instances, duplicates, stragglers, old ones, poison.

It knows what must come of it, without asking the product's own rules.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ACCOUNT: Final = "000000000000"
LIFECYCLE: Final = ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")
ENDINGS: Final = ("SUCCEEDED", "FAILED")
OLD: Final = timedelta(days=30)  # the consumer keeps seven days
POISON: Final = ("{", "[]", '{"v": 2}', '{"detail-type": "something else"}', '"text"')


@dataclass(frozen=True)
class Outgoing:
    """A message to be sent, and what is known of it. Poison has no identity."""

    body: str
    group: str | None  # a FIFO queue's, and so to the queue of publish steps
    identity: str | None
    is_step: bool = False
    is_old: bool = False
    may_hide: bool = False  # of an instance that nobody knew to carry the tag when it came


@dataclass
class Load:
    """Messages in the order in which they are sent, and the status in which each key must end."""

    messages: list[Outgoing] = field(default_factory=list)
    endings: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)


def make(dice: random.Random, *, runs: int, prefix: str = "run", detail: str = "") -> Load:
    """`runs` executions on a third as many instances, all mixed; of each, the order mostly kept.

    `detail` makes the events larger.
    """
    load = Load(instances=[f"i-{dice.getrandbits(68):017x}" for _ in range(max(1, runs // 3))])
    now = datetime.now(UTC)
    streams = [_run(dice, load, f"{prefix}-{n}", now, detail) for n in range(runs)]
    streams += [_instance(dice, load, instance, now) for instance in load.instances]
    while streams:
        stream = dice.choice(streams)
        load.messages.append(stream.pop(0))
        if not stream:
            streams.remove(stream)
    return load


def endless(dice: random.Random, *, keys: int) -> Iterator[Outgoing]:
    """Steps of some executions that never end."""
    steps = [0] * keys
    while True:
        number = dice.randrange(keys)
        steps[number] += 1
        yield step(f"endless-{number}", "standard", steps[number], "WAITING")


def _run(dice: random.Random, load: Load, name: str, now: datetime, detail: str) -> list[Outgoing]:
    machine = dice.choice(("express", "standard"))
    arn = arn_of(machine, name)
    instance = dice.choice(load.instances)
    is_old = dice.random() < 0.03
    moment = now - (OLD if is_old else timedelta(0))
    ending = dice.choice(ENDINGS)
    waits = ["WAITING"] * dice.randint(0, 4)
    stream: list[Outgoing] = []
    for seq, status in enumerate(["CHECKING", "STARTING", *waits, "VERIFYING", ending], start=1):
        told = step(
            name, machine, seq, status,
            instance=instance, moment=moment, detail=detail,
        )  # fmt: skip
        stream.append(replace(told, is_old=is_old))
    if machine == "standard":
        input_ = json.dumps({"instance_id": instance})
        for after, status in ((0, "RUNNING"), (len(stream), ending)):
            if dice.random() < 0.8:
                told = _execution_change(arn, name, status, input_, moment, dice)
                place = min(len(stream), after + dice.randint(0, 3))
                stream.insert(place, replace(told, is_old=is_old))
    if not is_old:
        load.endings[f"execution:{arn}"] = ending
        load.names.append(name)
    _disturb(dice, stream)
    if dice.random() < 0.04:
        stream.insert(dice.randrange(len(stream)), Outgoing(dice.choice(POISON), name, None))
    return stream


def step(
    name: str,
    machine: str,
    seq: int,
    status: str,
    *,
    instance: str | None = None,
    moment: datetime | None = None,
    detail: str = "",
) -> Outgoing:
    """What a publish step of a machine sends."""
    arn = arn_of(machine, name)
    body = {
        "v": 1, "id": f"{arn}#0#{seq}", "source": "workflow", "instance_id": instance,
        "execution": {"arn": arn, "name": name, "machine": machine, "seq": seq, "redrive": 0},
        "state": "Publish", "status": status, "time": _text(moment or datetime.now(UTC), seq),
        "terminal": status in ENDINGS,
        "reason": {"error": "Broken", "cause": "…"} if status == "FAILED" else None,
        "detail": {"pad": detail},
    }  # fmt: skip
    return Outgoing(json.dumps(body), name, f"step:{arn}:0:{seq}", is_step=True)


def arn_of(machine: str, name: str) -> str:
    """An execution's."""
    kind = "execution" if machine == "standard" else "express"
    return f"arn:aws:states:us-east-1:{ACCOUNT}:{kind}:{machine}:{name}"


def _instance(dice: random.Random, load: Load, instance: str, now: datetime) -> list[Outgoing]:
    stream: list[Outgoing] = []
    states = LIFECYCLE[: dice.randint(1, len(LIFECYCLE))]
    for second, state in enumerate(states):
        stream.append(state_change(dice, instance, state, now + timedelta(seconds=second)))
    load.endings[f"instance:{instance}"] = states[-1]
    _disturb(dice, stream)
    return stream


def state_change(dice: random.Random, instance: str, state: str, moment: datetime) -> Outgoing:
    """EventBridge's word on an instance; whole seconds, as EC2 tells them."""
    id_ = f"{dice.getrandbits(128):032x}"
    body = {
        "id": id_, "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2", "time": _text(moment, 0)[:19] + "Z",
        "detail": {"instance-id": instance, "state": state},
    }  # fmt: skip
    return Outgoing(json.dumps(body), None, f"id:{id_}")


def _execution_change(
    arn: str, name: str, status: str, input_: str, moment: datetime, dice: random.Random
) -> Outgoing:
    id_ = f"{dice.getrandbits(128):032x}"
    start_ms = round(moment.timestamp() * 1000)
    detail: dict[str, Any] = {
        "executionArn": arn, "name": name, "status": status, "startDate": start_ms,
        "stopDate": None if status == "RUNNING" else start_ms + 60_000,
        "input": input_, "error": "Broken" if status == "FAILED" else None,
    }  # fmt: skip
    body = {
        "id": id_, "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states", "detail": detail,
    }  # fmt: skip
    return Outgoing(json.dumps(body), None, f"id:{id_}")


def _disturb(dice: random.Random, stream: list[Outgoing]) -> None:
    """Some neighbours change places, some messages come twice."""
    for place in range(1, len(stream)):
        if dice.random() < 0.1:
            stream[place - 1], stream[place] = stream[place], stream[place - 1]
    for message in list(stream):
        if dice.random() < 0.1:
            stream.insert(dice.randrange(len(stream) + 1), message)


def _text(moment: datetime, seconds: int) -> str:
    later = moment + timedelta(seconds=seconds)
    return f"{later:%Y-%m-%dT%H:%M:%S}.{later.microsecond // 1000:03d}Z"
