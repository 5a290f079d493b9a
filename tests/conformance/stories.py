"""What the sources say: a run's publish steps, and EventBridge's notices as AWS sends them.

Every run and instance is another one, so that cases may share a delivery.
"""

import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tests.conformance.delivery import Message

REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"
_ENDINGS: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1_000:03d}Z"


class Run:
    """One execution, and what it publishes: each step a second after the other."""

    def __init__(self, machine: str = "standard", instance: str | None = None) -> None:
        self.machine = machine
        self.name = f"run-{uuid.uuid4().hex[:12]}"
        self.instance = instance or f"i-{uuid.uuid4().hex[:17]}"
        kind, end = ("express", f":{uuid.uuid4()}") if machine == "express" else ("execution", "")
        prefix = f"arn:aws:states:{REGION}:{ACCOUNT}"
        self.arn = f"{prefix}:{kind}:statuswire-{machine}:{self.name}{end}"
        self._began = datetime.now(UTC) - timedelta(seconds=60)
        self._count = itertools.count(1)

    def step(self, status: str = "CHECKING", **detail: Any) -> Message:
        """The next publish step's message."""
        seq = next(self._count)
        return {
            "v": 1,
            "id": f"{self.arn}#0#{seq}",
            "source": "workflow",
            "instance_id": self.instance,
            "execution": {
                "arn": self.arn,
                "name": self.name,
                "machine": self.machine,
                "seq": seq,
                "redrive": 0,
            },
            "state": f"Publish{status.title()}",
            "status": status,
            "time": _text(self._began + timedelta(seconds=seq)),
            "terminal": status in _ENDINGS,
            "reason": None,
            "detail": detail,
        }

    def reported(self, status: str) -> Message:
        """EventBridge on it, two minutes after it began where it has ended."""
        began_ms = int(self._began.timestamp() * 1_000)
        ended = status in _ENDINGS
        return _notice(
            "Step Functions Execution Status Change",
            "aws.states",
            self._began + timedelta(seconds=120 if ended else 0),
            {
                "executionArn": self.arn,
                "stateMachineArn": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:standard",
                "name": self.name,
                "status": status,
                "startDate": began_ms,
                "stopDate": began_ms + 120_000 if ended else None,
                "input": json.dumps({"instance_id": self.instance}),
                "output": None,
                "redriveCount": 0,
                "redriveDate": None,
                "error": None,
                "cause": None,
            },
        )


class Instance:
    """One instance, and what EC2 says of it."""

    def __init__(self) -> None:
        self.id = f"i-{uuid.uuid4().hex[:17]}"
        self._began = datetime.now(UTC) - timedelta(seconds=60)

    def turns(self, state: str, *, after_s: int = 0) -> Message:
        """EventBridge on its state, so many seconds after the first that was heard of it."""
        return _notice(
            "EC2 Instance State-change Notification",
            "aws.ec2",
            self._began + timedelta(seconds=after_s),
            {"instance-id": self.id, "state": state},
        )


def _notice(kind: str, source: str, moment: datetime, detail: dict[str, Any]) -> Message:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [],
        "detail": detail,
    }
