"""Status events: what the queues carry, decoded into one shape.

Three kinds of message arrive: a publish step of a workflow (already a status event), and two
notifications of EventBridge, which are turned into one. Pure: no I/O, clock or logging.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

MAX_EVENT_BYTES: Final = 16 * 1024  # the contract's bound on one status event
MAX_CAUSE_CHARS: Final = 2_000  # × 6 B (a control character, escaped) = 12 kB < 16 KiB
MAX_ERROR_CHARS: Final = 256  # of an error's name, as Step Functions bounds it; × 6 B = 1.5 kB
MAX_DEPTH: Final = 32  # of what is nested; readers of JSON have bounds of their own

ExecutionStatus = Literal[
    "CHECKING", "WAITING", "STARTING", "STOPPING", "VERIFYING",
    "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "RUNNING",
]  # fmt: skip
InstanceStatus = Literal["pending", "running", "stopping", "stopped", "shutting-down", "terminated"]
Source = Literal["workflow", "states", "ec2", "reconcile"]
Machine = Literal["express", "standard"]

EXECUTION_STATUSES: Final = frozenset(get_args(ExecutionStatus))
INSTANCE_STATUSES: Final = frozenset(get_args(InstanceStatus))
EXECUTION_ENDINGS: Final = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_10000_MS: Final = 253_402_300_800_000
_SECOND: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
INSTANCE_ID: Final = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")

InstanceId = Annotated[str, Meta(pattern=rf"^{INSTANCE_ID.pattern}\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=512)]


class Malformed(Exception):
    """A message that is not ours to show. Its sender must act; `field` names where, never what."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class Execution(Struct, frozen=True, gc=False):
    """The run of a state machine that an event belongs to."""

    arn: Text
    name: Text
    machine: Machine
    seq: Annotated[int, Meta(ge=1)] | None
    redrive: Annotated[int, Meta(ge=0)]


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """One status event, contract version 1; the fields are those that clients get."""

    v: Literal[1]
    id: Text
    source: Source
    instance_id: InstanceId | None
    execution: Execution | None
    state: str | None
    status: ExecutionStatus | InstanceStatus
    time: str
    """RFC 3339, UTC, milliseconds, `Z`: sorts as text."""
    terminal: bool
    reason: dict[str, Any] | None
    detail: dict[str, Any]

    @property
    def key(self) -> str:
        """What this event is the status of: `execution:<ARN>`, else `instance:<id>`."""
        if self.execution is not None:
            return f"execution:{self.execution.arn}"
        return f"instance:{self.instance_id}"

    @property
    def step(self) -> tuple[int, int] | None:
        """`redrive` and `seq` of a publish step, by which it is known among those of its key."""
        run = self.execution
        if self.source == "workflow" and run is not None and run.seq is not None:
            return run.redrive, run.seq
        return None

    @property
    def identity(self) -> str:
        """Equal identities are the same event: publish steps by their step, others by `id`."""
        run = self.execution
        if run is not None and self.step is not None:
            return f"step:{run.arn}:{run.redrive}:{run.seq}"
        return f"id:{self.id}"

    @property
    def error(self) -> str | None:
        """`reason.error`, where there is one."""
        error = self.reason.get("error") if self.reason else None
        return error if isinstance(error, str) else None


def decode(body: bytes | str) -> Event:
    """The status event in a message's body, whichever of the three kinds it is.

    Raises `Malformed`, naming the field and leaving out its value.
    """
    try:
        raw = body.encode() if isinstance(body, str) else body
        # Looked for first: most messages are publish steps, and one reading is enough for those.
        if b'"detail-type"' not in raw or (kind := _KIND.decode(raw)).detail_type is UNSET:
            return _decode_event(raw)
        if kind.detail_type == "Step Functions Execution Status Change":
            return _from_execution_change(_EXECUTION_CHANGE.decode(raw))
        if kind.detail_type == "EC2 Instance State-change Notification":
            return _from_instance_change(_INSTANCE_CHANGE.decode(raw))
    except msgspec.ValidationError as error:
        raise _malformed(error) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed("body", "not a JSON object") from error
    raise Malformed("detail-type", "not a notification that we know")


def encode(event: Event) -> bytes:
    """The event as the JSON that clients get."""
    return _ENCODER.encode(event)


def decode_stored(payload: bytes) -> Event:
    """An event that `encode` made: read back from a log, not checked again."""
    return _EVENT.decode(payload)


def milliseconds(time: str) -> int:
    """An event's time as milliseconds since 1970."""
    return _seconds(time[:19]) * 1000 + int(time[20:23])


def timestamp(epoch_ms: int) -> str:
    """Milliseconds since 1970 as an event's time."""
    if not 0 <= epoch_ms < _YEAR_10000_MS:
        raise Malformed("time", "out of range")
    seconds, ms = divmod(epoch_ms, 1000)
    return f"{_text(seconds)}.{ms:03d}Z"


# Events come in the order of their times, more or less: most share their second with another.
@lru_cache(maxsize=4_096)
def _seconds(text: str) -> int:
    """`2026-01-01T00:00:00` as seconds since 1970. Raises `ValueError`, for any other form, too."""
    if not _SECOND.fullmatch(text):
        raise ValueError
    return int((datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH).total_seconds())


