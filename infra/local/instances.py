"""EC2's part: a few instances, and the events that EventBridge would tell of them.

The emulator changes an instance at once and tells nobody. So its instances are
looked at, and each change is played into the service queue as the two events that
AWS sends: the passing state, and at least a second later the one that lasts.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

LOOK_INTERVAL_S = 0.1
PASSING_S = 1.0  # EC2 tells whole seconds; a second apart, two states are in order
PASSING_STATES = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}

IMAGE = "ami-00000000000000000"  # the emulator takes any
# The tag that the template's InstanceTagKey and InstanceTagValue ask for.
MANAGED = {"Key": "statuswire", "Value": "managed"}


async def create_instances(ec2: Any, *, running: int, stopped: int) -> list[str]:
    """Instances web-1 … web-n, the running ones first; their ids in that order."""
    count = running + stopped
    answer = await ec2.run_instances(
        ImageId=IMAGE,
        InstanceType="t3.micro",
        MinCount=count,
        MaxCount=count,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [MANAGED]}],
    )
    ids = [instance["InstanceId"] for instance in answer["Instances"]]
    for number, instance_id in enumerate(ids, start=1):
        name = {"Key": "Name", "Value": f"web-{number}"}
        await ec2.create_tags(Resources=[instance_id], Tags=[name])
    if stopped:
        await ec2.stop_instances(InstanceIds=ids[running:])
    return ids


async def read_states(ec2: Any) -> dict[str, str]:
    """The state of every instance, by its id."""
    states = {}
    async for page in ec2.get_paginator("describe_instances").paginate():
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                states[instance["InstanceId"]] = instance["State"]["Name"]
    return states


def state_change(instance_id: str, state: str, *, at_s: int, account: str, region: str) -> str:
    """EventBridge's envelope, as JSON.

    Source: EC2 user guide, "State change events for your instances".
    """
    arn = f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"
    envelope = {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": account,
        "time": datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [arn],
        "detail": {"instance-id": instance_id, "state": state},
    }
    return json.dumps(envelope)


class EventPlayer:
    """Watches the instances and sends what EC2 would have sent. Only changes are told."""

    def __init__(
        self,
        read: Callable[[], Awaitable[dict[str, str]]],
        send: Callable[[str], Awaitable[object]],
        *,
        account: str,
        region: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`read` as read_states; `send` puts one message into the service queue."""
        self._read = read
        self._send = send
        self._origin = {"account": account, "region": region}
        self._clock = clock
        self._sleep = sleep
        self._changes: dict[str, asyncio.Queue[str]] = {}

    async def run(self, states: dict[str, str]) -> None:
        """Until cancelled. `states` is what everything begins with, as `read` told it."""
        async with asyncio.TaskGroup() as tellers:
            while True:
                await self._sleep(LOOK_INTERVAL_S)
                seen = await self._read()
                for instance_id, state in seen.items():
                    if states.get(instance_id) == state or state not in PASSING_STATES:
                        continue
                    if instance_id not in self._changes:
                        self._changes[instance_id] = asyncio.Queue()
                        tellers.create_task(self._tell(instance_id))
                    self._changes[instance_id].put_nowait(state)
                states = seen

    async def _tell(self, instance_id: str) -> None:
        """One instance's events, one after the other, each in a later second than the last."""
        while True:
            state = await self._changes[instance_id].get()
            for told in (PASSING_STATES[state], state):
                at_s = int(self._clock())
                await self._send(state_change(instance_id, told, at_s=at_s, **self._origin))
                await self._sleep(PASSING_S)
