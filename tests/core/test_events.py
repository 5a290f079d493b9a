"""What the queues carry becomes status events, or is refused without a trace of its content."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.core import events
from consumer.core.events import Malformed
from tests.core import examples
from tests.core.examples import decode, execution_change, instance_change, step_body


def test_a_publish_step_is_taken_as_it_is() -> None:
    """Every field of the contract reaches the client unchanged."""
    assert json.loads(events.encode(decode(step_body()))) == step_body()


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("2026-01-01T00:00:01Z", "2026-01-01T00:00:01.000Z"),
        ("2026-01-01T02:00:01.9999+02:00", "2026-01-01T00:00:01.999Z"),
        ("2026-01-01T00:00:01.123456789Z", "2026-01-01T00:00:01.123Z"),
        ("2026-01-01 00:00:01.000Z", "2026-01-01T00:00:01.000Z"),
        ("2026-01-01t00:00:01.000Z", "2026-01-01T00:00:01.000Z"),
    ],
)
def test_times_become_utc_milliseconds(told: str, kept: str) -> None:
    """Any RFC 3339 time is brought to one form, which sorts as text."""
    assert decode(step_body(time=told)).time == kept


@given(st.integers(0, 253_402_300_799_999))
def test_timestamps_are_exact(epoch_ms: int) -> None:
    """A millisecond survives being written and read back."""
    assert events.milliseconds(events.timestamp(epoch_ms)) == epoch_ms


def test_an_execution_change_becomes_an_event() -> None:
    """The service's own milliseconds count, not the envelope's whole second."""
    event = decode(execution_change(status="FAILED", stopDate=1767225605678, error="E", cause="c"))
    assert event.source == "states"
    assert event.key == f"execution:{examples.ARN}"
    assert (event.status, event.terminal) == ("FAILED", True)
    assert event.time == "2026-01-01T00:00:05.678Z"
    assert event.reason == {"error": "E", "cause": "c"}
    assert event.instance_id == examples.INSTANCE


def test_a_redrive_is_dated_by_the_redrive() -> None:
    """A redriven execution runs again since its redrive, not since its start."""
    event = decode(execution_change(redriveCount=2, redriveDate=1767225609000))
    assert event.execution is not None
    assert event.execution.redrive == 2
    assert event.time == "2026-01-01T00:00:09.000Z"


@pytest.mark.parametrize(
    "told", [None, "", "not json", "[]", '{"instance_id": "x"}', '{"instance_id": ["' + "[" * 9000]
)
def test_an_input_without_an_instance_is_no_obstacle(told: str | None) -> None:
    """Any input may start an execution; the event then belongs to no instance."""
    assert decode(execution_change(input=told)).instance_id is None


@pytest.mark.parametrize("character", ["x", "\u2028", "\U0001f600", "\x00", '"'])
def test_a_long_reason_is_cut(character: str) -> None:
    """The service's causes may have 32 KiB; an event has 16, however it has to be written."""
    long = character * 32_768
    event = decode(execution_change(status="FAILED", error=long, cause=long))
    assert len(events.encode(event)) <= events.MAX_EVENT_BYTES
    assert event.error
    assert event.error in long
    assert decode(execution_change(status="FAILED", cause=long)).error is None


def test_what_grows_when_it_is_written_again_is_malformed() -> None:
    """The bound is on what clients get, too."""
    body = json.dumps(step_body(detail={})).replace(
        '"detail": {}', '"detail": {"n": [' + "1e15," * 3_000 + "1]}"
    )
    assert len(body) < events.MAX_EVENT_BYTES
    with pytest.raises(Malformed) as refusal:
        events.decode(body)
    assert refusal.value.field == "body"


def test_an_error_without_a_cause_is_kept() -> None:
    """Either half of a reason may be missing."""
    assert decode(execution_change(status="FAILED", error="E")).reason == {
        "error": "E",
        "cause": None,
    }


def test_an_instance_change_becomes_an_event() -> None:
    """EC2's whole second is written with milliseconds."""
    event = decode(instance_change())
    assert (event.source, event.key) == ("ec2", f"instance:{examples.INSTANCE}")
    assert (event.status, event.terminal) == ("pending", False)
    assert event.time == "2026-01-01T00:00:09.000Z"
    assert decode(instance_change(state="terminated")).terminal


@pytest.mark.parametrize("field", sorted(step_body()))
def test_no_field_may_be_missing(field: str) -> None:
    """A message that lacks a field is refused, and the refusal names it."""
    body = step_body()
    del body[field]
    with pytest.raises(Malformed) as refusal:
        decode(body)
    assert refusal.value.field == field


