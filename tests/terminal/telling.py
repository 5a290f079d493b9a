"""Events as a viewer gets them: JSON, small and valid."""

from typing import Any

INSTANCE = "i-0abc12345678def90"
OTHER = "i-0fff12345678def90"
EXPRESS = "arn:aws:states:us-east-1:000000000000:express:express"
STANDARD = "arn:aws:states:us-east-1:000000000000:execution:standard"


def instance(status: str, *, of: str = INSTANCE, second: int = 1, **more: Any) -> Any:
    """An event of an instance."""
    return {
        "v": 1,
        "id": f"{of}-{second}-{status}",
        "source": "ec2",
        "instance_id": of,
        "execution": None,
        "state": None,
        "status": status,
        "time": f"2026-01-01T00:00:{second:02d}.000Z",
        "terminal": status == "terminated",
        "reason": None,
        "detail": {},
        **more,
    }


def run(
    status: str,
    *,
    name: str = "nightly-7",
    of: str | None = INSTANCE,
    seq: int = 1,
    redrive: int = 0,
    machine: str = "standard",
    part: str = "1",
    **more: Any,
) -> Any:
    """A publish step of an execution. `part` tells Express runs of one name apart."""
    arn = f"{STANDARD}:{name}" if machine == "standard" else f"{EXPRESS}:{name}:{part}"
    return {
        "v": 1,
        "id": f"{arn}#{redrive}#{seq}",
        "source": "workflow",
        "instance_id": of,
        "execution": {
            "arn": arn, "name": name, "machine": machine, "seq": seq, "redrive": redrive,
        },
        "state": f"Publish{status.title()}",
        "status": status,
        "time": f"2026-01-01T00:{int(part):02d}:{seq:02d}.000Z",
        "terminal": status in ("SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"),
        "reason": None,
        "detail": {},
        **more,
    }  # fmt: skip


FAILURE = {"error": "InsufficientCapacity", "cause": "EC2 has no room for it now"}
