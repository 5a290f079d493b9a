"""The embedded EC2 and Step Functions as a trial changes them, and what is true there."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import aioboto3

from infra.local.instances import IMAGE
from infra.local.places import client_settings
from tests.soak.load import Outgoing, arn_of, state_change

LOOK_S: Final = 0.05
MACHINE: Final = {
    "QueryLanguage": "JSONata",
    "StartAt": "Choose",
    "States": {
        "Choose": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.input.end = 'SUCCEEDED' %}", "Next": "Succeed"},
                {"Condition": "{% $states.input.end = 'FAILED' %}", "Next": "Fail"},
            ],
            "Default": "Stay",
        },
        "Succeed": {"Type": "Succeed"},
        "Fail": {"Type": "Fail", "Error": "Broken", "Cause": "…"},
        "Stay": {"Type": "Wait", "Seconds": 3600, "End": True},
    },
}
CHANGES: Final = {"stop": "stopped", "start": "running", "terminate": "terminated"}
POSSIBLE: Final = {"running": ("stop", "stop", "terminate"), "stopped": ("start",)}


class World:
    """What is so in AWS, whether or not anybody says so."""

    def __init__(self, ec2: Any, states: Any, tag: tuple[str, str]) -> None:
        self.history: dict[str, list[str]] = {}
        """The states of each instance, the last one being its present."""
        self._ec2 = ec2
        self._states = states
        self._tag = {"Key": tag[0], "Value": tag[1]}

    @classmethod
    @asynccontextmanager
    async def at(cls, endpoint: str, tag: tuple[str, str]) -> AsyncIterator["World"]:
        """Past any proxy."""
        session, settings = aioboto3.Session(), client_settings(endpoint)
        async with (
            session.client("ec2", **settings) as ec2,
            session.client("stepfunctions", **settings) as states,
        ):
            await states.create_state_machine(
                name="standard", definition=json.dumps(MACHINE), roleArn="arn:aws:iam::0:role/any"
            )
            yield cls(ec2, states, tag)

    async def launch(self, count: int, *, tagged: bool = True) -> list[str]:
        """Instances that run."""
        tags = [{"ResourceType": "instance", "Tags": [self._tag]}] if tagged else []
        answer = await self._ec2.run_instances(
            ImageId=IMAGE, InstanceType="t3.micro",
            MinCount=count, MaxCount=count, TagSpecifications=tags,
        )  # fmt: skip
        ids = [instance["InstanceId"] for instance in answer["Instances"]]
        self.history |= {id_: ["running"] for id_ in ids}
        return ids

    async def change(self, dice: random.Random, id_: str) -> Outgoing | None:
        """Change an instance's state, where it still can; what EventBridge would tell of it."""
        if not (possible := POSSIBLE.get(self.history[id_][-1])):
            return None
        action = dice.choice(possible)
        await getattr(self._ec2, f"{action}_instances")(InstanceIds=[id_])
        self.history[id_].append(CHANGES[action])
        return state_change(dice, id_, CHANGES[action], datetime.now(UTC))

    async def begin(self, name: str, end: str | None) -> None:
        """A Standard execution that ends so at once, or runs on."""
        arn = arn_of("standard", name)
        await self._states.start_execution(
            stateMachineArn=arn.replace(":execution:", ":stateMachine:").removesuffix(f":{name}"),
            name=name, input=json.dumps({"end": end}),
        )  # fmt: skip
        if end == "ABORTED":
            await self._states.stop_execution(executionArn=arn)
        async with asyncio.timeout(20):
            while await self._status(arn) != (end or "RUNNING"):  # noqa: ASYNC110 # it is asked
                await asyncio.sleep(LOOK_S)

    async def _status(self, arn: str) -> str:
        return str((await self._states.describe_execution(executionArn=arn))["status"])
