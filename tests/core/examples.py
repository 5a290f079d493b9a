"""Events to test with: small, valid, and changed where a test looks."""

import json
from typing import Any

import msgspec

from consumer.core import entries, events
from consumer.core.entries import Entry
from consumer.core.events import Event

INSTANCE = "i-0123456789abcdef0"
ARN = "arn:aws:states:us-east-1:000000000000:execution:standard:run-1"


def step_body(**changes: Any) -> dict[str, Any]:
    """A publish step's message, as the state machine sends it."""
    body: dict[str, Any] = {
        "v": 1,
        "id": f"{ARN}#0#1",
        "source": "workflow",
        "instance_id": INSTANCE,
        "execution": {
            "arn": ARN, "name": "run-1", "machine": "standard", "seq": 1, "redrive": 0,
        },
        "state": "PublishChecking",
        "status": "CHECKING",
        "time": "2026-01-01T00:00:01.000Z",
        "terminal": False,
        "reason": None,
        "detail": {"action": "toggle"},
    }  # fmt: skip
    return {**body, **changes}


def execution_change(**detail: Any) -> dict[str, Any]:
    """EventBridge on an execution, with the fields that AWS documents."""
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": "000000000000",
        "time": "2026-01-01T00:00:09Z",
        "region": "us-east-1",
        "resources": [ARN],
        "detail": {
            "executionArn": ARN,
            "stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:standard",
            "name": "run-1",
            "status": "RUNNING",
            "startDate": 1767225601234,
            "stopDate": None,
            "input": json.dumps({"instance_id": INSTANCE}),
            "output": None,
            "redriveCount": 0,
            "redriveDate": None,
            "error": None,
            "cause": None,
            **detail,
        },
    }


def instance_change(**detail: Any) -> dict[str, Any]:
    """EventBridge on an instance."""
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "EC2 Instance State-change Notification",
        "source": "aws.ec2",
        "account": "000000000000",
        "time": "2026-01-01T00:00:09Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:ec2:us-east-1:000000000000:instance/{INSTANCE}"],
        "detail": {"instance-id": INSTANCE, "state": "pending", **detail},
    }


def decode(body: dict[str, Any]) -> Event:
    return events.decode(json.dumps(body))


def step(seq: int = 1, status: str = "CHECKING", run: str = "run-1", **changes: Any) -> Event:
    """The event of a publish step, one second after the other."""
    body = step_body(
        id=f"{run}.{seq}",
        status=status,
        terminal=status in events.EXECUTION_ENDINGS,
        time=f"2026-01-01T00:00:{seq:02d}.000Z",
        **changes,
    )
    body["execution"] = {**body["execution"], "arn": ARN.replace("run-1", run), "name": run}
    body["execution"]["seq"] = seq
    return decode(body)


def entry(place: int, event: Event, *, late: bool = False, epoch: str = "e") -> Entry:
    return entries.committed(epoch, place, event, events.encode(event), late=late)


def message(frame: bytes) -> Any:
    """The JSON in an unmasked text frame."""
    header = {126: 4, 127: 10}.get(frame[1], 2)
    return msgspec.json.decode(frame[header:])