SECRET = "hunter2-hunter2"  # noqa: S105  # what a refusal must not repeat


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("v", step_body(v=2)),
        ("id", step_body(id="")),
        ("source", step_body(source=SECRET)),
        ("instance_id", step_body(instance_id=SECRET)),
        ("instance_id", step_body(instance_id=f"{examples.INSTANCE}\n")),
        ("execution", step_body(execution=SECRET)),
        ("execution", step_body(execution=None)),
        ("execution", step_body(execution=None, source="ec2", instance_id=None)),
        ("execution.seq", step_body(execution={**step_body()["execution"], "seq": 0})),
        ("execution.name", step_body(execution={"arn": SECRET})),
        ("status", step_body(status=SECRET)),
        ("status", step_body(status="running")),
        ("status", step_body(execution=None, source="ec2", status="CHECKING")),
        ("time", step_body(time=SECRET)),
        ("time", step_body(time="2026-01-01T00:00:01")),
        ("time", step_body(time="1969-12-31T23:59:59Z")),
        ("time", step_body(time="1969-12-31T23:59:59.000Z")),
        ("time", step_body(time="2026-02-31T00:00:00.000Z")),
        ("time", step_body(time="2026-01-01T00:00:00.\u0661\u0662\u0663Z")),  # digits, not ours
        ("terminal", step_body(terminal=SECRET)),
        ("detail", step_body(detail=SECRET)),
        ("body", step_body(detail={"long": "x" * events.MAX_EVENT_BYTES})),
        ("detail.state", instance_change(state=SECRET)),
        ("detail.status", execution_change(status="PENDING_REDRIVE")),
        ("time", execution_change(startDate=-1)),
        ("detail-type", {"detail-type": SECRET}),
        ("detail-type", {"detail-type": 5}),
    ],
)
def test_a_refusal_names_the_field_and_not_its_value(field: str, body: dict[str, Any]) -> None:
    """What is malformed is told by its place; its content stays out of logs."""
    with pytest.raises(Malformed) as refusal:
        decode(body)
    assert refusal.value.field == field
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    "body",
    ["", "null", "[]", "{", b"\xff", '"\ud800"', "[" * 9000, '{"detail":' + '{"a":' * 3000,
     '{"detail-type":"EC2 Instance State-change Notification","detail":' + "[" * 9000],
)  # fmt: skip
def test_what_is_not_a_json_object_is_malformed(body: bytes | str) -> None:
    """Nothing that a queue can carry makes the decoder fail otherwise."""
    with pytest.raises(Malformed):
        events.decode(body)


@pytest.mark.parametrize("field", ["detail", "reason"])
def test_nesting_is_bounded(field: str) -> None:
    """What one reader of JSON takes, another may not; flat or moderately deep, all take it."""
    flat = {"a": [[n] for n in range(200)]}
    assert getattr(decode(step_body(**{field: flat})), field) == flat
    deep: dict[str, Any] = {}
    for _ in range(events.MAX_DEPTH + 1):
        deep = {"a": deep}
    with pytest.raises(Malformed) as refusal:
        decode(step_body(**{field: deep}))
    assert refusal.value.field == "detail"


def test_nesting_has_an_end() -> None:
    """Valid JSON, and too deep to be read: malformed like any other."""
    body = json.dumps(step_body(detail={}))
    deep = body.replace('"detail": {}', '"detail": ' + '{"a":' * 2_500 + "1" + "}" * 2_500)
    with pytest.raises(Malformed):
        events.decode(deep)


@given(st.binary() | st.text() | st.dictionaries(st.text(), st.text()).map(json.dumps))
def test_garbage_is_malformed(body: bytes | str) -> None:
    """The decoder's only error is its documented one."""
    with pytest.raises(Malformed):
        events.decode(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.sampled_from([step_body(), execution_change(), instance_change()]),
    st.data(),
)
def test_one_changed_field_is_taken_or_refused(body: dict[str, Any], data: st.DataObject) -> None:
    """A message that is almost ours is an event, or malformed: never another error."""
    inner = "detail" if "detail-type" in body else "execution"
    changed = {**body, inner: dict(body[inner])}
    target = data.draw(st.sampled_from([changed, changed[inner]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(JSON)
    try:
        event = decode(changed)
    except Malformed:
        return
    assert events.decode_stored(events.encode(event)) == event
    assert event.identity
    assert event.error is None or isinstance(event.error, str)


def test_identities() -> None:
    """Publish steps are known by ARN, redrive and seq; others by their id."""
    assert examples.step(seq=1).identity != examples.step(seq=2).identity
    assert decode(step_body(id="a")).identity == decode(step_body(id="b")).identity
    assert decode(instance_change()).identity == f"id:{instance_change()['id']}"
    unnumbered = {**step_body()["execution"], "seq": None}
    assert decode(step_body(id="a", execution=unnumbered)).identity == "id:a"
