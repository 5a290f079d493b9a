"""Watch patterns: what a client asks to see, and which of them an event matches.

A pattern is looked up, never scanned for: an event matches at most five, whatever the number of
clients. Pure: no I/O, clock or logging.
"""

import re
from collections.abc import Iterable
from typing import Final, get_args

from consumer.core.events import INSTANCE_ID, Event, Machine

MAX_PATTERN_CHARS: Final = 512
_NAME: Final = re.compile(r"[^\s:]{1,80}")
_OF_MACHINE: Final = {machine: f"machine:{machine}" for machine in get_args(Machine)}
_EXECUTION_ARN: Final = re.compile(
    r"arn:aws[a-z-]*:states:[a-z0-9-]+:[0-9]{12}:(?:execution|express):[^\s:]+:\S+"
)


class BadWatch(Exception):
    """A pattern that nothing can match. The client must act."""


def check(pattern: str) -> str:
    """The pattern, if it is one. Raises `BadWatch`."""
    kind, _, what = pattern.partition(":")
    if len(pattern) <= MAX_PATTERN_CHARS and (
        pattern == "*"
        or (kind == "instance" and INSTANCE_ID.fullmatch(what))
        or (kind == "machine" and what in ("express", "standard"))
        or (kind == "execution" and (_NAME.fullmatch(what) or _EXECUTION_ARN.fullmatch(what)))
    ):
        return pattern
    raise BadWatch(
        "a watch is instance:<id>, execution:<ARN or name>, machine:express|standard, or *"
    )


def matching(event: Event, key: str) -> tuple[str, ...]:
    """Every pattern that an event matches; its key is one of them, and the same string."""
    if (run := event.execution) is None:
        return ("*", key)
    of_run = (key, f"execution:{run.name}", _OF_MACHINE[run.machine])
    if event.instance_id is None:
        return ("*", *of_run)
    return ("*", f"instance:{event.instance_id}", *of_run)


def single_executions(patterns: Iterable[str]) -> frozenset[str]:
    """Those patterns that name one execution: a snapshot tells these in full."""
    return frozenset(pattern for pattern in patterns if pattern.startswith("execution:"))


def covering(pattern: str) -> tuple[str, ...]:
    """The patterns, beside `*`, of which each allows this one, which has been checked.

    An execution's ARN tells its name and its machine's type ("Actions, resources, and condition
    keys for AWS Step Functions"):
    `arn:<partition>:states:<region>:<account>:execution:<machine>:<name>` or
    `arn:<partition>:states:<region>:<account>:express:<machine>:<name>:<run>`.
    """
    kind, _, what = pattern.partition(":")
    if kind != "execution" or not what.startswith("arn:"):
        return (pattern,)
    parts = what.split(":")
    machine = "express" if parts[5] == "express" else "standard"
    return (pattern, f"execution:{parts[7]}", f"machine:{machine}")
