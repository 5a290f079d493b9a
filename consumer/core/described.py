"""Status events of source `reconcile`: made of what Describe calls answer, or fail to. Pure.

Their ids follow from what they say, so saying it again is a repeat.
"""

from typing import Any

import msgspec

from consumer.core.events import (
    MAX_CAUSE_CHARS,
    MAX_ERROR_CHARS,
    Event,
    ExecutionStatus,
    InstanceStatus,
    timestamp,
)


def instance(
    instance_id: str, status: InstanceStatus, begun_ms: int, detail: dict[str, Any]
) -> Event:
    """An instance as EC2 described it in a call that began then (ms since 1970)."""
    second = begun_ms // 1000  # EC2's own events tell whole seconds, and are compared with it
    return Event(
        v=1,
        id=f"reconcile:{instance_id}:{second}:{status}",
        source="reconcile",
        instance_id=instance_id,
        execution=None,
        state=None,
        status=status,
        time=timestamp(second * 1000),
        terminal=status == "terminated",
        reason=None,
        detail=detail,
    )


def ending(
    newest: Event, status: ExecutionStatus, stopped_ms: int, redrive: int, **reason: str | None
) -> Event:
    """An ending that Step Functions reported; `reason` is its `error` and `cause`."""
    error, cause = reason.get("error"), reason.get("cause")
    told = {
        "error": error and error[:MAX_ERROR_CHARS],
        "cause": cause and cause[:MAX_CAUSE_CHARS],
    }
    return _end(newest, status, stopped_ms, redrive, told if error or cause else None, {})


def inferred_ending(newest: Event, status: ExecutionStatus, now_ms: int, cause: str) -> Event:
    """An ending that nobody reported; gives way to whatever is reported later."""
    redrive = newest.execution.redrive if newest.execution else 0
    reason = {"error": None, "cause": cause}
    return _end(newest, status, now_ms, redrive, reason, {"inferred": True})


def _end(
    newest: Event,
    status: ExecutionStatus,
    time_ms: int,
    redrive: int,
    reason: dict[str, Any] | None,
    detail: dict[str, Any],
) -> Event:
    if newest.execution is None:
        raise TypeError("an instance has no ending")
    run = msgspec.structs.replace(newest.execution, seq=None, redrive=redrive)
    kind = "inferred" if detail else "reconcile"
    return msgspec.structs.replace(
        newest,
        id=f"{kind}:{run.arn}#{redrive}#{status}",
        source="reconcile",
        execution=run,
        state=None,
        status=status,
        time=timestamp(time_ms),
        terminal=True,
        reason=reason,
        detail=detail,
    )
