"""An event as a viewer reads it: the JSON object of the contract as it came.

Fields that are added later go through.
"""

from collections.abc import Mapping
from typing import Any

Event = Mapping[str, Any]


def key_of(event: Event) -> str:
    """What an event is the status of: `execution:<ARN>`, else `instance:<id>`."""
    run = event.get("execution")
    return f"execution:{run['arn']}" if run else f"instance:{event.get('instance_id')}"


def reason_of(event: Event) -> str:
    """Its reason in one line, in EC2's words too; empty where there is none."""
    reason = event.get("reason") or {}
    error = reason.get("error") or reason.get("code") or reason.get("Code")
    cause = reason.get("cause") or reason.get("message") or reason.get("Message")
    return ": ".join(str(part) for part in (error, cause) if part)


def is_inferred(event: Event) -> bool:
    """Whether nobody reported this ending: it was concluded from silence, and may be corrected."""
    return (event.get("detail") or {}).get("inferred") is True