@lru_cache(maxsize=4_096)
def _text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def _decode_event(raw: bytes) -> Event:
    if len(raw) > MAX_EVENT_BYTES:
        raise Malformed("body", f"larger than {MAX_EVENT_BYTES} bytes")
    event = _EVENT.decode(raw)
    if event.execution is None and event.instance_id is None:
        raise Malformed("execution", "neither an execution nor an instance")
    if event.execution is None and event.source in ("workflow", "states"):
        raise Malformed("execution", "missing, and the source speaks of executions")
    statuses = INSTANCE_STATUSES if event.execution is None else EXECUTION_STATUSES
    if event.status not in statuses:
        raise Malformed("status", "not one of its key's statuses")
    if not _is_as_clients_get_it(event.time):
        time = timestamp(_parse_time(event.time))
        event = msgspec.structs.replace(event, time=time)
    _check_bulk(raw, event)
    return event


def _check_bulk(raw: bytes, event: Event) -> None:
    """Bounds on what may be anything: how deep it is, and how large once it is written again."""
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_deeper(
        [event.detail, event.reason], MAX_DEPTH
    ):
        raise Malformed("detail", f"nested deeper than {MAX_DEPTH}")
    # A number grows most: 1e15, five bytes with its comma, is written with nineteen.
    if len(raw) > MAX_EVENT_BYTES // 4 and len(encode(event)) > MAX_EVENT_BYTES:
        raise Malformed("body", f"larger than {MAX_EVENT_BYTES} bytes")


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth < 0 or any(_is_deeper(each, depth - 1) for each in inner)


def _is_as_clients_get_it(time: str) -> bool:
    if len(time) != 24 or time[19] != "." or time[23] != "Z":
        return False
    ms = time[20:23]
    try:
        return ms.isascii() and ms.isdecimal() and _seconds(time[:19]) >= 0
    except ValueError:  # the 31st of February
        return False


def _parse_time(time: str) -> int:
    try:
        moment = msgspec.convert(time, datetime)
    except msgspec.ValidationError as error:
        raise Malformed("time", "not RFC 3339") from error
    if moment.tzinfo is None:
        raise Malformed("time", "without its offset from UTC")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


# EventBridge's envelopes; the fields that we read.
# https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html


class _Kind(Struct):
    detail_type: str | UnsetType = msgspec.field(name="detail-type", default=UNSET)


class _ExecutionDetail(Struct, rename="camel"):
    execution_arn: Text
    name: Text
    status: Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"]
    start_date: int
    stop_date: int | None = None
    redrive_date: int | None = None
    redrive_count: Annotated[int, Meta(ge=0)] | None = None
    input: str | None = None
    error: str | None = None
    cause: str | None = None


class _ExecutionChange(Struct):
    id: Text
    detail: _ExecutionDetail


class _InstanceDetail(Struct):
    instance_id: InstanceId = msgspec.field(name="instance-id")
    state: InstanceStatus


class _InstanceChange(Struct):
    id: Text
    time: str
    detail: _InstanceDetail


class _Input(Struct):
    instance_id: InstanceId


def _from_execution_change(change: _ExecutionChange) -> Event:
    detail = change.detail
    # The envelope's own time is a whole second; these are the service's milliseconds.
    moment_ms = detail.stop_date or detail.redrive_date or detail.start_date
    reason = None
    if detail.error is not None or detail.cause is not None:
        error = None if detail.error is None else detail.error[:MAX_ERROR_CHARS]
        cause = None if detail.cause is None else detail.cause[:MAX_CAUSE_CHARS]
        reason = {"error": error, "cause": cause}
    return Event(
        v=1,
        id=change.id,
        source="states",
        instance_id=_instance_of(detail.input),
        execution=Execution(
            arn=detail.execution_arn,
            name=detail.name,
            machine="standard",  # Express machines tell EventBridge nothing
            seq=None,
            redrive=detail.redrive_count or 0,
        ),
        state=None,
        status=detail.status,
        time=timestamp(moment_ms),
        terminal=detail.status in EXECUTION_ENDINGS,
        reason=reason,
        detail={},
    )


def _instance_of(execution_input: str | None) -> str | None:
    """The instance that a run was started for; its input is left out of events past 248 KiB."""
    if execution_input is None:
        return None
    try:
        return _INPUT.decode(execution_input).instance_id
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _from_instance_change(change: _InstanceChange) -> Event:
    return Event(
        v=1,
        id=change.id,
        source="ec2",
        instance_id=change.detail.instance_id,
        execution=None,
        state=None,
        status=change.detail.state,
        time=timestamp(_parse_time(change.time)),
        terminal=change.detail.state == "terminated",
        reason=None,
        detail={},
    )


def _malformed(error: msgspec.ValidationError) -> Malformed:
    """msgspec's message without the offending value, which it quotes for enumerations."""
    text = str(error)
    problem, _, place = text.partition(" - at `$")
    field = place.strip("`.") or "body"
    if missing := re.search(r"missing required field `([^`]+)`", problem):
        return Malformed(f"{field}.{missing[1]}" if place else missing[1], "missing")
    if problem.startswith(("Expected `", "Expected ")) and "matching regex" not in problem:
        return Malformed(field, problem[0].lower() + problem[1:])
    return Malformed(field, "not an allowed value")


_KIND: Final = msgspec.json.Decoder(_Kind)
_EVENT: Final = msgspec.json.Decoder(Event)
_EXECUTION_CHANGE: Final = msgspec.json.Decoder(_ExecutionChange)
_INSTANCE_CHANGE: Final = msgspec.json.Decoder(_InstanceChange)
_INPUT: Final = msgspec.json.Decoder(_Input)
_ENCODER: Final = msgspec.json.Encoder()
