"""A dead letter: what SQS tells of it, and why it is one. Pure: no I/O, clock or logging."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from consumer.core import events
from consumer.core.events import Event, Malformed

# EventBridge user guide, "Using dead-letter queues to process undelivered events".
EVENTBRIDGE: Final = (
    *("RULE_ARN", "TARGET_ARN", "ERROR_CODE", "ERROR_MESSAGE"),
    *("EXHAUSTED_RETRY_CONDITION", "RETRY_ATTEMPTS"),
)


class Letter(Struct, frozen=True, kw_only=True):
    """A message in a dead-letter queue, received and not deleted."""

    id: str
    queue: str
    """Whose dead letter it is: `status` or `service`."""
    body: str
    receipt_handle: str
    system: Mapping[str, str]
    """What SQS says of the message."""
    attributes: Mapping[str, Any]
    """What its sender said beside the body."""
    event: Event | None
    problem: str | None
    """Why the consumer refuses it: names a field, never its value. None: it does not."""

    @property
    def is_well_formed(self) -> bool:
        """Whether the consumer would take it today."""
        return self.problem is None

    @property
    def group(self) -> str | None:
        """The message group of a FIFO queue."""
        return self.system.get("MessageGroupId")

    @property
    def undelivered(self) -> dict[str, str]:
        """Why EventBridge could not deliver it; empty for what the consumer had."""
        texts = {name: self.attributes.get(name, {}).get("StringValue") for name in EVENTBRIDGE}
        return {name: text for name, text in texts.items() if text}

    @property
    def reason(self) -> str:
        """Why it is here, in a sentence for the operator."""
        if self.problem is not None:
            return f"malformed: {self.problem}"
        if code := self.undelivered.get("ERROR_CODE"):
            told = self.undelivered.get("ERROR_MESSAGE", "no message")
            return f"EventBridge could not deliver it: {code}: {told}; mend that, then redrive it"
        return "well-formed: redrive it"

    def about(self) -> dict[str, Any]:
        """What a list tells: nothing of the body but whom it is about."""
        event = self.event
        return {
            "id": self.id,
            "queue": self.queue,
            "sent": events.timestamp(int(self.system.get("SentTimestamp", 0))),
            "receives": int(self.system.get("ApproximateReceiveCount", 0)),
            "group": self.group,
            "execution": event.execution.arn if event and event.execution else None,
            "instance_id": event.instance_id if event else None,
            "status": event.status if event else None,
            "well_formed": self.is_well_formed,
            "reason": self.reason,
            "eventbridge": self.undelivered or None,
        }

    def whole(self) -> dict[str, Any]:
        """Everything there is, the body as it was sent."""
        return {
            **self.about(),
            "body": self.body,
            "attributes": {name: _shown(value) for name, value in self.attributes.items()},
            "system": dict(self.system),
        }


def read(queue: str, raw: Any) -> Letter:
    """The letter in an answer to ReceiveMessage that asked for all attributes."""
    event, problem = None, None
    try:
        event = events.decode(raw["Body"])
    except Malformed as error:
        problem = str(error)
    return Letter(
        id=raw["MessageId"],
        queue=queue,
        body=raw["Body"],
        receipt_handle=raw["ReceiptHandle"],
        system=raw.get("Attributes", {}),
        attributes=raw.get("MessageAttributes", {}),
        event=event,
        problem=problem,
    )


def printable(text: str) -> str:
    """Text for a terminal: what could move the cursor, colour or reorder it is escaped."""
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _shown(attribute: Mapping[str, Any]) -> dict[str, str]:
    """A message attribute as JSON can carry it."""
    binary = attribute.get("BinaryValue")
    value = base64.b64encode(binary).decode() if binary else attribute.get("StringValue", "")
    return {"type": attribute.get("DataType", "String"), "value": value}
